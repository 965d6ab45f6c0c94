/* The parts of a model that are computed rather than loaded: rotary tables, the choice of modules
 * that carry LoRA, and the adapter's layout, scale and start. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "tests/quant/scratch.h"
#include "tests/support/late_transfers.h"
#include "worker/model/adapter.h"
#include "worker/model/arch.h"
#include "worker/model/rope.h"
#include "worker/model/targets.h"

/* ---- rotary tables ---- */

enum { DIM = 16, HALF = DIM / 2, POSITIONS = 200 };

/* Inverse frequencies and factor as transformers 5.23 has them (ROPE_INIT_FUNCTIONS), head_dim 16. */
static const struct {
    ql_rope_config config;
    double factor;
    double frequency[HALF];
} ropes[] = {
    {{.theta = 10000},
     1,
     {1, 0.31622776601683794, 0.1, 0.031622776601683794, 0.01, 0.0031622776601683794, 0.001, 0.00031622776601683794}},
    {{.kind = QL_ROPE_LINEAR, .theta = 10000, .factor = 4},
     1,
     {0.25, 0.079056941, 0.0250000004, 0.00790569466, 0.00249999994, 0.000790569466, 0.000250000012, 7.90569466e-05}},
    {{.kind = QL_ROPE_LLAMA3,
      .theta = 500000,
      .factor = 8,
      .low_freq_factor = 1,
      .high_freq_factor = 4,
      .original_positions = 64},
     1,
     {1, 0.079403013, 0.00470075384, 0.000911583134, 0.000176776681, 3.42810235e-05, 6.64786967e-06, 1.28917316e-06}},
    {{.kind = QL_ROPE_YARN,
      .theta = 10000,
      .factor = 4,
      .beta_fast = 32,
      .beta_slow = 1,
      .truncate = true,
      .original_positions = 64},
     1.138629436111989,
     {1, 0.237170815, 0.049999997, 0.00790569466, 0.00249999994, 0.000790569466, 0.000250000012, 7.90569466e-05}},
    {{.kind = QL_ROPE_YARN, .theta = 10000, .factor = 4, .beta_fast = 16, .beta_slow = 2, .original_positions = 64},
     1.138629436111989,
     {1, 0.14849025, 0.0250000004, 0.00790569466, 0.00249999994, 0.000790569466, 0.000250000012, 7.90569466e-05}},
    {{.kind = QL_ROPE_YARN,
      .theta = 1e6,
      .factor = 8,
      .beta_fast = 32,
      .beta_slow = 1,
      .attention_factor = 1.5,
      .truncate = true,
      .original_positions = 32},
     1.5,
     {1, 0.0222284924, 0.00395284733, 0.000702926656, 0.000125000006, 2.22284925e-05, 3.95284678e-06, 7.02926684e-07}},
};

/* The table is made of f32 angles: p * f rounds to about 1e-7 of itself. */
static void test_rope_tables(void **state) {
    (void)state;
    for (size_t i = 0; i < QL_LEN(ropes); i++) {
        float *c, *s;
        ql_rope_tables(&ropes[i].config, DIM, POSITIONS, &c, &s);
        for (int64_t p = 0; p < POSITIONS; p++)
            for (int64_t k = 0; k < HALF; k++) {
                double angle = (double)p * ropes[i].frequency[k], error = 1e-7 + 2.5e-7 * angle;
                assert_true(fabs((double)c[p * HALF + k] - cos(angle) * ropes[i].factor) <= error * ropes[i].factor);
                assert_true(fabs((double)s[p * HALF + k] - sin(angle) * ropes[i].factor) <= error * ropes[i].factor);
            }
        free(c);
        free(s);
    }
}

/* The tables of fewer positions are the beginning of those of more. */
static void test_rope_tables_are_prefixes(void **state) {
    (void)state;
    for (size_t i = 0; i < QL_LEN(ropes); i++) {
        float *c, *s, *c1, *s1;
        ql_rope_tables(&ropes[i].config, DIM, POSITIONS, &c, &s);
        ql_rope_tables(&ropes[i].config, DIM, 10, &c1, &s1);
        assert_memory_equal(c, c1, 10 * HALF * sizeof *c);
        assert_memory_equal(s, s1, 10 * HALF * sizeof *s);
        free(c);
        free(s);
        free(c1);
        free(s1);
    }
}

/* ---- targets ---- */

