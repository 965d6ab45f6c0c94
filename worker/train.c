#include "worker/train.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "worker/eval.h"
#include "worker/metrics.h"
#include "worker/save.h"
#include "worker/step.h"
#include "worker/stop.h"

typedef struct {
    ql_job              *job;
    ql_schedule          schedule;
    ql_metrics           metrics;
    ql_progress_counters done;
    ql_save_clock        clock;
    double               started;
    int64_t              first_step; /* of this process: for the time left */
    int                  stop_signal, passed_on;
    bool                 exchange_is_slow;
} trainer;

/* ---- what is written down ---- */

static bool speaks(const trainer *t) {
    return t->job->place.rank == 0;
}

static ql_err write_line(trainer *t, ql_str *line) {
    return ql_metrics_write(&t->metrics, line);
}

static ql_err write_resolved_config(const ql_job *j) {
    ql_str text = {0};
    ql_config_write(&j->config, &text);
    char  *path = ql_path_join(j->config.output_dir, "config.yaml");
    ql_err e = ql_file_replace(path, text.data, text.size);
    free(path);
    ql_str_free(&text);
    return e;
}

static ql_err note_start(trainer *t) {
    if (!speaks(t)) return ql_ok();
    ql_str line = {0};
    ql_line_begin(&line, "start");
    ql_line_int(&line, "step", t->done.step);
    ql_line_int(&line, "total_steps", t->job->total_steps);
    ql_line_int(&line, "world_size", t->job->place.size);
    ql_line_int(&line, "global_batch_size", t->job->global_batch);
    const ql_memory_plan *plan = &t->job->plan;
    ql_line_int(&line, "planned_memory_bytes", (int64_t)plan->total);
    ql_line_int(&line, "planned_device_bytes", (int64_t)(plan->arena_bytes + t->job->question.needs.workspace));
    ql_line_int(&line, "trainable_parameters", t->job->adapter.shape.trainable);
    ql_line_text(&line, "version", QL_VERSION);
    return write_line(t, &line);
}

static void write_phases(ql_str *line, const ql_step_result *r) {
    for (int p = 0; p < QL_PHASES; p++) {
        char key[32];
        snprintf(key, sizeof key, "%s_seconds", ql_phase_name[p]);
        ql_line_number(line, key, r->phase_seconds[p]);
    }
}

static ql_err note_step(trainer *t, const ql_step_result *r) {
    if (!speaks(t) || t->done.step % t->job->config.logging_steps != 0) return ql_ok();
    ql_str line = {0};
    ql_line_begin(&line, "step");
    ql_line_int(&line, "step", t->done.step);
    ql_line_number(&line, "epoch", r->epoch);
    ql_line_number(&line, "loss", r->loss);
    ql_line_number(&line, "grad_norm", r->grad_norm);
    ql_line_number(&line, "learning_rate", r->rate);
    if (r->loss_scale > 0) ql_line_number(&line, "loss_scale", r->loss_scale);
    ql_line_int(&line, "target_tokens", r->targets);
    ql_line_int(&line, "num_input_tokens_seen", t->done.tokens_seen);
    ql_line_number(&line, "step_seconds", r->seconds);
    write_phases(&line, r);
    ql_line_number(&line, "tokens_per_second", (double)r->tokens / fmax(r->seconds, 1e-9));
    ql_memory_use use = ql_device_memory(t->job->device);
    ql_line_int(&line, "peak_memory_bytes", (int64_t)(use.bytes_peak + use.workspace));
    return write_line(t, &line);
}

static ql_err note_eval(trainer *t, const ql_eval_result *r) {
    ql_info("step %" PRId64 ": eval_loss %.4f, perplexity %.3f, %" PRId64 " target tokens", t->done.step, r->loss,
            r->perplexity, r->targets);
    if (!speaks(t)) return ql_ok();
    ql_str line = {0};
    ql_line_begin(&line, "eval");
    ql_line_int(&line, "step", t->done.step);
    ql_line_number(&line, "eval_loss", r->loss);
    ql_line_number(&line, "perplexity", r->perplexity);
    ql_line_int(&line, "target_tokens", r->targets);
    ql_line_number(&line, "eval_seconds", r->seconds);
    return write_line(t, &line);
}

