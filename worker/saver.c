#include "worker/saver.h"

#include <inttypes.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/hook.h"
#include "base/log.h"
#include "base/pulse.h"
#include "worker/replicas.h"

/* A path may lead to another folder; then nothing is in ours yet. */
static bool resumed_here(const ql_job *j, int64_t step) {
    const char *how = j->config.resume_from_checkpoint;
    return step > 0 && (!strcmp(how, "auto") || !strcmp(how, "true"));
}

void ql_saver_open(ql_job *j, int64_t step, ql_saver *out) {
    *out = (ql_saver){.job = j, .training = pthread_self(), .last_begin = ql_seconds(), .last_begun = -1, .last_done = -1};
    if (resumed_here(j, step)) out->last_begun = out->last_done = step;
}

/* ---- writing, on its own thread ---- */

static ql_err still_ours(void *claim) {
    return ql_claim_check(claim);
}

static ql_err write_checkpoint(void *saver) {
    ql_saver *s = saver;
    if (!pthread_equal(pthread_self(), s->training)) ql_pulse_thread_is(QL_PULSE_WRITER);
    ql_pulse_state before = ql_pulse_begin(QL_PULSE_SAVE, "a checkpoint");
    ql_err         e = ql_checkpoint_save(&s->order, &s->path);
    s->total = ql_seconds() - s->last_begin;
    ql_pulse_end(&before);
    return e;
}

static void start_writing(ql_saver *s, const ql_progress_counters *c) {
    ql_job *j = s->job;
    ql_job_state_open(j, c, &s->state);
    s->order = (ql_save_order){.output_dir = j->config.output_dir,
                               .state = &s->state.state,
                               .peft = &s->state.card,
                               .modules = j->copy.module,
                               .n_modules = j->adapter.shape.modules,
                               .keep = (int)j->config.save_total_limit,
                               .best = ql_best_kept_step(&j->best),
                               .may_publish = still_ours,
                               .self = &j->claim};
    ql_background_start(&s->writing, write_checkpoint, s);
}

/* ---- what has come of it ---- */

static const char waiting[] = "waiting for a checkpoint"; /* whose writer has a pulse of its own */

static ql_err judge(ql_saver *s, ql_err e, bool must) {
    enum { TOO_MANY = 3 };
    if (!ql_bad(e)) {
        s->failures = 0;
        return e;
    }
    /* Only the operating system may think better of it. */
    if (must || e.code != QL_IO || ++s->failures >= TOO_MANY) return e;
    ql_warn("%s; training goes on, the next checkpoint is tried at the next occasion", ql_err_text());
    return ql_ok();
}

static ql_err take(ql_saver *s, bool must, ql_saved *saved) {
    int64_t        step = s->state.state.counter[QL_COUNT_STEP];
    ql_pulse_state before = ql_pulse_begin(QL_PULSE_IDLE, waiting);
    ql_err         e = ql_background_take(&s->writing);
    ql_pulse_end(&before);
    ql_job_state_close(&s->state);
    if (!ql_bad(e)) {
        *saved = (ql_saved){.path = s->path, .step = step, .stall = s->stall, .total = s->total};
        s->last_done = step;
    }
    s->path = NULL;
    return judge(s, e, must);
}

ql_err ql_saver_wait(ql_saver *s, bool must, ql_saved *saved) {
    *saved = (ql_saved){0};
    return ql_background_pending(&s->writing) ? take(s, must, saved) : ql_ok();
}

void ql_saver_close(ql_saver *s) {
    ql_saved saved;
    ql_err   ignored = ql_saver_wait(s, true, &saved);
    (void)ignored;
    free(saved.path);
}

/* ---- when ---- */

static bool is_due_at(const ql_job *j, int64_t step) {
    const ql_config *c = &j->config;
    if (!strcmp(c->save_strategy, "epoch")) return step % j->steps_per_epoch == 0;
    return !strcmp(c->save_strategy, "steps") && c->save_steps > 0 && step % c->save_steps == 0;
}

