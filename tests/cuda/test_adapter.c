/* The adapters' products and gradients: every rank, odd shapes, packed rows, dropout; rows that do not depend on each
 * other, and sums that do not depend on how rows were dealt. */
#include <math.h>

#include "base/random.h"
#include "tests/cuda/rig.h"

#include <math.h>

enum { ROWS_MOST = 8, SITE = 3, STEP = 7 };

/* An adapter [in] -> [rank] -> [out] at work on packed rows of these lengths. */
typedef struct {
    int64_t in, out, rank;
    int     rows;
    int64_t length[ROWS_MOST];
    float   p;
    int     shift;
    /* made by begin() */
    float *a, *b, *x, *dy, *u, *du, *y, *dx;
} adapter;

static int64_t tokens_of(const adapter *c) {
    int64_t n = 0;
    for (int r = 0; r < c->rows; r++) n += c->length[r];
    return n;
}

static void begin(adapter *c) {
    int64_t n = tokens_of(c);
    c->a = random_floats(c->rank * c->in, 1, 1.0f);
    c->b = random_floats(c->out * c->rank, 2, 1.0f);
    c->x = random_floats(n * c->in, 3, 1.0f);
    c->dy = random_floats(n * c->out, 4, 1.0f);
    c->u = random_floats(n * c->rank, 5, 1.0f);
    c->du = random_floats(n * c->rank, 6, 1.0f);
    c->y = random_floats(n * c->out, 7, 1.0f);
    c->dx = random_floats(n * c->in, 8, 1.0f);
}

static void end(adapter *c) {
    float *all[] = {c->a, c->b, c->x, c->dy, c->u, c->du, c->y, c->dx};
    for (size_t i = 0; i < QL_LEN(all); i++) free(all[i]);
}

/* Rows [first, first + count) of the case, or all of them. */
typedef struct {
    int     first, count;
    int64_t token, tokens; /* theirs */
} part;

static part rows_of(const adapter *c, int first, int count) {
    part s = {.first = first, .count = count};
    for (int r = 0; r < first; r++) s.token += c->length[r];
    for (int r = first; r < first + count; r++) s.tokens += c->length[r];
    return s;
}

static ql_drop drop_of(rig *r, const adapter *c, const part *s) {
    int32_t start[ROWS_MOST + 1] = {0}, id[ROWS_MOST];
    for (int i = 0; i < s->count; i++) {
        start[i + 1] = start[i] + (int32_t)c->length[s->first + i];
        id[i] = 11 + 5 * (s->first + i);
    }
    return (ql_drop){.row_start = rig_input(r, QL_I32, s->count + 1, 1, start),
                     .row_id = rig_input(r, QL_I32, s->count, 1, id),
                     .key = ql_random_key(42, QL_RANDOM_DROPOUT),
                     .step = STEP,
                     .site = SITE,
                     .p = c->p};
}

/* ---- products ---- */

static void products_of(rig *r, const adapter *c, part s) {
    ql_drop        drop = drop_of(r, c, &s);
    const ql_drop *dropped = c->p > 0 ? &drop : NULL;
    int64_t        n = s.tokens, t = s.token;
    ql_weight      a = ql_dense(rig_input(r, QL_F32, c->rank, c->in, c->a));
    ql_weight      b = ql_dense(rig_input(r, QL_F32, c->out, c->rank, c->b));
    must(ql_matmul(r->d, &(ql_matmul_args){.y = rig_out_act(r, n, c->rank),
                                           .x = rig_act(r, n, c->in, c->x + t * c->in),
                                           .weight = &a,
                                           .alpha = 0.75f,
                                           .operands = r->operands,
                                           .drop_x = dropped}));
    must(ql_matmul(r->d, &(ql_matmul_args){.y = rig_changed_act(r, n, c->out, c->y + t * c->out),
                                           .x = rig_act(r, n, c->rank, c->u + t * c->rank),
                                           .weight = &b,
                                           .alpha = 1,
                                           .accumulate = true,
                                           .operands = r->operands}));
    must(ql_matmul(r->d, &(ql_matmul_args){.y = rig_out_act(r, n, c->rank),
                                           .x = rig_act(r, n, c->out, c->dy + t * c->out),
                                           .weight = &b,
                                           .alpha = 0.75f,
                                           .transposed = true,
                                           .operands = r->operands}));
    must(ql_matmul(r->d, &(ql_matmul_args){.y = rig_changed_act(r, n, c->in, c->dx + t * c->in),
                                           .x = rig_act(r, n, c->rank, c->du + t * c->rank),
                                           .weight = &a,
                                           .alpha = 1.25f,
                                           .transposed = true,
                                           .accumulate = true,
                                           .operands = r->operands,
                                           .drop_y = dropped}));
}

