#include "worker/graph/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/graph/place.h"

typedef struct {
    const ql_graph *graph;
    ql_plan        *plan;
    ql_piece       *pieces;
    size_t          count, capacity;
    int            *forward;  /* per value: the piece that the forward pass fills, or -1      */
    int            *backward; /* per value: the piece that the backward pass reads; -1: none yet */
    int            *gradient; /* per value: the piece of its gradient                         */
    bool           *wants_gradient; /* per value: an adapter lies below it                    */
    bool           *crosses;  /* per value: another layer reads it                            */
    int64_t        *host_at;  /* per value: where it waits on the host; QL_ABSENT: it does not */
    int            *asked_by; /* per value: the layer whose backward is first to read it as the forward pass left it */
    int             layer;    /* whose backward is being scheduled                            */
    int             head_step;
    size_t          awaited;  /* transfers before this step are done                          */
} planner;

/* Pieces are named by index while the schedule is made; places replace the names at the end. */
static int new_piece(planner *p, size_t bytes, int step) {
    ql_piece c = {.bytes = ql_align(bytes, 64), .first = step, .last = step};
    QL_PUSH(p->pieces, p->count, p->capacity, c);
    return (int)p->count - 1;
}

static size_t bytes_of(const planner *p, int64_t width, size_t element) {
    return (size_t)p->plan->request.max_tokens * (size_t)width * element;
}

static int piece_of(planner *p, ql_value v, int step) {
    const ql_value_info *info = &p->graph->value[v];
    return new_piece(p, bytes_of(p, info->width, info->is_saved ? sizeof(float) : p->plan->request.element), step);
}

static int use(planner *p, int name, int step) {
    if (name >= 0 && p->pieces[name].last < step) p->pieces[name].last = step;
    return name;
}

static ql_plan_step empty_step(int node, bool backward) {
    ql_plan_step s = {.node = node, .backward = backward};
    s.out = s.saved = s.d_out = s.scratch = s.host = QL_ABSENT;
    for (int i = 0; i < QL_MAX_INPUTS; i++) s.in[i] = s.d_in[i] = QL_ABSENT;
    return s;
}

static int64_t scratch_piece(planner *p, const ql_node *n, bool backward, int step) {
    if (!n->rule->scratch) return QL_ABSENT;
    int64_t width = n->rule->scratch(p->graph, n, backward);
    return width > 0 ? new_piece(p, bytes_of(p, width, sizeof(float)), step) : QL_ABSENT;
}

static void push_step(planner *p, ql_plan_step s) {
    QL_PUSH(p->plan->step, p->plan->steps, p->plan->steps_capacity, s);
}

/* `made`: the pieces of this pass, forward or again in backward. */
static void schedule_forward(planner *p, int node, int *made) {
    const ql_node *n = &p->graph->node[node];
    int            step = (int)p->plan->steps;
    ql_plan_step   s = empty_step(node, false);
    for (int i = 0; i < QL_MAX_INPUTS; i++)
        if (n->in[i] != QL_NO_VALUE) s.in[i] = use(p, made[n->in[i]], step);
    s.out = made[n->out] = piece_of(p, n->out, step);
    if (n->saved != QL_NO_VALUE) s.saved = made[n->saved] = piece_of(p, n->saved, step);
    s.scratch = scratch_piece(p, n, false, step);
    push_step(p, s);
}

/* ---- what is kept, and what is made again ---- */

static ql_recompute degree_of(const planner *p, int layer) {
    const ql_plan_request *r = &p->plan->request;
    if (r->recompute == QL_KEEP_ALL) return QL_KEEP_ALL;
    bool is_last = layer >= p->graph->layers - 2;
    ql_recompute degree = layer < r->deep_layers ? r->recompute : r->recompute - 1;
    return is_last && degree == QL_RECOMPUTE_LAYERS ? QL_RECOMPUTE_ATTENTION : degree;
}

/* What is `saved` comes along when its node runs again before it is read; for its sake alone no
 * node does. */
static bool is_made_again(const planner *p, ql_value v) {
    const ql_node *n = &p->graph->node[p->graph->value[v].producer];
    return !p->graph->value[v].is_saved && !p->crosses[v] && degree_of(p, n->layer) >= n->rule->again;
}

/* The piece from which backward reads v, at the step that comes next. */
static int at_hand(planner *p, ql_value v) {
    if (p->backward[v] >= 0) return p->backward[v];
    if (!is_made_again(p, v)) {
        p->asked_by[v] = p->layer;
        return p->backward[v] = p->forward[v];
    }
    int            node = p->graph->value[v].producer;
    const ql_node *n = &p->graph->node[node];
    for (int i = 0; i < QL_MAX_INPUTS; i++)
        if (n->in[i] != QL_NO_VALUE) (void)at_hand(p, n->in[i]);
    schedule_forward(p, node, p->backward);
    p->plan->recomputed++;
    return p->backward[v];
}

/* ---- what waits on the host ---- */

static int layer_of(const planner *p, ql_value v) {
    return p->graph->node[p->graph->value[v].producer].layer;
}

