/* Products with frozen matrices: dense ones of every type and 4-bit ones, decoded to the last bit; rows that do not
 * depend on each other. */
#include "tests/cuda/rig.h"

/* ---- a matrix in 4-bit blocks ---- */

typedef struct {
    const ql_quant *quant;
    int64_t         out, in;
    int32_t         blocksize;
    bool            nested;
    uint8_t        *packed, *absmax_q;
    float          *absmax, *nested_absmax;
    float           offset;
} blocks;

static int64_t block_count(const blocks *b) {
    return ql_ceil_div(b->out * b->in, b->blocksize);
}

static void quantise(blocks *b, const float *x) {
    int64_t n = b->out * b->in;
    b->packed = QL_NEW_ARRAY(uint8_t, (size_t)(n + 1) / 2 + 8);
    b->absmax = QL_NEW_ARRAY(float, (size_t)block_count(b));
    assert_true(ql_quantize(b->quant, x, QL_F32, (size_t)n, b->blocksize, b->packed, b->absmax));
    if (!b->nested) return;
    b->absmax_q = QL_NEW_ARRAY(uint8_t, (size_t)block_count(b));
    b->nested_absmax = QL_NEW_ARRAY(float, (size_t)ql_ceil_div(block_count(b), QL_NESTED_BLOCK));
    ql_quantize_absmax(b->absmax, (size_t)block_count(b), b->absmax_q, b->nested_absmax, &b->offset);
}

static ql_weight on_device(rig *r, const blocks *b) {
    int64_t   n = b->out * b->in;
    ql_weight w = {.quant = b->quant, .out = b->out, .in = b->in, .source = QL_BF16, .blocksize = b->blocksize};
    w.data = rig_input(r, QL_U8, 1, (n + 1) / 2, b->packed);
    w.code = rig_input(r, QL_F32, 1, 16, b->quant->code);
    if (!b->nested) {
        w.absmax = rig_input(r, QL_F32, 1, block_count(b), b->absmax);
        return w;
    }
    w.absmax = rig_input(r, QL_U8, 1, block_count(b), b->absmax_q);
    w.nested_blocksize = QL_NESTED_BLOCK;
    w.nested_absmax = rig_input(r, QL_F32, 1, ql_ceil_div(block_count(b), QL_NESTED_BLOCK), b->nested_absmax);
    w.nested_code = rig_input(r, QL_F32, 1, 256, ql_dynamic_map());
    w.nested_offset = b->offset;
    return w;
}

static void free_blocks(blocks *b) {
    free(b->packed);
    free(b->absmax);
    free(b->absmax_q);
    free(b->nested_absmax);
}

/* ---- a case ---- */

typedef struct {
    int64_t       rows, first; /* of x, from `first` on */
    int64_t       out, in;
    bool          transposed, accumulate, logits, decoded; /* decoded: the product is with a decoded copy */
    float         alpha;
    const blocks *quantised; /* NULL: dense */
    ql_dtype      dense_type, bias_type;
    const void   *dense, *bias; /* bias NULL: none */
    const float  *x, *y;
} product_case;

static ql_tensor output(rig *r, const product_case *c, int64_t cols) {
    if (c->accumulate) return rig_changed_act(r, c->rows, cols, c->y);
    return c->logits ? rig_output(r, QL_F32, c->rows, cols) : rig_out_act(r, c->rows, cols);
}

static void run_product(rig *r, void *context) {
    const product_case *c = context;
    int64_t             depth = c->transposed ? c->out : c->in, cols = c->transposed ? c->in : c->out;
    ql_weight           w = c->quantised ? on_device(r, c->quantised) : ql_dense(rig_input(r, c->dense_type, c->out, c->in, c->dense));
    ql_matmul_args      a = {.x = rig_act(r, c->rows, depth, c->x + c->first * depth),
                             .y = output(r, c, cols),
                             .weight = &w,
                             .alpha = c->alpha,
                             .transposed = c->transposed,
                             .accumulate = c->accumulate,
                             .operands = r->operands};
    if (c->bias) a.bias = rig_input(r, c->bias_type, 1, cols, c->bias);
    if (c->decoded) {
        ql_tensor copy = rig_out_act(r, c->out, c->in);
        must(ql_decode_weight(r->d, &(ql_decode_weight_args){.y = copy, .weight = &w}));
        w.decoded = copy;
        must(ql_zero(r->d, w.data)); /* not read any more */
    }
    must(ql_matmul(r->d, &a));
}

static const rig_limits rounded_operands = {2e-6, 6e-3, 8e-4};

static const int64_t shapes[][3] = {/* rows, out, in */
                                    {1, 64, 64},   {5, 33, 96},   {64, 128, 300}, {17, 301, 130},
                                    {0, 64, 64},   {129, 65, 257}, {2, 7, 9},      {300, 320, 512}};

static void four_bits(void **state) {
    (void)state;
    for (size_t i = 0; i < QL_LEN(shapes); i++)
        for (int variant = 0; variant < 4; variant++) {
            int64_t rows = shapes[i][0], out = shapes[i][1], in = shapes[i][2], most = ql_max(out, in);
            blocks  b = {.quant = variant % 2 ? &ql_quant_fp4 : &ql_quant_nf4, .out = out, .in = in,
                         .blocksize = i % 2 ? 64 : 128, .nested = variant >= 2};
            float  *w = random_floats(out * in, 1, 0.3f), *x = random_floats(rows * most, 2, 1), *y = random_floats(rows * most, 3, 1);
            quantise(&b, w);
            product_case c = {.rows = rows, .out = out, .in = in, .transposed = variant % 2, .accumulate = variant == 3,
                              .alpha = variant == 1 ? 0.5f : 1, .quantised = &b, .x = x, .y = y};
            rig_compare("product, 4 bits", run_product, &c, rounded_operands);
            free_blocks(&b);
            free(w), free(x), free(y);
        }
}