static void products(rig *r, void *context) {
    const adapter *c = context;
    products_of(r, c, rows_of(c, 0, c->rows));
}

/* What adapters do not ask for and ops.h allows: added to y with x dropped, or not added at all. */
static void other_products(rig *r, void *context) {
    const adapter *c = context;
    part           s = rows_of(c, 0, c->rows);
    ql_drop        drop = drop_of(r, c, &s);
    ql_weight      a = ql_dense(rig_input(r, QL_F32, c->rank, c->in, c->a));
    ql_weight      b = ql_dense(rig_input(r, QL_F32, c->out, c->rank, c->b));
    must(ql_matmul(r->d, &(ql_matmul_args){.y = rig_changed_act(r, s.tokens, c->rank, c->u),
                                           .x = rig_act(r, s.tokens, c->in, c->x),
                                           .weight = &a,
                                           .alpha = 0.5f,
                                           .accumulate = true,
                                           .operands = r->operands,
                                           .drop_x = &drop}));
    must(ql_matmul(r->d, &(ql_matmul_args){.y = rig_out_act(r, s.tokens, c->out),
                                           .x = rig_act(r, s.tokens, c->rank, c->u),
                                           .weight = &b,
                                           .alpha = -2,
                                           .operands = r->operands}));
    must(ql_matmul(r->d, &(ql_matmul_args){.y = rig_out_act(r, s.tokens, c->out), /* x is the short one, and dropped */
                                           .x = rig_act(r, s.tokens, c->rank, c->u),
                                           .weight = &b,
                                           .alpha = 1,
                                           .operands = r->operands,
                                           .drop_x = &drop}));
    must(ql_matmul(r->d, &(ql_matmul_args){.y = rig_changed_act(r, s.tokens, c->rank, c->u), /* y is, and dropped */
                                           .x = rig_act(r, s.tokens, c->out, c->dy),
                                           .weight = &b,
                                           .alpha = 1,
                                           .transposed = true,
                                           .accumulate = true,
                                           .operands = r->operands,
                                           .drop_y = &drop}));
}

/* ---- gradients ---- */

typedef struct {
    ql_tensor a, b, flaws;
} sums;

static sums sums_of(rig *r, const adapter *c) {
    int32_t  none = 0;
    int64_t *before = QL_NEW_ARRAY(int64_t, (size_t)(c->rank * ql_max(c->in, c->out)));
    for (int64_t i = 0; i < c->rank * ql_max(c->in, c->out); i++) before[i] = i - 100;
    sums s = {rig_changed(r, QL_I64, c->rank, c->in, before), rig_changed(r, QL_I64, c->out, c->rank, before),
              rig_changed(r, QL_I32, 1, 1, &none)};
    free(before);
    return s;
}

static void add_gradients(rig *r, const adapter *c, part s, const sums *to) {
    ql_drop             drop = drop_of(r, c, &s);
    int64_t             n = s.tokens, t = s.token;
    ql_weight_grad_args b = {.sum = to->b,
                             .dy = rig_act(r, n, c->out, c->dy + t * c->out),
                             .x = rig_act(r, n, c->rank, c->u + t * c->rank),
                             .row_start = drop.row_start,
                             .flaws = to->flaws,
                             .operands = r->operands,
                             .shift = c->shift};
    must(ql_weight_grad(r->d, &b));
    ql_weight_grad_args a = b;
    a.sum = to->a;
    a.dy = rig_act(r, n, c->rank, c->du + t * c->rank);
    a.x = rig_act(r, n, c->in, c->x + t * c->in);
    a.drop_x = c->p > 0 ? &drop : NULL;
    must(ql_weight_grad(r->d, &a));
}

static void gradients(rig *r, void *context) {
    const adapter *c = context;
    sums           s = sums_of(r, c);
    add_gradients(r, c, rows_of(c, 0, c->rows), &s);
}

static void gradients_row_by_row(rig *r, void *context) {
    const adapter *c = context;
    sums           s = sums_of(r, c);
    for (int i = c->rows; i-- > 0;) add_gradients(r, c, rows_of(c, i, 1), &s);
}

