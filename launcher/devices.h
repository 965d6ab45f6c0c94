/* The devices of this machine that pass a self test (worker/trial.h). */
#pragma once
#include "base/err.h"

enum { QL_DEVICES = 64 };

typedef struct {
    int64_t usable;            /* accelerators that can be used                            */
    int64_t unusable;          /* that cannot                                              */
    int64_t index[QL_DEVICES]; /* of the usable ones, among those that we see              */
    char   *problems;          /* "cuda 3: why; cuda 5: why"; NULL: none; the caller frees */
} ql_devices;

/* Asks `worker` (qlora-worker --probe --json). QL_TEMP: it does not answer. */
QL_RESULT ql_devices_look(const char *worker, ql_devices *out);
/* The same, for what we are about to start: says what is wrong with those that cannot be used, and hides them. */
QL_RESULT ql_devices_take(const char *worker, int64_t *usable);
/* CUDA_VISIBLE_DEVICES for a process that is to see usable ones [first, first + n) only; `visible`: its value for us, or NULL. The caller
 * frees it. */
char *ql_devices_visible(const ql_devices *d, int64_t first, int64_t n, const char *visible);
/* From here on, we and what we start see the usable ones only, if there are others. */
void ql_devices_hide_unusable(const ql_devices *d);
