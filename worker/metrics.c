#include "worker/metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/private.h"
#include "base/pulse.h"

enum { LONGEST_LINE = 1 << 20, MOST_LATER = 64 << 20, MOST_WAITING = 4 << 20 };

/* ---- the past ---- */

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

/* A line belongs to the past when it is whole and speaks of nothing that will be done again. */
static bool keeps(const char *line, size_t n, const ql_metrics_past *past) {
    ql_json *v;
    if (ql_bad(ql_json_parse(line, n, "metrics.jsonl", 1, &v))) return false;
    bool keep = is_past(v, past);
    ql_json_free(v);
    return keep;
}

/* What is found while the file is read once from its beginning. */
typedef struct {
    const ql_metrics_past *past;
    off_t  kept;       /* bytes of lines that stay, up to the first that goes */
    bool   has_gap;    /* a line has gone                                     */
    ql_str later;      /* lines behind it that stay all the same              */
} survey;

static void judge_line(survey *s, const char *line, size_t n) {
    bool keep = s->past->step >= 0 && keeps(line, n - 1, s->past);
    if (keep && s->has_gap) ql_str_put(&s->later, line, n);
    else if (keep) s->kept += (off_t)n;
    else s->has_gap = true;
}

/* What follows the last line end was torn, and goes. A file of any size takes no more memory than its longest line. */
static ql_err read_lines(const ql_metrics *m, survey *s) {
    static const size_t piece = 64 << 10;
    ql_str              text = {0};
    ql_err              e = ql_ok();
    for (off_t at = 0;;) {
        ql_str_reserve(&text, piece);
        ssize_t got = pread(m->fd, text.data + text.size, piece, at);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) e = ql_fail_errno("%s: cannot be read", m->path);
        if (got <= 0) break;
        ql_pulse_beat();
        at += got;
        text.size += (size_t)got;
        size_t begin = 0;
        for (const char *end; (end = memchr(text.data + begin, '\n', text.size - begin)); begin = (size_t)(end + 1 - text.data))
            judge_line(s, text.data + begin, (size_t)(end + 1 - text.data) - begin);
        memmove(text.data, text.data + begin, text.size - begin);
        text.size -= begin;
        bool ours = text.size <= LONGEST_LINE && s->later.size <= MOST_LATER;
        if (!ours) e = ql_fail(QL_DATA, "%s: has lines that are none of ours; move the file away", m->path);
        if (!ours) break;
    }
    ql_str_free(&text);
    return e;
}

static ql_err drop_future(const ql_metrics *m, off_t size, const ql_metrics_past *past) {
    survey s = {.past = past};
    ql_err e = past->step >= 0 ? read_lines(m, &s) : ql_ok();
    if (!ql_bad(e) && s.kept < size && ftruncate(m->fd, s.kept) != 0)
        e = ql_fail_errno("%s: cannot be cut to %lld bytes", m->path, (long long)s.kept);
    if (!ql_bad(e)) e = ql_write_all(m->fd, s.later.data, s.later.size, m->path);
    ql_str_free(&s.later);
    return e;
}

/* ---- the file ---- */

static ql_err open_file(ql_metrics *m, struct stat *st) {
    QL_TRY(ql_private_open(m->path, O_RDWR | O_CREAT | O_APPEND, &m->fd));
    ql_err e = ql_ok();
    if (fstat(m->fd, st) != 0) e = ql_fail_errno("%s: cannot be looked at", m->path);
    else if (st->st_nlink > 1) e = ql_fail(QL_DENIED, "%s: has other names (hard links); move it away", m->path);
    if (ql_bad(e)) {
        close(m->fd);
        m->fd = -1;
    }
    return e;
}

ql_err ql_metrics_open(const char *output_dir, const ql_metrics_past *past, ql_metrics *out) {
    struct stat st;
    *out = (ql_metrics){.fd = -1, .path = ql_path_join(output_dir, "metrics.jsonl")};
    QL_TRY(open_file(out, &st));
    return drop_future(out, st.st_size, past);
}

void ql_metrics_close(ql_metrics *m) {
    if (m->path && m->fd >= 0) close(m->fd);
    free(m->path);
    ql_str_free(&m->waiting);
    *m = (ql_metrics){.fd = -1};
}

/* ---- lines ---- */

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

/* A file that somebody removed is made again. */
static ql_err open_again(ql_metrics *m) {
    struct stat st;
    if (m->fd >= 0 && fstat(m->fd, &st) == 0 && st.st_nlink > 0) return ql_ok();
    if (m->fd >= 0) close(m->fd);
    return open_file(m, &st);
}

/* After `done` bytes of what waits were written: cuts off the beginning of a line, and lets go of the whole ones. */
static ql_err settle(ql_metrics *m, size_t done) {
    const char *end = done ? memrchr(m->waiting.data, '\n', done) : NULL;
    size_t      whole = end ? (size_t)(end - m->waiting.data) + 1 : 0;
    off_t       torn = (off_t)(done - whole), at = lseek(m->fd, 0, SEEK_END);
    ql_err      e = ql_ok();
    if (torn > 0 && (at < torn || ftruncate(m->fd, at - torn) != 0)) e = ql_fail_errno("%s: a torn line cannot be cut off", m->path);
    if (ql_bad(e)) whole = done; /* the rest of the line follows its beginning */
    memmove(m->waiting.data, m->waiting.data + whole, m->waiting.size - whole);
    m->waiting.size -= whole;
    return e;
}

static ql_err write_waiting(ql_metrics *m) {
    QL_TRY(open_again(m));
    size_t done = 0;
    ql_err e = ql_ok();
    while (done < m->waiting.size && !ql_bad(e)) {
        ssize_t n = write(m->fd, m->waiting.data + done, m->waiting.size - done);
        if (n > 0) done += (size_t)n;
        else if (n == 0 || errno != EINTR) e = ql_fail_errno("%s: cannot be written", m->path);
    }
    ql_err settled = settle(m, done);
    return ql_bad(e) ? e : settled;
}

static void say_change(ql_metrics *m, ql_err e) {
    if (ql_bad(e) && !m->failing) ql_warn("%s; training goes on, its lines wait in memory", ql_err_text());
    if (!ql_bad(e) && m->failing) ql_warn("%s: can be written again%s", m->path, m->lost ? ", with some lines missing" : "");
    m->failing = ql_bad(e);
}

void ql_metrics_write(ql_metrics *m, ql_str *line) {
    ql_str_puts(line, "}\n");
    if (m->waiting.size + line->size <= MOST_WAITING) ql_str_put(&m->waiting, line->data, line->size);
    else m->lost++;
    ql_str_free(line);
    ql_pulse_state before = ql_pulse_begin(QL_PULSE_SAVE, "metrics.jsonl");
    say_change(m, write_waiting(m));
    ql_pulse_end(&before);
}

ql_err ql_metrics_finish(ql_metrics *m) {
    if (!m->path) return ql_ok();
    ql_err e = write_waiting(m);
    say_change(m, e);
    QL_TRY(ql_err_prefix(e, "the last lines of the run are missing"));
    QL_CHECK(m->lost == 0, QL_IO, "%s: %zu lines are missing: it could not be written for too long", m->path, m->lost);
    return ql_ok();
}