/* The narrow side is the one that is dropped. */
static void gradient_of_narrow_x(rig *r, void *context) {
    const adapter *c = context;
    part           s = rows_of(c, 0, c->rows);
    ql_drop        drop = drop_of(r, c, &s);
    sums           to = sums_of(r, c);
    must(ql_weight_grad(r->d, &(ql_weight_grad_args){.sum = to.b,
                                                     .dy = rig_act(r, s.tokens, c->out, c->dy),
                                                     .x = rig_act(r, s.tokens, c->rank, c->u),
                                                     .row_start = drop.row_start,
                                                     .flaws = to.flaws,
                                                     .operands = r->operands,
                                                     .drop_x = &drop}));
}

/* ---- against the CPU ---- */

/* Weights, and what is dropped, are rounded to the type here and not on the CPU. */
static const rig_limits rounded = {2e-6, 4e-3, 5e-4}, exact = {2e-6, 2e-6, 2e-6};

static void compare(adapter c) {
    char what[80];
    snprintf(what, sizeof what, "%lld->%lld->%lld of %lld tokens, p %g", (long long)c.in, (long long)c.rank, (long long)c.out,
             (long long)tokens_of(&c), (double)c.p);
    begin(&c);
    rig_compare(what, products, &c, rounded);
    rig_compare("  gradients", gradients, &c, c.p > 0 ? rounded : exact);
    end(&c);
}

static const int64_t ranks[] = {1, 2, 8, 16, 24, 64, 100, 256};

static void test_every_rank(void **state) {
    (void)state;
    for (size_t i = 0; i < QL_LEN(ranks); i++)
        compare((adapter){.in = 152, .out = 88, .rank = ranks[i], .rows = 4, .length = {17, 1, 0, 33}, .p = i % 2 ? 0.05f : 0});
}

static void test_odd_shapes(void **state) {
    (void)state;
    compare((adapter){.in = 131, .out = 67, .rank = 16, .rows = 2, .length = {19, 14}, .p = 0.5f});
    compare((adapter){.in = 37, .out = 149, .rank = 7, .rows = 2, .length = {19, 14}});
    compare((adapter){.in = 1, .out = 3, .rank = 1, .rows = 1, .length = {2}, .p = 0.5f});
    compare((adapter){.in = 36, .out = 68, .rank = 12, .rows = 2, .length = {19, 14}, .p = 0.5f}); /* 8-byte rows */
    /* several turns of all warps */
    compare((adapter){.in = 1096, .out = 40, .rank = 16, .rows = 2, .length = {3, 14}, .p = 0.5f});
    compare((adapter){.in = 40, .out = 1096, .rank = 40, .rows = 2, .length = {3, 14}});
}

static void test_dropout(void **state) {
    (void)state;
    compare((adapter){.in = 96, .out = 72, .rank = 16, .rows = 5, .length = {1, 2, 30, 9, 40}, .p = 0.05f});
    compare((adapter){.in = 96, .out = 72, .rank = 40, .rows = 5, .length = {1, 2, 30, 9, 40}, .p = 0.5f});
}

static void test_rows_of_several_pieces(void **state) {
    (void)state;
    compare((adapter){.in = 24, .out = 16, .rank = 8, .rows = 4, .length = {513, 0, 1030, 3}, .p = 0.05f});
    compare((adapter){.in = 17, .out = 8, .rank = 3, .rows = 3, .length = {1, 512, 520}});
}

static void test_no_tokens(void **state) {
    (void)state;
    compare((adapter){.in = 16, .out = 24, .rank = 8, .rows = 1, .length = {0}});
    compare((adapter){.in = 16, .out = 24, .rank = 8, .rows = 2, .length = {0, 0}, .p = 0.5f});
}

static void test_other_arguments(void **state) {
    (void)state;
    adapter c = {.in = 72, .out = 88, .rank = 24, .rows = 3, .length = {12, 1, 30}, .p = 0.3f};
    begin(&c);
    rig_compare("added, dropped, both", other_products, &c, rounded);
    rig_compare("the narrow side dropped", gradient_of_narrow_x, &c, rounded);
    end(&c);
    c = (adapter){.in = 71, .out = 83, .rank = 21, .rows = 3, .length = {12, 1, 30}, .p = 0.3f};
    begin(&c);
    rig_compare("the same, odd", other_products, &c, rounded);
    rig_compare("the narrow side dropped, odd", gradient_of_narrow_x, &c, rounded);
    end(&c);
}

