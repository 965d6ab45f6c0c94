/* Operations on elements: activation, sum, dropout, optimiser. */
#include "tests/kernels/rig.h"

#include <math.h>

#include "base/random.h"
#include "tests/kernels/oracle.h"

typedef struct {
    int64_t n;
    const float *a, *b, *c;
    const int64_t *sum;
    double count;
} flat_case;

static const int64_t sizes[] = {0, 1, 15, 16, 17, 4095, 4096, 4097, 40000};

static void run_add(rig *r, void *context) {
    const flat_case *c = context;
    ql_tensor a = rig_input(r, QL_F32, 1, c->n, c->a), b = rig_input(r, QL_F32, 1, c->n, c->b);
    ql_tensor same = rig_changed(r, QL_F32, 1, c->n, c->a);
    must(ql_add(r->d, &(ql_add_args){.y = rig_output(r, QL_F32, 1, c->n), .a = a, .b = b}));
    must(ql_add(r->d, &(ql_add_args){.y = same, .a = same, .b = b}));
}

static void addition(void **state) {
    (void)state;
    for (size_t s = 0; s < QL_LEN(sizes); s++) {
        int64_t n = sizes[s];
        float *a = random_floats(n, 1, 1), *b = random_floats(n, 2, 1);
        flat_case c = {.n = n, .a = a, .b = b};
        float *y = rig_run(run_add, &c);
        for (int64_t i = 0; i < n; i++) {
            float want = a[i] + b[i];
            assert_true(y[i] == want && y[n + i] == want);
        }
        free(a), free(b), free(y);
    }
}

static void run_swiglu(rig *r, void *context) {
    const flat_case *c = context;
    must(ql_swiglu(r->d, &(ql_swiglu_args){.y = rig_output(r, QL_F32, 1, c->n),
                                           .gate = rig_input(r, QL_F32, 1, c->n, c->a),
                                           .up = rig_input(r, QL_F32, 1, c->n, c->b)}));
}

static void run_swiglu_grad(rig *r, void *context) {
    const flat_case *c = context;
    ql_tensor gate = rig_changed(r, QL_F32, 1, c->n, c->a), up = rig_changed(r, QL_F32, 1, c->n, c->b);
    must(ql_swiglu_grad(
        r->d, &(ql_swiglu_grad_args){
                  .dgate = gate, .dup = up, .dy = rig_input(r, QL_F32, 1, c->n, c->c), .gate = gate, .up = up}));
}

typedef struct {
    int64_t n;
    double *gate, *up, *dy, *y;
} swiglu_loss;

static double loss_of_swiglu(void *context) {
    swiglu_loss *l = context;
    double sum = 0.0;
    oracle_swiglu(l->y, l->gate, l->up, l->n);
    for (int64_t i = 0; i < l->n; i++) sum += l->dy[i] * l->y[i];
    return sum;
}

static void activation(void **state) {
    (void)state;
    enum { N = 333 };
    float *gate = random_floats(N, 3, 6.0f), *up = random_floats(N, 4, 2.0f), *dy = random_floats(N, 5, 1.0f);
    flat_case c = {.n = N, .a = gate, .b = up, .c = dy};
    swiglu_loss l = {N, oracle_widen(gate, N), oracle_widen(up, N), oracle_widen(dy, N), QL_NEW_ARRAY(double, N)};
    double slope[N];
    float *y = rig_run(run_swiglu, &c), *grad = rig_run(run_swiglu_grad, &c);
    (void)loss_of_swiglu(&l);
    assert_close("swiglu", y, l.y, N, 1e-9, 5e-7);
    oracle_gradient(loss_of_swiglu, &l, l.gate, N, slope);
    assert_close("swiglu_grad: dgate", grad, slope, N, 2e-6, 2e-6);
    oracle_gradient(loss_of_swiglu, &l, l.up, N, slope);
    assert_close("swiglu_grad: dup", grad + N, slope, N, 2e-6, 2e-6);
    free(gate), free(up), free(dy), free(y), free(grad), free(l.gate), free(l.up), free(l.dy), free(l.y);
}

