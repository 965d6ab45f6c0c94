/* Plans, checked by running them over an arena of labels: everything that is read was written, is
 * whole, and was not overwritten since. And the checker, checked with plans that are spoiled. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/graph/random_graph.h"
#include "tests/graph/simulate.h"
#include "tests/support/check.h"
#include "worker/model/arch.h"

static const char *const models[] = {
    "llama3-rope", "llama-linear-bias", "llama-tied-shards", "mistral-window", "qwen2", "qwen2-window", "qwen3"};

/* The decoder of a golden model with another number of layers. */
static void build(const char *model, int64_t layers, ql_graph *g) {
    char *folder = ql_format("%s/models/%s", QL_TEST_DATA, model);
    ql_model_config c;
    ok(ql_model_config_read(folder, &c));
    if (layers > 0) {
        c.layers = layers;
        c.layer_is_windowed = ql_realloc(c.layer_is_windowed, (size_t)layers * sizeof(bool));
        memset(c.layer_is_windowed, 0, (size_t)layers * sizeof(bool));
    }
    *g = (ql_graph){0};
    c.arch->build(&c, g);
    ql_model_config_free(&c);
    free(folder);
}

static ql_plan_request request(ql_plan_purpose purpose, ql_recompute recompute, int64_t tokens) {
    return (ql_plan_request){.purpose = purpose,
                             .max_tokens = tokens,
                             .recompute = recompute,
                             .deep_layers = 1000,
                             .logit_rows = tokens % 3 + 1};
}

static void check_plan(const ql_graph *g, ql_plan_request r, const char *what) {
    ql_plan p;
    simulation s;
    ql_plan_make(g, &r, &p);
    const char *complaint = simulate(g, &p, &s);
    if (complaint)
        fail_msg("%s, purpose %d, recompute %d in %d layers, %lld tokens%s: %s", what, r.purpose, r.recompute,
                 r.deep_layers, (long long)r.max_tokens, r.host_borders ? ", borders on the host" : "", complaint);
    simulation_free(&s);
    ql_plan_free(&p);
}

static void check_all_plans(const ql_graph *g, const char *what) {
    static const int64_t tokens[] = {1, 5, 16};
    static const ql_plan_purpose purposes[] = {QL_PLAN_SCORE, QL_PLAN_TRAIN, QL_PLAN_GENERATE};
    for (size_t t = 0; t < QL_LEN(tokens); t++)
        for (size_t i = 0; i < QL_LEN(purposes); i++)
            for (ql_recompute degree = QL_KEEP_ALL; degree <= QL_RECOMPUTE_LAYERS; degree++) {
                ql_plan_request r = request(purposes[i], degree, tokens[t]);
                check_plan(g, r, what);
                r.deep_layers = g->layers / 2;
                check_plan(g, r, what);
                r.host_borders = true;
                check_plan(g, r, what);
                r.deep_layers = 1000;
                check_plan(g, r, what);
            }
}

static void test_architectures(void **state) {
    (void)state;
    for (size_t i = 0; i < QL_LEN(models); i++)
        for (uint32_t one_of = 0; one_of < 4; one_of++) {
            ql_graph g;
            build(models[i], one_of == 3 ? 4 : 0, &g);
            random_adapters(i, one_of, &g);
            check_all_plans(&g, models[i]);
            ql_graph_free(&g);
        }
}

static int linear_node(const ql_graph *g, const char *module) {
    for (size_t i = 0; i < g->nodes; i++)
        if (g->node[i].weight != QL_NO_SLOT && !strcmp(g->slot[g->node[i].weight].module, module)) return (int)i;
    fail_msg("no module %s", module);
    return -1;
}

/* Nothing below the lowest adapter runs backward, and everything above it does, once. */
static void test_one_adapter(void **state) {
    (void)state;
    static const char *const modules[] = {"model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.v_proj",
                                          "model.layers.1.mlp.up_proj", "model.layers.3.mlp.down_proj"};
    for (size_t i = 0; i < QL_LEN(modules); i++) {
        ql_graph g;
        build("qwen3", 4, &g);
        int node = linear_node(&g, modules[i]);
        ql_graph_attach(&g, node, 0, 2);
        check_all_plans(&g, modules[i]);
        ql_plan_request r = request(QL_PLAN_TRAIN, QL_KEEP_ALL, 3);
        ql_plan p;
        ql_plan_make(&g, &r, &p);
        for (size_t k = 0; k < p.steps; k++) assert_true(!p.step[k].backward || p.step[k].node >= node);
        assert_int_equal(p.step[p.steps - 1].node, node);
        assert_int_equal(p.step[p.steps - 1].d_in[0], QL_ABSENT);
        ql_plan_free(&p);
        ql_graph_free(&g);
    }
}