/* ---- bits ---- */

static const ql_dtype types[] = {QL_F32, QL_BF16, QL_F16};

typedef struct {
    const adapter *c;
    part           s;
} selection;
static void selected_products(rig *r, void *context) {
    const selection *s = context;
    products_of(r, s->c, s->s);
}

/* Each packed row alone has the bits that it has among the others; outputs are u, y, du, dx, one after the other. */
static void check_rows_alone(adapter c) {
    begin(&c);
    for (size_t i = 0; i < QL_LEN(types); i++) {
        if (!rig_can(types[i])) continue;
        size_t  bytes, size = ql_dtype_size(types[i]);
        part    all = rows_of(&c, 0, c.rows);
        uint8_t *together = rig_bytes(types[i], selected_products, &(selection){&c, all}, &bytes);
        for (int r = 0; r < c.rows; r++) {
            part    one = rows_of(&c, r, 1);
            uint8_t *alone = rig_bytes(types[i], selected_products, &(selection){&c, one}, &bytes);
            uint8_t *mine = alone, *theirs = together;
            int64_t width[] = {c.rank, c.out, c.rank, c.in};
            for (size_t o = 0; o < QL_LEN(width); o++) {
                size_t row = (size_t)width[o] * size;
                if (memcmp(mine, theirs + (size_t)one.token * row, (size_t)one.tokens * row))
                    fail_msg("%s: output %zu of row %d depends on other rows", ql_dtype_name(types[i]), o, r);
                mine += (size_t)one.tokens * row;
                theirs += (size_t)all.tokens * row;
            }
            free(alone);
        }
        free(together);
    }
    end(&c);
}

static void test_rows_do_not_show(void **state) {
    (void)state;
    check_rows_alone((adapter){.in = 104, .out = 72, .rank = 16, .rows = 4, .length = {5, 130, 1, 20}, .p = 0.25f});
    check_rows_alone((adapter){.in = 77, .out = 45, .rank = 9, .rows = 3, .length = {5, 1, 30}});
    /* together they are work for all processors, even of a large GPU: tiles become taller */
    check_rows_alone((adapter){.in = 136, .out = 8, .rank = 1024, .rows = 2, .length = {9, 215}, .p = 0.25f});
    check_rows_alone((adapter){.in = 40, .out = 8, .rank = 8, .rows = 2, .length = {9, 3300}});
}

static void test_sums_do_not_show_rows(void **state) {
    (void)state;
    adapter cases[] = {{.in = 24, .out = 16, .rank = 8, .rows = 4, .length = {513, 40, 700, 3}, .p = 0.05f},
                       {.in = 17, .out = 24, .rank = 3, .rows = 4, .length = {1, 512, 0, 60}}};
    for (size_t k = 0; k < QL_LEN(cases); k++) {
        begin(&cases[k]);
        for (size_t i = 0; i < QL_LEN(types); i++) {
            if (!rig_can(types[i])) continue;
            size_t bytes, again;
            void  *together = rig_bytes(types[i], gradients, &cases[k], &bytes);
            void  *alone = rig_bytes(types[i], gradients_row_by_row, &cases[k], &again);
            assert_int_equal(bytes, again);
            assert_memory_equal(together, alone, bytes);
            free(together);
            free(alone);
        }
        end(&cases[k]);
    }
}

/* ---- scale and limits ---- */

static void test_shift(void **state) {
    (void)state;
    enum { SHIFT = 13 };
    for (size_t i = 0; i < QL_LEN(types); i++) {
        if (!rig_can(types[i])) continue;
        adapter  c = {.in = 24, .out = 40, .rank = 8, .rows = 1, .length = {40}};
        size_t   bytes;
        int64_t *full, *shifted;
        begin(&c);
        full = rig_bytes(types[i], gradients, &c, &bytes);
        c.shift = SHIFT;
        shifted = rig_bytes(types[i], gradients, &c, &bytes);
        for (int64_t e = 0; e < c.rank * (c.in + c.out); e++) {
            int64_t before = (e < c.rank * c.in ? e : e - c.rank * c.in) - 100;
            double  wanted = (double)(full[e] - before) / (1 << SHIFT);
            if (!((double)(shifted[e] - before) >= wanted - 0.5 && (double)(shifted[e] - before) <= wanted + 0.5))
                fail_msg("sum %lld: %lld is not %.1f rounded", (long long)e, (long long)(shifted[e] - before), wanted);
        }
        free(full);
        free(shifted);
        end(&c);
    }
}

