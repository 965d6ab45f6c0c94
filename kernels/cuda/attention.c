/* Attention on CUDA devices: addresses and the choice of kernels. */
#include "kernels/cuda/cuda.h"

static bool is_half(ql_dtype t) { return t != QL_F32; }

ql_err ql_cuda_attention(ql_device *d, const ql_attention_args *x) {
    if (x->q.rows == 0) return ql_ok();
    cudaStream_t        work = ql_cuda_of(d)->work;
    ql_k_attention_args a = {.q = ql_address(x->q),
                             .k = ql_address(x->k),
                             .v = ql_address(x->v),
                             .o = ql_address(x->o),
                             .lse = ql_address(x->lse),
                             .q_start = ql_address(x->q_start),
                             .k_start = ql_address(x->k_start),
                             .documents = (int32_t)(x->q_start.rows - 1),
                             .queries = (int32_t)x->q.rows,
                             .keys = (int32_t)x->k.rows,
                             .heads = (int32_t)x->heads,
                             .kv_heads = (int32_t)x->kv_heads,
                             .head_dim = (int32_t)(x->q.cols / x->heads),
                             .window = x->window < x->k.rows ? (int32_t)x->window : 0,
                             .scale = x->scale,
                             .type = (int)x->q.dtype};
    return ql_cuda_verdict(is_half(x->q.dtype) ? ql_k_attention(&a, work) : ql_k_attention_f32(&a, work),
                           "starting attention");
}

ql_err ql_cuda_attention_grad(ql_device *d, const ql_attention_grad_args *x) {
    if (x->k.rows == 0) return ql_ok();
    cudaStream_t        work = ql_cuda_of(d)->work;
    ql_k_attention_args a = {.q = ql_address(x->q),
                             .k = ql_address(x->k),
                             .v = ql_address(x->v),
                             .d_o = ql_address(x->d_o),
                             .o = ql_address(x->o),
                             .dq = ql_address(x->dq),
                             .dk = ql_address(x->dk),
                             .dv = ql_address(x->dv),
                             .lse = ql_address(x->lse),
                             .delta = ql_address(x->delta),
                             .q_start = ql_address(x->q_start),
                             .k_start = ql_address(x->k_start),
                             .documents = (int32_t)(x->q_start.rows - 1),
                             .queries = (int32_t)x->q.rows,
                             .keys = (int32_t)x->k.rows,
                             .heads = (int32_t)x->heads,
                             .kv_heads = (int32_t)x->kv_heads,
                             .head_dim = (int32_t)(x->q.cols / x->heads),
                             .window = x->window < x->k.rows ? (int32_t)x->window : 0,
                             .scale = x->scale,
                             .type = (int)x->q.dtype};
    QL_TRY(ql_cuda_verdict(ql_k_attention_delta(&a, work), "starting attention_grad"));
    return ql_cuda_verdict(is_half(x->q.dtype) ? ql_k_attention_grad(&a, work) : ql_k_attention_grad_f32(&a, work),
                           "starting attention_grad");
}
