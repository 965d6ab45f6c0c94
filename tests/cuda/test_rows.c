/* Look-ups, norms, the rotary embedding, dropout, and operations on elements, on a CUDA device. */
#include "tests/cuda/rig.h"

#include <math.h>

#include "base/random.h"

/* Errors are divided by these: as good as equal, where nothing is rounded that the CPU does not round; the rounding of
 * results to 16 bits; and sums or functions in f32 before that. */
static const rig_limits equal = {1e-30, 1e-30, 1e-30}, rounded = {1e-30, 0x1p-8, 0x1p-11}, computed = {1e-6, 0x1.4p-8, 0x1.4p-11};

static const ql_dtype types[] = {QL_F32, QL_BF16, QL_F16};

typedef struct {
    int64_t        rows, cols, others; /* others: rows of a table, groups of a norm, or head_dim */
    int64_t        skip;               /* activations begin after so many elements of their buffers */
    ql_dtype       type;               /* of the table or weight */
    const void    *table;
    const float   *x, *dy, *before;
    const int32_t *index, *start, *id;
    int64_t        packed, pairs;
    float          p;
    bool           accumulate, in_place, inverse;
} row_case;

/* [rows, cols] after `skip` elements. */
static ql_tensor after(ql_tensor t, int64_t skip, int64_t rows, int64_t cols) {
    t.offset += (size_t)skip * ql_dtype_size(t.dtype);
    t.rows = rows;
    t.cols = cols;
    return t;
}
static ql_tensor in(rig *r, const row_case *c, int64_t rows, int64_t cols, const float *host) {
    return after(rig_act(r, 1, rows * cols + c->skip, host), c->skip, rows, cols);
}
static ql_tensor changed(rig *r, const row_case *c, int64_t rows, int64_t cols, const float *host) {
    return after(rig_changed_act(r, 1, rows * cols + c->skip, host), c->skip, rows, cols);
}
static ql_tensor out(rig *r, const row_case *c, int64_t rows, int64_t cols) {
    return after(rig_out_act(r, 1, rows * cols + c->skip), c->skip, rows, cols);
}

/* ---- look-ups ---- */

static void run_embed(rig *r, void *context) {
    const row_case *c = context;
    must(ql_embed(r->d, &(ql_embed_args){.y = out(r, c, c->rows, c->cols),
                                         .table = rig_input(r, c->type, c->others, c->cols, c->table),
                                         .ids = rig_input(r, QL_I32, c->rows, 1, c->index)}));
}

static void run_gather(rig *r, void *context) {
    const row_case *c = context;
    must(ql_gather(r->d, &(ql_gather_args){.y = out(r, c, c->rows, c->cols),
                                           .x = in(r, c, c->others, c->cols, c->x),
                                           .index = rig_input(r, QL_I32, c->rows, 1, c->index)}));
}

static void run_scatter(rig *r, void *context) {
    const row_case *c = context;
    must(ql_scatter(r->d, &(ql_scatter_args){.y = in(r, c, c->rows, c->cols, c->x),
                                             .x = out(r, c, c->others, c->cols),
                                             .index = rig_input(r, QL_I32, c->rows, 1, c->index)}));
}

static void look_ups(void **state) {
    (void)state;
    enum { VOCABULARY = 50, MOST = 11 };
    static const int32_t index[MOST] = {49, 0, 3, 7, 8, 48, 21, 22, 30, 31, 5};
    static const int64_t widths[] = {1, 16, 37, 576, 2056};
    for (size_t i = 0; i < QL_LEN(widths); i++) {
        int64_t  n = VOCABULARY * widths[i];
        float   *x = random_floats(n + 1, i, 3);
        row_case c = {.rows = MOST, .cols = widths[i], .others = VOCABULARY, .skip = (int64_t)i % 2, .x = x, .index = index};
        for (size_t t = 0; t < QL_LEN(types); t++) {
            void *table = as_type(x, n, types[t]);
            c.type = types[t], c.table = table;
            rig_compare("embed", run_embed, &c, rounded);
            free(table);
        }
        rig_compare("gather", run_gather, &c, equal);
        rig_compare("scatter", run_scatter, &c, equal);
        c.rows = 0;
        rig_compare("gather of nothing", run_gather, &c, equal);
        rig_compare("scatter of nothing", run_scatter, &c, equal);
        free(x);
    }
}

