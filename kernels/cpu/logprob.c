/* Log-probabilities of targets, a chunk of tokens at a time: logits, then per token the sum over
 * the vocabulary, then in place the gradient of the logits, then its product with the head. */
#include "kernels/cpu/cpu.h"

typedef struct {
    const ql_simd *simd;
    float *logits, *logp;
    const int32_t *targets;
    const float *coef; /* NULL: no gradient */
    int64_t vocabulary;
} chunk;

/* d logp / d z = onehot - softmax(z) */
static void token_range(void *context, int thread, int64_t from, int64_t to) {
    (void)thread;
    const chunk *c = context;
    for (int64_t i = from; i < to; i++) {
        float *z = c->logits + i * c->vocabulary, target = z[c->targets[i]];
        double sum, lse = c->simd->exp_sum(z, c->vocabulary, &sum);
        c->logp[i] = (float)((double)target - lse);
        if (!c->coef) continue;
        c->simd->scale(z, c->vocabulary, (float)(-(double)c->coef[i] / sum));
        z[c->targets[i]] += c->coef[i];
    }
}

ql_err ql_cpu_logprob(ql_device *d, const ql_logprob_args *a) {
    const ql_cpu *cpu = ql_cpu_of(d);
    const int32_t *targets = ql_address(a->targets);
    const float *coef = ql_present(a->dh) ? ql_address(a->coef) : NULL;
    int64_t hidden = a->h.cols, vocabulary = a->head->out;
    for (int64_t i = 0; i < a->targets.rows; i++)
        QL_CHECK(targets[i] >= 0 && targets[i] < vocabulary, QL_BUG,
                 "logprob: target %d of token %lld is outside 0..%lld", targets[i], (long long)i,
                 (long long)vocabulary - 1);
    ql_quant_view view;
    ql_source head = ql_cpu_source(a->head, &view);
    float *logits = ql_address(a->logits);
    ql_cpu_product forward = {.operands = a->operands,
                              .x_stride = hidden,
                              .alpha = 1.0f,
                              .weight = head,
                              .transposed_weight = true,
                              .y = logits,
                              .y_stride = vocabulary,
                              .cols = vocabulary,
                              .depth = hidden};
    ql_cpu_product backward = {.operands = a->operands,
                               .x = logits,
                               .x_stride = vocabulary,
                               .alpha = 1.0f,
                               .weight = head,
                               .y_stride = hidden,
                               .cols = hidden,
                               .depth = vocabulary};
    for (int64_t i = 0; i < a->h.rows; i += a->logits.rows) {
        int64_t rows = ql_min(a->logits.rows, a->h.rows - i);
        forward.rows = backward.rows = rows;
        forward.x = (const float *)ql_address(a->h) + i * hidden;
        ql_cpu_multiply(cpu, &forward);
        chunk c = {cpu->simd, logits, (float *)ql_address(a->logp) + i, targets + i, coef ? coef + i : NULL,
                   vocabulary};
        ql_cpu_parallel(cpu, rows, 1, token_range, &c);
        if (!coef) continue;
        backward.y = (float *)ql_address(a->dh) + i * hidden;
        ql_cpu_multiply(cpu, &backward);
    }
    return ql_ok();
}