static void test_random_graphs(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 150; seed++) {
        ql_graph g;
        char what[32];
        snprintf(what, sizeof what, "random graph %d", (int)seed);
        random_graph(seed, 1 + (int)(seed % 40), &g);
        random_adapters(seed, (uint32_t)(seed % 4), &g);
        check_all_plans(&g, what);
        ql_graph_free(&g);
    }
}

/* ---- memory ---- */

static void attach_everywhere(ql_graph *g) {
    int site = 0;
    for (size_t i = 0; i < g->nodes; i++)
        if (g->node[i].weight != QL_NO_SLOT && g->slot[g->node[i].weight].kind == QL_SLOT_LINEAR)
            ql_graph_attach(g, (int)i, site++, 4);
}

static void sizes(const ql_graph *g, ql_plan_request r, size_t *bytes, size_t *kept, int64_t *recomputed) {
    ql_plan p;
    ql_plan_make(g, &r, &p);
    *bytes = p.bytes;
    *kept = p.kept_bytes;
    *recomputed = p.recomputed;
    ql_plan_free(&p);
}

static void test_recomputation_saves_memory(void **state) {
    (void)state;
    for (size_t i = 0; i < QL_LEN(models); i++)
        for (int64_t layers = 3; layers <= 9; layers += 3) {
            ql_graph g;
            size_t bytes[4], kept[4];
            int64_t again[4];
            build(models[i], layers, &g);
            random_adapters(0, 1, &g);
            for (int r = 0; r < 4; r++) {
                sizes(&g, request(QL_PLAN_TRAIN, r, 64), &bytes[r], &kept[r], &again[r]);
                if (r == 0) continue;
                assert_true(kept[r] < kept[r - 1]);
                assert_true(bytes[r] < bytes[r - 1]);
                assert_true(again[r] > again[r - 1]);
            }
            assert_int_equal(again[0], 0);
            ql_graph_free(&g);
        }
}

/* Each layer more that is recomputed saves something. */
static void test_layers_one_by_one(void **state) {
    (void)state;
    ql_graph g;
    build("llama3-rope", 6, &g);
    random_adapters(0, 1, &g);
    for (ql_recompute degree = QL_RECOMPUTE_CHEAP; degree <= QL_RECOMPUTE_LAYERS; degree++) {
        size_t  bytes[8], kept[8];
        int64_t again[8];
        for (int n = 1; n <= 7; n++) { /* the embedding is a layer of its own */
            ql_plan_request r = request(QL_PLAN_TRAIN, degree, 64);
            r.deep_layers = n;
            sizes(&g, r, &bytes[n], &kept[n], &again[n]);
            if (n == 1 || (n == 7 && degree == QL_RECOMPUTE_LAYERS)) continue;
            assert_true(kept[n] < kept[n - 1]);
            assert_true(bytes[n] <= bytes[n - 1]);
            assert_true(again[n] > again[n - 1]);
        }
    }
    ql_graph_free(&g);
}

/* With activations of two bytes, and what crosses borders on the host. */
static void test_other_sizes(void **state) {
    (void)state;
    ql_graph g;
    ql_plan  p[3];
    build("qwen2", 8, &g);
    attach_everywhere(&g);
    ql_plan_request r = request(QL_PLAN_TRAIN, QL_RECOMPUTE_LAYERS, 64);
    ql_plan_make(&g, &r, &p[0]);
    r.element = 2;
    ql_plan_make(&g, &r, &p[1]);
    r.host_borders = true;
    ql_plan_make(&g, &r, &p[2]);
    size_t border = 64 * (size_t)g.value[g.node[0].out].width * 2;
    assert_true(p[1].kept_bytes < p[0].kept_bytes && 2 * p[1].kept_bytes > p[0].kept_bytes);
    assert_int_equal(p[0].host_bytes, 0);
    assert_int_equal(p[2].host_bytes, 7 * border); /* of the embedding and of all layers but the last two */
    assert_int_equal(p[1].kept_bytes - p[2].kept_bytes, 7 * border);
    assert_true(p[1].bytes > p[2].bytes);
    for (int i = 0; i < 3; i++) ql_plan_free(&p[i]);
    ql_graph_free(&g);
}