/* The exponential over its whole range, seen through silu; infinities and not-a-number too. */
static void exponential_everywhere(void **state) {
    (void)state;
    enum { N = 60000 };
    float *z = QL_NEW_ARRAY(float, N), *one = QL_NEW_ARRAY(float, N);
    double *want = QL_NEW_ARRAY(double, N);
    for (int i = 0; i < N; i++) {
        z[i] = -87.0f + (float)i * (2.0f * 87.0f / N);
        one[i] = 1.0f;
        want[i] = (double)z[i] / (1.0 + exp(-(double)z[i]));
    }
    flat_case c = {.n = N, .a = z, .b = one};
    float *y = rig_run(run_swiglu, &c);
    assert_close("silu", y, want, N, 1e-37, 4e-7);
    free(y);
    const float special[] = {-INFINITY, INFINITY, NAN, -1e30f, 1e30f, -200.0f, -0.0f};
    c = (flat_case){.n = QL_LEN(special), .a = special, .b = one};
    y = rig_run(run_swiglu, &c);
    assert_true(isnan(y[0]) && y[1] == INFINITY && isnan(y[2]) && y[3] == 0.0f && y[4] == 1e30f && y[5] == 0.0f);
    assert_true(y[6] == 0.0f && signbit(y[6]));
    free(y), free(z), free(one), free(want);
}

typedef struct {
    int64_t cols, rows;
    const int32_t *start, *id;
    const float *x;
    float p;
    uint32_t step, site;
    uint64_t key;
    bool accumulate, in_place;
} dropout_case;

static void run_dropout(rig *r, void *context) {
    const dropout_case *c = context;
    int64_t n = c->start[c->rows];
    ql_dropout_args a = {.drop = {.row_start = rig_input(r, QL_I32, c->rows + 1, 1, c->start),
                                  .row_id = rig_input(r, QL_I32, c->rows, 1, c->id),
                                  .key = c->key,
                                  .step = c->step,
                                  .site = c->site,
                                  .p = c->p},
                         .accumulate = c->accumulate};
    a.x = c->in_place ? rig_changed(r, QL_F32, n, c->cols, c->x) : rig_input(r, QL_F32, n, c->cols, c->x);
    a.y = c->in_place     ? a.x
          : c->accumulate ? rig_changed(r, QL_F32, n, c->cols, c->x)
                          : rig_output(r, QL_F32, n, c->cols);
    must(ql_dropout(r->d, &a));
}

static void check_dropout(const dropout_case *c) {
    float *y = rig_run(run_dropout, (void *)c);
    for (int64_t r = 0; r < c->rows; r++)
        for (int64_t i = c->start[r] * c->cols; i < c->start[r + 1] * c->cols; i++) {
            uint64_t e = (uint64_t)(i - c->start[r] * c->cols);
            ql_random4 random = ql_philox(c->key, c->step, (uint32_t)c->id[r], c->site, (uint32_t)(e >> 2));
            float want = ql_uniform(random.word[e & 3]) < c->p ? 0.0f : c->x[i] * (1.0f / (1.0f - c->p));
            if (c->accumulate) want += c->x[i];
            if (y[i] != want) fail_msg("element %lld is %g, should be %g", (long long)i, (double)y[i], (double)want);
        }
    free(y);
}

static void dropout_follows_its_rule(void **state) {
    (void)state;
    static const int32_t start[] = {0, 5, 5, 6, 40}, id[] = {70000, 3, 2, 0};
    static const float chances[] = {0.0f, 0.05f, 0.5f, 0.1f, 0x1p-24f, 0x1.fffffep-1f, 0x1p-30f};
    static const int64_t widths[] = {1, 7, 64, 577};
    for (size_t i = 0; i < 14; i++) {
        int64_t cols = widths[i % 4];
        float *x = random_floats(40 * cols, 40 + i, 1);
        dropout_case c = {
            cols,       4,         start, id, x, chances[i % 7], (uint32_t)i, 99, ql_random_key(i, QL_RANDOM_DROPOUT),
            i % 3 == 1, i % 3 == 2};
        check_dropout(&c);
        free(x);
    }
}

/* A row gets the same decisions alone, and at the share that p asks for. */
static void dropout_of_a_row_alone(void **state) {
    (void)state;
    enum { TOKENS = 200, COLS = 96 };
    static const int32_t start[] = {0, 120, TOKENS}, id[] = {6, 9}, alone[] = {0, TOKENS - 120};
    float *x = QL_NEW_ARRAY(float, TOKENS *COLS);
    for (int i = 0; i < TOKENS * COLS; i++) x[i] = 1.0f;
    dropout_case whole = {COLS, 2, start, id, x, 0.25f, 3, 1, 12345, false, false}, part = whole;
    part.rows = 1, part.start = alone, part.id = id + 1;
    float *together = rig_run(run_dropout, &whole), *single = rig_run(run_dropout, &part);
    int64_t dropped = 0;
    assert_same_bits("row alone", single, together + 120 * COLS, (TOKENS - 120) * COLS * sizeof(float));
    for (int i = 0; i < TOKENS * COLS; i++) dropped += together[i] == 0.0f;
    assert_in_range(dropped, TOKENS * COLS / 4 - 300, TOKENS * COLS / 4 + 300);
    free(x), free(together), free(single);
}

