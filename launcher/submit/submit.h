/* `qlora submit`: the values of a batch script, the script, and how long before its end a job must be told. All local. */
#pragma once
#include "base/mem.h"
#include "launcher/launcher.h"

/* Seconds that the slowest step and the slowest save of earlier starts took, as their metrics.jsonl says. */
typedef struct {
    double step, save;
    bool   known; /* false: nothing is known, and these are guesses */
} ql_slowness;
ql_slowness ql_slowness_of(const char *output_dir);
/* Seconds before the end of a job at which it is asked to save (Slurm may be a minute early), and which mpirun has to give its ranks. */
int64_t ql_lead_time(const ql_slowness *s);
int64_t ql_grace_time(const ql_slowness *s);

typedef struct {
    const ql_arguments *arguments;
    bool                with_mpirun;
    int64_t             lead, grace;
    const char         *folder, *worker, *config, *output_dir; /* folder, worker: whole paths */
    char              **settings; /* KEY=VALUE */
    size_t              n_settings;
} ql_batch;

/* QL_USAGE naming the option whose value could be anything but what it is meant to be. */
QL_RESULT ql_submit_check(const ql_arguments *a);
/* The same for a text that is not an option's value; `what` names it. */
QL_RESULT ql_submit_check_text(const char *what, const char *text);
/* The value of --time in seconds; 0: not given, or no limit. */
int64_t ql_submit_seconds(const ql_arguments *a);
/* The value that counts, given or not; NULL where there is none. */
const char *ql_submit_value(const ql_arguments *a, const char *option);
void        ql_batch_write(const ql_batch *b, ql_str *out);
