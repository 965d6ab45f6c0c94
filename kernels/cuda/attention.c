/* Attention on CUDA devices: addresses and the choice of kernels. */
#include "kernels/cuda/cuda.h"

/* Absent tensors become NULL. */
static ql_k_attention_args addresses(const ql_attention_grad_args *x) {
    return (ql_k_attention_args){.q = ql_address(x->q),
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
}

ql_err ql_cuda_attention(ql_device *d, const ql_attention_args *x) {
    const ql_attention_grad_args both = {.q = x->q,
                                         .k = x->k,
                                         .v = x->v,
                                         .o = x->o,
                                         .lse = x->lse,
                                         .q_start = x->q_start,
                                         .k_start = x->k_start,
                                         .heads = x->heads,
                                         .kv_heads = x->kv_heads,
                                         .window = x->window,
                                         .scale = x->scale};
    ql_k_attention_args a = addresses(&both);
    cudaStream_t work = ql_cuda_of(d)->work;
    return ql_cuda_verdict(x->q.dtype == QL_F32 ? ql_k_attention_f32(&a, work) : ql_k_attention(&a, work),
                           "starting attention");
}

ql_err ql_cuda_attention_grad(ql_device *d, const ql_attention_grad_args *x) {
    ql_k_attention_args a = addresses(x);
    cudaStream_t work = ql_cuda_of(d)->work;
    QL_TRY(ql_cuda_verdict(ql_k_attention_delta(&a, work), "starting attention_grad"));
    return ql_cuda_verdict(x->q.dtype == QL_F32 ? ql_k_attention_grad_f32(&a, work) : ql_k_attention_grad(&a, work),
                           "starting attention_grad");
}
