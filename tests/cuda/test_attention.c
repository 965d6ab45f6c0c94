/* Attention on a CUDA device: beside the CPU's, for documents, heads and windows of many shapes, and that a document's
 * result depends on nothing beside it. */
#include "tests/cuda/rig.h"

#include <math.h>

typedef struct {
    int64_t documents, heads, kv_heads, head_dim, window;
    const int32_t *q_start, *k_start;
    const float *q, *k, *v, *d_o;
} attention_case;

static int64_t queries_of(const attention_case *c) {
    return c->q_start[c->documents];
}
static int64_t keys_of(const attention_case *c) {
    return c->k_start[c->documents];
}
static int64_t q_columns(const attention_case *c) {
    return c->heads * c->head_dim;
}
static int64_t k_columns(const attention_case *c) {
    return c->kv_heads * c->head_dim;
}

/* Outputs, in this order: o, lse, dq, dk, dv, delta. */
static void both_ways(rig *r, void *context) {
    const attention_case *c = context;
    int64_t n = queries_of(c), m = keys_of(c);
    ql_attention_args f = {.heads = c->heads, .kv_heads = c->kv_heads, .window = c->window, .operands = r->operands};
    f.scale = 1.0f / sqrtf((float)c->head_dim);
    f.q = rig_act(r, n, q_columns(c), c->q);
    f.k = rig_act(r, m, k_columns(c), c->k);
    f.v = rig_act(r, m, k_columns(c), c->v);
    f.q_start = rig_input(r, QL_I32, c->documents + 1, 1, c->q_start);
    f.k_start = rig_input(r, QL_I32, c->documents + 1, 1, c->k_start);
    f.o = rig_out_act(r, n, q_columns(c));
    f.lse = rig_output(r, QL_F32, n, c->heads);
    ql_attention_grad_args g = {.q = f.q,
                                .k = f.k,
                                .v = f.v,
                                .o = f.o,
                                .lse = f.lse,
                                .scale = f.scale,
                                .q_start = f.q_start,
                                .k_start = f.k_start,
                                .heads = f.heads,
                                .kv_heads = f.kv_heads,
                                .window = f.window,
                                .operands = f.operands};
    g.d_o = rig_act(r, n, q_columns(c), c->d_o);
    g.dq = rig_out_act(r, n, q_columns(c));
    g.dk = rig_out_act(r, m, k_columns(c));
    g.dv = rig_out_act(r, m, k_columns(c));
    g.delta = rig_output(r, QL_F32, n, c->heads);
    must(ql_attention(r->d, &f));
    must(ql_attention_grad(r->d, &g));
}

static attention_case make_case(int64_t documents, const int32_t *q_start, const int32_t *k_start, int64_t heads,
                                int64_t kv_heads, int64_t head_dim, int64_t window, float scale) {
    attention_case c = {documents, heads, kv_heads, head_dim, window, q_start, k_start, NULL, NULL, NULL, NULL};
    c.q = random_floats(queries_of(&c) * q_columns(&c), 1, scale);
    c.k = random_floats(keys_of(&c) * k_columns(&c), 2, scale);
    c.v = random_floats(keys_of(&c) * k_columns(&c), 3, 1.0f);
    c.d_o = random_floats(queries_of(&c) * q_columns(&c), 4, 1.0f);
    return c;
}

static void free_case(attention_case *c) {
    free((void *)c->q);
    free((void *)c->k);
    free((void *)c->v);
    free((void *)c->d_o);
}

/* What rounding the weights, the gradients of scores and the results costs. */
static const rig_limits limits = {2e-6, 8e-3, 1e-3};

static void check(int64_t documents, const int32_t *q_start, const int32_t *k_start, int64_t heads, int64_t kv_heads,
                  int64_t head_dim, int64_t window) {
    char what[96];
    snprintf(what, sizeof what, "%d tokens, heads %d/%d of %d, window %d", (int)k_start[documents], (int)heads,
             (int)kv_heads, (int)head_dim, (int)window);
    attention_case c = make_case(documents, q_start, k_start, heads, kv_heads, head_dim, window, 1.5f);
    rig_compare(what, both_ways, &c, limits);
    free_case(&c);
}

static void head_sizes(void **state) {
    (void)state;
    static const int32_t docs[] = {0, 21, 21, 152};
    static const int64_t sizes[] = {1, 33, 40, 64, 72, 80, 96, 100, 128, 130, 200, 256};
    static const int64_t heads[][2] = {{2, 2}, {1, 1}, {8, 1}, {3, 1}};
    for (size_t i = 0; i < QL_LEN(sizes); i++) {
        const int64_t *h = heads[i < 4 ? i : i % 2];
        check(3, docs, docs, h[0], h[1], sizes[i], i % 3 == 2 ? 50 : 0);
    }
}

/* Multiples of tiles, one token more or less, and nothing at all. */
static void lengths(void **state) {
    (void)state;
    static const int32_t lengths[] = {0, 1, 2, 7, 16, 31, 32, 33, 0, 63, 64, 65, 127, 128, 129, 0, 300, 0};
    int32_t start[QL_LEN(lengths) + 1] = {0};
    for (size_t i = 0; i < QL_LEN(lengths); i++) start[i + 1] = start[i] + lengths[i];
    check(QL_LEN(lengths), start, start, 2, 1, 16, 0);
    check(QL_LEN(lengths), start, start, 1, 1, 128, 64);
    static const int32_t none[] = {0, 0, 0};
    check(0, none, none, 2, 1, 64, 0);
    check(2, none, none, 2, 1, 64, 0);
}

