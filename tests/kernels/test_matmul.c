/* Products: bit for bit the sums of ops.h, on every machine, with operands as they are and rounded to bf16. */
#include "tests/kernels/rig.h"

#include <math.h>

#include "tests/kernels/oracle_bf16.h"

typedef struct {
    int64_t rows, depth, cols;
    ql_dtype type, bias_type;
    bool transposed, accumulate, bias;
    float alpha;
    ql_dtype operands;
} shape;
static const ql_dtype operand_types[] = {QL_F32, QL_BF16};

typedef struct {
    shape s;
    const float *x, *y;        /* y: what the output holds before */
    const void *weight, *bias; /* of their types                  */
} dense_case;

static void run_dense(rig *r, void *context) {
    const dense_case *c = context;
    const shape *s = &c->s;
    ql_weight w = ql_dense(s->transposed ? rig_input(r, s->type, s->depth, s->cols, c->weight)
                                         : rig_input(r, s->type, s->cols, s->depth, c->weight));
    ql_matmul_args a = {.x = rig_input(r, QL_F32, s->rows, s->depth, c->x),
                        .y = s->accumulate ? rig_changed(r, QL_F32, s->rows, s->cols, c->y)
                                           : rig_output(r, QL_F32, s->rows, s->cols),
                        .weight = &w,
                        .alpha = s->alpha,
                        .transposed = s->transposed,
                        .accumulate = s->accumulate,
                        .operands = s->operands};
    if (s->bias) a.bias = rig_input(r, s->bias_type, 1, s->cols, c->bias);
    must(ql_matmul(r->d, &a));
}

static float operand(const shape *s, float x) {
    return s->operands == QL_BF16 ? oracle_bf16(x) : x;
}

static float chain(float sum, const float *left, const float *right, int64_t right_step, int64_t depth) {
    for (int64_t k = 0; k < depth; k++) sum = fmaf(left[k], right[k * right_step], sum);
    return sum;
}

/* The definition in ops.h, one element after another. */
static float *chains(const shape *s, const float *x, const float *w, const float *bias, const float *before) {
    float *y = QL_NEW_ARRAY(float, s->rows * s->cols);
    float *left = QL_NEW_ARRAY(float, s->rows * s->depth), *right = QL_NEW_ARRAY(float, s->depth * s->cols);
    for (int64_t i = 0; i < s->rows * s->depth; i++) left[i] = operand(s, s->alpha == 1.0f ? x[i] : x[i] * s->alpha);
    for (int64_t i = 0; i < s->depth * s->cols; i++) right[i] = operand(s, w[i]);
    for (int64_t i = 0; i < s->rows; i++)
        for (int64_t n = 0; n < s->cols; n++) {
            float start = s->accumulate ? before[i * s->cols + n] : s->bias ? bias[n] : 0.0f;
            const float *column = right + (s->transposed ? n : n * s->depth);
            int64_t step = s->transposed ? s->cols : 1;
            y[i * s->cols + n] = s->operands == QL_BF16
                                     ? oracle_bf16_sum(start, left + i * s->depth, 1, column, step, s->depth)
                                     : chain(start, left + i * s->depth, column, step, s->depth);
        }
    free(left), free(right);
    return y;
}

/* Independent of the order of sums: within K roundings of the double-precision product. */
static void check_against_doubles(const shape *s, const float *x, const float *w, const float *got) {
    if (s->bias || s->accumulate) return;
    for (int64_t i = 0; i < s->rows; i++)
        for (int64_t n = 0; n < s->cols; n++) {
            double sum = 0.0, size = 0.0;
            for (int64_t k = 0; k < s->depth; k++) {
                float right = s->transposed ? w[k * s->cols + n] : w[n * s->depth + k];
                double product = (double)s->alpha * (double)x[i * s->depth + k] * (double)right;
                sum += product;
                size += fabs(product);
            }
            double error = fabs(sum - (double)got[i * s->cols + n]);
            double each = s->operands == QL_BF16 ? 0x1.02p-8 * 2 : 0.0; /* both operands rounded */
            if (error > size * ((double)(s->depth + 2) * 6e-8 + each)) fail_msg("off by %g", error);
        }
}

static void check_shape(shape s) {
    int64_t nx = s.rows * s.depth, nw = s.depth * s.cols, ny = s.rows * s.cols;
    float *x = random_floats(nx, 1, 1.0f), *w_full = random_floats(nw, 2, 1.0f), *y = random_floats(ny, 3, 1.0f);
    float *bias_full = random_floats(s.cols, 4, 1.0f);
    float *w = rounded(w_full, nw, s.type), *bias = rounded(bias_full, s.cols, s.bias_type);
    void *w_typed = as_type(w_full, nw, s.type), *bias_typed = as_type(bias_full, s.cols, s.bias_type);
    dense_case c = {s, x, y, w_typed, bias_typed};
    float *got = rig_run_with(s.operands, run_dense, &c), *want = chains(&s, x, w, bias, y);
    assert_same_bits("matmul", got, want, (size_t)ny * sizeof *got);
    check_against_doubles(&s, x, w, got);
    void *all[] = {x, w_full, y, bias_full, w, bias, w_typed, bias_typed, got, want};
    for (size_t i = 0; i < QL_LEN(all); i++) free(all[i]);
}

