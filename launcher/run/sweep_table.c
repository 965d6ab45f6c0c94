#include "launcher/run/sweep_table.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "launcher/run/results.h"

static const char *outcome_of(const ql_sweep_entry *e) {
    if (!e->has_ended) return "not started";
    return e->status == 0 ? "done" : e->status == QL_STOPPED ? "stopped" : "failed";
}

/* ---- for people ---- */

static void put_number(char out[32], int decimals, double v) {
    if (isnan(v)) snprintf(out, 32, "-");
    else snprintf(out, 32, "%.*f", decimals, v);
}

static int width_of(const ql_sweep_entry *entry, size_t n) {
    size_t width = strlen("config");
    for (size_t i = 0; i < n; i++)
        if (strlen(entry[i].recipe->path) > width) width = strlen(entry[i].recipe->path);
    return (int)width;
}

static void print_row(const ql_sweep_entry *e, int width) {
    ql_results r;
    char       loss[32], eval_loss[32], rate[32], duration[32], memory[32], status[32];
    ql_results_read(e->recipe->config.output_dir, &r);
    put_number(loss, 4, r.loss);
    put_number(eval_loss, 4, r.eval_loss);
    put_number(rate, 0, r.tokens_per_second);
    bool failed = e->has_ended && e->status != 0 && e->status != QL_STOPPED;
    if (failed) snprintf(status, sizeof status, "failed (%d)", e->status);
    else snprintf(status, sizeof status, "%s", outcome_of(e));
    printf("%-*s  %-12s %8" PRId64 " %9s %9s %12s %9s %10s  %s\n", width, e->recipe->path, status, ql_max(r.step, 0), loss, eval_loss,
           ql_text_duration(duration, r.seconds), rate, r.peak_memory_bytes > 0 ? ql_text_bytes(memory, (uint64_t)r.peak_memory_bytes) : "-",
           e->recipe->config.output_dir);
}

static void print_text(const ql_sweep_entry *entry, size_t n) {
    int width = width_of(entry, n);
    printf("%-*s  %-12s %8s %9s %9s %12s %9s %10s  %s\n", width, "config", "outcome", "steps", "loss", "eval_loss", "time", "tokens/s", "memory",
           "output_dir");
    for (size_t i = 0; i < n; i++) print_row(&entry[i], width);
}

/* ---- as JSON ---- */

static void put_text_field(ql_str *line, const char *name, const char *text) {
    ql_str_printf(line, "%s\"%s\": ", line->size > 1 ? ", " : "", name);
    ql_json_put_string(line, text, strlen(text));
}

static void put_number_field(ql_str *line, const char *name, double v) {
    ql_str_printf(line, ", \"%s\": ", name);
    ql_json_put_double(line, v);
}

static void print_json(const ql_sweep_entry *e) {
    ql_str     line = {0};
    ql_results r;
    ql_results_read(e->recipe->config.output_dir, &r);
    ql_str_puts(&line, "{");
    put_text_field(&line, "config", e->recipe->path);
    put_text_field(&line, "output_dir", e->recipe->config.output_dir);
    put_text_field(&line, "outcome", outcome_of(e));
    if (e->has_ended) ql_str_printf(&line, ", \"exit_status\": %d", e->status);
    ql_str_printf(&line, ", \"step\": %" PRId64, ql_max(r.step, 0));
    put_number_field(&line, "loss", r.loss);
    put_number_field(&line, "eval_loss", r.eval_loss);
    put_number_field(&line, "seconds", r.seconds);
    put_number_field(&line, "tokens_per_second", r.tokens_per_second);
    ql_str_printf(&line, ", \"peak_memory_bytes\": %" PRId64, r.peak_memory_bytes);
    printf("%s}\n", line.data);
    ql_str_free(&line);
}

void ql_sweep_print(const ql_sweep_entry *entry, size_t n, bool json) {
    if (!json) print_text(entry, n);
    for (size_t i = 0; json && i < n; i++) print_json(&entry[i]);
    fflush(stdout);
}