static ql_err note_save(trainer *t, const char *path, double seconds) {
    if (!speaks(t) || !path) return ql_ok();
    ql_str line = {0};
    ql_line_begin(&line, "save");
    ql_line_int(&line, "step", t->done.step);
    ql_line_text(&line, "path", path);
    ql_line_number(&line, "save_seconds", seconds);
    return write_line(t, &line);
}

static ql_err note_end(trainer *t, const char *why) {
    if (!speaks(t)) return ql_ok();
    ql_str line = {0};
    ql_line_begin(&line, "end");
    ql_line_int(&line, "step", t->done.step);
    ql_line_text(&line, "reason", why);
    ql_line_number(&line, "train_seconds", ql_seconds() - t->started);
    return write_line(t, &line);
}

static void show_progress(const trainer *t, const ql_step_result *r, bool last) {
    double per_step = (ql_seconds() - t->started) / (double)(t->done.step - t->first_step);
    char   left[32];
    ql_text_duration(left, per_step * (double)(t->job->total_steps - t->done.step));
    int64_t total = t->job->total_steps;
    if (!ql_progress_is_bar()) {
        ql_progress(last, "step %" PRId64 " of %" PRId64 ", loss %.4f, %.0f tokens/s, %s left", t->done.step, total, r->loss,
                    (double)r->tokens / r->seconds, left);
        return;
    }
    enum { WIDTH = 30 };
    char bar[WIDTH + 1];
    int  full = (int)(t->done.step * WIDTH / total);
    for (int i = 0; i < WIDTH; i++) bar[i] = i < full ? '=' : i == full ? '>' : ' ';
    bar[WIDTH] = 0;
    ql_progress(last, "[%s] %" PRId64 "/%" PRId64 "  loss %.4f  %.0f tokens/s  %s left", bar, t->done.step, total, r->loss,
                (double)r->tokens / r->seconds, left);
}

/* ---- between the steps ---- */

static ql_err save_now(trainer *t, bool must) {
    char  *path = NULL;
    double start = ql_seconds();
    ql_err e = ql_save(t->job, &t->done, &t->clock, must, &path);
    if (!ql_bad(e)) e = note_save(t, path, ql_seconds() - start);
    free(path);
    return e;
}

static bool eval_is_due(const trainer *t) {
    const ql_config *c = &t->job->config;
    if (t->job->eval_rows.rows == 0) return false;
    if (!strcmp(c->eval_strategy, "epoch")) return t->done.step % t->job->steps_per_epoch == 0;
    if (strcmp(c->eval_strategy, "steps")) return false;
    int64_t every = c->eval_steps > 0 ? c->eval_steps : c->logging_steps;
    return t->done.step % every == 0;
}

static ql_err evaluate_now(trainer *t) {
    ql_eval_result r;
    QL_TRY(ql_evaluate(t->job, NULL, NULL, &r));
    return note_eval(t, &r);
}

/* A rank that stands by may be the one that was asked. */
static int stop_requested(trainer *t) {
    if (!t->passed_on) t->passed_on = ql_world_request(t->job->world);
    return ql_stop_requested() ? ql_stop_requested() : t->passed_on;
}

/* All ranks leave the loop, save or go on together: what one of them wants, all do. */
static ql_err vote(trainer *t, bool *save) {
    int64_t wish[2] = {stop_requested(t), t->job->place.rank == 0 && ql_save_is_due(t->job, &t->clock, t->done.step)};
    QL_TRY(ql_max_i64(t->job->world, wish, 2));
    t->stop_signal = (int)wish[0];
    *save = wish[1] != 0;
    return ql_ok();
}

