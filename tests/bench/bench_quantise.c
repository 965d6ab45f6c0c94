/* Speed of the quantiser on one thread, by the processor time that it gets.
 *   bench_quantise [SECONDS per line]
 * Each line: gigabytes of input a second, and the ratios to a copy of the same bytes and to the
 * plain C version, measured in turns. */
#include <string.h>

#include "base/mem.h"
#include "base/random.h"
#include "kernels/quant/quant.h"
#include "tests/bench/stopwatch.h"

enum { COUNT = 1 << 22 }; /* a matrix of 2048 x 2048 */

static uint8_t *packed, *copy, *codes;
static float   *absmax, *nested;

static const char *type_name(ql_dtype t) {
    return t == QL_F32 ? "f32" : t == QL_BF16 ? "bf16" : "f16";
}

static void *make_input(ql_dtype t) {
    uint8_t *x = ql_alloc((size_t)COUNT * ql_dtype_size(t));
    for (uint32_t i = 0; i < COUNT; i++) {
        float    v = (ql_uniform(ql_philox(5, i, 0, 0, 0).word[0]) - 0.5f) * 0.1f;
        uint16_t half = t == QL_BF16 ? ql_f32_to_bf16(v) : ql_f32_to_f16(v);
        memcpy(x + i * ql_dtype_size(t), t == QL_F32 ? (void *)&v : &half, ql_dtype_size(t));
    }
    return x;
}

static double quantise(const ql_quant *q, ql_instructions s, const void *x, ql_dtype t) {
    ql_blocks b = {x, t, COUNT, QL_BLOCK, packed, absmax};
    float     offset;
    double    start = now();
    if (!q->encode_blocks[s](&b)) abort();
    ql_quantize_absmax(absmax, COUNT / QL_BLOCK, codes, nested, &offset);
    return now() - start;
}

static double copy_bytes(const void *x, size_t bytes) {
    double start = now();
    memcpy(copy, x, bytes);
    __asm__ volatile("" ::"r"(copy) : "memory");
    return now() - start;
}

static void keep_least(double *least, double t) {
    *least = t < *least ? t : *least;
}

static void measure(const ql_quant *q, ql_dtype t, const void *x, double seconds) {
    double best[QL_VECTOR_SETS] = {1e9, 1e9, 1e9}, copying = 1e9;
    size_t bytes = (size_t)COUNT * ql_dtype_size(t);
    for (double start = now(); now() - start < seconds;) {
        keep_least(&copying, copy_bytes(x, bytes));
        for (int s = 0; s < QL_VECTOR_SETS; s++)
            if (ql_processor_has((ql_instructions)s)) keep_least(&best[s], quantise(q, (ql_instructions)s, x, t));
    }
    for (int s = 0; s < QL_VECTOR_SETS; s++)
        if (ql_processor_has((ql_instructions)s))
            printf("%s from %-4s %-8s %6.2f GB/s, %4.2f of a copy, %5.2f times portable\n", q->name, type_name(t),
                   ql_instructions_name((ql_instructions)s), (double)bytes / best[s] * 1e-9, copying / best[s],
                   best[QL_PORTABLE] / best[s]);
}

int main(int argc, char **argv) {
    double seconds = argc > 1 ? strtod(argv[1], NULL) : 0.5;
    watch = CLOCK_PROCESS_CPUTIME_ID;
    packed = ql_alloc(COUNT / 2);
    codes = ql_alloc(COUNT / QL_BLOCK);
    copy = ql_alloc((size_t)COUNT * 4);
    absmax = QL_NEW_ARRAY(float, COUNT / QL_BLOCK);
    nested = QL_NEW_ARRAY(float, COUNT / QL_BLOCK / QL_NESTED_BLOCK);
    for (ql_dtype t = QL_F32; t <= QL_F16; t++) {
        void *x = make_input(t);
        measure(&ql_quant_nf4, t, x, seconds);
        measure(&ql_quant_fp4, t, x, seconds);
        free(x);
    }
    return 0;
}
