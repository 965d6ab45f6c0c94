/* The phases of a training step and how long each takes on its device: marks of time between the work that is queued
 * (ql_mark), read where the host has waited anyway. Profilers see the names. */
#pragma once
#include "kernels/device.h"

/* In their order; evaluation and generation have the first two. What recomputation makes again counts as backward. */
typedef enum { QL_PHASE_FORWARD, QL_PHASE_HEAD, QL_PHASE_BACKWARD, QL_PHASE_EXCHANGE, QL_PHASE_UPDATE, QL_PHASES } ql_phase;
extern const char *const ql_phase_name[QL_PHASES]; /* "forward", ... */

/* A phase ends where the next of the list begins, or at ql_phase_end. */
QL_RESULT ql_phase_begin(ql_device *d, ql_phase p);
QL_RESULT ql_phase_end(ql_device *d, ql_phase p);
/* Adds its last duration to seconds[p]. The host has waited for something that was queued after its end. */
QL_RESULT ql_phase_add(ql_device *d, ql_phase p, double seconds[QL_PHASES]);