/* The graph of golden model qwen3 (two layers) and a configuration with these keys. */
static void set_up(const char *const *keys, ql_graph *g, ql_config *c) {
    ql_model_config model;
    char *overrides[8];
    size_t n = 0;
    for (; keys[n]; n++) overrides[n] = ql_strdup(keys[n]);
    ok(ql_config_from_overrides(overrides, n, c));
    for (size_t i = 0; i < n; i++) free(overrides[i]);
    ok(ql_model_config_read(QL_TEST_DATA "/models/qwen3", &model));
    *g = (ql_graph){0};
    model.arch->build(&model, g);
    ql_model_config_free(&model);
}

#define KEYS(...) ((const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

/* The chosen modules, without "model.layers.", each followed by a blank. */
static void check_targets(const char *const *keys, const char *expected) {
    ql_graph g;
    ql_config c;
    int *nodes;
    size_t count;
    ql_str text = {0};
    set_up(keys, &g, &c);
    ok(ql_targets_attach(&g, &c, &nodes, &count));
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(g.node[nodes[i]].site, i); /* sites in order */
        ql_str_printf(&text, "%s ", g.slot[g.node[nodes[i]].weight].module + strlen("model.layers."));
    }
    assert_string_equal(text.data, expected);
    for (size_t i = 0, sites = 0; i < g.nodes; i++) {
        sites += g.node[i].site != QL_NO_SITE;
        if (i + 1 == g.nodes) assert_int_equal(sites, count);
    }
    ql_str_free(&text);
    free(nodes);
    ql_graph_free(&g);
    ql_config_free(&c);
}

static void refuse_targets(const char *const *keys, const char *part) {
    ql_graph g;
    ql_config c;
    int *nodes;
    size_t count;
    set_up(keys, &g, &c);
    refused(ql_targets_attach(&g, &c, &nodes, &count), QL_USAGE, part);
    free(nodes);
    ql_graph_free(&g);
    ql_config_free(&c);
}

#define ATTENTION(L) L ".self_attn.q_proj " L ".self_attn.k_proj " L ".self_attn.v_proj " L ".self_attn.o_proj "
#define MLP(L) L ".mlp.gate_proj " L ".mlp.up_proj " L ".mlp.down_proj "

static void test_all_linear(void **state) {
    (void)state;
    check_targets(KEYS(), ATTENTION("0") MLP("0") ATTENTION("1") MLP("1"));
    check_targets(KEYS("target_modules=all-linear"), ATTENTION("0") MLP("0") ATTENTION("1") MLP("1"));
}

static void test_lists(void **state) {
    (void)state;
    check_targets(KEYS("target_modules=[q_proj, v_proj]"),
                  "0.self_attn.q_proj 0.self_attn.v_proj 1.self_attn.q_proj 1.self_attn.v_proj ");
    check_targets(KEYS("target_modules=[model.layers.1.mlp.up_proj]"), "1.mlp.up_proj ");
    check_targets(KEYS("target_modules=[0.mlp.up_proj, mlp.down_proj]"),
                  "0.mlp.up_proj 0.mlp.down_proj 1.mlp.down_proj ");
    /* Suffixes are whole parts of a name. */
    refuse_targets(KEYS("target_modules=[proj]"), "target_modules: \"proj\" matches no linear layer");
    refuse_targets(KEYS("target_modules=[q_proj, query]"), "\"query\" matches no linear layer; layers are named like");
    refuse_targets(KEYS("target_modules=[self_attn]"), "\"self_attn\" matches no linear layer");
}

static void test_expressions(void **state) {
    (void)state;
    check_targets(KEYS("target_modules=.*\\.0\\..*(q|k)_proj"), "0.self_attn.q_proj 0.self_attn.k_proj ");
    check_targets(KEYS("target_modules=model.layers.1.mlp.up_proj"), "1.mlp.up_proj ");
    /* It must match the whole name, whichever alternative comes first. */
    check_targets(KEYS("target_modules=model|model\\.layers\\.0\\.mlp\\.up_proj"), "0.mlp.up_proj ");
    refuse_targets(KEYS("target_modules=q_pro."), "target_modules: no linear layer is selected");
    refuse_targets(KEYS("target_modules=.*q_pro"), "target_modules: no linear layer is selected");
    refuse_targets(KEYS("target_modules=.*(q_proj"), "is no regular expression");
}

