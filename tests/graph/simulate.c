#include "tests/graph/simulate.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_CONSUMERS = 64, MOST_PLACES = 16 };

/* What a cell of four bytes holds: 0 nothing, an activation, or a gradient of so many consumers. */
typedef struct {
    int32_t label, writer;
} cell;

typedef struct {
    int64_t at;
    size_t bytes;
    int group; /* places of one group may be the same: reads, or gradients of one value */
    bool written;
} place;

/* A transfer that nobody has waited for: it may happen at any moment. */
typedef struct {
    const ql_plan_step *step;
    size_t bytes;
} transfer;

enum { MOST_TRANSFERS = 64 };

typedef struct {
    const ql_graph *g;
    const ql_plan *p;
    simulation *facts;
    cell *cells;
    size_t count;
    int32_t *host; /* labels of what waits on the host, by cell */
    transfer under_way[MOST_TRANSFERS];
    int n_under_way;
    bool *kept;     /* per value */
    int *consumers; /* per value */
    int step, head;
    place used[MOST_PLACES];
    int n_used;
    bool bad;
} machine;

static char complaint[256];

static void complain(machine *m, const char *fmt, ...) QL_PRINTF(2, 3);
static void complain(machine *m, const char *fmt, ...) {
    if (m->bad) return;
    m->bad = true;
    int n = snprintf(complaint, sizeof complaint, "step %d: ", m->step);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(complaint + n, sizeof complaint - (size_t)n, fmt, ap);
    va_end(ap);
}

static size_t bytes_of(const machine *m, int64_t width) {
    return (size_t)m->p->request.max_tokens * (size_t)width * 4;
}

static bool overlap(int64_t a, size_t a_bytes, int64_t b, size_t b_bytes) {
    return a < b + (int64_t)b_bytes && b < a + (int64_t)a_bytes;
}

/* What is sent may be read meanwhile, what is fetched may not be touched. */
static void check_transfers(machine *m, int64_t at, size_t bytes, bool written, const char *what) {
    for (int i = 0; i < m->n_under_way; i++) {
        const transfer *t = &m->under_way[i];
        bool sent = t->step->kind == QL_STEP_SEND;
        if (overlap(at, bytes, t->step->out, t->bytes) && (written || !sent))
            complain(m, "%s is where the result of node %d is still being %s", what, t->step->node, sent ? "sent" : "fetched");
    }
}

/* Notes that the step works on these bytes; false when they are no bytes of the arena. */
static bool touch(machine *m, int64_t at, size_t bytes, int group, bool written, const char *what) {
    if (at < 0 || at % 64 != 0) {
        complain(m, "%s is absent or not aligned (%lld)", what, (long long)at);
        return false;
    }
    size_t end = ql_align((size_t)at + bytes, 64);
    if (end > m->facts->end) m->facts->end = end;
    if (end > m->p->bytes) {
        complain(m, "%s ends at %zu beyond the arena of %zu", what, end, m->p->bytes);
        return false;
    }
    check_transfers(m, at, bytes, written, what);
    m->used[m->n_used++] = (place){at, bytes, group, written};
    return true;
}

static void check_apart(machine *m) {
    for (int i = 0; i < m->n_used; i++)
        for (int k = 0; k < i; k++) {
            const place *a = &m->used[i], *b = &m->used[k];
            bool same = a->group == b->group && a->at == b->at;
            if (overlap(a->at, a->bytes, b->at, b->bytes) && !same && (a->written || b->written))
                complain(m, "places %d and %d overlap", k, i);
        }
    m->n_used = 0;
}

static int32_t activation(ql_value v) {
    return 1 + v;
}

static int32_t gradient(const machine *m, ql_value v, int contributions) {
    return 1 + (int32_t)m->g->values + v * MOST_CONSUMERS + contributions;
}

