/* Checkpoints: one folder each, complete and verified or not there (docs/formats/checkpoint.md).
 *
 *   output_dir/checkpoint-00000120/
 *     state.h5                    adapter, both moments, counters, identity (HDF5, serial)
 *     adapter_model.safetensors   adapter_config.json
 *     MANIFEST.json               name, size and SHA-256 of each file; written last
 *
 * Written as output_dir/.tmp-checkpoint-..., fsynced, renamed, the parent fsynced; only then are
 * older ones pruned. All local: rank 0 writes, every rank reads. */
#pragma once
#include "checkpoint/peft.h"

/* One trained tensor with its moments, host memory, borrowed. */
typedef struct {
    const char *name; /* "model.layers.0.self_attn.q_proj.lora_A" */
    int64_t     rows, cols;
    float      *value, *moment1, *moment2;
} ql_state_tensor;

/* Something that must be the same when training goes on. The difference is named by `key`. */
typedef struct {
    const char *key;   /* "model", "data", "learning_rate", ... */
    const char *value; /* as text                               */
} ql_identity;

typedef struct {
    int64_t          step;          /* optimiser steps done                                   */
    int64_t          rows_done;     /* the global cursor: rows consumed since the start       */
    int64_t          tokens_seen;   /* input tokens since the start                           */
    int64_t          targets_seen;
    bool             has_loss_scale; /* float16 only; then also:                              */
    int64_t          loss_scale_exponent, loss_scale_steps; /* steps since it changed         */
    ql_state_tensor *tensor;
    size_t           n_tensors;
    ql_identity     *identity;
    size_t           n_identity;
} ql_state;

/* Must be the first thing that touches HDF5 in the process (no plug-ins, no exit handler, no
 * locks, no printing). Idempotent. */
QL_RESULT ql_checkpoint_init(void);

/* Writes output_dir/checkpoint-<step> and prunes our own older ones down to `keep` (0: all).
 * QL_IO: nothing of the older ones was touched. `path` (may be NULL) receives the folder, caller frees. */
QL_RESULT ql_checkpoint_save(const char *output_dir, const ql_state *s, const ql_peft_config *peft,
                             const ql_peft_module *modules, size_t n_modules, int keep, char **path);

/* The newest checkpoint of the folder that verifies; each one that does not is reported by
 * ql_warn with the reason. `*path` NULL: there is none at all. QL_DATA: there are, but none is good. */
QL_RESULT ql_checkpoint_newest(const char *output_dir, char **path);
/* Verifies digests of one checkpoint folder. */
QL_RESULT ql_checkpoint_verify(const char *path);
/* Fills the arrays of `s` and its counters, after checking the manifest and the digest of state.h5.
 * Identity must be that in the file (QL_USAGE naming the differing key, both values and the cure);
 * so must names and shapes, and values must be finite (QL_DATA). Whether there is a loss scale, it says. On failure the arrays hold
 * nothing of use. Forks a child to read in. */
QL_RESULT ql_checkpoint_load(const char *path, ql_state *s);
/* Renames every checkpoint of the folder to checkpoint-<step>.set-aside-N, where nothing looks for
 * it: a run that starts anew must not find them later. */
QL_RESULT ql_checkpoint_set_aside(const char *output_dir, size_t *moved);
/* Removes unfinished saves of ours (.tmp-checkpoint-*) left by a dead process, and puts back a
 * checkpoint that one was about to replace. For one rank, before ql_checkpoint_newest. */
void ql_checkpoint_clean(const char *output_dir);
