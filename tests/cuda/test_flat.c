/* The optimiser's operations on a CUDA device: the bits of the CPU. */
#include "tests/cuda/rig.h"

#include <math.h>

/* As good as equal: the rig divides errors by this. */
static const rig_limits equal = {1e-30, 0, 0};

typedef struct {
    int64_t        n, skip; /* tensors begin after so many elements of their buffers */
    const float   *p, *m, *v, *g;
    const int64_t *sum;
    double         count;
    int64_t        step;
} flat_case;

static const int64_t sizes[] = {0, 1, 3, 4, 255, 1023, 4096, 4097, 33 * 4096 + 65, 300001};

/* `t` without its first elements: what it holds there belongs to nobody and must stay. */
static ql_tensor without(ql_tensor t, int64_t skip) {
    t.offset += (size_t)skip * ql_dtype_size(t.dtype);
    t.cols -= skip;
    return t;
}

static void run_mean(rig *r, void *context) {
    const flat_case *c = context;
    must(ql_grad_mean(r->d, &(ql_grad_mean_args){.g = without(rig_changed(r, QL_F32, 1, c->n + c->skip, c->p), c->skip),
                                                 .sum = without(rig_input(r, QL_I64, 1, c->n + c->skip, c->sum), c->skip),
                                                 .count = c->count}));
}

static void run_squares(rig *r, void *context) {
    const flat_case *c = context;
    must(ql_sum_squares(r->d,
                        &(ql_sum_squares_args){.partial = rig_output(r, QL_F64, 1, ql_ceil_div(c->n, QL_NORM_BLOCK)),
                                               .x = without(rig_input(r, QL_F32, 1, c->n + c->skip, c->g), c->skip)}));
}

static void run_adamw(rig *r, void *context) {
    const flat_case *c = context;
    int64_t          all = c->n + c->skip;
    ql_adamw_args    a = {.p = without(rig_changed(r, QL_F32, 1, all, c->p), c->skip),
                          .m = without(rig_changed(r, QL_F32, 1, all, c->m), c->skip),
                          .v = without(rig_changed(r, QL_F32, 1, all, c->v), c->skip),
                          .g = without(rig_input(r, QL_F32, 1, all, c->g), c->skip),
                          .lr = 2e-3,
                          .beta1 = 0.9,
                          .beta2 = 0.999,
                          .eps = 1e-8,
                          .weight_decay = 0.05,
                          .clip = 0.37,
                          .step = c->step};
    must(ql_adamw(r->d, &a));
    a.step++;
    must(ql_adamw(r->d, &a));
}

static void check(int64_t n, int64_t skip, int64_t step) {
    int64_t  all = n + skip;
    float   *p = random_floats(all, 1, 1), *m = random_floats(all, 2, 0.01f), *v = random_floats(all, 3, 1e-4f),
          *g = random_floats(all, 4, 3);
    int64_t *sum = QL_NEW_ARRAY(int64_t, (size_t)all + 1);
    for (int64_t i = 0; i < all; i++) {
        v[i] = fabsf(v[i]);
        if (i % 17 == 0) m[i] = v[i] = g[i] = 0;
        sum[i] = (int64_t)((double)p[i] * 0x1p62) >> i % 60;
    }
    flat_case c = {n, skip, p, m, v, g, sum, 1234567.0, step};
    char      what[64];
    snprintf(what, sizeof what, "%lld elements from %lld", (long long)n, (long long)skip);
    rig_compare(what, run_mean, &c, equal);
    rig_compare(what, run_squares, &c, equal);
    rig_compare(what, run_adamw, &c, equal);
    free(p), free(m), free(v), free(g), free(sum);
}

static void bits_are_those_of_the_cpu(void **state) {
    (void)state;
    for (size_t i = 0; i < QL_LEN(sizes); i++) check(sizes[i], (int64_t)i % 4, 1 + (int64_t)i * 100);
    check(4096, 0, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(bits_are_those_of_the_cpu)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
