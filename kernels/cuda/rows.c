/* Operations on rows and elements: arguments of ops.h become launches. */
#include "kernels/cuda/cuda.h"

#define QUEUE(CALL, NAME) return ql_cuda_verdict((CALL), "starting " NAME)

ql_err ql_cuda_embed(ql_device *d, const ql_embed_args *a) {
    QUEUE(ql_k_move_rows(ql_address(a->y), (int)a->y.dtype, ql_address(a->table), (int)a->table.dtype, ql_address(a->ids),
                         a->table.rows, a->y.rows, a->y.cols, false, ql_cuda_of(d)->work),
          "embed");
}

ql_err ql_cuda_gather(ql_device *d, const ql_gather_args *a) {
    QUEUE(ql_k_move_rows(ql_address(a->y), (int)a->y.dtype, ql_address(a->x), (int)a->x.dtype, ql_address(a->index),
                         a->x.rows, a->y.rows, a->y.cols, false, ql_cuda_of(d)->work),
          "gather");
}

ql_err ql_cuda_scatter(ql_device *d, const ql_scatter_args *a) {
    cudaStream_t work = ql_cuda_of(d)->work;
    if (ql_bytes(a->x))
        QL_TRY(ql_cuda_verdict(cudaMemsetAsync(ql_address(a->x), 0, ql_bytes(a->x), work), "clearing for scatter"));
    QUEUE(ql_k_move_rows(ql_address(a->x), (int)a->x.dtype, ql_address(a->y), (int)a->y.dtype, ql_address(a->index),
                         a->x.rows, a->y.rows, a->y.cols, true, work),
          "scatter");
}

ql_err ql_cuda_rmsnorm(ql_device *d, const ql_rmsnorm_args *a) {
    QUEUE(ql_k_rmsnorm(ql_address(a->y), ql_address(a->rstd), ql_address(a->x), (int)a->x.dtype, ql_address(a->weight),
                       (int)a->weight.dtype, ql_count(a->rstd), a->weight.cols, a->eps, ql_cuda_of(d)->work),
          "rmsnorm");
}

ql_err ql_cuda_rmsnorm_grad(ql_device *d, const ql_rmsnorm_grad_args *a) {
    QUEUE(ql_k_rmsnorm_grad(ql_address(a->dx), ql_address(a->dy), ql_address(a->x), (int)a->x.dtype, ql_address(a->rstd),
                            ql_address(a->weight), (int)a->weight.dtype, ql_count(a->rstd), a->weight.cols, a->accumulate,
                            ql_cuda_of(d)->work),
          "rmsnorm_grad");
}

ql_err ql_cuda_rope(ql_device *d, const ql_rope_args *a) {
    QUEUE(ql_k_rope(ql_address(a->y), ql_address(a->x), (int)a->x.dtype, ql_address(a->cos), ql_address(a->sin),
                    ql_address(a->positions), a->cos.rows, a->x.rows, a->x.cols / a->head_dim, a->head_dim, a->cos.cols,
                    a->inverse, ql_cuda_of(d)->work),
          "rope");
}

ql_err ql_cuda_swiglu(ql_device *d, const ql_swiglu_args *a) {
    QUEUE(ql_k_swiglu(ql_address(a->y), ql_address(a->gate), ql_address(a->up), (int)a->y.dtype, ql_count(a->y),
                      ql_cuda_of(d)->work),
          "swiglu");
}

ql_err ql_cuda_swiglu_grad(ql_device *d, const ql_swiglu_grad_args *a) {
    QUEUE(ql_k_swiglu_grad(ql_address(a->dgate), ql_address(a->dup), ql_address(a->dy), ql_address(a->gate),
                           ql_address(a->up), (int)a->dy.dtype, ql_count(a->dy), ql_cuda_of(d)->work),
          "swiglu_grad");
}

ql_err ql_cuda_add(ql_device *d, const ql_add_args *a) {
    QUEUE(ql_k_add(ql_address(a->y), ql_address(a->a), ql_address(a->b), (int)a->y.dtype, ql_count(a->y),
                   ql_cuda_of(d)->work),
          "add");
}

ql_err ql_cuda_dropout(ql_device *d, const ql_dropout_args *a) {
    ql_k_drop drop = ql_cuda_drop_of(&a->drop);
    QUEUE(ql_k_dropout(ql_address(a->y), ql_address(a->x), (int)a->x.dtype, &drop, a->x.rows, a->x.cols, a->accumulate,
                       ql_cuda_of(d)->work),
          "dropout");
}
