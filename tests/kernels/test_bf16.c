/* Products of operands rounded to bf16: rounding itself, and numbers at the ends of the range.
 * (Shapes, weights and threads: test_matmul.c, test_weight_grad.c.) */
#include "tests/kernels/rig.h"

#include <math.h>

#include "base/random.h"
#include "tests/kernels/oracle_bf16.h"

typedef struct {
    int64_t rows, depth, cols;
    const float *x, *before; /* before: [rows, cols] or NULL */
    const void *weight;      /* [cols, depth] */
    ql_dtype type;
} product;

static void run(rig *r, void *context) {
    const product *p = context;
    ql_weight w = ql_dense(rig_input(r, p->type, p->cols, p->depth, p->weight));
    must(ql_matmul(r->d, &(ql_matmul_args){.x = rig_input(r, QL_F32, p->rows, p->depth, p->x),
                                           .y = p->before ? rig_changed(r, QL_F32, p->rows, p->cols, p->before)
                                                          : rig_output(r, QL_F32, p->rows, p->cols),
                                           .weight = &w,
                                           .alpha = 1.0f,
                                           .accumulate = p->before,
                                           .operands = QL_BF16}));
}

static void assert_same(const char *what, const float *got, const float *want, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        if (isnan(got[i]) && isnan(want[i])) continue;
        if (memcmp(&got[i], &want[i], sizeof got[i]))
            fail_msg("%s: %lld: %a, not %a", what, (long long)i, (double)got[i], (double)want[i]);
    }
}

static float *rounded_once(const float *x, int64_t n) {
    float *y = QL_NEW_ARRAY(float, n);
    for (int64_t i = 0; i < n; i++) y[i] = oracle_bf16(x[i]);
    return y;
}

/* `w` is the weight as floats. */
static void check(const char *what, product p, const float *w) {
    float *got = rig_run_with(QL_BF16, run, &p), *want = QL_NEW_ARRAY(float, p.rows *p.cols);
    float *left = rounded_once(p.x, p.rows * p.depth), *right = rounded_once(w, p.cols * p.depth);
    for (int64_t i = 0; i < p.rows; i++)
        for (int64_t n = 0; n < p.cols; n++)
            want[i * p.cols + n] = oracle_bf16_sum(p.before ? p.before[i * p.cols + n] : 0.0f, left + i * p.depth, 1,
                                                   right + n * p.depth, 1, p.depth);
    assert_same(what, got, want, p.rows * p.cols);
    free(got), free(want), free(left), free(right);
}

static float of_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Every sign and exponent, with fractions around the middle between two halves. */
static float *numbers_to_round(int64_t *n) {
    static const uint32_t fractions[] = {0,       1,       0x7fff,  0x8000,   0x8001,   0xffff,  0x10000,
                                         0x17fff, 0x18000, 0x18001, 0x7f7fff, 0x7f8000, 0x7fffff};
    *n = 512 * (int64_t)QL_LEN(fractions);
    float *x = QL_NEW_ARRAY(float, *n);
    for (uint32_t e = 0; e < 512; e++)
        for (size_t f = 0; f < QL_LEN(fractions); f++) x[e * QL_LEN(fractions) + f] = of_bits(e << 23 | fractions[f]);
    return x;
}

static void rounding(void **state) {
    (void)state;
    int64_t n;
    float *x = numbers_to_round(&n), one = 1.0f;
    check("left", (product){n, 1, 1, x, NULL, &one, QL_F32}, &one);
    check("right", (product){1, 1, n, &one, NULL, x, QL_F32}, x);
    float *minus_zero = QL_NEW_ARRAY(float, n);
    for (int64_t i = 0; i < n; i++) minus_zero[i] = -0.0f;
    check("before", (product){1, 1, n, &one, x, minus_zero, QL_F32}, minus_zero);
    free(x), free(minus_zero);
}

/* All 65536 halves as weights of either 16-bit type. */
static void weights_of_sixteen_bits(void **state) {
    (void)state;
    enum { N = 65536 };
    uint16_t *bits = QL_NEW_ARRAY(uint16_t, N);
    float *w = QL_NEW_ARRAY(float, N), one = 1.0f;
    for (int i = 0; i < N; i++) {
        bits[i] = (uint16_t)i;
        w[i] = ql_bf16_to_f32(bits[i]);
    }
    check("bfloat16", (product){1, 1, N, &one, NULL, bits, QL_BF16}, w);
    for (int i = 0; i < N; i++) w[i] = ql_f16_to_f32(bits[i]);
    check("float16", (product){1, 1, N, &one, NULL, bits, QL_F16}, w);
    free(bits), free(w);
}