static void push_transfer(planner *p, ql_step_kind kind, ql_value v, int name) {
    ql_plan_step s = empty_step(p->graph->value[v].producer, false);
    s.kind = kind;
    s.out = name;
    s.host = p->host_at[v];
    push_step(p, s);
}

/* What is moved keeps its place until then. */
static void await_transfers(planner *p) {
    size_t       now = p->plan->steps;
    ql_plan_step s = empty_step(0, false);
    for (size_t i = p->awaited; i < now; i++) {
        if (p->plan->step[i].kind == QL_STEP_COMPUTE) continue;
        use(p, (int)p->plan->step[i].out, (int)now);
        s.kind = QL_STEP_AWAIT;
    }
    if (s.kind == QL_STEP_AWAIT) push_step(p, s);
    p->awaited = p->plan->steps;
}

/* Forward: what a layer made goes out while the next layer runs. */
static void send_borders(planner *p, int layer) {
    await_transfers(p);
    for (ql_value v = 0; v < (ql_value)p->graph->values; v++)
        if (p->host_at[v] != QL_ABSENT && layer_of(p, v) == layer) push_transfer(p, QL_STEP_SEND, v, p->forward[v]);
}

/* Backward: what the next layer reads comes in while this one runs. */
static void fetch_borders(planner *p, int layer) {
    await_transfers(p);
    for (ql_value v = 0; v < (ql_value)p->graph->values; v++) {
        if (p->host_at[v] == QL_ABSENT || p->asked_by[v] != layer - 1) continue;
        p->backward[v] = piece_of(p, v, (int)p->plan->steps);
        push_transfer(p, QL_STEP_FETCH, v, p->backward[v]);
    }
}

/* After a schedule without transfers, which shows who reads what. */
static void choose_what_waits(planner *p) {
    for (ql_value v = 0; v < (ql_value)p->graph->values; v++) {
        if (!p->crosses[v] || p->asked_by[v] == QL_ABSENT || p->asked_by[v] >= p->graph->layers - 2) continue;
        p->host_at[v] = (int64_t)p->plan->host_bytes;
        p->plan->host_bytes += p->pieces[p->forward[v]].bytes;
    }
}

/* ---- head and backward ---- */

static void schedule_head(planner *p, int node, bool training) {
    const ql_node *n = &p->graph->node[node];
    int            step = (int)p->plan->steps;
    ql_plan_step   s = empty_step(node, training);
    s.in[0] = use(p, p->forward[n->in[0]], step);
    if (training && p->wants_gradient[n->in[0]])
        s.d_in[0] = p->gradient[n->in[0]] = piece_of(p, n->in[0], step);
    s.scratch = scratch_piece(p, n, training, step);
    push_step(p, s);
    p->head_step = step;
    p->plan->head_step = (size_t)step;
}

static bool has_backward(const planner *p, const ql_node *n) {
    return n->out != QL_NO_VALUE && n->rule->backward && p->wants_gradient[n->out];
}

static bool reads_input(const ql_node *n, int i) {
    if (n->in[i] == QL_NO_VALUE || !(n->rule->reads_in >> i & 1)) return false;
    return !n->rule->reads_only_for_adapter || n->site != QL_NO_SITE;
}

/* What a node's backward reads is made before its step has a number. */
static void bring_to_hand(planner *p, const ql_node *n) {
    for (int i = 0; i < QL_MAX_INPUTS; i++)
        if (reads_input(n, i)) (void)at_hand(p, n->in[i]);
    if (n->rule->reads_out) (void)at_hand(p, n->out);
    if (n->saved != QL_NO_VALUE) (void)at_hand(p, n->saved);
}

static void schedule_gradient(planner *p, const ql_node *n, int i, int step, ql_plan_step *s) {
    ql_value v = n->in[i];
    if (!p->wants_gradient[v]) {
        if (n->rule->writes_all) s->d_in[i] = piece_of(p, v, step);
        return;
    }
    s->accumulate[i] = p->gradient[v] >= 0;
    if (!s->accumulate[i]) p->gradient[v] = piece_of(p, v, step);
    s->d_in[i] = use(p, p->gradient[v], step);
    if (s->accumulate[i] && !n->rule->can_accumulate) {
        fprintf(stderr, "qlora: error: internal: %s cannot add to a gradient\n", n->rule->name);
        abort();
    }
}

static void schedule_backward(planner *p, int node) {
    const ql_node *n = &p->graph->node[node];
    bring_to_hand(p, n);
    int          step = (int)p->plan->steps;
    ql_plan_step s = empty_step(node, true);
    for (int i = 0; i < QL_MAX_INPUTS; i++) {
        if (n->in[i] == QL_NO_VALUE) continue;
        if (reads_input(n, i)) s.in[i] = use(p, p->backward[n->in[i]], step);
        schedule_gradient(p, n, i, step, &s);
    }
    if (n->rule->reads_out) s.out = use(p, p->backward[n->out], step);
    if (n->saved != QL_NO_VALUE) s.saved = use(p, p->backward[n->saved], step);
    s.d_out = use(p, p->gradient[n->out], step);
    s.scratch = scratch_piece(p, n, true, step);
    push_step(p, s);
}

