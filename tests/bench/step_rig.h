/* A training step on a model of a given shape with random weights, for benchmarks: the arguments that bench_step.c describes, and
 * the job that they ask for. What goes wrong ends the process. */
#pragma once
#include "tests/bench/device_rates.h"
#include "tests/support/random_model.h"
#include "worker/step.h"

enum { STEP_ROWS, STEP_TOKENS, STEP_THREADS, STEP_STEPS, STEP_NUMBERS, STEP_OVERRIDES_MAX = 64 };

typedef struct {
    const random_model *shape;
    int64_t number[STEP_NUMBERS];
    char *override[STEP_OVERRIDES_MAX];
    size_t overrides;
    device_rates rates; /* of a device that is no CPU */
} step_request;

/* Threads that sleep while they wait, as the worker has them (docs/adr/0002). May start the program again. */
void step_start_with_patient_threads(char **argv);
step_request step_read_arguments(int argc, char **argv);
/* Writes a model unless the request names one, and prints what it is and how it is run. */
void step_job_open(ql_job *j, step_request *r);
void step_job_close(ql_job *j, step_request *r);
bool step_is_on_cpu(const ql_job *j);