/* A random number whose exponent lies in [low, high). */
static float number(uint64_t seed, int64_t i, int low, int high) {
    ql_random4 r = ql_philox(seed, (uint32_t)i, 0, 0, 0);
    float size = ldexpf(1.0f + ql_uniform(r.word[0]), low + (int)(r.word[1] % (uint32_t)(high - low)));
    return r.word[2] & 1 ? -size : size;
}

static void numbers(float *x, int64_t n, uint64_t seed, int low, int high) {
    for (int64_t i = 0; i < n; i++) x[i] = number(seed, i, low, high);
}

/* Products and sums that fall below 2^-126 or rise above 2^127, and ones that nearly cancel. */
static void ends_of_the_range(void **state) {
    (void)state;
    enum { ROWS = 40, DEPTH = 75, COLS = 70 };
    static const int ranges[][3] = {{-66, -58, -140}, {-80, -50, -130}, {-130, -100, -130}, {60, 68, 120},
                                    {-70, -60, -128}, {-64, -62, -126}, {-1, 1, -20}};
    static float x[ROWS * DEPTH], w[COLS * DEPTH], before[ROWS * COLS];
    for (size_t i = 0; i < QL_LEN(ranges); i++) {
        numbers(x, ROWS * DEPTH, 2 * i, ranges[i][0], ranges[i][1]);
        numbers(w, COLS * DEPTH, 2 * i + 1, ranges[i][0], ranges[i][1]);
        numbers(before, ROWS * COLS, 99 + i, ranges[i][2], ranges[i][2] + 4);
        check("range", (product){ROWS, DEPTH, COLS, x, NULL, w, QL_F32}, w);
        check("range, added", (product){ROWS, DEPTH, COLS, x, before, w, QL_F32}, w);
    }
}

/* Sums that are denormal before rounding and 2^-126 after it, or not quite, in a chain, between the
 * chains, and with y: at k and k + 2 in one chain, at k and k + 1 in both. */
static void border_of_the_denormal(void **state) {
    (void)state;
    enum { DEPTH = 6, CASES = 64 };
    static float x[DEPTH] = {0x1p-63f, 0x1p-76f, 0x1p-76f, 0x1p-70f, 0x1p-75f, 0x1p-63f}, w[CASES * DEPTH],
                 before[CASES];
    for (int c = 0; c < CASES; c++) {
        float sign = c & 1 ? -1.0f : 1.0f, size = ldexpf(1.0f + (float)(c >> 2 & 3) / 4.0f, -72 - (c >> 4) * 2);
        w[c * DEPTH] = c & 2 ? 0.0f : 0x1p-63f * sign;
        w[c * DEPTH + (c & 2 ? 1 : 2)] = -size * sign;
        if (c & 2) w[c * DEPTH + 5] = 0x1p-63f * sign;
        before[c] = c % 3 ? -0x1p-149f * sign : ldexpf(-sign, -126);
    }
    check("border", (product){1, DEPTH, CASES, x, NULL, w, QL_F32}, w);
    check("border, added", (product){1, DEPTH, CASES, x, before, w, QL_F32}, w);
}

static void zeros_infinity_and_nan(void **state) {
    (void)state;
    enum { ROWS = 6, DEPTH = 35, COLS = 37 };
    static const float values[] = {0.0f, -0.0f, INFINITY, -INFINITY, NAN, 1.0f, 0x1p127f, -0x1p127f, 0x1p-149f};
    static float x[ROWS * DEPTH], w[COLS * DEPTH], before[ROWS * COLS];
    for (uint64_t round = 0; round < 12; round++) {
        /* Few special numbers, so that not every sum becomes a not-a-number. */
        size_t rare = round < 6 ? 2 : QL_LEN(values);
        for (int i = 0; i < ROWS * DEPTH; i++) {
            uint32_t word = ql_philox(round, (uint32_t)i, 1, 0, 0).word[0];
            x[i] = word % 40 ? values[word / 40 % 2] : values[word / 40 % rare];
        }
        for (int i = 0; i < COLS * DEPTH; i++) {
            uint32_t word = ql_philox(round, (uint32_t)i, 2, 0, 0).word[0];
            w[i] = word % 40 ? (word & 1 ? 1.0f : -1.0f) : values[word / 40 % rare];
        }
        for (int i = 0; i < ROWS * COLS; i++) before[i] = values[ql_philox(round, (uint32_t)i, 3, 0, 0).word[0] % rare];
        check("special", (product){ROWS, DEPTH, COLS, x, NULL, w, QL_F32}, w);
        check("special, added", (product){ROWS, DEPTH, COLS, x, before, w, QL_F32}, w);
    }
}

/* Nothing but -0 in whole blocks: a chain that starts from +0 ends there, one that starts from its
 * first product does not. */
static void minus_zeros(void **state) {
    (void)state;
    enum { DEPTH = 64 };
    float x[DEPTH], w[DEPTH], before = -0.0f;
    for (int i = 0; i < DEPTH; i++) {
        x[i] = -0.0f;
        w[i] = 1.0f;
    }
    check("minus zeros", (product){1, DEPTH, 1, x, &before, w, QL_F32}, w);
}

