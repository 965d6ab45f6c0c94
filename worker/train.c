#include "worker/train.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/hook.h"
#include "base/log.h"
#include "worker/stop.h"
#include "worker/trainer.h"

/* ---- between the steps ---- */

static ql_err save_now(ql_trainer *t, bool must) {
    char  *path = NULL;
    double start = ql_seconds();
    ql_at("save", t->done.step, t->job);
    ql_err e = ql_save(t->job, &t->done, &t->clock, must, &path);
    if (!ql_bad(e)) ql_note_save(t, path, ql_seconds() - start);
    free(path);
    return e;
}

static bool eval_is_due(const ql_trainer *t) {
    const ql_config *c = &t->job->config;
    if (t->job->eval_rows.rows == 0) return false;
    if (!strcmp(c->eval_strategy, "epoch")) return t->done.step % t->job->steps_per_epoch == 0;
    if (strcmp(c->eval_strategy, "steps")) return false;
    int64_t every = c->eval_steps > 0 ? c->eval_steps : c->logging_steps;
    return t->done.step % every == 0;
}

static ql_err evaluate_now(ql_trainer *t) {
    ql_eval_result r;
    ql_at("evaluation", t->done.step, t->job);
    QL_TRY(ql_evaluate(t->job, NULL, NULL, &r));
    ql_note_eval(t, &r);
    return ql_ok();
}

/* All ranks leave the loop, save or go on together: what one of them wants, all do. */
static ql_err vote(ql_trainer *t, bool *save) {
    int64_t wish[2] = {ql_stop_wish(t->job->world), t->job->place.rank == 0 && ql_save_is_due(t->job, &t->clock, t->done.step)};
    ql_at("vote", t->done.step + 1, wish);
    QL_TRY(ql_max_i64(t->job->world, wish, 2));
    t->stop_signal = (int)wish[0];
    *save = wish[1] != 0;
    return ql_ok();
}

/* Said once: ranks that mostly exchange are slower together than fewer would be. */
static void watch_exchange(ql_trainer *t, const ql_step_result *r) {
    enum { WARM = 3 };
    double seconds = r->phase_seconds[QL_PHASE_EXCHANGE];
    if (t->exchange_is_slow || t->job->place.size == 1 || t->done.step < t->first_step + WARM || seconds < r->seconds / 2) return;
    char bytes[32];
    ql_text_bytes(bytes, (uint64_t)((double)ql_bytes(t->job->adapter.sum) / seconds));
    ql_info("note: the exchange of gradients takes %.0f %% of a step (%s a second); a larger global_batch_size, fewer ranks or a faster "
            "way between them would help",
            100 * seconds / r->seconds, bytes);
    t->exchange_is_slow = true;
}

static ql_err one_step(ql_trainer *t) {
    ql_step_result r;
    ql_at("step", t->done.step + 1, t->job);
    QL_TRY(ql_step(t->job, &t->schedule, t->done.step, &r));
    t->done.step++;
    watch_exchange(t, &r);
    t->done.rows_done += r.rows;
    t->done.tokens_seen += r.tokens;
    t->done.targets_seen += r.targets;
    ql_show_progress(t, &r, t->done.step == t->job->total_steps);
    ql_note_step(t, &r);
    return eval_is_due(t) ? evaluate_now(t) : ql_ok();
}

static ql_err loop(ql_trainer *t) {
    while (t->done.step < t->job->total_steps) {
        bool save;
        QL_TRY(vote(t, &save));
        if (t->stop_signal) return ql_ok();
        if (save) QL_TRY(save_now(t, false));
        QL_TRY(one_step(t));
    }
    return ql_ok();
}

static ql_err stop_on_request(ql_trainer *t) {
    if (t->clock.last_step != t->done.step) QL_TRY(save_now(t, true));
    ql_note_end(t, "stopped");
    return ql_fail(QL_STOPPED, "%s: stopped after step %" PRId64 " of %" PRId64 " with a verified checkpoint in %s; %s",
                   ql_stop_name(t->stop_signal), t->done.step, t->job->total_steps, t->job->config.output_dir,
                   strcmp(t->job->config.resume_from_checkpoint, "false") ? "run the same command to go on"
                                                                          : "to go on, run it without resume_from_checkpoint: false");
}

/* run/DONE says that a run of so many steps came to its end, final evaluation included. */
static char *done_path(const ql_trainer *t) {
    char *name = ql_format("run/DONE-%" PRId64, t->job->total_steps), *path = ql_path_join(t->job->config.output_dir, name);
    free(name);
    return path;
}

static bool is_done(const ql_trainer *t) {
    char *path = done_path(t);
    bool  done = ql_file_exists(path);
    free(path);
    return done;
}

static ql_err mark_done(const ql_trainer *t) {
    char  *path = done_path(t);
    ql_err e = ql_file_replace(path, "", 0);
    free(path);
    return e;
}

/* A run whose metrics are incomplete is not done, however good its adapter is. */
static ql_err finish_notes(ql_trainer *t) {
    QL_TRY(ql_metrics_finish(&t->metrics));
    return mark_done(t);
}

static ql_err finish(ql_trainer *t) {
    if (strcmp(t->job->config.save_strategy, "no") && t->clock.last_step != t->done.step) QL_TRY(save_now(t, true));
    bool again = t->first_step == t->done.step && is_done(t);
    QL_TRY(ql_broadcast(t->job->world, &again, sizeof again, 0)); /* what follows is collective */
    if (t->job->eval_rows.rows > 0 && !eval_is_due(t) && !again) QL_TRY(evaluate_now(t));
    ql_at("end", t->done.step, t->job);
    QL_TRY(ql_export_adapter(t->job));
    if (!again) ql_note_end(t, "done");
    QL_TRY(ql_agree(t->job->world, ql_speaks(t) ? finish_notes(t) : ql_ok(), "writing the last files"));
    char took[32];
    ql_text_duration(took, ql_seconds() - t->started);
    ql_info("done: %" PRId64 " steps, %s; adapter in %s", t->done.step, took, t->job->config.output_dir);
    return ql_ok();
}

/* A run that ended after its last checkpoint, and before it was marked as done, ends once more. */
static ql_err open_metrics(ql_trainer *t) {
    bool ends_anew = t->done.step == t->job->total_steps && !is_done(t);
    return ql_metrics_open(t->job->config.output_dir,
                           &(ql_metrics_past){.step = t->done.step > 0 ? t->done.step : -1,
                                              .ends_anew = ends_anew,
                                              .evals_anew = ends_anew && !eval_is_due(t)},
                           &t->metrics);
}

ql_err ql_train(ql_job *j) {
    ql_trainer t = {.job = j, .metrics = {.fd = -1}};
    QL_TRY(ql_schedule_open(&j->config, j->total_steps, &t.schedule));
    QL_TRY(ql_resume(j, &t.done));
    t.first_step = t.done.step;
    t.clock = (ql_save_clock){ql_seconds(), t.done.step > 0 ? t.done.step : -1, 0};
    t.started = ql_seconds();
    ql_err e = ql_ok();
    if (ql_speaks(&t)) e = ql_note_config(j);
    if (!ql_bad(e) && ql_speaks(&t)) e = open_metrics(&t);
    e = ql_agree(j->world, e, "opening the output");
    if (!ql_bad(e)) ql_note_start(&t);
    if (!ql_bad(e)) e = loop(&t);
    if (!ql_bad(e)) e = t.stop_signal ? stop_on_request(&t) : finish(&t);
    ql_metrics_close(&t.metrics);
    return e;
}
