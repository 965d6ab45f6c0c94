/* Where a test can step in. A program that ships defines no hook, and then a place costs one comparison; a
 * program of the tests is linked with one (tests/faults/hook.c), which injects faults there. */
#pragma once
#include "base/ql.h"

/* `place`: "init", "step", "exchange", "save", ... (tests/faults/README.md lists them); `step` is the optimiser step that is being
 * computed, from 1, or 0 before the first; between two steps the last one. `what` is the thing that may be spoilt there, usually
 * the job; may be NULL. */
extern void ql_hook(const char *place, int64_t step, void *what) __attribute__((weak));

static inline void ql_at(const char *place, int64_t step, void *what) {
    if (ql_hook) ql_hook(place, step, what);
}