static void test_work(void **state) {
    (void)state;
    ql_graph g;
    build("llama3-rope", 6, &g);
    attach_everywhere(&g);
    double share[4];
    for (int degree = 0; degree < 4; degree++) {
        ql_plan         p;
        ql_plan_request r = request(QL_PLAN_TRAIN, degree, 64);
        ql_plan_make(&g, &r, &p);
        share[degree] = ql_plan_extra_work(&g, &p, 64);
        assert_true(degree == 0 ? share[0] == 0 : share[degree] > share[degree - 1]);
        ql_plan_free(&p);
    }
    assert_true(share[QL_RECOMPUTE_LAYERS] < 0.5); /* a forward pass is half of a step */
    ql_graph_free(&g);
}

/* With recomputation a further layer costs its border, the residual sum, and the inner product of
 * the one adapter whose product nobody needs again (down_proj). */
static void test_a_recomputed_layer_costs_its_border(void **state) {
    (void)state;
    size_t bytes, kept[2];
    int64_t again[2];
    for (int i = 0; i < 2; i++) {
        ql_graph g;
        build("llama3-rope", 8 + i, &g);
        attach_everywhere(&g);
        sizes(&g, request(QL_PLAN_TRAIN, QL_RECOMPUTE_LAYERS, 64), &bytes, &kept[i], &again[i]);
        ql_graph_free(&g);
    }
    size_t border = 64 * 48 * 4, inner = 64 * 4 * 4;
    assert_int_equal(kept[1] - kept[0], border + inner);
}

/* The last layer runs backward right after forward: all of it is there. */
static void test_the_last_layer_is_not_recomputed(void **state) {
    (void)state;
    ql_graph g;
    ql_plan p;
    build("qwen2", 4, &g);
    attach_everywhere(&g);
    ql_plan_request r = request(QL_PLAN_TRAIN, QL_RECOMPUTE_LAYERS, 8);
    ql_plan_make(&g, &r, &p);
    for (size_t i = g.nodes; i < p.steps; i++)
        if (!p.step[i].backward && g.node[p.step[i].node].rule->again == QL_RECOMPUTE_LAYERS)
            assert_true(g.node[p.step[i].node].layer < 4);
    ql_plan_free(&p);
    ql_graph_free(&g);
}

static void test_scoring_keeps_nothing(void **state) {
    (void)state;
    size_t bytes[2], kept;
    int64_t again;
    for (int i = 0; i < 2; i++) {
        ql_graph g;
        build("qwen2", 3 + 5 * i, &g);
        random_adapters(0, 1, &g);
        sizes(&g, request(QL_PLAN_SCORE, QL_KEEP_ALL, 32), &bytes[i], &kept, &again);
        assert_int_equal(kept + (size_t)again, 0);
        ql_graph_free(&g);
    }
    assert_int_equal(bytes[0], bytes[1]); /* whatever the depth */
}

static void test_same_plan_twice(void **state) {
    (void)state;
    ql_graph g;
    build("mistral-window", 5, &g);
    random_adapters(3, 2, &g);
    ql_plan_request r = request(QL_PLAN_TRAIN, QL_RECOMPUTE_LAYERS, 7);
    ql_plan a, b;
    ql_plan_make(&g, &r, &a);
    ql_plan_make(&g, &r, &b);
    assert_int_equal(a.steps, b.steps);
    assert_int_equal(a.bytes, b.bytes);
    assert_memory_equal(a.step, b.step, a.steps * sizeof *a.step);
    ql_plan_free(&a);
    ql_plan_free(&b);
    ql_graph_free(&g);
}

/* ---- the checker ---- */

typedef struct {
    ql_graph graph;
    ql_plan plan;
} subject;

static void open_subject(ql_recompute recompute, subject *s) {
    build("qwen3", 3, &s->graph);
    random_adapters(0, 1, &s->graph);
    ql_plan_request r = request(QL_PLAN_TRAIN, recompute, 5);
    ql_plan_make(&s->graph, &r, &s->plan);
}

static void close_subject(subject *s) {
    ql_plan_free(&s->plan);
    ql_graph_free(&s->graph);
}

static bool is_caught(const subject *s) {
    simulation facts;
    bool caught = simulate(&s->graph, &s->plan, &facts) != NULL;
    simulation_free(&facts);
    return caught;
}