/* Around blocks of 32: which k belong to which chain, and what is missing in the last block. */
static void depths_around_blocks(void **state) {
    (void)state;
    static const int64_t depths[] = {1, 2, 3, 4, 5, 31, 32, 33, 34, 35, 63, 64, 65, 95, 96, 97, 511, 512, 513, 545};
    for (size_t i = 0; i < QL_LEN(depths); i++) {
        float *x = random_floats(3 * depths[i], i, 1.0f), *w = random_floats(5 * depths[i], 77 + i, 1.0f);
        check("depth", (product){3, depths[i], 5, x, NULL, w, QL_F32}, w);
        free(x), free(w);
    }
}

/* More rows than are packed at once: the last ones give what they give alone. */
static void many_rows(void **state) {
    (void)state;
    enum { ROWS = 4129, LAST = 35, DEPTH = 2060, COLS = 66 };
    ql_device *d = NULL;
    unsetenv("QLORA_CPU");
    must(ql_device_open("cpu", 0, 2, &d));
    float *x = random_floats(ROWS * DEPTH, 5, 1.0f), *w = random_floats(COLS * DEPTH, 6, 1.0f);
    rig together = {.d = d}, alone = {.d = d};
    run(&together, &(product){ROWS, DEPTH, COLS, x, NULL, w, QL_F32});
    run(&alone, &(product){LAST, DEPTH, COLS, x + (ROWS - LAST) * DEPTH, NULL, w, QL_F32});
    /* run() makes the weight, x and y, in whatever order. */
    const float *got = NULL, *want = NULL;
    for (int i = 0; i < 3; i++)
        if (together.made[i].output) {
            got = ql_address(together.made[i].t);
            want = ql_address(alone.made[i].t);
        }
    assert_same("last rows", got + (ROWS - LAST) * COLS, want, LAST * COLS);
    for (int i = 0; i < 3; i++) {
        ql_buffer_free(d, together.made[i].t.buffer);
        ql_buffer_free(d, alone.made[i].t.buffer);
    }
    free(x), free(w);
    ql_device_close(d);
}

/* Flushing is switched on for products only: other operations keep denormal numbers. */
static void other_operations_keep_denormals(void **state) {
    (void)state;
    ql_device *d = NULL;
    unsetenv("QLORA_CPU");
    must(ql_device_open("cpu", 0, 1, &d));
    rig r = {.d = d};
    float one = 1.0f, tiny = 0x1p-140f, sum, twice = 0x1p-139f;
    product p = {1, 1, 1, &one, NULL, &one, QL_F32};
    run(&r, &p);
    ql_tensor y = rig_output(&r, QL_F32, 1, 1), a = rig_input(&r, QL_F32, 1, 1, &tiny);
    must(ql_add(d, &(ql_add_args){y, a, a}));
    must(ql_download(d, &sum, y));
    assert_same_bits("denormal", &sum, &twice, sizeof sum); /* a comparison would flush, too */
    for (int i = 0; i < r.count; i++) ql_buffer_free(d, r.made[i].t.buffer);
    ql_device_close(d);
}

static void only_known_operands(void **state) {
    (void)state;
    ql_device *d = open_device("portable", 1);
    must_fail(ql_matmul(d, &(ql_matmul_args){.operands = QL_F16}), QL_BUG, "matmul: operands cannot be float16");
    must_fail(ql_weight_grad(d, &(ql_weight_grad_args){.operands = QL_I8}), QL_BUG,
              "weight_grad: operands cannot be int8");
    must_fail(ql_attention(d, &(ql_attention_args){.operands = QL_F16}), QL_BUG,
              "attention: operands cannot be float16");
    must_fail(ql_attention_grad(d, &(ql_attention_grad_args){.operands = QL_I8}), QL_BUG,
              "attention_grad: operands cannot be int8");
    must_fail(ql_attention(d, &(ql_attention_args){.operands = QL_BF16}), QL_BUG, "attention: scale 0 is not positive");
    must_fail(ql_logprob(d, &(ql_logprob_args){.operands = QL_F16}), QL_BUG, "logprob: operands cannot be float16");
    ql_device_close(d);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(rounding),
                                       cmocka_unit_test(weights_of_sixteen_bits),
                                       cmocka_unit_test(ends_of_the_range),
                                       cmocka_unit_test(border_of_the_denormal),
                                       cmocka_unit_test(zeros_infinity_and_nan),
                                       cmocka_unit_test(minus_zeros),
                                       cmocka_unit_test(depths_around_blocks),
                                       cmocka_unit_test(many_rows),
                                       cmocka_unit_test(other_operations_keep_denormals),
                                       cmocka_unit_test(only_known_operands)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
