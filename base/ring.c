#include "base/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The layout is a format, whatever the compiler makes of it. */
_Static_assert(sizeof(ql_pulse) == 152 && sizeof(ql_pulses) == 312, "docs/formats/ring.md");
_Static_assert(sizeof(ql_ring_event) == 48 && offsetof(ql_ring, rank) == 128 && offsetof(ql_ring, pulses) == 176 &&
                   sizeof(ql_ring) == 176 + 312 + 48 * QL_RING_EVENTS,
               "docs/formats/ring.md");

static const char *const what_name[QL_RING_WHATS] = {
    [QL_RING_NOTHING] = "nothing",         [QL_RING_SUM] = "sum",         [QL_RING_MAX] = "maximum",
    [QL_RING_MIN] = "minimum",             [QL_RING_GATHER] = "gather",   [QL_RING_BROADCAST] = "broadcast",
    [QL_RING_BARRIER] = "barrier",         [QL_RING_VOTE] = "vote",       [QL_RING_DEVICE_SUM] = "sum between devices",
};

void ql_ring_event_text(ql_ring_what what, uint64_t count, char out[64]) {
    const char *name = (unsigned)what < QL_RING_WHATS ? what_name[what] : "exchange";
    bool        bytes = what == QL_RING_GATHER || what == QL_RING_BROADCAST || what == QL_RING_VOTE;
    if (what == QL_RING_BARRIER || what == QL_RING_NOTHING) snprintf(out, 64, "%s", name);
    else snprintf(out, 64, "%s of %" PRIu64 " %s", name, count, bytes ? "bytes" : "integers");
}

/* ---- checking ---- */

static void make_printable(char *text, size_t size) {
    text[size - 1] = 0;
    for (unsigned char *c = (unsigned char *)text; *c; c++)
        if (*c < ' ' || *c >= 0x7f) *c = '?';
}

static bool check_events(const ql_ring *r) {
    for (uint64_t i = 0; i < QL_RING_EVENTS; i++) {
        const ql_ring_event *e = &r->event[i];
        if (e->number == 0) continue;
        if (e->number % QL_RING_EVENTS != i || e->number > r->entered || e->what >= QL_RING_WHATS) return false;
    }
    return true;
}

ql_err ql_ring_check(ql_ring *r, const char *name) {
    QL_CHECK(!memcmp(r->magic, "qlora ring\0\0\0\0\0", sizeof r->magic), QL_DATA, "%s: is no ring of a rank", name);
    QL_CHECK(r->version == QL_RING_VERSION && r->bytes == sizeof *r, QL_DATA, "%s: is a ring of another version of this program", name);
    bool known = r->state < QL_RING_STATES && r->rank < INT32_MAX && r->size <= INT32_MAX && r->rank < r->size && r->pid <= INT32_MAX;
    for (int t = 0; t < QL_PULSE_THREADS; t++) {
        const ql_pulse *p = &r->pulses.thread[t];
        known &= p->kind < QL_PULSE_KINDS && p->around < QL_PULSE_KINDS;
    }
    QL_CHECK(known && check_events(r), QL_DATA, "%s: the ring is damaged", name);
    make_printable(r->host, sizeof r->host);
    for (int t = 0; t < QL_PULSE_THREADS; t++) make_printable((char *)r->pulses.thread[t].text, QL_PULSE_TEXT);
    return ql_ok();
}

static ql_err read_all(int fd, ql_ring *out, const char *path) {
    struct stat st;
    QL_CHECK(fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == (off_t)sizeof *out, QL_DATA, "%s: is no ring of a rank", path);
    for (size_t done = 0; done < sizeof *out;) {
        ssize_t n = pread(fd, (char *)out + done, sizeof *out - done, (off_t)done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return n < 0 ? ql_fail_errno("%s: cannot be read", path) : ql_fail(QL_DATA, "%s: is cut off", path);
        done += (size_t)n;
    }
    return ql_ok();
}

ql_err ql_ring_read(const char *path, ql_ring *out) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) return ql_err_as(ql_fail_errno("%s: cannot be opened", path), QL_DATA);
    ql_err e = read_all(fd, out, path);
    close(fd);
    return ql_bad(e) ? e : ql_ring_check(out, path);
}

/* ---- for people ---- */

static void print_pulse(const ql_pulse *p, const char *who, ql_str *out) {
    static const char *const doing[QL_PULSE_KINDS] = {"idle", "starting", "reading", "computing", "writing", "waiting for other ranks", "ending", "standing by"};
    ql_pulse_state           s = ql_pulse_read(p);
    if (s.kind == QL_PULSE_IDLE) return;
    ql_str_printf(out, "  %s: %s%s%s, %" PRIu64 " signs of progress\n", who, doing[s.kind], s.what[0] ? ": " : "", s.what, s.beats);
}

static void print_event(const ql_ring *r, const ql_ring_event *e, ql_str *out) {
    char     text[64];
    uint64_t end = e->end;
    ql_ring_event_text((ql_ring_what)e->what, e->count, text);
    ql_str_printf(out, "  exchange %" PRIu64 ", step %" PRIu64 ", %s, entered at %.3f s", (uint64_t)e->number, (uint64_t)e->step, text,
                  1e-9 * (double)(int64_t)(e->begin - r->monotonic));
    if (end == 0) ql_str_puts(out, ", not left\n");
    else ql_str_printf(out, ", took %.6f s\n", 1e-9 * (double)(int64_t)(end - e->begin));
}

void ql_ring_print(const ql_ring *r, ql_str *out) {
    static const char *const state[QL_RING_STATES] = {"at work", "ended by its watchdog", "failed", "ended well"};
    ql_str_printf(out, "rank %" PRIu64 " of %" PRIu64 ", process %" PRIu64 " on %s, generation %" PRIu64 ": %s, step %" PRIu64 "\n",
                  (uint64_t)r->rank, (uint64_t)r->size, r->pid, r->host, (uint64_t)r->generation, state[r->state],
                  (uint64_t)r->pulses.step);
    print_pulse(&r->pulses.thread[QL_PULSE_MAIN], "main thread", out);
    print_pulse(&r->pulses.thread[QL_PULSE_WRITER], "writer", out);
    uint64_t last = r->entered, kept = last < QL_RING_EVENTS ? last : QL_RING_EVENTS;
    for (uint64_t back = kept; back > 0; back--) {
        const ql_ring_event *e = &r->event[(last - back + 1) % QL_RING_EVENTS];
        if (e->number == last - back + 1) print_event(r, e, out);
    }
}
