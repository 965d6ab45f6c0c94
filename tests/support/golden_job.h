/* A job on one of the tiny golden models (tests/golden/README.md), without a tokenizer: its
 * documents and rows come from expected.json. */
#pragma once
#include "base/json.h"
#include "checkpoint/safetensors.h"
#include "worker/job.h"

typedef struct {
    char          *folder;
    ql_json       *expected;
    const ql_json *base; /* expected.bases.BASE */
    ql_tensor_set *tensors;
    ql_job         job;
} golden;

typedef struct {
    const char *model, *base;  /* "qwen3", "nf4" */
    double      epsilon;
    int64_t     micro_rows;    /* 0: choose */
    bool        recompute, training, adapter;
    int         threads;
    const char *targets;       /* target_modules; NULL: all-linear */
    double      dropout;
    int64_t     max_memory;    /* not 0: recomputation is the plan's to choose */
    const ql_memory_choice *choice; /* not NULL: the plan is of this one, whatever it costs */
} golden_request;

/* The kind of device that jobs run on; at first "cpu". */
extern const char *golden_device;
/* tests/golden/data, or what the environment's QL_TEST_DATA says. */
const char *golden_data(void);

/* Fails the running test when something does not work. */
void golden_open(const golden_request *r, golden *out);
void golden_close(golden *g);
/* A tensor of expected.safetensors, as f32; borrowed, maybe unaligned. */
const ql_stored *golden_tensor(const golden *g, const char *fmt, ...) QL_PRINTF(2, 3);
float            golden_value(const ql_stored *t, int64_t i);
