/* Learning-rate schedules as transformers computes them (optimization.py): the factor of the
 * base rate for a step is f(steps already done); the first step of a warm-up has rate 0. One
 * row of a table per schedule. */
#pragma once
#include "base/config/config.h"

typedef struct {
    const ql_config *config;
    int64_t          total;  /* optimiser steps of the whole run */
    int64_t          warmup;
} ql_schedule;

/* QL_USAGE for an unknown lr_scheduler_type. */
QL_RESULT ql_schedule_open(const ql_config *c, int64_t total_steps, ql_schedule *out);
/* The learning rate of the step after `done` steps. */
double ql_schedule_rate(const ql_schedule *s, int64_t done);
