#include "worker/metrics.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/private.h"
#include "base/pulse.h"

enum { METRICS_LIMIT = 1 << 30, LINE_LIMIT = 1 << 16 };

static bool says(const ql_json *line, const char *key, const char *what) {
    const char *text = ql_json_text(ql_json_get(line, key), NULL);
    return text && !strcmp(text, what);
}

/* An evaluation comes after its step, and the end of the run after everything but a stop. */
static bool is_past(const ql_json *line, const ql_metrics_past *past) {
    int64_t step = ql_json_int(ql_json_get(line, "step"), 0);
    if (step != past->step) return step < past->step;
    if (says(line, "event", "eval")) return past->evaluated;
    return past->ended || !says(line, "event", "end") || says(line, "reason", "stopped");
}

/* A line belongs to the past when it is whole and not ahead of the checkpoint. */
static bool keeps(const char *line, size_t n, const ql_metrics_past *past) {
    ql_json *v;
    if (n > LINE_LIMIT || ql_bad(ql_json_parse(line, n, "metrics.jsonl", 1, &v))) return false;
    bool keep = is_past(v, past);
    ql_json_free(v);
    return keep;
}

static ql_err drop_future(const char *path, const ql_metrics_past *past) {
    ql_str old, kept = {0};
    QL_TRY(ql_file_read(path, METRICS_LIMIT, &old));
    for (size_t at = 0; at < old.size;) {
        const char *end = memchr(old.data + at, '\n', old.size - at);
        if (!end) break; /* torn by a power cut */
        size_t n = (size_t)(end - (old.data + at)) + 1;
        if (keeps(old.data + at, n - 1, past)) ql_str_put(&kept, old.data + at, n);
        at += n;
    }
    ql_err e = kept.size == old.size ? ql_ok() : ql_file_replace(path, kept.data ? kept.data : "", kept.size);
    ql_str_free(&old);
    ql_str_free(&kept);
    return e;
}

ql_err ql_metrics_open(const char *output_dir, const ql_metrics_past *past, ql_metrics *out) {
    *out = (ql_metrics){-1, ql_path_join(output_dir, "metrics.jsonl")};
    bool exists = ql_file_exists(out->path);
    if (exists && past->step >= 0) QL_TRY(drop_future(out->path, past));
    return ql_private_open(out->path, O_WRONLY | O_CREAT | O_APPEND | (past->step < 0 ? O_TRUNC : 0), &out->fd);
}

void ql_metrics_close(ql_metrics *m) {
    if (m->path && m->fd >= 0) close(m->fd);
    free(m->path);
    *m = (ql_metrics){-1, NULL};
}

void ql_line_begin(ql_str *line, const char *event) {
    ql_str_printf(line, "{\"event\": \"%s\"", event);
}

void ql_line_int(ql_str *line, const char *key, int64_t v) {
    ql_str_printf(line, ", \"%s\": %lld", key, (long long)v);
}

void ql_line_number(ql_str *line, const char *key, double v) {
    ql_str_printf(line, ", \"%s\": ", key);
    ql_json_put_double(line, v);
}

void ql_line_flag(ql_str *line, const char *key) {
    ql_str_printf(line, ", \"%s\": true", key);
}

void ql_line_text(ql_str *line, const char *key, const char *v) {
    ql_str_printf(line, ", \"%s\": ", key);
    ql_json_put_string(line, v, strlen(v));
}

ql_err ql_metrics_write(ql_metrics *m, ql_str *line) {
    ql_str_puts(line, "}\n");
    ql_pulse_state before = ql_pulse_begin(QL_PULSE_SAVE, "metrics.jsonl");
    ql_err         e = m->fd >= 0 ? ql_write_all(m->fd, line->data, line->size, m->path) : ql_ok();
    ql_pulse_end(&before);
    ql_str_free(line);
    return e;
}
