/* Look-ups, norms and the rotary embedding. */
#include "tests/kernels/rig.h"

#include <math.h>

#include "tests/kernels/oracle.h"

typedef struct {
    int64_t rows, groups, width, vocabulary;
    ql_dtype type;
    const void *table; /* also the norm's weight */
    const float *x, *dy, *before;
    const int32_t *index;
    bool accumulate, inverse, in_place;
    int64_t half;
    const float *cosine, *sine;
} row_case;

static void run_embed(rig *r, void *context) {
    const row_case *c = context;
    must(ql_embed(r->d, &(ql_embed_args){.y = rig_output(r, QL_F32, c->rows, c->width),
                                         .table = rig_input(r, c->type, c->vocabulary, c->width, c->table),
                                         .ids = rig_input(r, QL_I32, c->rows, 1, c->index)}));
}

static void run_gather(rig *r, void *context) {
    const row_case *c = context;
    must(ql_gather(r->d, &(ql_gather_args){.y = rig_output(r, QL_F32, c->rows, c->width),
                                           .x = rig_input(r, QL_F32, c->vocabulary, c->width, c->table),
                                           .index = rig_input(r, QL_I32, c->rows, 1, c->index)}));
}

static void run_scatter(rig *r, void *context) {
    const row_case *c = context;
    must(ql_scatter(r->d, &(ql_scatter_args){.y = rig_input(r, QL_F32, c->rows, c->width, c->x),
                                             .x = rig_output(r, QL_F32, c->vocabulary, c->width),
                                             .index = rig_input(r, QL_I32, c->rows, 1, c->index)}));
}

static void look_ups(void **state) {
    (void)state;
    enum { VOCABULARY = 50, MOST = 11 };
    static const int32_t index[MOST] = {49, 0, 3, 7, 8, 48, 21, 22, 30, 31, 5};
    static const int64_t widths[] = {1, 16, 37, 576};
    static const ql_dtype types[] = {QL_F32, QL_BF16, QL_F16};
    for (size_t i = 0; i < QL_LEN(widths) * 6; i++) {
        int64_t width = widths[i % 4];
        ql_dtype type = types[i / 4 % 3];
        int64_t rows = i < 12 ? MOST : 0;
        float *full = random_floats(VOCABULARY * width, i, 3.0f), *table = rounded(full, VOCABULARY * width, type);
        void *typed = as_type(full, VOCABULARY * width, type);
        row_case c = {
            .rows = rows, .width = width, .vocabulary = VOCABULARY, .type = type, .table = typed, .index = index};
        float *embedded = rig_run(run_embed, &c);
        c.table = table;
        float *gathered = rig_run(run_gather, &c);
        c.x = table;
        float *scattered = rig_run(run_scatter, &c);
        size_t bytes = (size_t)width * sizeof(float);
        float *zero = ql_alloc(bytes);
        for (int64_t r = 0; r < rows; r++) {
            assert_same_bits("embed", embedded + r * width, table + index[r] * width, bytes);
            assert_same_bits("gather", gathered + r * width, table + index[r] * width, bytes);
            assert_same_bits("scatter", scattered + index[r] * width, table + r * width, bytes);
        }
        assert_same_bits("scatter, others", scattered + 1 * width, zero, bytes);
        free(full), free(table), free(typed), free(embedded), free(gathered), free(scattered), free(zero);
    }
}

static void wrong_indices_are_refused(void **state) {
    (void)state;
    ql_device *d = open_device("portable", 1);
    rig r = {.d = d};
    float x[6] = {0};
    int32_t ids[2] = {1, 3}, negative[2] = {-1, 0};
    ql_embed_args a = {.y = rig_output(&r, QL_F32, 2, 2), .table = rig_input(&r, QL_F32, 3, 2, x)};
    a.ids = rig_input(&r, QL_I32, 2, 1, ids);
    must_fail(ql_embed(d, &a), QL_BUG, "embed: index 3 of token 1 is outside 0..2");
    a.ids = rig_input(&r, QL_I32, 2, 1, negative);
    must_fail(ql_embed(d, &a), QL_BUG, "index -1 of token 0");
    for (int i = 0; i < r.count; i++) ql_buffer_free(d, r.made[i].t.buffer);
    ql_device_close(d);
}

