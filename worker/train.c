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
#include "base/pulse.h"
#include "worker/stop.h"
#include "worker/trainer.h"
#include "worker/watchdog.h"

/* ---- between the steps ---- */

static void note_saved(ql_trainer *t, ql_saved *saved) {
    ql_note_save(t, saved);
    free(saved->path);
}

/* On rank 0: what has come of the save under way, and whether one is due after this step. */
static ql_err attend_to_saves(ql_trainer *t, int64_t step, bool *wanted) {
    ql_saved saved;
    ql_err   e = ql_saver_attend(&t->saver, step, &saved, wanted);
    note_saved(t, &saved);
    return e;
}

static ql_err wait_for_save(ql_trainer *t, bool must) {
    ql_saved saved;
    ql_err   e = ql_saver_wait(&t->saver, must, &saved);
    note_saved(t, &saved);
    return ql_agree(t->job->world, e, "saving a checkpoint");
}

/* Afterwards this step is in a checkpoint. */
static ql_err save_last(ql_trainer *t) {
    bool lacks;
    QL_TRY(wait_for_save(t, false));
    QL_TRY(ql_saver_lacks(&t->saver, t->done.step, &lacks));
    if (!lacks) return ql_ok();
    QL_TRY(ql_saver_begin(&t->saver, &t->done));
    return wait_for_save(t, true);
}

static int requested_in_evaluation(void *trainer) {
    const ql_trainer *t = trainer;
    return ql_stop_wish(t->job->world);
}

/* The evaluation that is due after the last step, unless it has been made. Broken off on request, it is made by the next
 * start, from the checkpoint of the stop. */
static ql_err evaluate_if_due(ql_trainer *t) {
    ql_job        *j = t->job;
    ql_eval_result r;
    if (!ql_evaluation_is_due(j, t->done.step) || j->evaluated == t->done.step) return ql_ok();
    ql_pulse_what("evaluation");
    ql_at("evaluation", t->done.step, j);
    QL_TRY(ql_evaluate(j, NULL, NULL, &(ql_eval_stop){requested_in_evaluation, t}, &r));
    t->stop_signal = r.stop_signal;
    if (r.stop_signal) return ql_ok();
    j->evaluated = t->done.step;
    ql_saver_outdate(&t->saver);
    t->keeps_best = ql_best_take(&j->best, t->done.step, r.loss_fixed) && j->best.keeps;
    ql_note_eval(t, &r);
    return ql_ok();
}

/* All ranks leave the loop, save or go on together: what one of them wants, all do. They hear of it in the vote of each step
 * (ballot.h), and of a request to stop before the first. */
static ql_err ask(void *trainer, ql_wishes *out) {
    ql_trainer *t = trainer;
    out->stop_signal = ql_stop_wish(t->job->world);
    return attend_to_saves(t, t->done.step + 1, &out->save);
}

static ql_err hear_requests(ql_trainer *t) {
    int64_t signal = ql_stop_wish(t->job->world);
    QL_TRY(ql_max_i64(t->job->world, &signal, 1));
    t->stop_signal = (int)signal;
    return ql_ok();
}

/* By the clock or the step, as all have heard in the last vote; or for the sake of an evaluation that was the best, as all know:
 * that one waits for a save under way. */