static float *floats_of(rig_body *body, row_case *c) {
    size_t bytes;
    return rig_bytes(QL_F32, body, c, &bytes);
}

/* Nothing is read or written elsewhere; what comes of it shows. */
static void wrong_indices_give_not_a_number(void **state) {
    (void)state;
    enum { COLS = 12, ROWS = 3, KNOWN = 2 };
    static const int32_t index[ROWS] = {KNOWN, 1, -1};
    float               *x = random_floats(ROWS * COLS, 1, 1);
    row_case c = {.rows = ROWS, .cols = COLS, .others = KNOWN, .table = x, .x = x, .index = index};
    float   *embedded = floats_of(run_embed, &c), *scattered = floats_of(run_scatter, &c);
    for (int i = 0; i < COLS; i++) {
        assert_true(isnan(embedded[i]) && embedded[COLS + i] == x[COLS + i] && isnan(embedded[2 * COLS + i]));
        assert_true(scattered[i] == 0 && scattered[COLS + i] == x[COLS + i]);
    }
    free(x), free(embedded), free(scattered);
}

/* ---- norms ---- */

static void run_norm(rig *r, void *context) {
    const row_case *c = context;
    ql_tensor x = c->in_place ? changed(r, c, c->rows, c->cols, c->x) : in(r, c, c->rows, c->cols, c->x);
    must(ql_rmsnorm(r->d, &(ql_rmsnorm_args){.y = c->in_place ? x : out(r, c, c->rows, c->cols),
                                             .rstd = rig_output(r, QL_F32, c->rows, c->others),
                                             .x = x,
                                             .weight = rig_input(r, c->type, 1, c->cols / c->others, c->table),
                                             .eps = 1e-5f}));
}

static void run_norm_grad(rig *r, void *context) {
    const row_case      *c = context;
    ql_rmsnorm_grad_args a = {.x = in(r, c, c->rows, c->cols, c->x),
                              .weight = rig_input(r, c->type, 1, c->cols / c->others, c->table),
                              .accumulate = c->accumulate};
    float *rstd = random_floats(c->rows * c->others, 5, 2);
    a.rstd = rig_input(r, QL_F32, c->rows, c->others, rstd);
    a.dy = c->in_place ? changed(r, c, c->rows, c->cols, c->dy) : in(r, c, c->rows, c->cols, c->dy);
    a.dx = c->in_place     ? a.dy
           : c->accumulate ? changed(r, c, c->rows, c->cols, c->before)
                           : out(r, c, c->rows, c->cols);
    must(ql_rmsnorm_grad(r->d, &a));
    free(rstd);
}

static void check_norm(row_case c) {
    int64_t n = c.rows * c.cols + c.skip;
    float  *x = random_floats(n, 21, 2), *dy = random_floats(n, 22, 1), *before = random_floats(n, 23, 1);
    float  *w = random_floats(c.cols / c.others, 24, 1.5f);
    void   *typed = as_type(w, c.cols / c.others, c.type);
    char    what[64];
    c.x = x, c.dy = dy, c.before = before, c.table = typed;
    snprintf(what, sizeof what, "norm: %lld x %lld groups of %lld", (long long)c.rows, (long long)c.others,
             (long long)(c.cols / c.others));
    rig_compare(what, run_norm, &c, computed);
    rig_compare(what, run_norm_grad, &c, computed);
    free(x), free(dy), free(before), free(w), free(typed);
}