/* Puts another value at a place and back. */
static void check_spoiled_place(const subject *s, int64_t *where, int64_t with, size_t step) {
    int64_t good = *where;
    *where = with;
    if (!is_caught(s))
        fail_msg("a spoiled plan passed: step %zu, place %lld instead of %lld", step, (long long)with, (long long)good);
    *where = good;
}

/* From the forward to the backward pass of a norm in the lowest layer, its `saved` is alive: whatever else is
 * put there must be noticed. */
static void test_overlaps_are_caught(void **state) {
    (void)state;
    subject s;
    open_subject(QL_KEEP_ALL, &s);
    int norm = linear_node(&s.graph, "model.layers.0.post_attention_layernorm");
    size_t first = 0, last = s.plan.steps - 1, tried = 0;
    while (s.plan.step[first].node != norm) first++;
    while (s.plan.step[last].node != norm) last--;
    int64_t alive = s.plan.step[first].saved;
    for (size_t i = first + 1; i < last; i++) {
        ql_plan_step *p = &s.plan.step[i];
        if (!p->backward) check_spoiled_place(&s, &p->out, alive, i);
        if (p->scratch != QL_ABSENT) check_spoiled_place(&s, &p->scratch, alive, i);
        if (p->backward && p->d_in[0] != QL_ABSENT) check_spoiled_place(&s, &p->d_in[0], alive, i);
        tried++;
    }
    assert_true(tried > 30);
    assert_false(is_caught(&s));
    close_subject(&s);
}

static void test_wrong_places_are_caught(void **state) {
    (void)state;
    for (ql_recompute recompute = QL_KEEP_ALL; recompute <= QL_RECOMPUTE_LAYERS; recompute++) {
        subject s;
        open_subject(recompute, &s);
        for (size_t i = 0; i < s.plan.steps; i++) {
            ql_plan_step *p = &s.plan.step[i];
            for (int k = 0; k < QL_MAX_INPUTS; k++)
                if (p->in[k] != QL_ABSENT) check_spoiled_place(&s, &p->in[k], p->in[k] + 64, i);
            if (p->out != QL_ABSENT) check_spoiled_place(&s, &p->out, p->out + 64, i);
            if (p->d_out != QL_ABSENT) check_spoiled_place(&s, &p->d_out, QL_ABSENT, i);
            if (p->d_in[0] != QL_ABSENT) check_spoiled_place(&s, &p->d_in[0], p->d_in[0] + 4, i);
        }
        assert_false(is_caught(&s));
        close_subject(&s);
    }
}

static void test_wrong_steps_are_caught(void **state) {
    (void)state;
    subject s;
    open_subject(QL_RECOMPUTE_LAYERS, &s);
    for (size_t i = 0; i < s.plan.steps; i++) {
        ql_plan_step *p = &s.plan.step[i], good = *p;
        for (int k = 0; k < QL_MAX_INPUTS; k++) {
            if (p->d_in[k] == QL_ABSENT) continue;
            p->accumulate[k] = !p->accumulate[k];
            assert_true(is_caught(&s));
            *p = good;
        }
        *p = s.plan.step[i > 0 ? i - 1 : 1]; /* a step is missing, another comes twice */
        assert_true(is_caught(&s));
        *p = good;
    }
    for (int more = -64; more <= 64; more += 128) {
        s.plan.bytes += (size_t)more;
        assert_true(is_caught(&s));
        s.plan.bytes -= (size_t)more;
    }
    close_subject(&s);
}

/* Layers of which four send what they make. */
static void open_subject_with_transfers(subject *s) {
    build("qwen3", 5, &s->graph);
    random_adapters(0, 1, &s->graph);
    ql_plan_request r = request(QL_PLAN_TRAIN, QL_RECOMPUTE_LAYERS, 5);
    r.host_borders = true;
    ql_plan_make(&s->graph, &r, &s->plan);
    assert_false(is_caught(s));
}

static size_t next_of_kind(const subject *s, ql_step_kind kind, size_t from) {
    while (from < s->plan.steps && s->plan.step[from].kind != kind) from++;
    return from;
}

static int count_of_kind(const subject *s, ql_step_kind kind) {
    int n = 0;
    for (size_t i = 0; (i = next_of_kind(s, kind, i)) < s->plan.steps; i++) n++;
    return n;
}

static void swap_steps(const subject *s, size_t a, size_t b) {
    ql_plan_step t = s->plan.step[a];
    s->plan.step[a] = s->plan.step[b];
    s->plan.step[b] = t;
}