static void schedule_all_backward(planner *p) {
    const ql_graph *g = p->graph;
    int             i = (int)g->nodes - 2;
    for (p->layer = g->layers - 1; p->layer >= 0; p->layer--) {
        fetch_borders(p, p->layer);
        for (; i >= 0 && g->node[i].layer == p->layer; i--)
            if (has_backward(p, &g->node[i])) schedule_backward(p, i);
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

static void find_borders(planner *p) {
    const ql_graph *g = p->graph;
    for (size_t i = 0; i < g->nodes; i++)
        for (int k = 0; k < QL_MAX_INPUTS; k++) {
            ql_value v = g->node[i].in[k];
            if (v != QL_NO_VALUE && g->node[g->value[v].producer].layer != g->node[i].layer) p->crosses[v] = true;
        }
}

/* ---- places ---- */

static void place_pieces(planner *p) {
    p->plan->bytes = ql_place_pieces(p->pieces, p->count);
    for (size_t i = 0; i < p->count; i++) {
        const ql_piece *c = &p->pieces[i];
        if (c->first < p->head_step && c->last > p->head_step) p->plan->kept_bytes += c->bytes;
    }
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
    size_t         vocab = (size_t)p->graph->slot[head->weight].rows;
    int            name = new_piece(p, (size_t)p->plan->request.logit_rows * vocab * sizeof(float), p->head_step);
    p->plan->logits_bytes = p->pieces[name].bytes;
    return name;
}

static void schedule(planner *p) {
    const ql_graph *g = p->graph;
    bool            training = p->plan->request.purpose == QL_PLAN_TRAIN;
    find_gradients(p);
    find_borders(p);
    for (size_t i = 0; i + 1 < g->nodes; i++) {
        schedule_forward(p, (int)i, p->forward);
        if (g->node[i + 1].layer != g->node[i].layer) send_borders(p, g->node[i].layer);
    }
    schedule_head(p, (int)g->nodes - 1, training);
    if (training) schedule_all_backward(p);
}

static void start_over(planner *p) {
    p->plan->steps = p->count = p->awaited = 0;
    p->plan->recomputed = 0;
    for (size_t v = 0; v < p->graph->values; v++) p->forward[v] = p->backward[v] = p->gradient[v] = QL_ABSENT;
}

static planner open_planner(const ql_graph *g, ql_plan *plan) {
    planner p = {.graph = g, .plan = plan};
    p.forward = QL_NEW_ARRAY(int, g->values);
    p.backward = QL_NEW_ARRAY(int, g->values);
    p.gradient = QL_NEW_ARRAY(int, g->values);
    p.asked_by = QL_NEW_ARRAY(int, g->values);
    p.host_at = QL_NEW_ARRAY(int64_t, g->values);
    p.wants_gradient = QL_NEW_ARRAY(bool, g->values);
    p.crosses = QL_NEW_ARRAY(bool, g->values);
    for (size_t v = 0; v < g->values; v++) p.asked_by[v] = QL_ABSENT;
    for (size_t v = 0; v < g->values; v++) p.host_at[v] = QL_ABSENT;
    start_over(&p);
    return p;
}

static void close_planner(planner *p) {
    free(p->pieces);
    free(p->forward);
    free(p->backward);
    free(p->gradient);
    free(p->asked_by);
    free(p->host_at);
    free(p->wants_gradient);
    free(p->crosses);
}

void ql_plan_make(const ql_graph *g, const ql_plan_request *request, ql_plan *out) {
    *out = (ql_plan){.request = *request};
    if (out->request.element == 0) out->request.element = sizeof(float);
    planner p = open_planner(g, out);
    schedule(&p);
    if (request->host_borders && request->purpose == QL_PLAN_TRAIN) {
        choose_what_waits(&p);
        start_over(&p);
        schedule(&p);
    }
    int logits = logits_piece(&p);
    place_pieces(&p);
    out->logits_at = p.pieces[logits].offset;
    resolve_steps(&p);
    close_planner(&p);
}

/* A backward pass is about as much work as the forward pass: weights are frozen. */
double ql_plan_work(const ql_graph *g, int64_t length) {
    double once = 0;
    for (size_t i = 0; i < g->nodes; i++) once += g->node[i].rule->work(g, &g->node[i], length);
    return 2 * once;
}

double ql_plan_extra_work(const ql_graph *g, const ql_plan *p, int64_t length) {
    double again = 0;
    bool   headed = false;
    for (size_t i = 0; i < p->steps; i++) {
        if (p->step[i].kind != QL_STEP_COMPUTE) continue;
        const ql_node *n = &g->node[p->step[i].node];
        bool           is_head = n->out == QL_NO_VALUE;
        headed |= is_head;
        if (headed && !is_head && !p->step[i].backward) again += n->rule->work(g, n, length);
    }
    return again / ql_plan_work(g, length);
}

void ql_plan_free(ql_plan *p) {
    free(p->step);
    *p = (ql_plan){0};
}