static const int64_t dims[][3] = {
    {1, 1, 1},     {1, 7, 3},  {3, 64, 33},  {14, 320, 32}, {15, 321, 33}, {29, 700, 75},  {64, 1, 64}, {100, 643, 16},
    {2, 100, 129}, {5, 13, 8}, {1, 577, 97}, {6, 16, 16},   {7, 17, 17},   {85, 333, 385}, {0, 5, 4},   {43, 31, 800}};

static void shapes_of_all_sizes(void **state) {
    (void)state;
    for (size_t i = 0; i < QL_LEN(dims); i++)
        for (int variant = 0; variant < 4; variant++)
            check_shape((shape){dims[i][0], dims[i][1], dims[i][2], QL_F32, QL_F32, variant % 2, false, false, 1.0f,
                                operand_types[variant / 2]});
}

static void types_bias_alpha_accumulate(void **state) {
    (void)state;
    static const ql_dtype types[] = {QL_F32, QL_BF16, QL_F16};
    for (size_t t = 0; t < QL_LEN(types); t++)
        for (int variant = 0; variant < 4; variant++) {
            bool transposed = variant % 2;
            shape s = {17,         345,   51,    types[t], types[(t + 1) % 3],
                       transposed, false, false, 0.3f,     operand_types[variant / 2]};
            check_shape(s);
            s.accumulate = true;
            check_shape(s);
            s.accumulate = false;
            s.bias = !transposed;
            s.alpha = 1.0f;
            check_shape(s);
            s.cols = 1101; /* more than are made at a time */
            s.depth = 34;
            check_shape(s);
        }
}

/* Larger than what is packed at once, both in depth and in rows. */
static void many_blocks(void **state) {
    (void)state;
    for (size_t i = 0; i < QL_LEN(operand_types); i++) {
        check_shape((shape){2100, 2003, 9, QL_F32, QL_F32, false, true, false, 1.0f, operand_types[i]});
        check_shape((shape){3, 9001, 40, QL_BF16, QL_F32, true, false, false, 1.0f, operand_types[i]});
    }
    check_shape((shape){13, 2049, 600, QL_F32, QL_F32, true, false, false, 1.0f, QL_BF16});
}

typedef struct {
    int64_t rows, out, in;
    int blocksize;
    bool nested, transposed;
    ql_dtype operands;
    const ql_quant *quant;
    const uint8_t *packed, *absmax_q;
    const float *x, *absmax, *nested_absmax;
    float offset;
} four_bit_case;

static void run_four_bit(rig *r, void *context) {
    const four_bit_case *c = context;
    int64_t n = c->out * c->in, blocks = ql_ceil_div(n, c->blocksize);
    ql_weight w = {.quant = c->quant, .out = c->out, .in = c->in, .blocksize = c->blocksize};
    w.data = rig_input(r, QL_U8, 1, (n + 1) / 2, c->packed);
    w.code = rig_input(r, QL_F32, 1, 16, c->quant->code);
    if (c->nested) {
        w.absmax = rig_input(r, QL_U8, 1, blocks, c->absmax_q);
        w.nested_absmax = rig_input(r, QL_F32, 1, ql_ceil_div(blocks, QL_NESTED_BLOCK), c->nested_absmax);
        w.nested_code = rig_input(r, QL_F32, 1, 256, ql_dynamic_map());
        w.nested_blocksize = QL_NESTED_BLOCK;
        w.nested_offset = c->offset;
    } else {
        w.absmax = rig_input(r, QL_F32, 1, blocks, c->absmax);
    }
    ql_tensor x = rig_input(r, QL_F32, c->rows, c->transposed ? c->out : c->in, c->x);
    ql_matmul_args product = {.x = x, .weight = &w, .alpha = 1.0f, .transposed = c->transposed, .operands = c->operands};
    product.y = rig_output(r, QL_F32, c->rows, c->transposed ? c->in : c->out);
    must(ql_matmul(r->d, &product));
    ql_tensor decoded = rig_output(r, QL_F32, c->out, c->in);
    must(ql_decode_weight(r->d, &(ql_decode_weight_args){.y = decoded, .weight = &w}));
    w.decoded = decoded;
    must(ql_zero(r->d, w.data)); /* not read any more */
    product.y = rig_output(r, QL_F32, c->rows, c->transposed ? c->in : c->out);
    must(ql_matmul(r->d, &product));
}

