/* Products with frozen matrices: decoded to scratch at memory speed, then multiplied by cuBLASLt. At the sizes of
 * training this beats any kernel that decodes while it multiplies. */
#include "kernels/cuda/cuda.h"

static int32_t log2_of(int32_t power_of_two) {
    return __builtin_ctz((unsigned)power_of_two);
}

ql_err ql_cuda_decoded(ql_cuda *c, const ql_weight *w, ql_dtype type, void *scratch, const void **out) {
    bool ready = ql_present(w->decoded) && w->decoded.dtype == type;
    *out = ql_address(ready ? w->decoded : w->data);
    if (ready || (!w->quant && w->data.dtype == type)) return ql_ok();
    *out = scratch;
    if (!w->quant)
        return ql_cuda_verdict(ql_k_spread(scratch, (int)type, ql_address(w->data), (int)w->data.dtype, 1, w->out * w->in, c->work),
                               "converting a matrix");
    ql_k_blocks q = {.data = ql_address(w->data),
                     .count = w->out * w->in,
                     .block_shift = log2_of(w->blocksize),
                     .absmax = ql_address(w->absmax),
                     .code = ql_address(w->code)};
    if (ql_is_nested(w)) {
        q.nested_absmax = ql_address(w->nested_absmax);
        q.nested_code = ql_address(w->nested_code);
        q.nested_blocksize = w->nested_blocksize;
        q.nested_offset = w->nested_offset;
    }
    return ql_cuda_verdict(ql_k_decode(scratch, (int)type, &q, c->work), "decoding a matrix");
}

ql_err ql_cuda_decoded_to_scratch(ql_cuda *c, const ql_weight *w, ql_dtype type, const void **out) {
    void *scratch = NULL;
    if (w->quant || w->data.dtype != type) QL_TRY(ql_cuda_scratch(c, (size_t)(w->out * w->in) * ql_dtype_size(type), &scratch));
    return ql_cuda_decoded(c, w, type, scratch, out);
}

/* The bias first, in every row; the product is then added to it. */
static ql_err spread_bias(ql_cuda *c, const ql_matmul_args *a) {
    return ql_cuda_verdict(ql_k_spread(ql_address(a->y), (int)a->y.dtype, ql_address(a->bias), (int)a->bias.dtype, a->y.rows,
                                       a->y.cols, c->work),
                           "spreading a bias");
}

enum { NARROW = 256 }; /* the rank of an adapter, at most, that its own kernels are faster for */

static bool is_of_adapter(const ql_matmul_args *a) {
    const ql_weight *w = a->weight;
    if (a->drop_x || a->drop_y) return true;
    return !w->quant && w->data.dtype == QL_F32 && ql_min(w->out, w->in) <= NARROW && !ql_present(a->bias) &&
           a->y.dtype == a->x.dtype;
}

ql_err ql_cuda_matmul(ql_device *d, const ql_matmul_args *a) {
    ql_cuda *c = ql_cuda_of(d);
    if (is_of_adapter(a)) return ql_cuda_adapter_matmul(c, a);
    ql_cuda_product p = {.y = ql_address(a->y),
                         .x = ql_address(a->x),
                         .rows = a->y.rows,
                         .cols = a->y.cols,
                         .depth = a->x.cols,
                         .y_stride = a->y.cols,
                         .x_stride = a->x.cols,
                         .type = a->x.dtype,
                         .y_type = a->y.dtype,
                         .alpha = a->alpha,
                         .w_is_depth_first = a->transposed,
                         .accumulate = a->accumulate};
    if (p.rows == 0) return ql_ok();
    QL_TRY(ql_cuda_decoded_to_scratch(c, a->weight, p.type, &p.w));
    if (ql_present(a->bias)) {
        QL_TRY(spread_bias(c, a));
        p.accumulate = true;
    }
    return ql_cuda_multiply(c, &p);
}