static void run_norm(rig *r, void *context) {
    const row_case *c = context;
    int64_t cols = c->groups * c->width;
    ql_tensor x = c->in_place ? rig_changed(r, QL_F32, c->rows, cols, c->x) : rig_input(r, QL_F32, c->rows, cols, c->x);
    ql_tensor weight = rig_input(r, c->type, 1, c->width, c->table);
    ql_tensor y = c->in_place ? x : rig_output(r, QL_F32, c->rows, cols);
    ql_tensor rstd = rig_output(r, QL_F32, c->rows, c->groups);
    must(ql_rmsnorm(r->d, &(ql_rmsnorm_args){.y = y, .rstd = rstd, .x = x, .weight = weight, .eps = 1e-5f}));
}

static void run_norm_grad(rig *r, void *context) {
    const row_case *c = context;
    int64_t cols = c->groups * c->width;
    ql_tensor x = rig_input(r, QL_F32, c->rows, cols, c->x), weight = rig_input(r, c->type, 1, c->width, c->table);
    ql_tensor y = rig_output(r, QL_F32, c->rows, cols), rstd = rig_output(r, QL_F32, c->rows, c->groups);
    must(ql_rmsnorm(r->d, &(ql_rmsnorm_args){.y = y, .rstd = rstd, .x = x, .weight = weight, .eps = 1e-5f}));
    ql_rmsnorm_grad_args a = {.x = x, .rstd = rstd, .weight = weight, .accumulate = c->accumulate};
    a.dy = c->in_place ? rig_changed(r, QL_F32, c->rows, cols, c->dy) : rig_input(r, QL_F32, c->rows, cols, c->dy);
    a.dx = c->in_place     ? a.dy
           : c->accumulate ? rig_changed(r, QL_F32, c->rows, cols, c->before)
                           : rig_output(r, QL_F32, c->rows, cols);
    must(ql_rmsnorm_grad(r->d, &a));
}

typedef struct {
    double *x, *w, *dy, *y;
    const row_case *c;
} norm_loss;

static double loss_of_norm(void *context) {
    norm_loss *l = context;
    int64_t groups = l->c->rows * l->c->groups, n = groups * l->c->width;
    double sum = 0.0;
    oracle_rmsnorm(l->y, l->x, l->w, groups, l->c->width, (double)1e-5f);
    for (int64_t i = 0; i < n; i++) sum += l->dy[i] * l->y[i];
    return sum;
}

static void check_norm(row_case c) {
    int64_t n = c.rows * c.groups * c.width;
    float *x = random_floats(n, 21, 2.0f), *dy = random_floats(n, 22, 1.0f), *before = random_floats(n, 23, 1.0f);
    float *full = random_floats(c.width, 24, 1.5f), *weight = rounded(full, c.width, c.type);
    void *typed = as_type(full, c.width, c.type);
    c.x = x, c.dy = dy, c.before = before, c.table = typed;
    norm_loss l = {oracle_widen(x, n), oracle_widen(weight, c.width), oracle_widen(dy, n), QL_NEW_ARRAY(double, n), &c};
    double *slope = QL_NEW_ARRAY(double, n);
    float *y = rig_run(run_norm, &c), *all = rig_run(run_norm_grad, &c);
    (void)loss_of_norm(&l);
    assert_close("rmsnorm", y, l.y, n, 1e-6, 2e-6);
    if (n < 2000) {
        oracle_gradient(loss_of_norm, &l, l.x, n, slope);
        if (c.accumulate && !c.in_place)
            for (int64_t i = 0; i < n; i++) slope[i] += (double)before[i];
        assert_close("rmsnorm_grad", all + n + c.rows * c.groups, slope, n, 2e-6, 2e-6);
    }
    void *made[] = {x, dy, before, full, weight, typed, l.x, l.w, l.dy, l.y, slope, y, all};
    for (size_t i = 0; i < QL_LEN(made); i++) free(made[i]);
}