typedef struct {
    float   dy;     /* times 1, for one token of `tokens`, is what element 0 gets; the others get 1 */
    int64_t tokens; /* of the row: 512 are a piece                                                  */
    int64_t rows;   /* in all                                                                       */
} extreme;

static void one_sum(rig *r, void *context) {
    const extreme *e = context;
    int32_t        start[2] = {0, (int32_t)e->tokens}, none = 0;
    float         *dy = QL_NEW_ARRAY(float, (size_t)(2 * e->tokens)), *x = QL_NEW_ARRAY(float, (size_t)e->tokens);
    int64_t        before[2] = {-(1ll << 61), 5};
    dy[2 * e->tokens - 2] = e->dy;
    dy[2 * e->tokens - 1] = x[e->tokens - 1] = 1;
    must(ql_weight_grad(r->d, &(ql_weight_grad_args){.sum = rig_changed(r, QL_I64, 2, 1, before),
                                                     .dy = rig_act(r, e->tokens, 2, dy),
                                                     .x = rig_act(r, e->tokens, 1, x),
                                                     .row_start = rig_input(r, QL_I32, 2, 1, start),
                                                     .flaws = rig_changed(r, QL_I32, 1, 1, &none),
                                                     .operands = r->operands,
                                                     .rows_in_all = e->rows}));
    free(dy);
    free(x);
}

/* `last`: of the types f32, bf16, f16, that can hold dy. */
static void check_extreme(const char *what, float dy, int64_t rows, ql_dtype last) {
    rig_limits limits = {1e-15, last >= QL_BF16 ? 1e-15 : 0, last >= QL_F16 ? 1e-15 : 0};
    rig_compare(what, one_sum, &(extreme){dy, 1, rows}, limits);
}

static void test_extremes(void **state) {
    (void)state;
    check_extreme("not a number", NAN, 0, QL_F16);
    check_extreme("infinite", -INFINITY, 0, QL_F16);
    check_extreme("2^22, the largest", 0x1p22f, 0, QL_BF16);
    check_extreme("beyond 2^22", -0x1.02p22f, 0, QL_BF16);
    check_extreme("the largest of 1024 rows", 0x1p12f, 1024, QL_F16);
    check_extreme("beyond that", -0x1.02p12f, 1024, QL_F16);
    check_extreme("rounded to even", 0x1.8p-40f, 0, QL_BF16);
    check_extreme("rounded to even, downwards", 0x1.4p-39f, 0, QL_BF16);
    check_extreme("less than half", 0x1.fcp-42f, 0, QL_BF16);
}

/* A piece may add its part of what the row may. */
static void test_limits_of_pieces(void **state) {
    (void)state;
    static const struct {
        float   dy;
        int64_t tokens;
        int     flaws;
    } cases[] = {{0x1p11f, 513, 0},        {0x1.02p11f, 513, QL_GRAD_TOO_LARGE}, {0x1p12f, 512, 0}, {-0x1.02p12f, 512, QL_GRAD_TOO_LARGE},
                 {-0x1.54p10f, 1025, 0}, {-0x1.56p10f, 1025, QL_GRAD_TOO_LARGE}};
    for (size_t t = 0; t < QL_LEN(types); t++)
        for (size_t i = 0; rig_can(types[t]) && i < QL_LEN(cases); i++) {
            size_t   bytes;
            int64_t *got = rig_bytes(types[t], one_sum, &(extreme){cases[i].dy, cases[i].tokens, 1024}, &bytes);
            int64_t  want = -(1ll << 61) + (cases[i].flaws ? 0 : llrint((double)cases[i].dy * 0x1p40));
            if (((int32_t *)(got + 2))[0] != cases[i].flaws || got[0] != want)
                fail_msg("%a of %lld tokens: flaws %d", (double)cases[i].dy, (long long)cases[i].tokens, ((int32_t *)(got + 2))[0]);
            free(got);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_rank),
        cmocka_unit_test(test_odd_shapes),
        cmocka_unit_test(test_dropout),
        cmocka_unit_test(test_rows_of_several_pieces),
        cmocka_unit_test(test_no_tokens),
        cmocka_unit_test(test_other_arguments),
        cmocka_unit_test(test_rows_do_not_show),
        cmocka_unit_test(test_sums_do_not_show_rows),
        cmocka_unit_test(test_shift),
        cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_limits_of_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
