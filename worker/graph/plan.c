#include "worker/graph/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A piece of the arena: bytes that are in use from step `first` to step `last` of the schedule. */
typedef struct {
    size_t bytes, offset;
    int    first, last;
    bool   placed;
} piece;

typedef struct {
    const ql_graph *graph;
    ql_plan        *plan;
    piece          *pieces;
    size_t          count, capacity;
    int            *forward;   /* per value: the piece that the forward pass fills, or -1     */
    int            *backward;  /* per value: the piece that the backward pass reads           */
    int            *gradient;  /* per value: the piece of its gradient                        */
    bool           *wants_gradient; /* per value: an adapter lies below it                    */
    bool           *needed;    /* per value: scratch of the recomputation                     */
    int             head_step;
} planner;

/* Pieces are named by index while the schedule is made; places replace the names at the end. */
static int new_piece(planner *p, int64_t width, int step) {
    piece c = {.first = step, .last = step};
    c.bytes = ql_align((size_t)p->plan->request.max_tokens * (size_t)width * sizeof(float), 64);
    QL_PUSH(p->pieces, p->count, p->capacity, c);
    return (int)p->count - 1;
}

static int use(planner *p, int name, int step) {
    if (name >= 0 && p->pieces[name].last < step) p->pieces[name].last = step;
    return name;
}

static ql_plan_step empty_step(int node, bool backward) {
    ql_plan_step s = {.node = node, .backward = backward};
    s.out = s.saved = s.d_out = s.scratch = QL_ABSENT;
    for (int i = 0; i < QL_MAX_INPUTS; i++) s.in[i] = s.d_in[i] = QL_ABSENT;
    return s;
}

static int64_t scratch_piece(planner *p, const ql_node *n, bool backward, int step) {
    if (!n->rule->scratch) return QL_ABSENT;
    int64_t width = n->rule->scratch(p->graph, n, backward, p->plan->request.dropout);
    return width > 0 ? new_piece(p, width, step) : QL_ABSENT;
}

static void push_step(planner *p, ql_plan_step s) {
    QL_PUSH(p->plan->step, p->plan->steps, p->plan->steps_capacity, s);
}

static void schedule_forward(planner *p, int node, int *made, const int *inputs_here, int layer) {
    const ql_node *n = &p->graph->node[node];
    int            step = (int)p->plan->steps;
    ql_plan_step   s = empty_step(node, false);
    for (int i = 0; i < QL_MAX_INPUTS; i++) {
        if (n->in[i] == QL_NO_VALUE) continue;
        bool inside = p->graph->node[p->graph->value[n->in[i]].producer].layer == layer;
        s.in[i] = use(p, inside ? inputs_here[n->in[i]] : p->forward[n->in[i]], step);
    }
    s.out = made[n->out] = new_piece(p, p->graph->value[n->out].width, step);
    if (n->saved != QL_NO_VALUE) s.saved = made[n->saved] = new_piece(p, p->graph->value[n->saved].width, step);
    s.scratch = scratch_piece(p, n, false, step);
    push_step(p, s);
}

static void schedule_head(planner *p, int node, bool training) {
    const ql_node *n = &p->graph->node[node];
    int            step = (int)p->plan->steps;
    ql_plan_step   s = empty_step(node, training);
    s.in[0] = use(p, p->forward[n->in[0]], step);
    if (training && p->wants_gradient[n->in[0]])
        s.d_in[0] = p->gradient[n->in[0]] = new_piece(p, p->graph->value[n->in[0]].width, step);
    s.scratch = scratch_piece(p, n, training, step);
    push_step(p, s);
    p->head_step = step;
}

static bool has_backward(const planner *p, const ql_node *n) {
    return n->out != QL_NO_VALUE && n->rule->backward && p->wants_gradient[n->out];
}

static bool reads_input(const ql_node *n, int i) {
    if (n->in[i] == QL_NO_VALUE || !(n->rule->reads_in >> i & 1)) return false;
    return !n->rule->reads_only_for_adapter || n->site != QL_NO_SITE;
}