static void norms(void **state) {
    (void)state;
    check_norm((row_case){.rows = 0, .others = 1, .cols = 64, .type = QL_F32});
    check_norm((row_case){.rows = 3, .others = 1, .cols = 64, .type = QL_F32, .in_place = true});
    check_norm((row_case){.rows = 5, .others = 3, .cols = 60, .type = QL_BF16, .accumulate = true});
    check_norm((row_case){.rows = 4, .others = 2, .cols = 66, .type = QL_F16, .in_place = true, .skip = 1});
    check_norm((row_case){.rows = 7, .others = 1, .cols = 1, .type = QL_F32, .skip = 3});
    check_norm((row_case){.rows = 3, .others = 4, .cols = 512, .type = QL_BF16});
    check_norm((row_case){.rows = 9, .others = 1, .cols = 1024, .type = QL_BF16, .accumulate = true});
    check_norm((row_case){.rows = 2, .others = 2, .cols = 2 * 1025, .type = QL_F32});
    check_norm((row_case){.rows = 3, .others = 1, .cols = 2304, .type = QL_F16, .accumulate = true});
    check_norm((row_case){.rows = 2, .others = 1, .cols = 4096, .type = QL_BF16, .in_place = true, .skip = 1});
    check_norm((row_case){.rows = 2, .others = 1, .cols = 8209, .type = QL_F32, .accumulate = true});
}

/* ---- rotary embedding ---- */

static void run_rope(rig *r, void *context) {
    const row_case *c = context;
    enum { ANGLES = 30 };
    float       *cosine = random_floats(ANGLES * c->pairs, 31, 1), *sine = random_floats(ANGLES * c->pairs, 32, 1);
    ql_rope_args a = {.cos = rig_input(r, QL_F32, ANGLES, c->pairs, cosine),
                      .sin = rig_input(r, QL_F32, ANGLES, c->pairs, sine),
                      .positions = rig_input(r, QL_I32, c->rows, 1, c->index),
                      .head_dim = c->others,
                      .inverse = c->inverse};
    a.x = c->in_place ? changed(r, c, c->rows, c->cols, c->x) : in(r, c, c->rows, c->cols, c->x);
    a.y = c->in_place ? a.x : out(r, c, c->rows, c->cols);
    must(ql_rope(r->d, &a));
    free(cosine), free(sine);
}

static const int32_t positions[] = {0, 29, 3, 3, 17, 11, 28};

static void check_rope(row_case c) {
    float *x = random_floats(c.rows * c.cols + c.skip, 33, 2);
    char   what[64];
    c.x = x, c.index = positions;
    snprintf(what, sizeof what, "rope: %lld pairs of %lld", (long long)c.pairs, (long long)c.others);
    rig_compare(what, run_rope, &c, rounded);
    free(x);
}

static void rotary_embedding(void **state) {
    (void)state;
    check_rope((row_case){.rows = 7, .cols = 128, .others = 64, .pairs = 32});
    check_rope((row_case){.rows = 7, .cols = 9 * 128, .others = 128, .pairs = 64, .in_place = true, .inverse = true});
    check_rope((row_case){.rows = 5, .cols = 3 * 80, .others = 80, .pairs = 16, .inverse = true});
    check_rope((row_case){.rows = 5, .cols = 3 * 80, .others = 80, .pairs = 10, .in_place = true});
    check_rope((row_case){.rows = 3, .cols = 5 * 7, .others = 7, .pairs = 3});
    check_rope((row_case){.rows = 2, .cols = 40 * 64, .others = 64, .pairs = 32, .skip = 1});
    check_rope((row_case){.rows = 2, .cols = 256, .others = 256, .pairs = 1});
    check_rope((row_case){.rows = 0, .cols = 128, .others = 64, .pairs = 32});
}

static void wrong_positions_give_not_a_number(void **state) {
    (void)state;
    static const int32_t wrong[] = {30, 0, -1};
    float   *x = random_floats(24, 1, 1);
    row_case c = {.rows = 3, .cols = 8, .others = 8, .pairs = 4, .x = x, .index = wrong};
    float   *y = floats_of(run_rope, &c);
    for (int i = 0; i < 24; i++) assert_true(isnan(y[i]) == (i < 8 || i >= 16));
    free(x), free(y);
}

/* ---- elements ---- */

static void run_add(rig *r, void *context) {
    const row_case *c = context;
    ql_tensor       a = c->in_place && !c->inverse ? changed(r, c, 1, c->cols, c->x) : in(r, c, 1, c->cols, c->x);
    ql_tensor       b = c->in_place && c->inverse ? changed(r, c, 1, c->cols, c->dy) : in(r, c, 1, c->cols, c->dy);
    must(ql_add(r->d, &(ql_add_args){.y = !c->in_place ? out(r, c, 1, c->cols) : c->inverse ? b : a, .a = a, .b = b}));
}

