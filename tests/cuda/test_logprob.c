/* The head on a CUDA device: log-probabilities and the gradient of the hidden states. */
#include "tests/cuda/rig.h"

#include <math.h>

enum { BLOCKSIZE = 64 };

typedef struct {
    int64_t        tokens, hidden, vocabulary, chunk;
    bool           with_gradient;
    const float   *h, *coef;
    ql_weight      like; /* type and quantisation of the head */
    const void    *head; /* elements, or 4-bit codes          */
    const float   *absmax;
    const int32_t *targets;
} head_case;

static ql_weight head_of(rig *r, const head_case *c) {
    if (!c->like.quant) return ql_dense(rig_input(r, c->like.source, c->vocabulary, c->hidden, c->head));
    int64_t   n = c->vocabulary * c->hidden;
    ql_weight w = c->like;
    w.out = c->vocabulary;
    w.in = c->hidden;
    w.data = rig_input(r, QL_U8, 1, (n + 1) / 2, c->head);
    w.code = rig_input(r, QL_F32, 1, 16, w.quant->code);
    w.absmax = rig_input(r, QL_F32, 1, ql_ceil_div(n, BLOCKSIZE), c->absmax);
    return w;
}

static void run(rig *r, void *context) {
    const head_case *c = context;
    int64_t          in_logits = c->chunk * c->vocabulary;
    float           *unset = QL_NEW_ARRAY(float, (size_t)in_logits);
    for (int64_t i = 0; i < in_logits; i++) unset[i] = NAN;
    ql_weight       head = head_of(r, c);
    ql_logprob_args a = {.logp = rig_output(r, QL_F32, c->tokens, 1),
                         .h = rig_act(r, c->tokens, c->hidden, c->h),
                         .head = &head,
                         .targets = rig_input(r, QL_I32, c->tokens, 1, c->targets),
                         .logits = rig_input(r, QL_F32, c->chunk, c->vocabulary, unset),
                         .operands = r->operands};
    if (c->with_gradient) {
        a.dh = rig_out_act(r, c->tokens, c->hidden);
        a.coef = rig_input(r, QL_F32, c->tokens, 1, c->coef);
    }
    must(ql_logprob(r->d, &a));
    free(unset);
}

/* Neither the size of the chunks nor the gradient changes a bit. */
static void check_chunks(head_case c) {
    for (ql_dtype type = QL_F32; type <= QL_F16; type++) {
        if (!rig_can(type)) continue;
        size_t all, some, bytes = (size_t)c.tokens * sizeof(float);
        c.chunk = c.tokens, c.with_gradient = true;
        void *whole = rig_bytes(type, run, &c, &all);
        for (c.chunk = 1; c.chunk < c.tokens; c.chunk += 3) {
            void *chunked = rig_bytes(type, run, &c, &some);
            if (memcmp(whole, chunked, all)) fail_msg("%s: chunks of %lld show", ql_dtype_name(type), (long long)c.chunk);
            free(chunked);
        }
        c.chunk = c.tokens, c.with_gradient = false;
        void *without = rig_bytes(type, run, &c, &some);
        assert_int_equal(some, bytes);
        if (memcmp(whole, without, bytes)) fail_msg("%s: the gradient shows", ql_dtype_name(type));
        free(whole), free(without);
    }
}

static void check(int64_t tokens, int64_t hidden, int64_t vocabulary, ql_weight like, float scale) {
    int64_t  n = vocabulary * hidden;
    float   *h = random_floats(tokens * hidden, 1, scale), *w = random_floats(n, 2, 1), *coef = random_floats(tokens, 3, 1);
    float   *absmax = QL_NEW_ARRAY(float, (size_t)ql_ceil_div(n, BLOCKSIZE));
    void    *head = as_type(w, n, like.source);
    int32_t *targets = QL_NEW_ARRAY(int32_t, (size_t)tokens + 1);
    for (int64_t i = 0; i < tokens; i++) targets[i] = (int32_t)((i + 1) * 7919 % vocabulary);
    if (tokens > 2) coef[1] = 0;
    if (like.quant) assert_true(ql_quantize(like.quant, w, QL_F32, (size_t)n, BLOCKSIZE, head, absmax));
    head_case c = {tokens, hidden, vocabulary, ql_max(1, tokens), true, h, coef, like, head, absmax, targets};
    char      what[64];
    snprintf(what, sizeof what, "%lld tokens, %lld words, %s head", (long long)tokens, (long long)vocabulary,
             like.quant ? like.quant->name : ql_dtype_name(like.source));
    rig_compare(what, run, &c, (rig_limits){2e-6, 0x1p-7, 0x1p-10});
    if (tokens) check_chunks(c);
    free(h), free(w), free(coef), free(absmax), free(head), free(targets);
}

static void shapes(void **state) {
    (void)state;
    const ql_weight f32 = {.source = QL_F32}, bf16 = {.source = QL_BF16}, f16 = {.source = QL_F16};
    const ql_weight nf4 = {.quant = &ql_quant_nf4, .source = QL_F32, .blocksize = BLOCKSIZE};
    check(7, 20, 33, f32, 1);
    check(0, 8, 40, f32, 1);
    check(1, 64, 1, f32, 1);
    check(5, 37, 4001, bf16, 1);
    check(3, 16, 2048, f16, 30); /* logits of some hundreds */
    check(2, 8, 12290, f32, 1);
    check(2, 8, 8200, bf16, 1);
    check(9, 64, 517, nf4, 0.1f);
}

static void wrong_targets_give_not_a_number(void **state) {
    (void)state;
    static const int32_t targets[] = {5, 1, -1};
    float    *x = random_floats(20, 1, 1), coef[] = {1, 1, 1};
    head_case c = {3, 4, 5, 3, true, x, coef, {.source = QL_F32}, x, NULL, targets};
    size_t    bytes;
    float    *got = rig_bytes(QL_F32, run, &c, &bytes);
    assert_true(isnan(got[0]) && isfinite(got[1]) && isnan(got[2]));
    for (int i = 0; i < 12; i++) assert_true(isfinite(got[3 + i]) == (i / 4 == 1));
    free(x), free(got);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(shapes), cmocka_unit_test(wrong_targets_give_not_a_number)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
