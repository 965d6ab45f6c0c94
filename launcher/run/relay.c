#include "launcher/run/relay.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

static const char ours[] = "qlora: error: ";

void ql_relay_begin(ql_relay *r, int from, const char *label) {
    *r = (ql_relay){.from = from, .label = label};
}

bool ql_relay_reads(const ql_relay *r) {
    return r->from >= 0 && r->sent == r->out.size;
}

bool ql_relay_writes(const ql_relay *r) {
    return r->sent < r->out.size;
}

/* A bar of progress stands before it, where one was drawn. */
static const char *start_of(const char *line) {
    const char *bar = strrchr(line, '\r');
    if (bar) line = bar + 1;
    return strncmp(line, "\033[K", 3) ? line : line + 3;
}

/* The first of several of the same: ranks say alike. */
static bool is_kept(const ql_relay *r, const char *text) {
    for (size_t i = 0; i < r->n_words; i++)
        if (!strcmp(r->words[i], text)) return true;
    return false;
}

static void keep(ql_relay *r) {
    const char *text = start_of(r->line.data);
    bool        is_error = !strncmp(text, ours, strlen(ours));
    if (is_error) text += strlen(ours);
    if (!r->stopped && strstr(text, ": stopped after step ")) r->stopped = ql_strdup(text);
    if ((is_error || strstr(text, " exited on signal ")) && r->n_words < QL_RELAY_WORDS && !is_kept(r, text))
        r->words[r->n_words++] = ql_strdup(text);
}

/* A line of any length is passed on; of one that is longer than any of ours the beginning is looked at. */
static void look_at(ql_relay *r, const char *bytes, size_t n) {
    enum { LONGEST = 4096 };
    for (size_t i = 0; i < n; i++) {
        if (bytes[i] == '\n') {
            ql_str_put(&r->line, "", 0);
            if (r->line.size > 0) keep(r);
            r->line.size = 0;
        } else if (r->line.size < LONGEST && bytes[i]) {
            ql_str_put(&r->line, &bytes[i], 1);
        }
    }
}

static void put(ql_relay *r, const char *bytes, size_t n) {
    while (r->label && n > 0) {
        const char *feed = memchr(bytes, '\n', n);
        size_t      length = feed ? (size_t)(feed - bytes) + 1 : n;
        if (!r->in_line) ql_str_printf(&r->out, "%s: ", r->label);
        ql_str_put(&r->out, bytes, length);
        r->in_line = !feed;
        bytes += length;
        n -= length;
    }
    ql_str_put(&r->out, bytes, n);
}

void ql_relay_take(ql_relay *r) {
    char    piece[4096];
    ssize_t n = read(r->from, piece, sizeof piece);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) return;
    if (n > 0) {
        look_at(r, piece, (size_t)n);
        r->out.size = r->sent = 0;
        if (!r->is_deaf) put(r, piece, (size_t)n);
        return;
    }
    close(r->from);
    r->from = -1;
}

/* What a pipe takes at once, when it takes anything. */
void ql_relay_pass(ql_relay *r) {
    enum { AT_ONCE = 4096 };
    size_t  left = r->out.size - r->sent;
    ssize_t n = write(STDERR_FILENO, r->out.data + r->sent, left < AT_ONCE ? left : AT_ONCE);
    if (n > 0) r->sent += (size_t)n;
    if (n >= 0 || errno == EINTR || errno == EAGAIN) return;
    r->is_deaf = true;
    r->sent = r->out.size;
}

void ql_relay_finish(ql_relay *r, double seconds) {
    double until = ql_seconds() + seconds;
    while (ql_relay_reads(r) || ql_relay_writes(r)) {
        bool          writes = ql_relay_writes(r);
        struct pollfd ready = {.fd = writes ? STDERR_FILENO : r->from, .events = writes ? POLLOUT : POLLIN};
        double        left = until - ql_seconds();
        if (left <= 0 || poll(&ready, 1, (int)(left * 1000) + 1) < 0) return;
        if (ready.revents && writes) ql_relay_pass(r);
        else if (ready.revents) ql_relay_take(r);
    }
}

void ql_relay_free(ql_relay *r) {
    if (r->from >= 0) close(r->from);
    for (size_t i = 0; i < r->n_words; i++) free(r->words[i]);
    free(r->stopped);
    ql_str_free(&r->line);
    ql_str_free(&r->out);
    *r = (ql_relay){.from = -1};
}