static void test_exclusions(void **state) {
    (void)state;
    check_targets(KEYS("exclude_modules=[mlp.gate_proj, up_proj, down_proj, model.layers.1.self_attn.o_proj]"),
                  ATTENTION("0") "1.self_attn.q_proj 1.self_attn.k_proj 1.self_attn.v_proj ");
    check_targets(KEYS("exclude_modules=.*(mlp|k_proj).*"),
                  "0.self_attn.q_proj 0.self_attn.v_proj 0.self_attn.o_proj "
                  "1.self_attn.q_proj 1.self_attn.v_proj 1.self_attn.o_proj ");
    refuse_targets(KEYS("target_modules=[q_proj]", "exclude_modules=[q_proj]"), "no linear layer is selected");
}

static void test_others_are_refused(void **state) {
    (void)state;
    refuse_targets(KEYS("target_modules=[q_proj, lm_head]"), "target_modules: lm_head is not a linear layer inside");
    refuse_targets(KEYS("target_modules=[embed_tokens]"), "target_modules: model.embed_tokens is not a linear layer");
    refuse_targets(KEYS("target_modules=[q_norm]"), "q_norm is not a linear layer");
    refuse_targets(KEYS("target_modules=.*"), "is not a linear layer inside the model");
}

/* ---- the adapter ---- */

static void open_adapter_with(const char *const *keys, bool training, bool paged, ql_graph *g, ql_config *c, ql_adapter *a) {
    ql_device *d;
    ql_adapter_shape shape;
    set_up(keys, g, c);
    ok(ql_device_open("cpu", 0, 1, &d));
    ok(ql_adapter_plan(g, c, &shape));
    ok(ql_adapter_open(d, &shape, training, paged, a));
}

static void open_adapter(const char *const *keys, bool training, ql_graph *g, ql_config *c, ql_adapter *a) {
    open_adapter_with(keys, training, false, g, c, a);
}

static void close_adapter(ql_graph *g, ql_config *c, ql_adapter *a) {
    ql_device *d = a->device;
    ql_adapter_close(a);
    ql_device_close(d);
    ql_graph_free(g);
    ql_config_free(c);
}

/* Marks the elements [at, at + n) as taken, once. */
static void take(uint8_t *taken, int64_t at, int64_t n) {
    assert_int_equal(at % 16, 0);
    for (int64_t i = at; i < at + n; i++) assert_int_equal(taken[i]++, 0);
}

static void test_layout(void **state) {
    (void)state;
    ql_graph g;
    ql_config c;
    ql_adapter a;
    open_adapter(KEYS("lora_r=3"), true, &g, &c, &a);
    const ql_adapter_shape *s = &a.shape;
    uint8_t *taken = QL_NEW_ARRAY(uint8_t, (size_t)s->length);
    int64_t trainable = 0;
    assert_int_equal(s->modules, 14);
    for (size_t i = 0; i < s->modules; i++) {
        const ql_adapter_module *m = &s->module[i];
        take(taken, m->a_at, 3 * m->in);
        take(taken, m->b_at, 3 * m->out);
        trainable += 3 * (m->in + m->out);
        assert_int_equal(a.sites[i].a.data.offset % 64, 0);
        assert_int_equal(a.sites[i].b.data.offset % 64, 0);
        assert_int_equal(a.sites[i].sum_b.offset - a.sum.offset, 8 * m->b_at);
        assert_int_equal(a.sites[i].a.in, m->in);
        assert_int_equal(a.sites[i].b.out, m->out);
        assert_int_equal(a.sites[i].id, i);
    }
    assert_int_equal(s->trainable, trainable);
    assert_true(s->length % 16 == 0 && s->length >= trainable && s->length < trainable + 32 * (int64_t)s->modules);
    free(taken);
    close_adapter(&g, &c, &a);
}

/* Runs do not overlap, and memory is what was announced. */
static void test_adapter_memory(void **state) {
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        bool training = kind > 0, paged = kind > 1;
        ql_graph g;
        ql_config c;
        ql_adapter a;
        open_adapter_with(KEYS("lora_r=5"), training, paged, &g, &c, &a);
        size_t announced = ql_adapter_bytes(&a.shape, training, paged);
        assert_int_equal(ql_device_memory(a.device).bytes_now, announced);
        assert_int_equal(a.paged != NULL, paged);
        const ql_tensor runs[] = {a.value, a.moment1, a.moment2, a.gradient, a.sum, a.partial};
        size_t end = 0;
        for (size_t i = 0; i < QL_LEN(runs); i++) {
            bool is_moment = i == 1 || i == 2;
            assert_int_equal(ql_present(runs[i]), i == 0 || (training && !(paged && is_moment)));
            if (!ql_present(runs[i])) continue;
            assert_true(runs[i].offset >= end && runs[i].offset % 64 == 0);
            end = runs[i].offset + ql_bytes(runs[i]);
        }
        assert_true(end <= announced);
        close_adapter(&g, &c, &a);
    }
}