static void run_swiglu(rig *r, void *context) {
    const row_case *c = context;
    must(ql_swiglu(r->d, &(ql_swiglu_args){.y = out(r, c, 1, c->cols),
                                           .gate = in(r, c, 1, c->cols, c->x),
                                           .up = in(r, c, 1, c->cols, c->dy)}));
}

static void run_swiglu_grad(rig *r, void *context) {
    const row_case     *c = context;
    ql_swiglu_grad_args a = {.dy = in(r, c, 1, c->cols, c->before)};
    a.gate = c->in_place ? changed(r, c, 1, c->cols, c->x) : in(r, c, 1, c->cols, c->x);
    a.up = c->in_place ? changed(r, c, 1, c->cols, c->dy) : in(r, c, 1, c->cols, c->dy);
    a.dgate = c->in_place ? a.gate : out(r, c, 1, c->cols);
    a.dup = c->in_place ? a.up : out(r, c, 1, c->cols);
    must(ql_swiglu_grad(r->d, &a));
}

static void elements(void **state) {
    (void)state;
    static const int64_t sizes[] = {0, 1, 7, 8, 1023, 2048, 2049, 30011};
    for (size_t i = 0; i < QL_LEN(sizes); i++) {
        int64_t  n = sizes[i] + 1;
        float   *x = random_floats(n, 41, 6), *dy = random_floats(n, 42, 1), *before = random_floats(n, 43, 1);
        row_case c = {.cols = sizes[i], .skip = (int64_t)i % 2, .x = x, .dy = dy, .before = before};
        char     what[64];
        for (int turn = 0; turn < 3; turn++) {
            c.in_place = turn > 0, c.inverse = turn > 1;
            snprintf(what, sizeof what, "%lld elements%s", (long long)sizes[i], c.in_place ? ", in place" : "");
            rig_compare(what, run_add, &c, rounded);
            rig_compare(what, run_swiglu, &c, computed);
            rig_compare(what, run_swiglu_grad, &c, computed);
        }
        free(x), free(dy), free(before);
    }
}

static void activation_at_its_ends(void **state) {
    (void)state;
    const float special[] = {-INFINITY, INFINITY, NAN, -1e30f, 1e30f, -200, -0.0f}, one[] = {1, 1, 1, 1, 1, 1, 1};
    row_case    c = {.cols = QL_LEN(special), .x = special, .dy = one, .before = one};
    float      *y = floats_of(run_swiglu, &c), *d = floats_of(run_swiglu_grad, &c);
    assert_true(isnan(y[0]) && y[1] == INFINITY && isnan(y[2]) && y[3] == 0 && y[4] == 1e30f && y[5] == 0);
    assert_true(y[6] == 0 && signbit(y[6]));
    assert_true(isnan(d[2]) && d[3] == 0 && d[4] == 1 && d[5] == 0 && d[6] == 0.5f);
    free(y), free(d);
}

/* ---- dropout ---- */

static void run_dropout(rig *r, void *context) {
    const row_case *c = context;
    ql_dropout_args a = {.drop = {.row_start = rig_input(r, QL_I32, c->packed + 1, 1, c->start),
                                  .row_id = rig_input(r, QL_I32, c->packed, 1, c->id),
                                  .key = ql_random_key(99, QL_RANDOM_DROPOUT),
                                  .step = 7,
                                  .site = 0x80000003u,
                                  .p = c->p},
                         .accumulate = c->accumulate};
    a.x = c->in_place ? changed(r, c, c->rows, c->cols, c->x) : in(r, c, c->rows, c->cols, c->x);
    a.y = c->in_place     ? a.x
          : c->accumulate ? changed(r, c, c->rows, c->cols, c->before)
                          : out(r, c, c->rows, c->cols);
    must(ql_dropout(r->d, &a));
}

