/* Names in an output folder, and whose they are. Internal, local.
 *
 *   checkpoint-00000120                         a finished checkpoint
 *   .tmp-checkpoint-00000120-new-HOST-PID-START being written, or (old) being replaced, or (gone)
 *                                               being removed, by process PID of HOST that
 *                                               started at START */
#pragma once
#include "checkpoint/manifest.h"

char *ql_checkpoint_path(const char *output_dir, int64_t step); /* caller frees */
typedef enum { QL_TMP_NEW, QL_TMP_OLD, QL_TMP_GONE } ql_tmp_role;
/* A temporary name of this process; caller frees. */
char *ql_checkpoint_tmp_path(const char *output_dir, int64_t step, ql_tmp_role role);

/* "<path>.set-aside-N", the first that is free; caller frees. */
char *ql_checkpoint_aside_path(const char *path);

/* The step of a name of exactly our form, or -1. */
int64_t ql_checkpoint_step_of(const char *name);

/* All entries of that form, newest first, whatever they are. An absent folder has none. */
QL_RESULT ql_checkpoint_list(const char *output_dir, int64_t **steps, size_t *n);
/* Reads the manifest of one that is a folder (no symbolic link) and is really of this step. */
QL_RESULT ql_checkpoint_manifest(const char *output_dir, int64_t step, ql_manifest *out);

/* Removes the oldest of our complete checkpoints before `newest` until `keep` are left, `newest` included, which is
 * known to be good. The one of step `best` (-1: none) stays and counts; with keep 1 both stay. 0 keeps all. What is not a
 * complete checkpoint of ours is neither counted nor touched. */
QL_RESULT ql_checkpoint_prune(const char *output_dir, int64_t newest, int keep, int64_t best);