static void expect(machine *m, int64_t at, size_t bytes, int32_t label, const char *what, int which) {
    for (size_t i = (size_t)at / 4; i < ((size_t)at + bytes) / 4; i++)
        if (m->cells[i].label != label) {
            complain(m, "%s %d is not there (label %d, expected %d)", what, which, m->cells[i].label, label);
            return;
        }
}

static void fill(machine *m, int64_t at, size_t bytes, int32_t label) {
    for (size_t i = (size_t)at / 4; i < ((size_t)at + bytes) / 4; i++) m->cells[i] = (cell){label, m->step};
}

static void read_activation(machine *m, int64_t at, ql_value v) {
    size_t bytes = bytes_of(m, m->g->value[v].width);
    if (!touch(m, at, bytes, v, false, "an input")) return;
    expect(m, at, bytes, activation(v), "value", v);
    if (m->head >= 0 && m->step > m->head && m->cells[at / 4].writer < m->head) m->kept[v] = true;
}

/* ---- what the operations of ops.h need ---- */

static bool is(const ql_node *n, const char *rule) {
    return !strcmp(n->rule->name, rule);
}

static bool backward_reads_input(const ql_node *n, int i) {
    if (n->in[i] == QL_NO_VALUE) return false;
    if (is(n, "linear")) return n->site != QL_NO_SITE;
    return is(n, "rmsnorm") || is(n, "attention") || is(n, "swiglu");
}

static bool backward_reads_saved(const ql_node *n) {
    return n->saved != QL_NO_VALUE;
}

static int64_t scratch_width(const machine *m, const ql_node *n, bool backward) {
    int64_t in = n->in[0] == QL_NO_VALUE ? 0 : m->g->value[n->in[0]].width;
    if (is(n, "head")) return (backward ? 2 : 1) * ql_ceil_div(in, 16) * 16;
    if (is(n, "attention")) return backward ? n->heads : 0;
    if (!is(n, "linear") || n->site == QL_NO_SITE) return 0;
    return backward ? ql_ceil_div(m->g->value[n->saved].width, 16) * 16 : 0;
}

static void use_scratch(machine *m, const ql_plan_step *s, const ql_node *n, bool backward) {
    size_t bytes = bytes_of(m, scratch_width(m, n, backward));
    if (bytes > 0 && touch(m, s->scratch, bytes, -1, true, "scratch")) fill(m, s->scratch, bytes, 0);
}

/* ---- steps ---- */

static void write_result(machine *m, int64_t at, ql_value v) {
    size_t bytes = bytes_of(m, m->g->value[v].width);
    if (touch(m, at, bytes, -2, true, "a result")) fill(m, at, bytes, activation(v));
}

static void run_forward(machine *m, const ql_plan_step *s, const ql_node *n) {
    for (int i = 0; i < QL_MAX_INPUTS; i++)
        if (n->in[i] != QL_NO_VALUE) read_activation(m, s->in[i], n->in[i]);
    use_scratch(m, s, n, false);
    if (m->bad) return;
    write_result(m, s->out, n->out);
    if (n->saved != QL_NO_VALUE) write_result(m, s->saved, n->saved);
    if (m->head >= 0) m->facts->recomputed++;
}

static int contributions_at(const machine *m, int64_t at, ql_value v) {
    int32_t c = m->cells[at / 4].label - gradient(m, v, 0);
    return c > 0 && c < MOST_CONSUMERS ? c : 0;
}

static void give_gradient(machine *m, const ql_plan_step *s, const ql_node *n, int i) {
    ql_value v = n->in[i];
    bool writes_all = is(n, "attention") || is(n, "swiglu");
    if (v == QL_NO_VALUE || (!m->facts->wants[v] && !writes_all)) {
        if (s->d_in[i] != QL_ABSENT) complain(m, "a gradient that nobody wants");
        return;
    }
    size_t bytes = bytes_of(m, m->g->value[v].width);
    if (!m->facts->wants[v]) { /* written all the same, and read by nobody */
        if (touch(m, s->d_in[i], bytes, (int)m->g->values + v, true, "an unwanted gradient"))
            fill(m, s->d_in[i], bytes, 0);
        return;
    }
    if (!touch(m, s->d_in[i], bytes, (int)m->g->values + v, true, "a gradient")) return;
    int before = s->accumulate[i] ? contributions_at(m, s->d_in[i], v) : 0;
    if (s->accumulate[i] && before == 0) complain(m, "adds to a gradient of value %d that is not there", v);
    if (before) expect(m, s->d_in[i], bytes, gradient(m, v, before), "partial gradient", v);
    fill(m, s->d_in[i], bytes, gradient(m, v, before + 1));
}

