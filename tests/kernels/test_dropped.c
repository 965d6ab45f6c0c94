/* Products that drop an operand or their result: bit for bit what dropout and the plain product make one
 * after the other, on every machine, and never looking at the rows beside. */
#include "tests/kernels/rig.h"

#include "base/random.h"

typedef struct {
    int64_t        tokens, in, out; /* of LoRA's A: out is its rank */
    const int32_t *start, *id;
    int64_t        rows;
    const float   *x, *a, *du, *dx;
    ql_dtype       operands;
    float          p;
    bool           in_one; /* else as a composition */
} dropped_case;

static ql_drop drop_of(rig *r, const dropped_case *c) {
    return (ql_drop){.row_start = rig_input(r, QL_I32, c->rows + 1, 1, c->start),
                     .row_id = rig_input(r, QL_I32, c->rows, 1, c->id),
                     .key = ql_random_key(5, QL_RANDOM_DROPOUT),
                     .step = 3,
                     .site = 7,
                     .p = c->p};
}

static ql_tensor beside(rig *r, int64_t rows, int64_t cols, const float *x) {
    return rig_input(r, QL_F32, rows, cols, x);
}

/* u = 0.5 drop(x) A^T */
static void run_down(rig *r, void *context) {
    const dropped_case *c = context;
    ql_weight           w = ql_dense(rig_input(r, QL_F32, c->out, c->in, c->a));
    ql_drop             drop = drop_of(r, c);
    ql_matmul_args      a = {.y = rig_output(r, QL_F32, c->tokens, c->out), .weight = &w, .alpha = 0.5f, .operands = c->operands};
    a.x = beside(r, c->tokens, c->in, c->x);
    if (c->in_one) a.drop_x = &drop;
    else must(ql_dropout(r->d, &(ql_dropout_args){.y = a.x, .x = a.x, .drop = drop}));
    must(ql_matmul(r->d, &a));
}

/* dx += drop(du A) */
static void run_back(rig *r, void *context) {
    const dropped_case *c = context;
    ql_weight           w = ql_dense(rig_input(r, QL_F32, c->out, c->in, c->a));
    ql_drop             drop = drop_of(r, c);
    ql_tensor           dx = rig_changed(r, QL_F32, c->tokens, c->in, c->dx);
    ql_matmul_args      a = {.x = rig_input(r, QL_F32, c->tokens, c->out, c->du),
                             .weight = &w,
                             .alpha = 1.0f,
                             .transposed = true,
                             .operands = c->operands};
    if (c->in_one) {
        a.y = dx;
        a.accumulate = true;
        a.drop_y = &drop;
        must(ql_matmul(r->d, &a));
        return;
    }
    a.y = beside(r, c->tokens, c->in, c->x);
    must(ql_matmul(r->d, &a));
    must(ql_dropout(r->d, &(ql_dropout_args){.y = dx, .x = a.y, .drop = drop, .accumulate = true}));
}

/* sum += du^T drop(x) */
static void run_grad(rig *r, void *context) {
    const dropped_case *c = context;
    int32_t             clear = 0;
    int64_t            *zeros = QL_NEW_ARRAY(int64_t, (size_t)(c->out * c->in));
    ql_drop             drop = drop_of(r, c);
    ql_weight_grad_args a = {.sum = rig_changed(r, QL_I64, c->out, c->in, zeros),
                             .flaws = rig_changed(r, QL_I32, 1, 1, &clear),
                             .dy = rig_input(r, QL_F32, c->tokens, c->out, c->du),
                             .row_start = drop.row_start,
                             .operands = c->operands};
    free(zeros);
    a.x = beside(r, c->tokens, c->in, c->x);
    if (c->in_one) a.drop_x = &drop;
    else must(ql_dropout(r->d, &(ql_dropout_args){.y = a.x, .x = a.x, .drop = drop}));
    must(ql_weight_grad(r->d, &a));
}

