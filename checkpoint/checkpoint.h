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

/* The numbers of a state, none of them negative. Those from QL_COUNT_LOSS_SCALE on are there where the run needs
 * them, else QL_NO_COUNT; which belong together is the worker's knowledge. */
typedef enum {
    QL_COUNT_STEP,      /* optimiser steps done                             */
    QL_COUNT_ROWS,      /* the global cursor: rows consumed since the start */
    QL_COUNT_TOKENS,    /* input tokens since the start                     */
    QL_COUNT_TARGETS,   /* target tokens since the start                    */
    QL_COUNT_LOSS_SCALE,       /* float16: the exponent                                                       */
    QL_COUNT_LOSS_SCALE_STEPS, /* since it changed                                                            */
    QL_COUNT_EVALUATED,        /* 1: the evaluation that is due after this step has been made                 */
    QL_COUNT_BEST_STEP,        /* of the best evaluation                                                      */
    QL_COUNT_BEST_LOSS,        /* its mean loss, in 2^-32                                                     */
    QL_COUNT_PATIENCE,         /* evaluations since then that were not better by early_stopping_threshold     */
    QL_COUNT_SKIPPED,          /* steps in a row whose update was left out (on_nonfinite: skip)               */
    QL_COUNT_SKIPPED_IN_ALL,   /* since the start: steps less these are updates                               */
    QL_COUNT_SPIKE_STEPS,      /* losses that the spike guard has seen                                        */
    QL_COUNT_SPIKE_MEAN,       /* their moving mean, in 2^-32                                                 */
    QL_COUNT_SPIKE_VARIANCE,   /* and variance, in 2^-32                                                      */
    QL_COUNTERS
} ql_counter;
enum { QL_COUNTERS_ALWAYS = QL_COUNT_LOSS_SCALE, QL_NO_COUNT = -1, QL_DEVICE_TEXT = 256 };

typedef struct {
    int64_t          counter[QL_COUNTERS];
    char             computed_on[QL_DEVICE_TEXT]; /* for people; "": unknown. Bits are the same on the same device */
    ql_state_tensor *tensor;
    size_t           n_tensors;
    ql_identity     *identity;
    size_t           n_identity;
} ql_state;

/* Must be the first thing that touches HDF5 in the process (no plug-ins, no exit handler, no
 * locks, no printing). Idempotent. */
QL_RESULT ql_checkpoint_init(void);

/* What a save writes, where, and by which rules. All borrowed, and nobody changes it meanwhile. */
typedef struct {
    const char           *output_dir; /* must be there */
    const ql_state       *state;
    const ql_peft_config *peft;
    const ql_peft_module *modules;
    size_t                n_modules;
    int                   keep; /* of our own checkpoints, this one and the best included; 0: all    */
    int64_t               best; /* the step of one that stays; -1: none                              */
    ql_err (*may_publish)(void *self); /* asked first, and last before the rename; a bad verdict is the save's. May be NULL */
    void                 *self;
} ql_save_order;

/* Writes output_dir/checkpoint-<step>, reads it back as on resume, and prunes our own older ones. Any thread, one at a
 * time. QL_IO: the system refused. QL_DATA: a value is not finite. In every bad case nothing is published and nothing
 * of the older ones was touched. `path` (may be NULL) receives the folder, caller frees. */
QL_RESULT ql_checkpoint_save(const ql_save_order *order, char **path);

/* The newest checkpoint of the folder that verifies; each one that does not is reported by
 * ql_warn with the reason. `*path` NULL: there is none at all. QL_DATA: there are, but none is good;
 * QL_DENIED: and one of them has a link, or a name, that leads elsewhere. */
QL_RESULT ql_checkpoint_newest(const char *output_dir, char **path);
/* Verifies digests of one checkpoint folder. */
QL_RESULT ql_checkpoint_verify(const char *path);
/* Fills the arrays of `s` and its counters, after checking the manifest and the digest of state.h5.
 * Identity must be that in the file (QL_USAGE naming the differing key, both values and the cure);
 * so must names and shapes, and values must be finite (QL_DATA). Which of the counters are there, and on which device it was computed, it
 * says. On failure the arrays hold nothing of use. Forks a child to read in. */
QL_RESULT ql_checkpoint_load(const char *path, ql_state *s);
/* Renames every checkpoint of the folder to checkpoint-<step>.set-aside-N, where nothing looks for
 * it: a run that starts anew must not find them later. */
QL_RESULT ql_checkpoint_set_aside(const char *output_dir, size_t *moved);
/* Removes unfinished saves of ours (.tmp-checkpoint-*) left by a dead process, and puts back a
 * checkpoint that one was about to replace. For one rank, before ql_checkpoint_newest. */
void ql_checkpoint_clean(const char *output_dir);