static float *values_of(const ql_adapter *a) {
    float *x = QL_NEW_ARRAY(float, (size_t)a->shape.length);
    ok(ql_download(a->device, x, a->value));
    return x;
}

typedef struct {
    double sum, squares, most;
    int64_t n, zeros;
} statistics;

static void add_up(const float *x, int64_t n, double bound, statistics *s) {
    for (int64_t i = 0; i < n; i++) {
        double u = (double)x[i] / bound;
        s->sum += u;
        s->squares += u * u;
        s->most = fmax(s->most, fabs(u));
        s->zeros += x[i] == 0;
        s->n++;
    }
}

/* Uniform in [-1, 1): mean 0, mean square 1/3; six standard deviations. */
static void check_uniform(const statistics *s) {
    double n = (double)s->n;
    assert_true(s->n > 10000);
    assert_true(fabs(s->sum / n) < 6 * sqrt(1 / (3 * n)));
    assert_true(fabs(s->squares / n - 1.0 / 3) < 6 * sqrt(4 / (45 * n)));
    assert_true(s->most <= 1.000001 && s->most > 0.999);
}

static void test_start(void **state) {
    (void)state;
    for (int zero_b = 0; zero_b < 2; zero_b++) {
        ql_graph g;
        ql_config c;
        ql_adapter a;
        open_adapter(KEYS("lora_r=32"), false, &g, &c, &a);
        ok(ql_adapter_init(&a, 42, zero_b));
        float *x = values_of(&a);
        statistics in_a = {0}, in_b = {0}, everything = {0};
        for (size_t i = 0; i < a.shape.modules; i++) {
            const ql_adapter_module *m = &a.shape.module[i];
            add_up(x + m->a_at, 32 * m->in, 1 / sqrt((double)m->in), &in_a);
            add_up(x + m->b_at, 32 * m->out, 1 / sqrt(32.0), &in_b);
        }
        check_uniform(&in_a);
        if (zero_b)
            assert_int_equal(in_b.zeros, in_b.n);
        else
            check_uniform(&in_b);
        add_up(x, a.shape.length, 1, &everything); /* what is not a parameter stays zero */
        assert_int_equal(everything.zeros, in_a.zeros + in_b.zeros + everything.n - in_a.n - in_b.n);
        free(x);
        close_adapter(&g, &c, &a);
    }
}

/* The values of one module's A, after a start with this seed. */
static float *start_of(const char *const *keys, int64_t seed, const char *module, int64_t *n) {
    ql_graph g;
    ql_config c;
    ql_adapter a;
    open_adapter(keys, true, &g, &c, &a);
    ok(ql_adapter_init(&a, seed, true));
    float *x = values_of(&a), *part = NULL;
    for (size_t i = 0; i < a.shape.modules; i++) {
        const ql_adapter_module *m = &a.shape.module[i];
        if (strcmp(m->module, module)) continue;
        *n = a.shape.r * m->in;
        part = QL_NEW_ARRAY(float, (size_t)*n);
        memcpy(part, x + m->a_at, (size_t)*n * sizeof *part);
    }
    free(x);
    assert_non_null(part);
    close_adapter(&g, &c, &a);
    return part;
}

static void test_start_depends_on_seed_and_name_only(void **state) {
    (void)state;
    static const char q0[] = "model.layers.0.self_attn.q_proj", q1[] = "model.layers.1.self_attn.q_proj";
    int64_t n, m;
    float *x = start_of(KEYS("lora_r=4"), 42, q1, &n);
    float *fewer = start_of(KEYS("lora_r=4", "target_modules=[q_proj]"), 42, q1, &m);
    assert_int_equal(n, m);
    assert_memory_equal(x, fewer, (size_t)n * sizeof *x);
    float *seed = start_of(KEYS("lora_r=4"), 43, q1, &m), *module = start_of(KEYS("lora_r=4"), 42, q0, &m);
    int64_t same = 0;
    for (int64_t i = 0; i < n; i++) same += (x[i] == seed[i]) + (x[i] == module[i]);
    assert_true(same < n / 20);
    free(x);
    free(fewer);
    free(seed);
    free(module);
}