static ql_err save_if_due(ql_trainer *t) {
    bool due = t->save_is_due, best = t->keeps_best && t->saver.last_begun != t->done.step;
    t->save_is_due = t->keeps_best = false;
    if (best && !due) QL_TRY(wait_for_save(t, false));
    return due || best ? ql_saver_begin(&t->saver, &t->done) : ql_ok();
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

static bool is_over(const ql_trainer *t) {
    return t->done.step >= t->job->total_steps || ql_best_ends_run(&t->job->best);
}

static ql_err one_step(ql_trainer *t) {
    ql_step_result r;
    ql_pulse_step(t->done.step + 1);
    ql_at("step", t->done.step + 1, t->job);
    QL_TRY(ql_step(t->job, &t->schedule, t->done.step, &r));
    ql_watchdog_measured(r.seconds);
    t->done.step++;
    watch_exchange(t, &r);
    t->done.rows_done += r.rows;
    t->done.tokens_seen += r.tokens;
    t->done.targets_seen += r.targets;
    t->stop_signal = is_over(t) ? 0 : r.wishes.stop_signal;
    t->save_is_due = r.wishes.save;
    ql_show_progress(t, &r, t->done.step == t->job->total_steps);
    ql_note_step(t, &r);
    return ql_ok();
}

static ql_err loop(ql_trainer *t) {
    bool asks = true;
    for (;;) {
        int64_t evaluated = t->job->evaluated;
        if (!t->stop_signal) QL_TRY(evaluate_if_due(t));
        if (t->stop_signal || is_over(t)) return ql_ok();
        if (asks || evaluated != t->job->evaluated) QL_TRY(hear_requests(t)); /* an evaluation may have been long */
        if (t->stop_signal) return ql_ok();
        QL_TRY(save_if_due(t));
        QL_TRY(one_step(t));
        asks = t->job->place.size == 1; /* nobody else has to be asked */
    }
}

/* The checkpoint is what counts. */
static void say_stopped(const ql_trainer *t) {
    if (ql_speaks(t) && ql_bad(ql_claim_note_end(&t->job->claim, "stopped", t->done.step))) ql_warn("%s", ql_err_text());
}

static ql_err stop_on_request(ql_trainer *t) {
    QL_TRY(save_last(t));
    say_stopped(t);
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

/* The run came to its end already, and this start finds nothing to do. */
static ql_err find_done(ql_trainer *t) {
    t->again = is_over(t) && is_done(t);
    QL_TRY(ql_broadcast(t->job->world, &t->again, sizeof t->again, 0)); /* what depends on it is collective */
    if (t->again) t->job->evaluated = t->done.step;
    return ql_ok();
}

/* A run whose metrics are incomplete is not done, however good its adapter is. */
static ql_err finish_notes(ql_trainer *t) {
    QL_TRY(ql_metrics_finish(&t->metrics));
    ql_at("done", t->done.step, t->job);
    QL_TRY(mark_done(t));
    return ql_claim_note_end(&t->job->claim, "done", t->done.step);
}

/* With load_best_model_at_end the adapter of the best evaluation, else, or if that cannot be had, the last one. */
static ql_err hand_out(ql_trainer *t) {
    ql_job *j = t->job;
    int64_t best = j->config.load_best_model_at_end ? ql_best_kept_step(&j->best) : -1;
    if (best < 0 || best == t->done.step) return ql_export_adapter(j);
    return ql_export_checkpoint(j, best);
}

/* Copying takes milliseconds; what is more comes from a disk that is slower than the checkpoints that are asked for. */
static void say_stalls(const ql_trainer *t) {
    double stalled = t->saver.stalled, share = stalled / (ql_seconds() - t->started);
    if (stalled > 1 && share > 0.02)
        ql_info("note: training waited for checkpoints for %.0f %% of its time; fewer of them (save_steps, save_minutes) or a faster disk would help",
                100 * share);
}

static void say_end(const ql_trainer *t) {
    const ql_best *b = &t->job->best;
    char           took[32], best[64] = "";
    ql_text_duration(took, ql_seconds() - t->started);
    if (ql_best_ends_run(b)) ql_info("early stopping: %" PRId64 " evaluations without gain, the best was at step %" PRId64, b->without, b->step);
    say_stalls(t);
    if (t->job->config.load_best_model_at_end) snprintf(best, sizeof best, " of step %" PRId64, b->step);
    ql_info("done: %" PRId64 " steps, %s; adapter%s in %s", t->done.step, took, best, t->job->config.output_dir);
}

static ql_err finish(ql_trainer *t) {
    QL_TRY(strcmp(t->job->config.save_strategy, "no") ? save_last(t) : wait_for_save(t, false));
    ql_pulse_state before = ql_pulse_begin(QL_PULSE_SAVE, "the adapter");
    ql_at("end", t->done.step, t->job);
    QL_TRY(hand_out(t));
    ql_pulse_end(&before);
    if (!t->again) ql_note_end(t, t->done.step < t->job->total_steps ? "early_stopping" : "done");
    QL_TRY(ql_agree(t->job->world, ql_speaks(t) ? finish_notes(t) : ql_ok(), "writing the last files"));
    say_end(t);
    return ql_ok();
}

static ql_err open_notes(ql_trainer *t) {
    ql_job         *j = t->job;
    ql_metrics_past past = {.step = t->done.step > 0 ? t->done.step : -1, .evaluated = j->evaluated == t->done.step, .ended = t->again};
    QL_TRY(ql_note_config(j));
    return ql_metrics_open(j->config.output_dir, &past, &t->metrics);
}

ql_err ql_train(ql_job *j) {
    ql_trainer t = {.job = j, .metrics = {.fd = -1}};
    ql_wisher  wisher = {ask, &t};
    QL_TRY(ql_schedule_open(&j->config, j->total_steps, &t.schedule));
    (void)ql_pulse_begin(QL_PULSE_LOAD, "the checkpoint to resume from");
    QL_TRY(ql_resume(j, &t.done));
    t.first_step = t.done.step;
    ql_saver_open(j, t.done.step, &t.saver);
    t.started = ql_seconds();
    ql_err e = ql_ok();
    QL_TRY(find_done(&t));
    if (ql_speaks(&t)) e = open_notes(&t);
    e = ql_agree(j->world, e, "opening the output");
    if (!ql_bad(e)) ql_note_start(&t);
    (void)ql_pulse_begin(QL_PULSE_STEP, "");
    j->wisher = &wisher;
    if (!ql_bad(e)) e = loop(&t);
    j->wisher = NULL;
    if (!ql_bad(e)) e = t.stop_signal ? stop_on_request(&t) : finish(&t);
    char *sentence = ql_strdup(ql_err_text()); /* of the verdict; a save may end badly beside it */
    ql_saver_close(&t.saver);
    if (ql_bad(e)) e = ql_fail(e.code, "%s", sentence);
    free(sentence);
    ql_metrics_close(&t.metrics);
    return e;
}