static void compare(const char *what, rig_body *body, dropped_case c, size_t bytes) {
    c.in_one = false;
    void *apart = rig_run_with(c.operands, body, &c);
    c.in_one = true;
    void *together = rig_run_with(c.operands, body, &c);
    assert_same_bits(what, together, apart, bytes);
    /* The test can only fail if something is dropped. */
    c.p = 0.0f;
    void *kept = rig_run_with(c.operands, body, &c);
    if (c.tokens > 3) assert_memory_not_equal(kept, together, bytes);
    free(apart), free(together), free(kept);
}

static void check(ql_dtype operands, int64_t in, int64_t out, const int32_t *start, int64_t rows) {
    static const int32_t id[] = {4, 0, 9, 1};
    int64_t              n = start[rows];
    dropped_case         c = {n, in, out, start, id, rows, .operands = operands, .p = 0.3f};
    float *x = random_floats(n * in, 1, 1), *a = random_floats(out * in, 2, 1), *du = random_floats(n * out, 3, 1);
    float *dx = random_floats(n * in, 4, 1);
    c.x = x, c.a = a, c.du = du, c.dx = dx;
    compare("u of a dropped x", run_down, c, (size_t)(n * out) * sizeof(float));
    compare("dx of a dropped product", run_back, c, (size_t)(n * in) * sizeof(float));
    compare("gradient of a dropped x", run_grad, c, (size_t)(out * in) * sizeof(int64_t));
    free(x), free(a), free(du), free(dx);
}

static void check_shapes(ql_dtype operands) {
    static const int32_t rows[] = {0, 70, 70, 73, 150}, one[] = {0, 1};
    check(operands, 64, 16, rows, 4);
    check(operands, 577, 16, rows, 4); /* rows begin in the middle of a group of four */
    check(operands, 30, 3, rows, 4);
    check(operands, 40, 100, rows, 4); /* a rank above the width */
    check(operands, 3000, 8, rows, 4);
    check(operands, 1, 1, rows, 4);
    check(operands, 640, 16, one, 1);
}

static void plain_operands(void **state) {
    (void)state;
    check_shapes(QL_F32);
}

static void bf16_operands(void **state) {
    (void)state;
    check_shapes(QL_BF16);
}

/* A width so large that few rows have room beside. */
static void wide(void **state) {
    (void)state;
    static const int32_t rows[] = {0, 3, 9};
    check(QL_F32, 100003, 2, rows, 2);
    check(QL_BF16, 100003, 2, rows, 2);
}

static void what_is_refused(void **state) {
    (void)state;
    ql_device *d = open_device("portable", 1);
    rig        r = {.d = d};
    const int32_t start[] = {0, 2}, id[] = {0};
    const float   x[8] = {0};
    dropped_case  c = {2, 4, 4, start, id, 1, .p = 0.5f};
    ql_drop       drop = drop_of(&r, &c);
    ql_weight     w = ql_dense(rig_input(&r, QL_F32, 4, 4, (float[16]){0}));
    ql_matmul_args a = {.x = rig_input(&r, QL_F32, 2, 4, x), .y = rig_output(&r, QL_F32, 2, 4), .weight = &w, .alpha = 1};
    a.drop_y = &drop;
    must_fail(ql_matmul(d, &a), QL_BUG, "drops its y");
    a.drop_y = NULL, a.drop_x = &drop, a.transposed = true;
    must_fail(ql_matmul(d, &a), QL_BUG, "drops its x");
    a.transposed = false, drop.p = 1.0f;
    must_fail(ql_matmul(d, &a), QL_BUG, "p of dropout is 1");
    for (int i = 0; i < r.count; i++) ql_buffer_free(d, r.made[i].t.buffer);
    ql_device_close(d);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(plain_operands), cmocka_unit_test(bf16_operands), cmocka_unit_test(wide),
                                       cmocka_unit_test(what_is_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
