/* Weight gradients: chains per packed row, rounded once, added as integers. */
#include "tests/kernels/rig.h"

#include <math.h>

#include "tests/kernels/oracle_bf16.h"

typedef struct {
    int64_t tokens, out, in, rows;
    const float *dy, *x;
    const int64_t *sum;
    const int32_t *row_start;
    ql_dtype operands;
    int64_t rows_in_all;
} grad_case;

static void run(rig *r, void *context) {
    const grad_case *c = context;
    int32_t clear = 0;
    must(ql_weight_grad(r->d, &(ql_weight_grad_args){.sum = rig_changed(r, QL_I64, c->out, c->in, c->sum),
                                                     .flaws = rig_changed(r, QL_I32, 1, 1, &clear),
                                                     .dy = rig_input(r, QL_F32, c->tokens, c->out, c->dy),
                                                     .x = rig_input(r, QL_F32, c->tokens, c->in, c->x),
                                                     .row_start = rig_input(r, QL_I32, c->rows + 1, 1, c->row_start),
                                                     .operands = c->operands,
                                                     .rows_in_all = c->rows_in_all}));
}

static float row_of_bf16(const grad_case *c, int64_t from, int64_t to, int64_t o, int64_t i) {
    int64_t tokens = to - from;
    float *dy = QL_NEW_ARRAY(float, (size_t)tokens + 1), *x = QL_NEW_ARRAY(float, (size_t)tokens + 1);
    for (int64_t t = 0; t < tokens; t++) {
        dy[t] = oracle_bf16(c->dy[(from + t) * c->out + o]);
        x[t] = oracle_bf16(c->x[(from + t) * c->in + i]);
    }
    float sum = oracle_bf16_sum(0.0f, dy, 1, x, 1, tokens);
    free(dy), free(x);
    return sum;
}

static void add_by_hand(const grad_case *c, int64_t *sum) {
    for (int64_t r = 0; r < c->rows; r++)
        for (int64_t o = 0; o < c->out; o++)
            for (int64_t i = 0; i < c->in; i++) {
                float g = 0.0f;
                if (c->operands == QL_BF16) g = row_of_bf16(c, c->row_start[r], c->row_start[r + 1], o, i);
                for (int64_t t = c->row_start[r]; c->operands == QL_F32 && t < c->row_start[r + 1]; t++)
                    g = fmaf(c->dy[t * c->out + o], c->x[t * c->in + i], g);
                sum[o * c->in + i] += llrint((double)g * 0x1p40);
            }
}

static void check_with(ql_dtype operands, int64_t out, int64_t in, const int32_t *row_start, int64_t rows,
                       float scale) {
    int64_t tokens = row_start[rows], n = out * in;
    float *dy = random_floats(tokens * out, 11, scale), *x = random_floats(tokens * in, 12, 1.0f);
    int64_t *sum = QL_NEW_ARRAY(int64_t, n);
    for (int64_t i = 0; i < n; i++) sum[i] = (i * 7919 - n) * 1000003;
    grad_case c = {tokens, out, in, rows, dy, x, sum, row_start, operands, 0};
    int64_t *got = rig_run_with(operands, run, &c);
    add_by_hand(&c, sum);
    assert_same_bits("weight_grad", got, sum, (size_t)n * sizeof *sum);
    assert_int_equal(((int32_t *)(got + n))[0], 0);
    free(dy), free(x), free(sum), free(got);
}

static void check(int64_t out, int64_t in, const int32_t *row_start, int64_t rows, float scale) {
    check_with(QL_F32, out, in, row_start, rows, scale);
    check_with(QL_BF16, out, in, row_start, rows, scale);
}

static void shapes(void **state) {
    (void)state;
    static const int32_t one[] = {0, 37}, long_row[] = {0, 1100}, several[] = {0, 1, 1, 330, 347, 700}, none[] = {0},
                         empty[] = {0, 0, 0};
    static const int64_t sizes[][2] = {{1, 1}, {16, 57}, {57, 16}, {8, 300}, {300, 8}, {33, 14}, {170, 40}, {2, 800}};
    for (size_t i = 0; i < QL_LEN(sizes); i++) {
        check(sizes[i][0], sizes[i][1], one, 1, 1.0f);
        check(sizes[i][0], sizes[i][1], several, 5, 1.0f);
    }
    check(16, 33, long_row, 1, 1.0f);
    check(33, 16, long_row, 1, 1.0f);
    check(16, 33, none, 0, 1.0f);
    check(16, 33, empty, 2, 1.0f);
}

/* Values whose fixed-point form has more or fewer bits than a double's or a float's fraction. */
static void sizes_of_values(void **state) {
    (void)state;
    static const int32_t rows[] = {0, 5, 9};
    for (float scale = 0x1p-60f; scale < 0x1p18f; scale *= 8.0f) check(9, 35, rows, 2, scale);
}

typedef struct {
    float dy;
    int64_t rows_in_all;
    int flaws;
} limit;