/* Equals the dense product with what ql_dequantize makes of the weight, and so does the product with the decoded
 * copy. */
static void check_four_bit(four_bit_case c) {
    int64_t n = c.out * c.in, blocks = ql_ceil_div(n, c.blocksize), most = ql_max(c.out, c.in);
    float *w = random_floats(n, 5, 0.1f), *absmax = QL_NEW_ARRAY(float, blocks),
          *x = random_floats(c.rows * most, 6, 1);
    uint8_t *packed = ql_alloc((size_t)(n + 1) / 2), *q = ql_alloc((size_t)blocks);
    float *nested = QL_NEW_ARRAY(float, ql_ceil_div(blocks, QL_NESTED_BLOCK));
    ql_quantize(c.quant, w, QL_F32, (size_t)n, c.blocksize, packed, absmax);
    if (c.nested) ql_quantize_absmax(absmax, (size_t)blocks, q, nested, &c.offset);
    c.packed = packed, c.absmax_q = q, c.x = x, c.absmax = absmax, c.nested_absmax = nested;
    ql_quant_view view = {.packed = packed,
                          .code = c.quant->code,
                          .absmax = c.nested ? NULL : absmax,
                          .absmax_q = q,
                          .nested_absmax = nested,
                          .nested_code = ql_dynamic_map(),
                          .nested_offset = c.offset,
                          .blocksize = c.blocksize,
                          .nested_blocksize = QL_NESTED_BLOCK};
    ql_dequantize(&view, 0, (size_t)n, w);
    shape s = {c.rows,
               c.transposed ? c.out : c.in,
               c.transposed ? c.in : c.out,
               QL_F32,
               QL_F32,
               c.transposed,
               false,
               false,
               1.0f,
               c.operands};
    float *got = rig_run_with(c.operands, run_four_bit, &c), *want = chains(&s, x, w, NULL, NULL);
    int64_t ny = s.rows * s.cols;
    assert_same_bits("four bits", got, want, (size_t)ny * sizeof *got);
    assert_same_bits("decoded", got + ny, w, (size_t)n * sizeof *got);
    assert_same_bits("product with the decoded copy", got + ny + n, want, (size_t)ny * sizeof *got);
    void *all[] = {w, absmax, x, packed, q, nested, got, want};
    for (size_t i = 0; i < QL_LEN(all); i++) free(all[i]);
}

static void four_bit_weights(void **state) {
    (void)state;
    static const int64_t sizes[][2] = {{64, 64}, {33, 75}, {7, 129}, {1, 31}, {130, 352}, {97, 16}, {40, 1001}};
    static const int blocksizes[] = {32, 64, 128, 4096};
    for (size_t i = 0; i < QL_LEN(sizes); i++)
        for (int variant = 0; variant < 8; variant++)
            check_four_bit((four_bit_case){.rows = 5,
                                           .out = sizes[i][0],
                                           .in = sizes[i][1],
                                           .blocksize = blocksizes[(i + (size_t)variant) % 4],
                                           .nested = variant / 2 % 2,
                                           .transposed = variant % 2,
                                           .operands = operand_types[variant / 4],
                                           .quant = i % 2 ? &ql_quant_fp4 : &ql_quant_nf4});
}

/* A row's result does not depend on which other rows are there. */
static void check_rows(ql_dtype operands) {
    enum { ROWS = 31, IN = 333, OUT = 70 };
    float *x = random_floats(ROWS * IN, 7, 1), *w = random_floats(OUT * IN, 8, 1);
    dense_case whole = {{ROWS, IN, OUT, QL_F32, QL_F32, false, false, false, 0.7f, operands}, x, NULL, w, NULL};
    float *together = rig_run_with(operands, run_dense, &whole);
    for (int64_t from = 0, rows; from < ROWS; from += rows) {
        rows = ql_min(1 + from % 9, ROWS - from);
        dense_case part = whole;
        part.s.rows = rows;
        part.x = x + from * IN;
        float *alone = rig_run_with(operands, run_dense, &part);
        assert_same_bits("rows alone", alone, together + from * OUT, (size_t)(rows * OUT) * sizeof *alone);
        free(alone);
    }
    free(x), free(w), free(together);
}

static void rows_alone_or_together(void **state) {
    (void)state;
    check_rows(QL_F32);
    check_rows(QL_BF16);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(shapes_of_all_sizes),
                                       cmocka_unit_test(types_bias_alpha_accumulate), cmocka_unit_test(many_blocks),
                                       cmocka_unit_test(four_bit_weights), cmocka_unit_test(rows_alone_or_together)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
