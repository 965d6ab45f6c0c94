#include "kernels/quant/blocks.h"

static const ql_quant *const types[] = {&ql_quant_nf4, &ql_quant_fp4};

const ql_quant *ql_quant_find(const char *name) {
    for (size_t i = 0; i < QL_LEN(types); i++)
        if (!strcmp(types[i]->name, name)) return types[i];
    return NULL;
}

/* Opening a device refuses a wrong choice; here it means the plain version. */
static ql_instructions instructions(void) {
    ql_instructions chosen;
    return ql_bad(ql_processor_choose(&chosen)) ? QL_PORTABLE : ql_vectors_of(chosen);
}

bool ql_quantize(const ql_quant *q, const void *x, ql_dtype dtype, size_t n, int blocksize, uint8_t *packed,
                 float *absmax) {
    ql_blocks b = {x, dtype, n, blocksize, packed, absmax};
    return q->encode_blocks[instructions()](&b);
}

bool ql_is_finite(const void *x, ql_dtype dtype, size_t n) {
    const uint8_t *from = x;
    int32_t        most = 0;
    for (size_t i = 0; i < n; i += QL_RUN) {
        ql_run  copy;
        int32_t here = run_largest(run_at(from + i * width_of(dtype), n - i, dtype, &copy), dtype);
        most = here > most ? here : most;
    }
    return most < infinity_of(dtype);
}
