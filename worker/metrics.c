#include "worker/metrics.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/private.h"

enum { METRICS_LIMIT = 1 << 30, LINE_LIMIT = 1 << 16 };

/* A line belongs to the past when it is whole and its step is not ahead of the checkpoint. */
static bool keeps(const char *line, size_t n, int64_t last_step) {
    ql_json *v;
    if (n > LINE_LIMIT || ql_bad(ql_json_parse(line, n, "metrics.jsonl", 1, &v))) return false;
    bool keep = ql_json_int(ql_json_get(v, "step"), 0) <= last_step;
    ql_json_free(v);
    return keep;
}

static ql_err drop_future(const char *path, int64_t last_step) {
    ql_str old, kept = {0};
    QL_TRY(ql_file_read(path, METRICS_LIMIT, &old));
    for (size_t at = 0; at < old.size;) {
        const char *end = memchr(old.data + at, '\n', old.size - at);
        if (!end) break; /* torn by a power cut */
        size_t n = (size_t)(end - (old.data + at)) + 1;
        if (keeps(old.data + at, n - 1, last_step)) ql_str_put(&kept, old.data + at, n);
        at += n;
    }
    ql_err e = kept.size == old.size ? ql_ok() : ql_file_replace(path, kept.data ? kept.data : "", kept.size);
    ql_str_free(&old);
    ql_str_free(&kept);
    return e;
}

ql_err ql_metrics_open(const char *output_dir, int64_t last_step, ql_metrics *out) {
    *out = (ql_metrics){-1, ql_path_join(output_dir, "metrics.jsonl")};
    bool exists = ql_file_exists(out->path);
    if (exists && last_step >= 0) QL_TRY(drop_future(out->path, last_step));
    return ql_private_open(out->path, O_WRONLY | O_CREAT | O_APPEND | (last_step < 0 ? O_TRUNC : 0), &out->fd);
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

void ql_line_text(ql_str *line, const char *key, const char *v) {
    ql_str_printf(line, ", \"%s\": ", key);
    ql_json_put_string(line, v, strlen(v));
}

ql_err ql_metrics_write(ql_metrics *m, ql_str *line) {
    ql_str_puts(line, "}\n");
    ql_err e = m->fd >= 0 ? ql_write_all(m->fd, line->data, line->size, m->path) : ql_ok();
    ql_str_free(line);
    return e;
}
