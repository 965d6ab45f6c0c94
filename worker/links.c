#include "worker/links.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/interfaces.h"
#include "base/log.h"
#include "worker/memory.h"

enum { MOST_LINKS = 64, SMALL = 64, MIDDLE = 64 << 10, LARGE = 1 << 20, SMALL_ONES = 5, LARGE_ONES = 3, INTERFACES = 64 };
/* Half of what 1 Gbit carries, and what no network within a house takes. A middle message that takes longer than it should makes the
 * large ones wait too long. */
static const double slow_rate = 60e6, slow_answer = 0.01, too_long = 0.1, all_in_all = 3;

/* What the other end tells of itself. */
typedef struct {
    char interface[16], all[400];
} far_end;

/* ---- which interface carries it ---- */

typedef struct {
    ql_interface list[INTERFACES];
    size_t       n;
} counters;

static void count(counters *c) {
    c->n = ql_interfaces(c->list, INTERFACES);
}

/* The one with an address whose count grew most, if it grew by what was sent. */
static void find_carrier(const counters *before, uint64_t sent, char name[16]) {
    counters now;
    uint64_t most = sent / 2;
    count(&now);
    name[0] = 0;
    for (size_t i = 0; i < now.n; i++)
        for (size_t k = 0; k < before->n; k++) {
            uint64_t grown = now.list[i].bytes - before->list[k].bytes;
            if (strcmp(now.list[i].name, before->list[k].name) != 0 || !now.list[i].address[0] || grown <= most) continue;
            most = grown;
            memcpy(name, now.list[i].name, sizeof now.list[i].name);
        }
}

/* ---- one link, seen from both ends: `far` is the rank beyond ---- */

typedef struct {
    ql_world *world;
    int       far;
    char     *data;
    double    until; /* nothing large is sent after that */
} trial;

/* There and back, begun by rank 0. */
static ql_err bounce(const trial *t, size_t n, double *seconds) {
    double start = ql_seconds();
    QL_TRY(ql_move_bytes(t->world, 0, t->far, t->data, n));
    QL_TRY(ql_move_bytes(t->world, t->far, 0, t->data, n));
    *seconds = ql_seconds() - start;
    return ql_ok();
}

/* What rank 0 thinks of it, both do. */
static ql_err ask_whether_more(const trial *t, double seconds, bool *more) {
    char go_on = seconds < too_long && ql_seconds() < t->until;
    QL_TRY(ql_move_bytes(t->world, 0, t->far, &go_on, 1));
    *more = go_on;
    return ql_ok();
}

/* The best of several, as far as rank 0 finds them worth the time. */
static ql_err bounce_often(const trial *t, size_t n, int times, double *best) {
    double seconds;
    bool   more = true;
    for (int i = 0; i < times && more; i++) {
        QL_TRY(bounce(t, n, &seconds));
        if (i == 0 || seconds < *best) *best = seconds;
        QL_TRY(ask_whether_more(t, seconds, &more));
    }
    return ql_ok();
}

static ql_err measure_rate(const trial *t, ql_link *out, uint64_t *sent) {
    double seconds = 0;
    bool   more;
    QL_TRY(bounce(t, MIDDLE, &seconds));
    out->bytes_per_second = 2 * MIDDLE / seconds;
    *sent = 2 * MIDDLE;
    QL_TRY(ask_whether_more(t, seconds, &more));
    if (!more) return ql_ok();
    QL_TRY(bounce_often(t, LARGE, LARGE_ONES, &seconds));
    out->bytes_per_second = 2 * LARGE / seconds;
    *sent += 2 * LARGE;
    return ql_ok();
}