/* What does not fit is left out of the sum, and the verdict is about the row alone: whatever the sum holds already. */
static void check_limit(const limit *l, int at, int64_t before, ql_dtype operands) {
    static const int32_t rows[] = {0, 1};
    float dy[20] = {0}, x[1] = {1.0f};
    int64_t sum[20] = {0};
    grad_case c = {1, 20, 1, 1, dy, x, sum, rows, operands, l->rows_in_all};
    dy[at] = l->dy;
    sum[at] = before;
    int64_t *got = rig_run_with(operands, run, &c);
    int flaws = ((int32_t *)(got + 20))[0];
    int64_t want = before + (l->flaws ? 0 : llrint((double)l->dy * 0x1p40));
    if (flaws != l->flaws || got[at] != want) fail_msg("%a of %lld rows: flaws %d, sum %lld", (double)l->dy, (long long)l->rows_in_all, flaws, (long long)got[at]);
    free(got);
}

static void flaws_are_told(void **state) {
    (void)state;
    static const limit limits[] = {{0x1p22f, 0, 0},
                                   {-0x1p22f, 1, 0},
                                   {0x1.02p22f, 0, QL_GRAD_TOO_LARGE},
                                   {-0x1.02p22f, 1, QL_GRAD_TOO_LARGE},
                                   {3e38f, 0, QL_GRAD_TOO_LARGE},
                                   {INFINITY, 0, QL_GRAD_NOT_FINITE},
                                   {-INFINITY, 1000, QL_GRAD_NOT_FINITE},
                                   {NAN, 0, QL_GRAD_NOT_FINITE},
                                   {0x1p12f, 1024, 0},
                                   {-0x1.02p12f, 1024, QL_GRAD_TOO_LARGE},
                                   {0x1.54p20f, 3, 0},
                                   {0x1.56p20f, 3, QL_GRAD_TOO_LARGE}};
    for (int i = 0; i < (int)QL_LEN(limits); i++)
        for (int k = 0; k < 20; k += 7) { /* in vectors and behind the last whole one */
            check_limit(&limits[i], k, 0, QL_F32);
            check_limit(&limits[i], k, -(1ll << 61), QL_F32);
            check_limit(&limits[i], k, 5, QL_BF16);
        }
}

/* As many rows as may come, each as large as it may be: their sum is still no overflow. */
static void the_largest_rows_fit_together(void **state) {
    (void)state;
    for (int64_t rows = 1; rows < 1 << 20; rows = rows * 3 + 1) {
        ql_weight_grad_args a = {.rows_in_all = rows};
        float most = ql_weight_grad_limit(&a);
        assert_true((double)most * 0x1p40 * (double)rows < 0x1.0001p62 && most > 0);
        assert_true((double)most * (double)rows > 0x1.fff8p21);
    }
}

/* Any split of the packed rows adds up to the same integers. */
static void check_splits(ql_dtype operands) {
    enum { OUT = 19, IN = 45 };
    static const int32_t all[] = {0, 50, 51, 200}, first[] = {0, 50}, rest[] = {0, 1, 150};
    float *dy = random_floats(200 * OUT, 13, 1), *x = random_floats(200 * IN, 14, 1);
    int64_t zero[OUT * IN] = {0};
    grad_case together = {200, OUT, IN, 3, dy, x, zero, all, operands, 0};
    int64_t *want = rig_run_with(operands, run, &together);
    grad_case later = {150, OUT, IN, 2, dy + 50 * OUT, x + 50 * IN, zero, rest, operands, 0};
    int64_t *half = rig_run_with(operands, run, &later);
    grad_case sooner = {50, OUT, IN, 1, dy, x, half, first, operands, 0};
    int64_t *got = rig_run_with(operands, run, &sooner);
    assert_same_bits("splits", got, want, sizeof zero);
    free(dy), free(x), free(want), free(half), free(got);
}

static void splits_add_up(void **state) {
    (void)state;
    check_splits(QL_F32);
    check_splits(QL_BF16);
}

static void bad_rows_are_refused(void **state) {
    (void)state;
    ql_device *d = open_device("portable", 1);
    rig r = {.d = d};
    float x[4] = {0};
    int64_t sum[1] = {0};
    int32_t none = 0, falling[] = {0, 3, 2, 4}, shorter[] = {0, 1, 2, 3};
    ql_weight_grad_args a = {.sum = rig_changed(&r, QL_I64, 1, 1, sum),
                             .flaws = rig_changed(&r, QL_I32, 1, 1, &none),
                             .dy = rig_input(&r, QL_F32, 4, 1, x),
                             .x = rig_input(&r, QL_F32, 4, 1, x)};
    a.row_start = rig_input(&r, QL_I32, 4, 1, falling);
    must_fail(ql_weight_grad(d, &a), QL_BUG, "falls at row 1");
    a.row_start = rig_input(&r, QL_I32, 4, 1, shorter);
    must_fail(ql_weight_grad(d, &a), QL_BUG, "does not cover the 4 tokens");
    for (int i = 0; i < r.count; i++) ql_buffer_free(d, r.made[i].t.buffer);
    ql_device_close(d);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(shapes), cmocka_unit_test(sizes_of_values),
                                       cmocka_unit_test(flaws_are_told), cmocka_unit_test(the_largest_rows_fit_together),
                                       cmocka_unit_test(splits_add_up),
                                       cmocka_unit_test(bad_rows_are_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