static void dropout(void **state) {
    (void)state;
    static const int32_t start[] = {0, 5, 5, 6, 20}, id[] = {70000, 3, 2, 0};
    static const float   chances[] = {0.0f, 0.05f, 0.5f, 0.1f, 0x1p-24f, 0x1p-30f, 0x1.fffffep-1f};
    static const int64_t widths[] = {1, 7, 64, 577, 1028};
    for (size_t i = 0; i < 21; i++) {
        int64_t  cols = widths[i % 5];
        float   *x = random_floats(20 * cols + 1, 50 + i, 1), *before = random_floats(20 * cols + 1, 80 + i, 1);
        row_case c = {.rows = 20, .cols = cols, .skip = i % 7 == 3, .x = x, .before = before, .start = start, .id = id,
                      .packed = 4, .p = chances[i % 7], .accumulate = i % 3 == 1, .in_place = i % 3 == 2};
        char       what[64];
        rig_limits limits = c.p < 0.9f ? rounded : equal;
        if (c.p > 0.9f) limits.bf16 = limits.f16 = 0; /* what is kept overflows f16 */
        snprintf(what, sizeof what, "dropout: p %g, %lld columns", (double)c.p, (long long)cols);
        rig_compare(what, run_dropout, &c, limits);
        free(x), free(before);
    }
    row_case nothing = {.rows = 0, .cols = 8, .start = start, .id = id, .packed = 0, .p = 0.5f};
    rig_compare("dropout of nothing", run_dropout, &nothing, equal);
}

/* ---- rows do not see each other ---- */

/* The bytes of tokens [from, from + rows) alone are those among all, wherever the tensors begin. */
static void check_alone(const char *what, rig_body *body, row_case c, int64_t from, row_case part) {
    for (size_t t = 0; t < QL_LEN(types); t++) {
        if (!rig_can(types[t])) continue;
        size_t   size = ql_dtype_size(types[t]), all, few;
        uint8_t *together = rig_bytes(types[t], body, &c, &all), *alone = rig_bytes(types[t], body, &part, &few);
        if (memcmp(together + (size_t)(from * c.cols) * size, alone + (size_t)part.skip * size, (size_t)(part.rows * c.cols) * size))
            fail_msg("%s, %s: rows alone have other bits", what, ql_dtype_name(types[t]));
        free(together), free(alone);
    }
}

static void rows_alone_have_the_same_bits(void **state) {
    (void)state;
    enum { ROWS = 11, FROM = 4, FEW = 3 };
    static const int32_t start[] = {0, FROM, FROM + FEW, ROWS}, id[] = {6, 9, 1}, start_alone[] = {0, FEW};
    static const int64_t widths[] = {40, 333, 1024, 2048};
    for (size_t i = 0; i < QL_LEN(widths); i++) {
        int64_t  cols = widths[i];
        float   *x = random_floats(ROWS * cols, 60 + i, 1), *w = random_floats(cols, 70, 1);
        float   *shifted = ql_alloc((size_t)(FEW * cols + 1) * sizeof *x);
        row_case c = {.rows = ROWS, .cols = cols, .others = 1, .table = w, .x = x, .dy = x, .start = start, .id = id,
                      .packed = 3, .p = 0.3f};
        row_case part = c;
        part.rows = FEW, part.x = part.dy = x + FROM * cols, part.start = start_alone, part.id = id + 1, part.packed = 1;
        check_alone("dropout", run_dropout, c, FROM, part);
        check_alone("norm", run_norm, c, FROM, part);
        memcpy(shifted + 1, x + FROM * cols, (size_t)(FEW * cols) * sizeof *x);
        part.skip = 1, part.x = part.dy = shifted;
        shifted[0] = 0;
        check_alone("dropout, shifted", run_dropout, c, FROM, part);
        check_alone("norm, shifted", run_norm, c, FROM, part);
        free(x), free(w), free(shifted);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(look_ups),
                                       cmocka_unit_test(wrong_indices_give_not_a_number),
                                       cmocka_unit_test(norms),
                                       cmocka_unit_test(rotary_embedding),
                                       cmocka_unit_test(wrong_positions_give_not_a_number),
                                       cmocka_unit_test(elements),
                                       cmocka_unit_test(activation_at_its_ends),
                                       cmocka_unit_test(dropout),
                                       cmocka_unit_test(rows_alone_have_the_same_bits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