/* A transfer that begins after somebody waited for it, or goes elsewhere, or never. */
static void test_wrong_transfers_are_caught(void **state) {
    (void)state;
    static const ql_step_kind kinds[] = {QL_STEP_SEND, QL_STEP_FETCH};
    subject s;
    open_subject_with_transfers(&s);
    for (size_t k = 0; k < QL_LEN(kinds); k++) {
        assert_int_equal(count_of_kind(&s, kinds[k]), 4);
        for (size_t i = 0; (i = next_of_kind(&s, kinds[k], i)) < s.plan.steps; i++) {
            ql_plan_step *p = &s.plan.step[i];
            size_t wait = next_of_kind(&s, QL_STEP_AWAIT, i);
            check_spoiled_place(&s, &p->out, p->out + 64, i);
            check_spoiled_place(&s, &p->host, p->host + 64, i);
            check_spoiled_place(&s, &p->host, QL_ABSENT, i);
            if (kinds[k] == QL_STEP_FETCH) { /* too late: whoever reads it does not wait */
                swap_steps(&s, i, wait);
                assert_true(is_caught(&s));
                swap_steps(&s, i, wait);
            }
            p->kind = kinds[k] == QL_STEP_SEND ? QL_STEP_FETCH : QL_STEP_SEND;
            assert_true(is_caught(&s));
            p->kind = kinds[k];
        }
    }
    s.plan.host_bytes -= 64;
    assert_true(is_caught(&s));
    s.plan.host_bytes += 64;
    close_subject(&s);
}

/* Nobody waits: what is fetched is read too early, what is sent is overwritten. */
static void test_missing_waits_are_caught(void **state) {
    (void)state;
    subject s;
    open_subject_with_transfers(&s);
    assert_int_equal(count_of_kind(&s, QL_STEP_AWAIT), 8);
    for (size_t i = 0; (i = next_of_kind(&s, QL_STEP_AWAIT, i)) < s.plan.steps; i++) {
        size_t end = s.plan.steps - 1;
        for (size_t k = i; k < end; k++) swap_steps(&s, k, k + 1);
        s.plan.steps--;
        if (!is_caught(&s)) fail_msg("step %zu, which waits for transfers, is not missed", i);
        s.plan.steps++;
        for (size_t k = end; k > i; k--) swap_steps(&s, k, k - 1);
    }
    assert_false(is_caught(&s));
    close_subject(&s);
}

/* A place is taken while what lies there is still being sent, or is already being fetched. */
static void test_hasty_places_are_caught(void **state) {
    (void)state;
    subject s;
    open_subject_with_transfers(&s);
    int tried = 0;
    for (size_t i = 0; i < s.plan.steps; i++) {
        if (s.plan.step[i].kind != QL_STEP_SEND && s.plan.step[i].kind != QL_STEP_FETCH) continue;
        for (size_t k = i + 1; s.plan.step[k].kind != QL_STEP_AWAIT; k++) {
            ql_plan_step *p = &s.plan.step[k];
            if (p->kind != QL_STEP_COMPUTE) continue;
            if (!p->backward) check_spoiled_place(&s, &p->out, s.plan.step[i].out, k);
            if (p->scratch != QL_ABSENT) check_spoiled_place(&s, &p->scratch, s.plan.step[i].out, k);
            tried++;
        }
    }
    assert_true(tried > 40);
    close_subject(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_architectures),
        cmocka_unit_test(test_one_adapter),
        cmocka_unit_test(test_random_graphs),
        cmocka_unit_test(test_recomputation_saves_memory),
        cmocka_unit_test(test_layers_one_by_one),
        cmocka_unit_test(test_other_sizes),
        cmocka_unit_test(test_work),
        cmocka_unit_test(test_a_recomputed_layer_costs_its_border),
        cmocka_unit_test(test_the_last_layer_is_not_recomputed),
        cmocka_unit_test(test_scoring_keeps_nothing),
        cmocka_unit_test(test_same_plan_twice),
        cmocka_unit_test(test_overlaps_are_caught),
        cmocka_unit_test(test_wrong_places_are_caught),
        cmocka_unit_test(test_wrong_steps_are_caught),
        cmocka_unit_test(test_wrong_transfers_are_caught),
        cmocka_unit_test(test_missing_waits_are_caught),
        cmocka_unit_test(test_hasty_places_are_caught),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