static void run_head(machine *m, const ql_plan_step *s, const ql_node *n) {
    bool training = m->p->request.purpose == QL_PLAN_TRAIN;
    if (m->head >= 0) complain(m, "a second head");
    if (s->backward != training) complain(m, "the head has the wrong direction");
    read_activation(m, s->in[0], n->in[0]);
    use_scratch(m, s, n, training);
    size_t chunk = (size_t)m->p->request.logit_rows * (size_t)m->g->slot[n->weight].rows * 4;
    if (m->p->logits_bytes < chunk) complain(m, "no room for the logits");
    if (!m->bad && touch(m, (int64_t)m->p->logits_at, chunk, -3, true, "logits"))
        fill(m, (int64_t)m->p->logits_at, chunk, 0);
    if (!m->bad && training) give_gradient(m, s, n, 0);
    m->head = m->step;
}

static void run_backward(machine *m, const ql_plan_step *s, const ql_node *n) {
    if (m->head < 0) complain(m, "backward before the head");
    m->facts->backwards[s->node]++;
    for (int i = 0; i < QL_MAX_INPUTS; i++)
        if (backward_reads_input(n, i)) read_activation(m, s->in[i], n->in[i]);
    if (is(n, "attention")) read_activation(m, s->out, n->out);
    if (backward_reads_saved(n)) read_activation(m, s->saved, n->saved);
    size_t bytes = bytes_of(m, m->g->value[n->out].width);
    if (touch(m, s->d_out, bytes, (int)m->g->values + n->out, false, "the gradient of the result"))
        expect(m, s->d_out, bytes, gradient(m, n->out, m->consumers[n->out]), "gradient", n->out);
    use_scratch(m, s, n, true);
    for (int i = 0; i < QL_MAX_INPUTS && !m->bad; i++) give_gradient(m, s, n, i);
}

/* ---- transfers ---- */

static bool has_host_place(machine *m, const ql_plan_step *s, size_t bytes) {
    bool good = s->host >= 0 && s->host % 64 == 0 && (size_t)s->host + bytes <= m->p->host_bytes;
    if (!good) complain(m, "no place on the host (%lld)", (long long)s->host);
    return good;
}

static void begin_transfer(machine *m, const ql_plan_step *s, size_t bytes) {
    if (m->n_under_way == MOST_TRANSFERS) complain(m, "nobody waits for transfers");
    else m->under_way[m->n_under_way++] = (transfer){s, bytes};
}

/* Transfers follow one another, so that the next one finds this one's result. */
static void run_send(machine *m, const ql_plan_step *s) {
    ql_value v = m->g->node[s->node].out;
    size_t bytes = bytes_of(m, m->g->value[v].width);
    if (!has_host_place(m, s, bytes) || !touch(m, s->out, bytes, v, false, "what is sent")) return;
    expect(m, s->out, bytes, activation(v), "what is sent, value", v);
    for (size_t i = 0; i < bytes / 4; i++) m->host[(size_t)s->host / 4 + i] = activation(v);
    begin_transfer(m, s, bytes);
}

static void run_fetch(machine *m, const ql_plan_step *s) {
    ql_value v = m->g->node[s->node].out;
    size_t bytes = bytes_of(m, m->g->value[v].width);
    if (!has_host_place(m, s, bytes) || !touch(m, s->out, bytes, -2, true, "what is fetched")) return;
    for (size_t i = 0; i < bytes / 4; i++)
        if (m->host[(size_t)s->host / 4 + i] != activation(v)) complain(m, "value %d is not on the host", v);
    begin_transfer(m, s, bytes);
}