static void windows(void **state) {
    (void)state;
    static const int32_t docs[] = {0, 200, 230};
    static const int64_t sizes[] = {2, 5, 63, 128, 1000}; /* of 1: dq and dk are nothing but rounding */
    for (size_t i = 0; i < QL_LEN(sizes); i++) check(2, docs, docs, 1, 1, i % 2 ? 96 : 64, sizes[i]);
}

/* Few queries, the last of a document's keys; documents without queries keep keys, whose gradients are zero. */
static void generation(void **state) {
    (void)state;
    static const int32_t queries[] = {0, 1, 2, 3, 3, 8, 78, 78}, keys[] = {0, 300, 301, 365, 400, 429, 500, 516};
    check(7, queries, keys, 2, 1, 64, 0);
    check(7, queries, keys, 1, 1, 128, 40);
    check(7, queries, keys, 1, 1, 200, 100);
}

/* Scores of hundreds: the largest must be taken out before the exponential. */
static void large_scores(void **state) {
    (void)state;
    static const int32_t docs[] = {0, 150};
    attention_case c = make_case(1, docs, docs, 2, 2, 64, 0, 12.0f);
    rig_compare("large scores", both_ways, &c, (rig_limits){2e-5, 2e-2, 4e-3});
    free_case(&c);
}

/* ---- equality of bits ---- */

typedef struct {
    char *bytes;
    size_t size;
} result;

static result run(ql_dtype type, attention_case *c) {
    result r;
    r.bytes = rig_bytes(type, both_ways, c, &r.size);
    return r;
}

/* Document `d` of one case and document `e` of another have the same bits in all outputs. */
static void assert_same_document(ql_dtype type, const result *x, const attention_case *a, int64_t d, const result *y,
                                 const attention_case *b, int64_t e) {
    size_t element = ql_dtype_size(type), from = 0, to = 0;
    int64_t columns[] = {q_columns(a), a->heads, q_columns(a), k_columns(a), k_columns(a), a->heads};
    for (int i = 0; i < 6; i++) {
        bool of_keys = i == 3 || i == 4;
        size_t row = (size_t)columns[i] * (i == 1 || i == 5 ? 4 : element);
        const int32_t *p = of_keys ? a->k_start : a->q_start, *q = of_keys ? b->k_start : b->q_start;
        assert_int_equal(p[d + 1] - p[d], q[e + 1] - q[e]);
        if (memcmp(x->bytes + from + row * (size_t)p[d], y->bytes + to + row * (size_t)q[e],
                   row * (size_t)(p[d + 1] - p[d])))
            fail_msg("%s, heads of %d: output %d of a document depends on what is beside it", ql_dtype_name(type),
                     (int)a->head_dim, i);
        from += row * (size_t)(of_keys ? keys_of(a) : queries_of(a));
        to += row * (size_t)(of_keys ? keys_of(b) : queries_of(b));
    }
}

/* Copies a document's rows into a larger matrix of not-a-number. */
static float *among_others(const float *x, int64_t rows, int64_t columns, int64_t before, int64_t all) {
    float *y = QL_NEW_ARRAY(float, (size_t)(all * columns) + 1);
    for (int64_t i = 0; i < all * columns; i++) y[i] = NAN;
    memcpy(y + before * columns, x, (size_t)(rows * columns) * sizeof *y);
    return y;
}

static void check_neighbours(ql_dtype type, int64_t head_dim, int64_t window, int32_t queries, int32_t keys) {
    int32_t q_alone[] = {0, queries}, k_alone[] = {0, keys};
    int32_t q_among[] = {0, 0, 45, 45 + queries, 60 + queries}, k_among[] = {0, 3, 77, 77 + keys, 99 + keys};
    attention_case alone = make_case(1, q_alone, k_alone, 2, 1, head_dim, window, 1.5f), among = alone;
    among.documents = 4, among.q_start = q_among, among.k_start = k_among;
    int64_t n = queries_of(&among), m = keys_of(&among);
    among.q = among_others(alone.q, queries, q_columns(&alone), 45, n);
    among.k = among_others(alone.k, keys, k_columns(&alone), 77, m);
    among.v = among_others(alone.v, keys, k_columns(&alone), 77, m);
    among.d_o = among_others(alone.d_o, queries, q_columns(&alone), 45, n);
    result x = run(type, &alone), y = run(type, &among), again = run(type, &among);
    assert_same_document(type, &x, &alone, 0, &y, &among, 2);
    assert_int_equal(y.size, again.size);
    assert_memory_equal(y.bytes, again.bytes, y.size);
    free(x.bytes), free(y.bytes), free(again.bytes);
    free_case(&alone), free_case(&among);
}

static void a_document_depends_on_nothing_beside_it(void **state) {
    (void)state;
    for (ql_dtype type = QL_F32; type <= QL_F16; type++) {
        if (!rig_can(type)) continue;
        check_neighbours(type, 64, 0, 131, 131);
        check_neighbours(type, 128, 70, 30, 140);
        check_neighbours(type, 36, 0, 1, 90);
        check_neighbours(type, 200, 0, 33, 33);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(head_sizes),   cmocka_unit_test(lengths),
        cmocka_unit_test(windows),      cmocka_unit_test(generation),
        cmocka_unit_test(large_scores), cmocka_unit_test(a_document_depends_on_nothing_beside_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