static bool is_due_by_clock(const ql_saver *s) {
    const ql_config *c = &s->job->config;
    return strcmp(c->save_strategy, "no") && c->save_minutes > 0 && ql_seconds() - s->last_begin >= 60 * c->save_minutes;
}

/* A step that somebody named is saved as that step, even if training has to wait for the disk a little; once for each save,
 * so that a disk that stands still does not hold up every step. */
static bool ends_in_time(ql_saver *s) {
    const char    *told = getenv("QLORA_SAVE_PATIENCE");
    double         patience = told ? atof(told) : 5; /* seconds */
    ql_pulse_state before = ql_pulse_begin(QL_PULSE_IDLE, waiting);
    for (double start = ql_seconds(); !ql_background_ended(&s->writing) && !s->overdue && ql_seconds() - start < patience;)
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    ql_pulse_end(&before);
    return ql_background_ended(&s->writing);
}

static void put_off(ql_saver *s, int64_t step) {
    if (!s->overdue)
        ql_info("note: the checkpoint of step %" PRId64 " is still being written: that of step %" PRId64 " is made as soon as it is done, at a later step",
                s->last_begun, step);
    s->overdue = true;
}

/* A run that was replaced ends soon, and not only when it has something to publish. What cannot be read now says nothing. */
static ql_err look_at_claim(ql_saver *s) {
    enum { EVERY = 1 }; /* second */
    if (ql_seconds() - s->last_look < EVERY) return ql_ok();
    s->last_look = ql_seconds();
    ql_err e = ql_claim_check(&s->job->claim);
    return e.code == QL_TEMP ? e : ql_ok();
}

ql_err ql_saver_attend(ql_saver *s, int64_t step, ql_saved *saved, bool *wanted) {
    *saved = (ql_saved){0};
    *wanted = false;
    if (s->job->place.rank != 0) return ql_ok();
    QL_TRY(look_at_claim(s));
    bool is_new = step > 0 && step != s->last_begun, now = is_new && is_due_at(s->job, step);
    if (ql_background_pending(&s->writing)) {
        double start = ql_seconds();
        if (ql_background_ended(&s->writing) || (now && ends_in_time(s))) QL_TRY(take(s, false, saved));
        else if (now) put_off(s, step);
        s->waited += ql_seconds() - start;
    }
    *wanted = is_new && !ql_background_pending(&s->writing) && (now || s->overdue || is_due_by_clock(s));
    return ql_ok();
}

void ql_saver_outdate(ql_saver *s) {
    s->last_done = -1;
}

ql_err ql_saver_lacks(ql_saver *s, int64_t step, bool *lacks) {
    *lacks = step != s->last_done;
    return ql_broadcast(s->job->world, lacks, sizeof *lacks, 0);
}

/* ---- the part that training waits for ---- */

static ql_err copy_and_compare(ql_saver *s, int64_t step) {
    ql_job  *j = s->job;
    uint64_t digest = 0;
    ql_at("save", step, j);
    ql_err e = ql_adapter_snapshot(&j->adapter, &j->copy, j->place.rank == 0, omp_get_max_threads(), &digest);
    QL_TRY(ql_agree(j->world, e, "copying the state"));
    return ql_replicas_compare(j->world, digest, step);
}

ql_err ql_saver_begin(ql_saver *s, const ql_progress_counters *c) {
    s->last_begin = ql_seconds();
    s->last_begun = c->step;
    s->overdue = false;
    ql_pulse_state before = ql_pulse_begin(QL_PULSE_SAVE, "copying the state");
    QL_TRY(copy_and_compare(s, c->step));
    ql_pulse_end(&before);
    s->stall = s->waited + ql_seconds() - s->last_begin;
    s->waited = 0;
    s->stalled += s->stall;
    if (s->job->place.rank == 0) start_writing(s, c);
    return ql_ok();
}