static void check_scale(const char *const *keys, double expected) {
    ql_graph g;
    ql_config c;
    ql_adapter a;
    open_adapter(keys, false, &g, &c, &a);
    assert_true(a.shape.scale == (float)expected);
    for (size_t i = 0; i < a.shape.modules; i++) assert_true(a.sites[i].scale == (float)expected);
    close_adapter(&g, &c, &a);
}

static void test_scale(void **state) {
    (void)state;
    check_scale(KEYS("lora_r=16", "lora_alpha=32"), 2);
    check_scale(KEYS("lora_r=8", "lora_alpha=20"), 2.5);
    check_scale(KEYS("lora_r=16", "lora_alpha=32", "use_rslora=true"), 8);
    check_scale(KEYS("lora_r=8", "lora_alpha=16", "use_rslora=true"), 16 / sqrt(8));
}

static void check_copies(bool paged) {
    ql_graph g;
    ql_config c;
    ql_adapter a;
    ql_adapter_copy copy;
    open_adapter_with(KEYS("lora_r=4"), true, paged, &g, &c, &a);
    ok(ql_adapter_init(&a, 1, false));
    float *x = values_of(&a);
    ql_adapter_copy_open(&a, &copy);
    ok(ql_adapter_fetch(&a, &copy));
    assert_int_equal(copy.tensors, 2 * a.shape.modules);
    assert_string_equal(copy.tensor[1].name, "model.layers.0.self_attn.q_proj.lora_B");
    assert_memory_equal(copy.tensor[1].value, x + a.shape.module[0].b_at, 16 * (size_t)a.shape.module[0].out);
    copy.tensor[2].moment2[0] = 5;
    ok(ql_adapter_init(&a, 2, true));
    ok(ql_adapter_store(&a, &copy));
    float *y = values_of(&a);
    assert_memory_equal(x, y, (size_t)a.shape.length * sizeof *x);
    const float *moment2 = paged ? a.paged + a.shape.length : ql_host_address(a.device, a.moment2);
    assert_true(moment2[a.shape.module[1].a_at] == 5);
    free(x);
    free(y);
    ql_adapter_copy_close(&copy);
    close_adapter(&g, &c, &a);
}

static void test_copies_come_back(void **state) {
    (void)state;
    check_copies(false);
    check_copies(true);
}

/* A state whose elements all differ, in every run; where run r lies. */
static void fill_state(ql_adapter *a, float *run[3]) {
    run[0] = ql_host_address(a->device, a->value);
    run[1] = a->paged ? a->paged : ql_host_address(a->device, a->moment1);
    run[2] = a->paged ? a->paged + a->shape.length : ql_host_address(a->device, a->moment2);
    for (uint32_t r = 0; r < 3; r++)
        for (uint32_t i = 0; i < a->shape.length; i++) run[r][i] = (float)(int)(ql_philox(3, i, r, 0, 0).word[0] >> 8);
}

static uint64_t digest_of(const ql_adapter *a, ql_adapter_copy *c, bool keep, int threads) {
    uint64_t digest = 0;
    ok(ql_adapter_snapshot(a, c, keep, threads, &digest));
    return digest;
}

static uint64_t check_snapshots(bool paged, uint64_t expected) {
    ql_graph g;
    ql_config c;
    ql_adapter a;
    ql_adapter_copy copy;
    float *run[3];
    open_adapter_with(KEYS("lora_r=512"), true, paged, &g, &c, &a);
    size_t n = (size_t)a.shape.length;
    assert_true(n > 2 << 16); /* several pieces, the last of another length */
    fill_state(&a, run);
    ql_adapter_copy_open(&a, &copy);
    uint64_t digest = digest_of(&a, &copy, false, 2);
    for (size_t i = 0; i < 3 * n; i++) assert_true(copy.memory[i] == 0); /* only the digest was wanted */
    for (int threads = 1; threads <= 5; threads++) assert_true(digest_of(&a, &copy, true, threads) == digest);
    for (int r = 0; r < 3; r++) assert_memory_equal(copy.memory + (size_t)r * n, run[r], n * sizeof(float));
    const size_t places[] = {0, 1, 65535, 65536, n / 2, n - 1};
    for (int r = 0; r < 3; r++)
        for (size_t p = 0; p < QL_LEN(places); p++) {
            uint32_t *word = (uint32_t *)(void *)&run[r][places[p]];
            *word ^= 1u << (p * 5);
            assert_true(digest_of(&a, &copy, p % 2 == 0, 2) != digest);
            *word ^= 1u << (p * 5);
        }
    float first = run[1][0]; /* what changes places is seen, too */
    run[1][0] = run[2][0];
    run[2][0] = first;
    assert_true(digest_of(&a, &copy, true, 2) != digest);
    if (expected) assert_true(digest == expected);
    ql_adapter_copy_close(&copy);
    close_adapter(&g, &c, &a);
    return digest;
}

