/* The training loop's own state, and what it writes down. Internal to train.c and notes.c. */
#pragma once
#include "worker/eval.h"
#include "worker/metrics.h"
#include "worker/saver.h"
#include "worker/step.h"

typedef struct {
    ql_job              *job;
    ql_schedule          schedule;
    ql_metrics           metrics;
    ql_progress_counters done;
    ql_saver             saver;
    double               started;
    int64_t              first_step; /* of this process: for the time left */
    int                  stop_signal;
    bool                 exchange_is_slow;
    bool                 save_is_due; /* after the last step */
    bool                 keeps_best; /* the last evaluation is the best so far: its step's checkpoint is due */
    bool                 again;      /* the run had ended before this start */
} ql_trainer;

/* Local. Whether this rank is the one that writes. */
bool ql_speaks(const ql_trainer *t);
/* Local, and nothing on ranks that do not speak: lines of metrics.jsonl (docs/formats/metrics.md). */
void ql_note_start(ql_trainer *t);
void ql_note_step(ql_trainer *t, const ql_step_result *r);
void ql_note_eval(ql_trainer *t, const ql_eval_result *r);
void ql_note_save(ql_trainer *t, const ql_saved *saved);
void ql_note_end(ql_trainer *t, const char *why);
/* Local. config.yaml, which can be run again. */
QL_RESULT ql_note_config(const ql_job *j);
/* Local. The line on the terminal. */
void ql_show_progress(const ql_trainer *t, const ql_step_result *r, bool last);
