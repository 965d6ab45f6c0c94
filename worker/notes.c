#include "worker/trainer.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"

bool ql_speaks(const ql_trainer *t) {
    return t->job->place.rank == 0;
}

ql_err ql_note_config(const ql_job *j) {
    ql_str text = {0};
    ql_config_write(&j->config, &text);
    char  *path = ql_path_join(j->config.output_dir, "config.yaml");
    ql_err e = ql_file_replace(path, text.data, text.size);
    free(path);
    ql_str_free(&text);
    return e;
}

void ql_note_start(ql_trainer *t) {
    if (!ql_speaks(t)) return;
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
    ql_metrics_write(&t->metrics, &line);
}

static void write_phases(ql_str *line, const ql_step_result *r) {
    for (int p = 0; p < QL_PHASES; p++) {
        char key[32];
        snprintf(key, sizeof key, "%s_seconds", ql_phase_name[p]);
        ql_line_number(line, key, r->phase_seconds[p]);
    }
}

void ql_note_step(ql_trainer *t, const ql_step_result *r) {
    if (!ql_speaks(t) || t->done.step % t->job->config.logging_steps != 0) return;
    ql_str line = {0};
    ql_line_begin(&line, "step");
    ql_line_int(&line, "step", t->done.step);
    ql_line_number(&line, "epoch", r->epoch);
    ql_line_number(&line, "loss", r->loss);
    if (r->skipped) ql_line_flag(&line, "skipped");
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
    ql_metrics_write(&t->metrics, &line);
}

void ql_note_eval(ql_trainer *t, const ql_eval_result *r) {
    ql_info("step %" PRId64 ": eval_loss %.4f, perplexity %.3f, %" PRId64 " target tokens", t->done.step, r->loss,
            r->perplexity, r->targets);
    if (!ql_speaks(t)) return;
    ql_str line = {0};
    ql_line_begin(&line, "eval");
    ql_line_int(&line, "step", t->done.step);
    ql_line_number(&line, "eval_loss", r->loss);
    ql_line_number(&line, "perplexity", r->perplexity);
    ql_line_int(&line, "target_tokens", r->targets);
    ql_line_number(&line, "eval_seconds", r->seconds);
    ql_metrics_write(&t->metrics, &line);
}

void ql_note_save(ql_trainer *t, const ql_saved *saved) {
    if (!ql_speaks(t) || !saved->path) return;
    ql_str line = {0};
    ql_line_begin(&line, "save");
    ql_line_int(&line, "step", saved->step);
    ql_line_text(&line, "path", saved->path);
    ql_line_number(&line, "save_seconds", saved->total);
    ql_line_number(&line, "stall_seconds", saved->stall);
    ql_metrics_write(&t->metrics, &line);
}

void ql_note_end(ql_trainer *t, const char *why) {
    if (!ql_speaks(t)) return;
    ql_str line = {0};
    ql_line_begin(&line, "end");
    ql_line_int(&line, "step", t->done.step);
    ql_line_text(&line, "reason", why);
    if (t->job->best.step > 0) ql_line_int(&line, "best_step", t->job->best.step);
    if (t->job->guard.skipped_in_all > 0) ql_line_int(&line, "skipped_steps", t->job->guard.skipped_in_all);
    ql_line_number(&line, "train_seconds", ql_seconds() - t->started);
    ql_line_number(&line, "stall_seconds", t->saver.stalled);
    ql_metrics_write(&t->metrics, &line);
}

void ql_show_progress(const ql_trainer *t, const ql_step_result *r, bool last) {
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
