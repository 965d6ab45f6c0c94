/* Log-probabilities of targets, a chunk of tokens at a time: logits in f32, then per token the sum over the
 * vocabulary, then in place the gradient of the logits in the type of activations, then its product with the head. */
#include "kernels/cuda/cuda.h"

static ql_err run_chunk(ql_cuda *c, const ql_logprob_args *a, const void *head, int64_t from, int64_t rows) {
    ql_dtype        type = a->h.dtype;
    int64_t         hidden = a->h.cols, vocabulary = a->head->out, per_float = (int64_t)(sizeof(float) / ql_dtype_size(type));
    bool            wants_dh = ql_present(a->dh);
    float          *logits = ql_address(a->logits);
    ql_cuda_product forward = {.y = logits,
                               .x = ql_address(ql_rows(a->h, from, rows)),
                               .w = head,
                               .rows = rows,
                               .cols = vocabulary,
                               .depth = hidden,
                               .y_stride = vocabulary,
                               .x_stride = hidden,
                               .type = type,
                               .y_type = QL_F32,
                               .alpha = 1.0f};
    QL_TRY(ql_cuda_multiply(c, &forward));
    const float *coef = wants_dh ? ql_address(ql_rows(a->coef, from, rows)) : NULL;
    QL_TRY(ql_cuda_verdict(ql_k_logprob(ql_address(ql_rows(a->logp, from, rows)), logits, (int)type,
                                        ql_address(ql_rows(a->targets, from, rows)), coef, rows, vocabulary, c->work),
                           "starting logprob"));
    if (!wants_dh) return ql_ok();
    ql_cuda_product backward = {.y = ql_address(ql_rows(a->dh, from, rows)),
                                .x = logits,
                                .w = head,
                                .rows = rows,
                                .cols = hidden,
                                .depth = vocabulary,
                                .y_stride = hidden,
                                .x_stride = vocabulary * per_float,
                                .type = type,
                                .y_type = type,
                                .alpha = 1.0f,
                                .w_is_depth_first = true};
    return ql_cuda_multiply(c, &backward);
}

ql_err ql_cuda_logprob(ql_device *d, const ql_logprob_args *a) {
    ql_cuda    *c = ql_cuda_of(d);
    const void *head;
    if (a->h.rows == 0) return ql_ok();
    QL_TRY(ql_cuda_decoded_to_scratch(c, a->head, a->h.dtype, &head));
    for (int64_t from = 0; from < a->h.rows; from += a->logits.rows)
        QL_TRY(run_chunk(c, a, head, from, ql_min(a->logits.rows, a->h.rows - from)));
    return ql_ok();
}