static void schedule_backward(planner *p, int node) {
    const ql_node *n = &p->graph->node[node];
    int            step = (int)p->plan->steps;
    ql_plan_step   s = empty_step(node, true);
    for (int i = 0; i < QL_MAX_INPUTS; i++) {
        ql_value v = n->in[i];
        if (v == QL_NO_VALUE) continue;
        if (reads_input(n, i)) s.in[i] = use(p, p->backward[v], step);
        if (!p->wants_gradient[v]) {
            if (n->rule->writes_all) s.d_in[i] = new_piece(p, p->graph->value[v].width, step);
            continue;
        }
        s.accumulate[i] = p->gradient[v] >= 0;
        if (!s.accumulate[i]) p->gradient[v] = new_piece(p, p->graph->value[v].width, step);
        s.d_in[i] = use(p, p->gradient[v], step);
        if (s.accumulate[i] && !n->rule->can_accumulate) {
            fprintf(stderr, "qlora: error: internal: %s cannot add to a gradient\n", n->rule->name);
            abort();
        }
    }
    if (n->rule->reads_out) s.out = use(p, p->backward[n->out], step);
    if (n->saved != QL_NO_VALUE) s.saved = use(p, p->backward[n->saved], step);
    s.d_out = use(p, p->gradient[n->out], step);
    s.scratch = scratch_piece(p, n, true, step);
    push_step(p, s);
}

/* Marks what the backward of a layer reads, and everything in the layer that leads there. */
static void mark_needed(planner *p, int first, int end) {
    const ql_graph *g = p->graph;
    memset(p->needed, 0, g->values * sizeof *p->needed);
    for (int i = end - 1; i >= first; i--) {
        const ql_node *n = &g->node[i];
        if (has_backward(p, n)) {
            for (int k = 0; k < QL_MAX_INPUTS; k++)
                if (reads_input(n, k)) p->needed[n->in[k]] = true;
            if (n->rule->reads_out) p->needed[n->out] = true;
            if (n->saved != QL_NO_VALUE) p->needed[n->saved] = true;
        }
        bool runs = p->needed[n->out] || (n->saved != QL_NO_VALUE && p->needed[n->saved]);
        for (int k = 0; runs && k < QL_MAX_INPUTS; k++)
            if (n->in[k] != QL_NO_VALUE) p->needed[n->in[k]] = true;
    }
}

static void schedule_recomputation(planner *p, int first, int end, int layer) {
    mark_needed(p, first, end);
    for (int i = first; i < end; i++) {
        const ql_node *n = &p->graph->node[i];
        if (!p->needed[n->out] && (n->saved == QL_NO_VALUE || !p->needed[n->saved])) continue;
        schedule_forward(p, i, p->backward, p->backward, layer);
        p->plan->recomputed++;
    }
}

static void schedule_layers_backward(planner *p) {
    const ql_graph *g = p->graph;
    int             end = (int)g->nodes - 1; /* without the head */
    while (end > 0) {
        int layer = g->node[end - 1].layer, first = end;
        while (first > 0 && g->node[first - 1].layer == layer) first--;
        bool any = false;
        for (int i = first; i < end; i++) any |= has_backward(p, &g->node[i]);
        if (any && p->plan->request.recompute && layer < g->layers - 2) schedule_recomputation(p, first, end, layer);
        for (int i = end - 1; i >= first; i--)
            if (has_backward(p, &g->node[i])) schedule_backward(p, i);
        end = first;
    }
}

static void find_gradients(planner *p) {
    const ql_graph *g = p->graph;
    for (size_t i = 0; i < g->nodes; i++) {
        const ql_node *n = &g->node[i];
        if (n->out == QL_NO_VALUE) continue;
        bool wants = n->site != QL_NO_SITE;
        for (int k = 0; k < QL_MAX_INPUTS; k++) wants |= n->in[k] != QL_NO_VALUE && p->wants_gradient[n->in[k]];
        p->wants_gradient[n->out] = wants;
    }
}

/* ---- placing the pieces: largest first, each at the lowest gap among those alive with it ---- */