static ql_err measure(const trial *t, ql_link *out, far_end *end) {
    bool     is_far = ql_world_place(t->world).rank == t->far;
    uint64_t sent;
    double   first;
    ql_str   all = {0};
    QL_TRY(bounce(t, SMALL, &first)); /* connects */
    QL_TRY(bounce_often(t, SMALL, SMALL_ONES, &out->seconds));
    counters before;
    count(&before);
    QL_TRY(measure_rate(t, out, &sent));
    find_carrier(&before, sent, is_far ? end->interface : out->here);
    if (is_far) {
        ql_interfaces_text(&all);
        snprintf(end->all, sizeof end->all, "%s", all.data);
        ql_str_free(&all);
    }
    QL_TRY(ql_move_bytes(t->world, t->far, 0, end, sizeof *end));
    memcpy(out->there, end->interface, sizeof out->there);
    return ql_ok();
}

/* ---- what is said of it ---- */

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median_rate(const ql_link *links, int n) {
    double rate[MOST_LINKS];
    for (int i = 0; i < n; i++) rate[i] = links[i].bytes_per_second;
    qsort(rate, (size_t)n, sizeof *rate, compare);
    return rate[n / 2];
}

bool ql_link_is_bad(const ql_link *links, int n, int which) {
    const ql_link *l = &links[which];
    return l->bytes_per_second < slow_rate || l->seconds > slow_answer || l->bytes_per_second < median_rate(links, n) / 4;
}

static void put_link(const ql_link *l, ql_str *out) {
    double rate = l->bytes_per_second / 1e6;
    ql_str_printf(out, rate < 100 ? "%.3g MB/s, %.2g ms" : "%.0f MB/s, %.2g ms", rate, l->seconds * 1e3);
    if (l->here[0] && strcmp(l->here, l->there) != 0) ql_str_printf(out, " over %s and there %s", l->here, l->there[0] ? l->there : "another way");
    else if (l->here[0]) ql_str_printf(out, " over %s", l->here);
}

static void warn(const ql_link *l, const char *name, const far_end *end, size_t exchange) {
    ql_str link = {0}, cure = {0};
    put_link(l, &link);
    ql_interfaces_cure(&cure);
    ql_warn("the link to %s is slow, %s: the gradients of a step, %.3g MB, take at least %.2g s; if there is a better way, %s; on %s: %s", name,
            link.data, (double)exchange / 1e6, 2 * (double)exchange / l->bytes_per_second, cure.data, name, end->all);
    ql_str_free(&link);
    ql_str_free(&cure);
}

static void say(const ql_machines *m, const ql_link *links, const far_end *ends, int n, size_t exchange) {
    enum { SAID = 4 };
    ql_str text = {0};
    int    slowest = 0;
    for (int i = 0; i < n; i++)
        if (links[i].bytes_per_second < links[slowest].bytes_per_second) slowest = i;
    for (int i = 0; i < n && n <= SAID; i++) {
        ql_str_printf(&text, "%s%s ", i ? "; " : "", m->name[i + 1]);
        put_link(&links[i], &text);
    }
    if (n > SAID) ql_str_printf(&text, "%d, the slowest to %s ", n, m->name[slowest + 1]);
    if (n > SAID) put_link(&links[slowest], &text);
    ql_info("links    %s", text.data);
    for (int i = 0; i < n; i++)
        if (ql_link_is_bad(links, n, i)) warn(&links[i], m->name[i + 1], &ends[i], exchange);
    ql_str_free(&text);
}

ql_err ql_links_examine(ql_world *w, const ql_machines *m, size_t exchange) {
    int      n = m->count - 1 < MOST_LINKS ? m->count - 1 : MOST_LINKS, rank = ql_world_place(w).rank;
    ql_err   e = ql_ok();
    if (n < 1) return e;
    ql_link *links = QL_NEW_ARRAY(ql_link, (size_t)n);
    far_end *ends = QL_NEW_ARRAY(far_end, (size_t)n);
    trial    t = {.world = w, .data = ql_alloc(LARGE), .until = ql_seconds() + all_in_all};
    for (int i = 0; i < n && !ql_bad(e); i++) {
        t.far = m->first[i + 1];
        if (rank == 0 || rank == t.far) e = measure(&t, &links[i], &ends[i]);
    }
    if (!ql_bad(e) && rank == 0) say(m, links, ends, n, exchange);
    free(t.data), free(ends), free(links);
    return ql_agree(w, e, "trying the links between hosts");
}
