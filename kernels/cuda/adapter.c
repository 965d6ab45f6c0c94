/* Products with the matrices of adapters, and their gradients: which kernel makes which. */
#include "kernels/cuda/cuda.h"

_Static_assert((int)QL_K_GRAD_BITS == (int)QL_GRAD_BITS, "api.h and ops.h agree on the scale of gradients");
_Static_assert((int)QL_K_GRAD_TOO_LARGE == (int)QL_GRAD_TOO_LARGE && (int)QL_K_GRAD_NOT_FINITE == (int)QL_GRAD_NOT_FINITE,
               "and on their flaws");

/* Depends on the shapes of the matrix alone, never on the number of tokens. */
typedef enum { PLAIN, NARROW, WIDE } kernel;

static kernel kernel_for(const ql_k_adapter *p) {
    if (p->type == QL_K_F32) return PLAIN;
    bool narrow = p->drop_x || (!p->drop_y && p->cols <= p->depth);
    if ((narrow ? p->depth : p->cols) % 8 != 0) return PLAIN; /* rows that do not begin at multiples of 16 bytes */
    return narrow ? NARROW : WIDE;
}

ql_err ql_cuda_adapter_matmul(ql_cuda *c, const ql_matmul_args *a) {
    const ql_weight *w = a->weight;
    QL_CHECK(!w->quant && w->data.dtype == QL_F32 && !ql_present(a->bias) && a->y.dtype == a->x.dtype, QL_BUG,
             "matmul: adapters are dense and float32, without a bias, and make what they take");
    ql_k_drop    drop_x, drop_y;
    ql_k_adapter p = {.y = ql_address(a->y),
                      .x = ql_address(a->x),
                      .w = ql_address(w->data),
                      .tokens = a->x.rows,
                      .depth = a->x.cols,
                      .cols = a->y.cols,
                      .depth_stride = a->transposed ? w->in : 1,
                      .col_stride = a->transposed ? 1 : w->in,
                      .type = (int)a->x.dtype,
                      .alpha = a->alpha,
                      .accumulate = a->accumulate};
    if (a->drop_x) drop_x = ql_cuda_drop_of(a->drop_x), p.drop_x = &drop_x;
    if (a->drop_y) drop_y = ql_cuda_drop_of(a->drop_y), p.drop_y = &drop_y;
    kernel k = kernel_for(&p);
    if (k == PLAIN) return ql_cuda_verdict(ql_k_adapter_plain(&p, c->work), "starting an adapter's product");
    if (k == WIDE) return ql_cuda_verdict(ql_k_adapter_wide(&p, c->work), "starting an adapter's wide product");
    void *arranged = NULL;
    QL_TRY(ql_cuda_scratch(c, ql_k_adapter_narrow_bytes(p.depth, p.cols), &arranged));
    return ql_cuda_verdict(ql_k_adapter_narrow(&p, arranged, c->processors, c->work),
                           "starting an adapter's narrow product");
}

ql_err ql_cuda_weight_grad(ql_device *d, const ql_weight_grad_args *a) {
    ql_cuda          *c = ql_cuda_of(d);
    ql_k_drop         drop;
    ql_k_adapter_grad g = {.sum = ql_address(a->sum),
                           .dy = ql_address(a->dy),
                           .x = ql_address(a->x),
                           .row_start = ql_address(a->row_start),
                           .flaws = ql_address(a->flaws),
                           .tokens = a->x.rows,
                           .outs = a->sum.rows,
                           .ins = a->sum.cols,
                           .rows = (int32_t)(a->row_start.rows - 1),
                           .type = (int)a->x.dtype,
                           .limit = ql_weight_grad_limit(a),
                           .shift = a->shift};
    if (a->drop_x) drop = ql_cuda_drop_of(a->drop_x), g.drop_x = &drop;
    cudaError_t e = g.type == QL_K_F32 ? ql_k_adapter_grad_plain(&g, c->work) : ql_k_adapter_grad_tiles(&g, c->work);
    return ql_cuda_verdict(e, "starting weight_grad");
}