static const piece *sort_pieces;
static int by_size(const void *a, const void *b) {
    int x = *(const int *)a, y = *(const int *)b;
    size_t bx = sort_pieces[x].bytes, by = sort_pieces[y].bytes;
    return bx != by ? (bx < by ? 1 : -1) : (x > y) - (x < y);
}
static int by_offset(const void *a, const void *b) {
    const piece *x = *(const piece *const *)a, *y = *(const piece *const *)b;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

static size_t lowest_gap(const planner *p, const piece *c, const piece **alive) {
    size_t n = 0;
    for (size_t i = 0; i < p->count; i++) {
        const piece *o = &p->pieces[i];
        if (o->placed && o->first <= c->last && c->first <= o->last) alive[n++] = o;
    }
    qsort(alive, n, sizeof *alive, by_offset);
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        if (alive[i]->offset >= at + c->bytes) break;
        size_t end = alive[i]->offset + alive[i]->bytes;
        at = end > at ? end : at;
    }
    return at;
}

static void place_pieces(planner *p) {
    int          *order = QL_NEW_ARRAY(int, p->count);
    const piece **alive = QL_NEW_ARRAY(const piece *, p->count);
    for (size_t i = 0; i < p->count; i++) order[i] = (int)i;
    sort_pieces = p->pieces;
    qsort(order, p->count, sizeof *order, by_size);
    for (size_t i = 0; i < p->count; i++) {
        piece *c = &p->pieces[order[i]];
        c->offset = lowest_gap(p, c, alive);
        c->placed = true;
        size_t end = c->offset + c->bytes;
        p->plan->bytes = end > p->plan->bytes ? end : p->plan->bytes;
        if (c->first < p->head_step && c->last > p->head_step) p->plan->kept_bytes += c->bytes;
    }
    free(order);
    free(alive);
}

static void resolve(const planner *p, int64_t *name) {
    if (*name >= 0) *name = (int64_t)p->pieces[*name].offset;
}

static void resolve_steps(planner *p) {
    for (size_t i = 0; i < p->plan->steps; i++) {
        ql_plan_step *s = &p->plan->step[i];
        for (int k = 0; k < QL_MAX_INPUTS; k++) {
            resolve(p, &s->in[k]);
            resolve(p, &s->d_in[k]);
        }
        resolve(p, &s->out);
        resolve(p, &s->saved);
        resolve(p, &s->d_out);
        resolve(p, &s->scratch);
    }
}

static int logits_piece(planner *p) {
    const ql_node *head = &p->graph->node[p->graph->nodes - 1];
    int            name = new_piece(p, 0, p->head_step);
    size_t         vocab = (size_t)p->graph->slot[head->weight].rows;
    p->plan->logits_bytes = ql_align((size_t)p->plan->request.logit_rows * vocab * sizeof(float), 64);
    p->pieces[name].bytes = p->plan->logits_bytes;
    return name;
}

static int *unset(size_t n) {
    int *a = QL_NEW_ARRAY(int, n);
    for (size_t i = 0; i < n; i++) a[i] = QL_ABSENT;
    return a;
}

void ql_plan_make(const ql_graph *g, const ql_plan_request *request, ql_plan *out) {
    *out = (ql_plan){.request = *request};
    planner p = {.graph = g, .plan = out, .forward = unset(g->values), .gradient = unset(g->values)};
    p.wants_gradient = QL_NEW_ARRAY(bool, g->values);
    p.needed = QL_NEW_ARRAY(bool, g->values);
    bool training = request->purpose == QL_PLAN_TRAIN;
    find_gradients(&p);
    for (size_t i = 0; i + 1 < g->nodes; i++) schedule_forward(&p, (int)i, p.forward, p.forward, g->node[i].layer);
    schedule_head(&p, (int)g->nodes - 1, training);
    p.backward = QL_NEW_ARRAY(int, g->values);
    memcpy(p.backward, p.forward, g->values * sizeof *p.backward);
    if (training) schedule_layers_backward(&p);
    int logits = logits_piece(&p);
    place_pieces(&p);
    out->logits_at = p.pieces[logits].offset;
    resolve_steps(&p);
    free(p.pieces);
    free(p.forward);
    free(p.backward);
    free(p.gradient);
    free(p.wants_gradient);
    free(p.needed);
}

void ql_plan_free(ql_plan *p) {
    free(p->step);
    *p = (ql_plan){0};
}