static void run_await(machine *m) {
    for (int i = 0; i < m->n_under_way; i++) {
        const transfer *t = &m->under_way[i];
        if (t->step->kind == QL_STEP_FETCH) fill(m, t->step->out, t->bytes, activation(m->g->node[t->step->node].out));
    }
    m->n_under_way = 0;
}

/* ---- all of it ---- */

static void prepare(machine *m) {
    for (size_t i = 0; i < m->g->nodes; i++) {
        const ql_node *n = &m->g->node[i];
        bool wants = n->site != QL_NO_SITE;
        for (int k = 0; k < QL_MAX_INPUTS; k++) {
            if (n->in[k] == QL_NO_VALUE) continue;
            m->consumers[n->in[k]]++;
            wants |= m->facts->wants[n->in[k]];
        }
        if (n->out != QL_NO_VALUE) m->facts->wants[n->out] = wants;
    }
}

static void check_all_ran(machine *m) {
    bool training = m->p->request.purpose == QL_PLAN_TRAIN;
    if (m->head < 0) complain(m, "no head");
    if (m->n_under_way > 0) complain(m, "a transfer that nobody waits for");
    for (size_t i = 0; i + 1 < m->g->nodes; i++) {
        int expected = training && m->facts->wants[m->g->node[i].out];
        if (m->facts->backwards[i] != expected)
            complain(m, "node %zu has %d backward passes, not %d", i, m->facts->backwards[i], expected);
    }
    if (m->facts->end != m->p->bytes) complain(m, "the arena has %zu bytes, %zu in use", m->p->bytes, m->facts->end);
    for (size_t v = 0; v < m->g->values; v++)
        if (m->kept[v]) m->facts->kept_bytes += ql_align(bytes_of(m, m->g->value[v].width), 64);
    if (m->facts->kept_bytes != m->p->kept_bytes)
        complain(m, "kept are %zu bytes, the plan says %zu", m->facts->kept_bytes, m->p->kept_bytes);
    if (m->facts->recomputed != m->p->recomputed) complain(m, "the count of recomputed nodes is wrong");
}

static void run_step(machine *m, const ql_plan_step *s) {
    const ql_node *n = &m->g->node[s->node];
    if (s->kind == QL_STEP_SEND)
        run_send(m, s);
    else if (s->kind == QL_STEP_FETCH)
        run_fetch(m, s);
    else if (s->kind == QL_STEP_AWAIT)
        run_await(m);
    else if (is(n, "head"))
        run_head(m, s, n);
    else if (s->backward)
        run_backward(m, s, n);
    else
        run_forward(m, s, n);
    check_apart(m);
}

const char *simulate(const ql_graph *g, const ql_plan *p, simulation *out) {
    *out = (simulation){.backwards = QL_NEW_ARRAY(int, g->nodes), .wants = QL_NEW_ARRAY(bool, g->values)};
    machine m = {.g = g, .p = p, .facts = out, .count = p->bytes / 4, .head = -1};
    m.cells = QL_NEW_ARRAY(cell, m.count);
    m.host = QL_NEW_ARRAY(int32_t, p->host_bytes / 4);
    m.kept = QL_NEW_ARRAY(bool, g->values);
    m.consumers = QL_NEW_ARRAY(int, g->values);
    prepare(&m);
    for (m.step = 0; m.step < (int)p->steps && !m.bad; m.step++) run_step(&m, &p->step[m.step]);
    check_all_ran(&m);
    free(m.cells);
    free(m.host);
    free(m.kept);
    free(m.consumers);
    return m.bad ? complaint : NULL;
}

void simulation_free(simulation *s) {
    free(s->backwards);
    free(s->wants);
}