static void run_mean(rig *r, void *context) {
    const flat_case *c = context;
    must(ql_grad_mean(r->d, &(ql_grad_mean_args){.g = rig_output(r, QL_F32, 1, c->n),
                                                 .sum = rig_input(r, QL_I64, 1, c->n, c->sum),
                                                 .count = c->count}));
}

static void run_squares(rig *r, void *context) {
    const flat_case *c = context;
    must(ql_sum_squares(r->d,
                        &(ql_sum_squares_args){.partial = rig_output(r, QL_F64, 1, ql_ceil_div(c->n, QL_NORM_BLOCK)),
                                               .x = rig_input(r, QL_F32, 1, c->n, c->a)}));
}

static void means_and_norms(void **state) {
    (void)state;
    for (size_t s = 0; s < QL_LEN(sizes); s++) {
        int64_t n = sizes[s];
        float *x = random_floats(n, 50, 1);
        int64_t *sum = QL_NEW_ARRAY(int64_t, n);
        for (int64_t i = 0; i < n; i++) sum[i] = (int64_t)((double)x[i] * 0x1p61);
        flat_case c = {.n = n, .a = x, .sum = sum, .count = 1234567.0};
        float *g = rig_run(run_mean, &c);
        double *partial = rig_run(run_squares, &c);
        for (int64_t i = 0; i < n; i++) assert_true(g[i] == (float)((double)sum[i] / 0x1p40 / c.count));
        for (int64_t b = 0; b * QL_NORM_BLOCK < n; b++) {
            double want = 0.0;
            for (int64_t i = b * QL_NORM_BLOCK; i < ql_min(n, (b + 1) * QL_NORM_BLOCK); i++)
                want += (double)x[i] * (double)x[i];
            assert_true(partial[b] == want);
        }
        free(x), free(sum), free(g), free(partial);
    }
}

static const ql_adamw_args settings = {
    .lr = 3e-3, .beta1 = 0.9, .beta2 = 0.98, .eps = 1e-6, .weight_decay = 0.1, .clip = 0.25};

static void run_adamw(rig *r, void *context) {
    const flat_case *c = context;
    float *zero = QL_NEW_ARRAY(float, c->n);
    ql_adamw_args a = settings;
    a.p = rig_changed(r, QL_F32, 1, c->n, c->a);
    a.m = rig_changed(r, QL_F32, 1, c->n, zero);
    a.v = rig_changed(r, QL_F32, 1, c->n, zero);
    a.g = rig_input(r, QL_F32, 1, c->n, c->b);
    for (a.step = 1; a.step <= 5; a.step++) must(ql_adamw(r->d, &a));
    free(zero);
}

/* Five steps with one gradient, by the textbook (Loshchilov & Hutter 2019) in double. */
static void optimiser(void **state) {
    (void)state;
    enum { N = 1003 };
    float *p = random_floats(N, 60, 1), *g = random_floats(N, 61, 1);
    flat_case c = {.n = N, .a = p, .b = g};
    float *got = rig_run(run_adamw, &c);
    double want[3 * N];
    for (int64_t i = 0; i < N; i++) {
        double x = (double)p[i], m = 0.0, v = 0.0, grad = (double)g[i] * settings.clip;
        for (int step = 1; step <= 5; step++) {
            x *= 1.0 - settings.lr * settings.weight_decay;
            m = settings.beta1 * m + (1.0 - settings.beta1) * grad;
            v = settings.beta2 * v + (1.0 - settings.beta2) * grad * grad;
            double m_hat = m / (1.0 - pow(settings.beta1, step)), v_hat = v / (1.0 - pow(settings.beta2, step));
            x -= settings.lr * m_hat / (sqrt(v_hat) + settings.eps);
        }
        want[i] = x, want[N + i] = m, want[2 * N + i] = v;
    }
    assert_close("adamw: p", got, want, N, 2e-7, 4e-7);
    assert_close("adamw: m", got + N, want + N, N, 1e-9, 1e-6);
    assert_close("adamw: v", got + 2 * N, want + 2 * N, N, 1e-10, 1e-6);
    free(p), free(g), free(got);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(addition),
                                       cmocka_unit_test(activation),
                                       cmocka_unit_test(exponential_everywhere),
                                       cmocka_unit_test(dropout_follows_its_rule),
                                       cmocka_unit_test(dropout_of_a_row_alone),
                                       cmocka_unit_test(means_and_norms),
                                       cmocka_unit_test(optimiser)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