/* Said once: ranks that mostly exchange are slower together than fewer would be. */
static void watch_exchange(trainer *t, const ql_step_result *r) {
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

static ql_err one_step(trainer *t) {
    ql_step_result r;
    QL_TRY(ql_step(t->job, &t->schedule, t->done.step, &r));
    t->done.step++;
    watch_exchange(t, &r);
    t->done.rows_done += r.rows;
    t->done.tokens_seen += r.tokens;
    t->done.targets_seen += r.targets;
    show_progress(t, &r, t->done.step == t->job->total_steps);
    QL_TRY(note_step(t, &r));
    return eval_is_due(t) ? evaluate_now(t) : ql_ok();
}

static ql_err loop(trainer *t) {
    while (t->done.step < t->job->total_steps) {
        bool save;
        QL_TRY(vote(t, &save));
        if (t->stop_signal) return ql_ok();
        if (save) QL_TRY(save_now(t, false));
        QL_TRY(one_step(t));
    }
    return ql_ok();
}

static ql_err stop_on_request(trainer *t) {
    if (t->clock.last_step != t->done.step) QL_TRY(save_now(t, true));
    QL_TRY(note_end(t, "stopped"));
    return ql_fail(QL_STOPPED, "%s: stopped after step %" PRId64 " of %" PRId64 " with a verified checkpoint in %s; %s",
                   ql_stop_name(t->stop_signal), t->done.step, t->job->total_steps, t->job->config.output_dir,
                   strcmp(t->job->config.resume_from_checkpoint, "false") ? "run the same command to go on"
                                                                          : "to go on, run it without resume_from_checkpoint: false");
}

/* run/DONE says that a run of so many steps came to its end, final evaluation included. */
static char *done_path(const trainer *t) {
    char *name = ql_format("run/DONE-%" PRId64, t->job->total_steps), *path = ql_path_join(t->job->config.output_dir, name);
    free(name);
    return path;
}

static bool is_done(const trainer *t) {
    char *path = done_path(t);
    bool  done = ql_file_exists(path);
    free(path);
    return done;
}

static ql_err mark_done(const trainer *t) {
    if (!speaks(t)) return ql_ok();
    char  *path = done_path(t);
    ql_err e = ql_file_replace(path, "", 0);
    free(path);
    return e;
}

static ql_err finish(trainer *t) {
    if (strcmp(t->job->config.save_strategy, "no") && t->clock.last_step != t->done.step) QL_TRY(save_now(t, true));
    bool again = t->first_step == t->done.step && is_done(t);
    QL_TRY(ql_broadcast(t->job->world, &again, sizeof again, 0)); /* what follows is collective */
    if (t->job->eval_rows.rows > 0 && !eval_is_due(t) && !again) QL_TRY(evaluate_now(t));
    QL_TRY(ql_export_adapter(t->job));
    if (!again) QL_TRY(note_end(t, "done"));
    QL_TRY(mark_done(t));
    char took[32];
    ql_text_duration(took, ql_seconds() - t->started);
    ql_info("done: %" PRId64 " steps, %s; adapter in %s", t->done.step, took, t->job->config.output_dir);
    return ql_ok();
}

ql_err ql_train(ql_job *j) {
    trainer t = {.job = j, .metrics = {-1, NULL}};
    QL_TRY(ql_schedule_open(&j->config, j->total_steps, &t.schedule));
    QL_TRY(ql_resume(j, &t.done));
    t.first_step = t.done.step;
    t.clock = (ql_save_clock){ql_seconds(), t.done.step > 0 ? t.done.step : -1, 0};
    t.started = ql_seconds();
    ql_err e = ql_ok();
    if (speaks(&t)) e = write_resolved_config(j);
    if (!ql_bad(e) && speaks(&t)) e = ql_metrics_open(j->config.output_dir, t.done.step > 0 ? t.done.step : -1, &t.metrics);
    e = ql_agree(j->world, e, "opening the output");
    if (!ql_bad(e)) e = note_start(&t);
    if (!ql_bad(e)) e = loop(&t);
    if (!ql_bad(e)) e = t.stop_signal ? stop_on_request(&t) : finish(&t);
    ql_metrics_close(&t.metrics);
    return e;
}