static void test_snapshots(void **state) {
    (void)state;
    uint64_t resident = check_snapshots(false, 0);
    (void)check_snapshots(true, resident);
}

/* Three updates with gradients that differ; the state afterwards. `room`: bytes that paged moments pass through. */
static ql_adapter_copy updated(size_t room, int64_t *transfers) {
    ql_graph g;
    ql_config c;
    ql_adapter a;
    ql_adapter_copy copy;
    ql_buffer *buffer = NULL;
    open_adapter_with(KEYS("lora_r=4"), true, room > 0, &g, &c, &a);
    late_transfers(a.device);
    ok(ql_buffer_new(a.device, room, &buffer));
    ok(ql_adapter_init(&a, 1, false));
    float *x = QL_NEW_ARRAY(float, (size_t)a.shape.length);
    for (uint32_t step = 1; step <= 3; step++) {
        for (uint32_t i = 0; i < a.shape.length; i++) x[i] = ql_uniform(ql_philox(9, i, step, 0, 0).word[0]) - 0.5f;
        ok(ql_upload(a.device, a.gradient, x));
        ok(ql_adapter_update(&a, (ql_tensor){.buffer = buffer, .dtype = QL_U8, .rows = 1, .cols = (int64_t)room},
                             &(ql_adamw_args){.lr = 0.01, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8, .weight_decay = 0.1, .clip = 1, .step = step}));
        assert_int_equal(late_transfers_pending(), 0);
        if (room) memset(ql_host_address(a.device, (ql_tensor){.buffer = buffer, .dtype = QL_U8, .rows = 1, .cols = 1}), 0x7f, room);
    }
    free(x);
    ql_adapter_copy_open(&a, &copy);
    ok(ql_adapter_fetch(&a, &copy));
    *transfers = late_transfers_count();
    ql_buffer_free(a.device, buffer);
    close_adapter(&g, &c, &a);
    return copy;
}

/* Pieces of 16 elements up to everything at once; a room that is no multiple of anything. */
static void test_paged_moments(void **state) {
    (void)state;
    int64_t transfers;
    ql_adapter_copy resident = updated(0, &transfers);
    assert_int_equal(transfers, 0);
    static const size_t rooms[] = {QL_UPDATE_ROOM, QL_UPDATE_ROOM + 252, 4096, 100001, 1 << 20};
    for (size_t i = 0; i < QL_LEN(rooms); i++) {
        ql_adapter_copy paged = updated(rooms[i], &transfers);
        assert_true(transfers >= 3 * 4);
        assert_int_equal(paged.tensors, resident.tensors);
        for (size_t t = 0; t < paged.tensors; t++) {
            const ql_state_tensor *here = &paged.tensor[t], *there = &resident.tensor[t];
            size_t bytes = (size_t)(here->rows * here->cols) * sizeof(float);
            assert_memory_equal(here->value, there->value, bytes);
            assert_memory_equal(here->moment1, there->moment1, bytes);
            assert_memory_equal(here->moment2, there->moment2, bytes);
        }
        ql_adapter_copy_close(&paged);
    }
    ql_adapter_copy_close(&resident);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rope_tables),
        cmocka_unit_test(test_rope_tables_are_prefixes),
        cmocka_unit_test(test_all_linear),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_expressions),
        cmocka_unit_test(test_exclusions),
        cmocka_unit_test(test_others_are_refused),
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_adapter_memory),
        cmocka_unit_test(test_start),
        cmocka_unit_test(test_start_depends_on_seed_and_name_only),
        cmocka_unit_test(test_scale),
        cmocka_unit_test(test_copies_come_back),
        cmocka_unit_test(test_snapshots),
        cmocka_unit_test(test_paged_moments),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