static void dense_of_every_type(void **state) {
    (void)state;
    for (size_t i = 0; i < QL_LEN(shapes); i++)
        for (ql_dtype type = QL_F32; type <= QL_F16; type++) {
            int64_t rows = shapes[i][0], out = shapes[i][1], in = shapes[i][2], most = ql_max(out, in);
            float  *w = random_floats(out * in, 4, 0.3f), *x = random_floats(rows * most, 5, 1), *y = random_floats(rows * most, 6, 1);
            float  *b = random_floats(out, 7, 1);
            void   *typed = as_type(w, out * in, type), *bias = as_type(b, out, (ql_dtype)((type + 1) % 3));
            product_case c = {.rows = rows, .out = out, .in = in, .transposed = i % 2, .alpha = 1, .dense_type = type,
                              .dense = typed, .x = x, .y = y};
            if (!c.transposed) {
                c.bias = bias;
                c.bias_type = (ql_dtype)((type + 1) % 3);
            } else c.accumulate = type == QL_BF16;
            rig_compare("product, dense", run_product, &c, rounded_operands);
            free(w), free(x), free(y), free(b), free(typed), free(bias);
        }
}

/* x is the unit matrix: the result is the decoded matrix itself, and has to be it bit by bit. */
static void decoding_is_exact(void **state) {
    (void)state;
    for (int variant = 0; variant < 4; variant++) {
        blocks b = {.quant = variant % 2 ? &ql_quant_fp4 : &ql_quant_nf4, .out = 301, .in = 97, .blocksize = 64,
                    .nested = variant >= 2};
        float *w = random_floats(b.out * b.in, 8, 0.1f), *unit = QL_NEW_ARRAY(float, (size_t)(b.in * b.in));
        for (int64_t i = 0; i < b.in; i++) unit[i * b.in + i] = 1;
        quantise(&b, w);
        product_case c = {.rows = b.in, .out = b.out, .in = b.in, .alpha = 1, .quantised = &b, .x = unit};
        rig_compare("decoded, bit by bit", run_product, &c, (rig_limits){1e-30, 3e-3, 4e-4});
        free_blocks(&b);
        free(w), free(unit);
    }
}

/* A product with a decoded copy has the bits of one that decodes. */
static void decoded_copies(void **state) {
    (void)state;
    for (ql_dtype type = QL_F32; type <= QL_F16; type++)
        for (int variant = 0; variant < 4; variant++) {
            if (!rig_can(type)) continue;
            blocks b = {.quant = variant % 2 ? &ql_quant_fp4 : &ql_quant_nf4, .out = 301, .in = 97, .blocksize = 64,
                        .nested = variant >= 2};
            float *w = random_floats(b.out * b.in, 12, 0.1f), *x = random_floats(37 * b.out, 13, 1);
            size_t bytes, more;
            quantise(&b, w);
            product_case c = {.rows = 37, .out = b.out, .in = b.in, .transposed = variant % 2, .alpha = 1, .quantised = &b, .x = x};
            uint8_t *without = rig_bytes(type, run_product, &c, &bytes);
            c.decoded = true;
            uint8_t *with = rig_bytes(type, run_product, &c, &more);
            assert_int_equal(more - bytes, (size_t)(b.out * b.in) * ql_dtype_size(type));
            if (memcmp(with, without, bytes)) fail_msg("%s: a decoded copy changes bits", ql_dtype_name(type));
            rig_compare("product with a decoded copy", run_product, &c, rounded_operands);
            free(without), free(with), free(w), free(x);
            free_blocks(&b);
        }
}

/* Rows made with others or without, at any place among them, have the same bits. */
static void rows_do_not_depend_on_each_other(void **state) {
    (void)state;
    enum { ROWS = 301 };
    static const int64_t parts[][2] = {{0, 1}, {1, 5}, {6, 64}, {70, 130}, {200, 101}}; /* first, rows */
    for (ql_dtype type = QL_F32; type <= QL_F16; type++)
        for (int variant = 0; variant < 4; variant++) {
            if (!rig_can(type)) continue;
            int64_t      out = 256, in = 1024, cols = variant % 2 ? in : out;
            float       *w = random_floats(out * in, 9, 0.1f), *x = random_floats(ROWS * in, 10, 1);
            blocks       b = {.quant = &ql_quant_nf4, .out = out, .in = in, .blocksize = 64, .nested = true};
            size_t       whole_bytes, bytes, row;
            quantise(&b, w);
            product_case c = {.rows = ROWS, .out = out, .in = in, .transposed = variant % 2, .logits = variant >= 2, .alpha = 1,
                              .quantised = &b, .x = x};
            uint8_t *whole = rig_bytes(type, run_product, &c, &whole_bytes);
            row = whole_bytes / ROWS;
            assert_int_equal(row, (size_t)cols * ql_dtype_size(c.logits ? QL_F32 : type));
            for (size_t i = 0; i < QL_LEN(parts); i++) {
                c.first = parts[i][0];
                c.rows = parts[i][1];
                uint8_t *part = rig_bytes(type, run_product, &c, &bytes);
                if (memcmp(part, whole + (size_t)c.first * row, bytes))
                    fail_msg("%s: %lld rows from %lld on differ from those of %d", ql_dtype_name(type), (long long)c.rows,
                             (long long)c.first, ROWS);
                free(part);
            }
            free(whole), free(w), free(x);
            free_blocks(&b);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(four_bits), cmocka_unit_test(dense_of_every_type),
                                       cmocka_unit_test(decoding_is_exact), cmocka_unit_test(decoded_copies),
                                       cmocka_unit_test(rows_do_not_depend_on_each_other)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