static void norms(void **state) {
    (void)state;
    check_norm((row_case){.rows = 3, .groups = 1, .width = 64, .type = QL_F32});
    check_norm((row_case){.rows = 5, .groups = 3, .width = 20, .type = QL_BF16, .accumulate = true});
    check_norm((row_case){.rows = 4, .groups = 2, .width = 33, .type = QL_F16, .in_place = true});
    check_norm((row_case){.rows = 7, .groups = 1, .width = 1, .type = QL_F32});
    check_norm((row_case){.rows = 0, .groups = 1, .width = 8, .type = QL_F32});
    check_norm((row_case){.rows = 61, .groups = 1, .width = 4096, .type = QL_BF16});
}

static void run_rope(rig *r, void *context) {
    const row_case *c = context;
    int64_t cols = c->groups * c->width;
    ql_rope_args a = {.x = c->in_place ? rig_changed(r, QL_F32, c->rows, cols, c->x)
                                       : rig_input(r, QL_F32, c->rows, cols, c->x),
                      .cos = rig_input(r, QL_F32, c->vocabulary, c->half, c->cosine),
                      .sin = rig_input(r, QL_F32, c->vocabulary, c->half, c->sine),
                      .positions = rig_input(r, QL_I32, c->rows, 1, c->index),
                      .head_dim = c->width,
                      .inverse = c->inverse};
    a.y = c->in_place ? a.x : rig_output(r, QL_F32, c->rows, cols);
    must(ql_rope(r->d, &a));
}

static void check_rope(int64_t heads, int64_t head_dim, int64_t half, bool inverse, bool in_place) {
    enum { ROWS = 9, POSITIONS = 12 };
    static const int32_t positions[ROWS] = {0, 1, 2, 3, 11, 0, 1, 5, 4};
    int64_t n = ROWS * heads * head_dim;
    float *x = random_floats(n, 31, 1.0f), *cosine = random_floats(POSITIONS * half, 32, 1.0f);
    float *sine = random_floats(POSITIONS * half, 33, 1.0f);
    row_case c = {.rows = ROWS,
                  .groups = heads,
                  .width = head_dim,
                  .vocabulary = POSITIONS,
                  .x = x,
                  .index = positions,
                  .half = half,
                  .cosine = cosine,
                  .sine = sine,
                  .inverse = inverse,
                  .in_place = in_place};
    float *y = rig_run(run_rope, &c);
    double *want = oracle_widen(x, n);
    for (int64_t i = 0; i < ROWS * heads; i++)
        for (int64_t p = 0; p < half; p++) {
            double co = (double)cosine[positions[i / heads] * half + p];
            double si = (double)sine[positions[i / heads] * half + p] * (inverse ? -1.0 : 1.0);
            double a = (double)x[i * head_dim + p], b = (double)x[i * head_dim + half + p];
            want[i * head_dim + p] = a * co - b * si;
            want[i * head_dim + half + p] = b * co + a * si;
        }
    assert_close("rope", y, want, n, 2e-7, 0.0);
    free(x), free(cosine), free(sine), free(y), free(want);
}

static void rotary_embedding(void **state) {
    (void)state;
    check_rope(3, 64, 32, false, false);
    check_rope(2, 20, 10, true, true);
    check_rope(1, 80, 16, false, true);
    check_rope(5, 6, 1, true, false);
    check_rope(1, 7, 3, false, false);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(look_ups), cmocka_unit_test(wrong_indices_are_refused),
                                       cmocka_unit_test(norms), cmocka_unit_test(rotary_embedding)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
