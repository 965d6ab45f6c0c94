/* 4-bit quantisation against bitsandbytes and against the rules of its CUDA code. */
#include "tests/support/check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/random.h"
#include "checkpoint/safetensors.h"
#include "kernels/quant/quant.h"

static ql_tensor_set *golden;

static int open_golden(void **state) {
    (void)state;
    return ql_bad(ql_tensor_file_open(QL_TEST_DATA "/quant/quant.safetensors", &golden));
}

static int close_golden(void **state) {
    (void)state;
    ql_tensor_set_close(golden);
    return 0;
}

static const ql_stored *expected(const char *name, const char *part) {
    char *full = ql_format("%s%s", name, part);
    const ql_stored *t = ql_tensor_set_find(golden, full);
    if (!t) fail_msg("no golden tensor %s", full);
    free(full);
    return t;
}

static float value_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint32_t bits_of(float x) {
    uint32_t b;
    memcpy(&b, &x, sizeof b);
    return b;
}

/* ---- single codes --------------------------------------------------------------------------- */

/* Bit patterns read from the CUDA library. */
static const uint32_t nf4_step[15] = {0xbf591cd9, 0xbf1c5270, 0xbeeb8480, 0xbeadea76, 0xbe703cec,
                                      0xbe0d38bc, 0xbd3a7871, 0x3d22faff, 0x3df64863, 0x3e5067e0,
                                      0x3e9582d4, 0x3ec753f9, 0x3f006d03, 0x3f248daf, 0x3f5c89d9};
static const uint32_t nf4_value[16] = {0xbf800000, 0xbf3239b1, 0xbf066b30, 0xbeca32a0, 0xbe91a24d, 0xbe3d353f,
                                       0xbdba7871, 0x00000000, 0x3da2faff, 0x3e24cae3, 0x3e7c04dd, 0x3ead033a,
                                       0x3ee1a4b8, 0x3f1007ab, 0x3f3913b3, 0x3f800000};
static const uint32_t fp4_step[7] = {0x3b2aaab9, 0x3db00000, 0x3e555555, 0x3e955555,
                                     0x3ed55556, 0x3f155550, 0x3f555555};
static const uint32_t fp4_value[16] = {0x00000000, 0x3baaaaab, 0x3f2aaaab, 0x3f800000, 0x3eaaaaab, 0x3f000000,
                                       0x3e2aaaab, 0x3e800000, 0x00000000, 0xbbaaaaab, 0xbf2aaaab, 0xbf800000,
                                       0xbeaaaaab, 0xbf000000, 0xbe2aaaab, 0xbe800000};
static const uint8_t fp4_order[8] = {0, 1, 6, 7, 4, 5, 2, 3};

static void nf4_codes_change_just_above_each_threshold(void **state) {
    (void)state;
    for (int k = 0; k < 15; k++) {
        float t = value_of(nf4_step[k]);
        assert_int_equal(ql_quant_nf4.encode(t), k);
        assert_int_equal(ql_quant_nf4.encode(nextafterf(t, 2)), k + 1);
        assert_int_equal(ql_quant_nf4.encode(nextafterf(t, -2)), k);
    }
    for (int k = 0; k < 16; k++) {
        assert_int_equal(bits_of(ql_quant_nf4.code[k]), nf4_value[k]);
        assert_int_equal(ql_quant_nf4.encode(ql_quant_nf4.code[k]), k);
    }
    assert_int_equal(ql_quant_nf4.encode(NAN), 0);
}

static void fp4_codes_change_just_above_each_threshold(void **state) {
    (void)state;
    for (int k = 0; k < 7; k++) {
        float t = value_of(fp4_step[k]), above = nextafterf(t, 2);
        assert_int_equal(ql_quant_fp4.encode(t), fp4_order[k]);
        assert_int_equal(ql_quant_fp4.encode(above), fp4_order[k + 1]);
        assert_int_equal(ql_quant_fp4.encode(-t), fp4_order[k] | 8);
        assert_int_equal(ql_quant_fp4.encode(-above), fp4_order[k + 1] | 8);
    }
    for (int k = 0; k < 16; k++) assert_int_equal(bits_of(ql_quant_fp4.code[k]), fp4_value[k]);
    assert_int_equal(ql_quant_fp4.encode(0.0f), 0);
    assert_int_equal(ql_quant_fp4.encode(-0.0f), 0);
    assert_int_equal(ql_quant_fp4.encode(-1e-9f), 8);
    assert_int_equal(ql_quant_fp4.encode(NAN), 0);
}

static void types_are_found_by_name(void **state) {
    (void)state;
    assert_ptr_equal(ql_quant_find("nf4"), &ql_quant_nf4);
    assert_ptr_equal(ql_quant_find("fp4"), &ql_quant_fp4);
    assert_null(ql_quant_find("int8"));
}

/* ---- every instruction set against one element at a time ------------------------------------ */

enum { MANY = 1 << 16 };

static size_t size_of(ql_dtype t) {
    return t == QL_F32 ? 4 : 2;
}

static float element(const void *x, ql_dtype t, size_t i) {
    uint16_t half;
    float word;
    memcpy(&half, (const char *)x + i * size_of(t), 2);
    if (t != QL_F32) return t == QL_BF16 ? ql_bf16_to_f32(half) : ql_f16_to_f32(half);
    memcpy(&word, (const char *)x + 4 * i, 4);
    return word;
}

/* What ql_quantize does, said in the plainest way. */
static bool quantise_plainly(const ql_quant *q, const void *x, ql_dtype t, size_t n, size_t blocksize, uint8_t *packed,
                             float *absmax) {
    bool finite = true;
    for (size_t first = 0; first < n; first += blocksize) {
        size_t end = first + blocksize < n ? first + blocksize : n;
        float largest = 0;
        for (size_t i = first; i < end; i++) {
            float magnitude = fabsf(element(x, t, i));
            finite &= isfinite(magnitude) != 0;
            if (magnitude > largest) largest = magnitude;
        }
        absmax[first / blocksize] = largest;
        float r = 1.0f / largest;
        for (size_t i = first; i < end; i += 2) {
            float second = i + 1 < end ? element(x, t, i + 1) : 0.0f;
            packed[i / 2] = (uint8_t)(q->encode(element(x, t, i) * r) << 4 | q->encode(second * r));
        }
    }
    return finite;
}

static void check_blocks(const ql_quant *q, const void *x, ql_dtype t, size_t n, size_t blocksize) {
    static uint8_t want[MANY / 2 + 1], got[MANY / 2 + 1];
    static float want_max[MANY / 32], got_max[MANY / 32];
    size_t bytes = (n + 1) / 2, blocks = (n + blocksize - 1) / blocksize;
    bool finite = quantise_plainly(q, x, t, n, blocksize, want, want_max);
    assert_int_equal(ql_is_finite(x, t, n), finite);
    for (int s = 0; s < QL_VECTOR_SETS; s++) {
        if (!ql_processor_has((ql_instructions)s)) continue;
        memset(got, 0xa5, bytes + 1);
        ql_blocks b = {x, t, n, (int)blocksize, got, got_max};
        assert_int_equal(q->encode_blocks[s](&b), finite);
        assert_memory_equal(got_max, want_max, blocks * sizeof(float));
        assert_memory_equal(got, want, bytes);
        assert_int_equal(got[bytes], 0xa5);
    }
}

/* All 65536 halves, 63 to a block behind one that sets the block's scale. */
static void check_all_halves(ql_dtype t, uint16_t scale) {
    static uint16_t x[MANY];
    for (uint32_t from = 0; from < 65536; from += 64512) {
        for (uint32_t i = 0, next = from; i < MANY; i++) x[i] = i % 64 ? (uint16_t)next++ : scale;
        check_blocks(&ql_quant_nf4, x, t, MANY, 64);
        check_blocks(&ql_quant_fp4, x, t, MANY, 64);
    }
}

static void all_halves_at_many_scales_give_the_same_bits(void **state) {
    (void)state;
    static const uint16_t scale[] = {0, 1, 0x7f, 0x80, 0x400, 0x1234, 0x3c00, 0x3dcd, 0x3f80, 0x3f81, 0x5555, 0x7bff, 0x7f7f, 0xbf33};
    for (size_t i = 0; i < QL_LEN(scale); i++) {
        check_all_halves(QL_BF16, scale[i]);
        check_all_halves(QL_F16, scale[i]);
    }
}

static void random_floats_give_the_same_bits(void **state) {
    (void)state;
    static float x[MANY];
    for (int kind = 0; kind < 3; kind++) {
        for (uint32_t i = 0; i < MANY; i++) {
            uint32_t word = ql_philox(13, i, (uint32_t)kind, 0, 0).word[0];
            x[i] = kind == 0 ? value_of(word) : (ql_uniform(word) - 0.5f) * (kind == 1 ? 0.1f : 1e-38f);
        }
        check_blocks(&ql_quant_nf4, x, QL_F32, MANY, 64);
        check_blocks(&ql_quant_fp4, x, QL_F32, MANY, 4096);
    }
}

/* Every length around the borders of blocks and runs, bytes that are not aligned, NaN and infinity. */
static void lengths_offsets_and_values_that_are_not_finite(void **state) {
    (void)state;
    static const size_t blocksize[] = {32, 64, 128, 256};
    uint8_t bytes[4 * 300 + 8];
    for (ql_dtype t = QL_F32; t <= QL_F16; t++)
        for (size_t n = 0; n <= 300; n += n < 140 ? 1 : 13) {
            for (size_t i = 0; i < n; i++) {
                float v = ql_uniform(ql_philox(3, (uint32_t)i, 0, 0, 0).word[0]) - 0.5f;
                if (n % 5 == 4 && i == n / 2) v = n % 2 ? NAN : -INFINITY;
                uint16_t half = t == QL_BF16 ? ql_f32_to_bf16(v) : ql_f32_to_f16(v);
                memcpy(bytes + n % 8 + i * size_of(t), t == QL_F32 ? (void *)&v : &half, size_of(t));
            }
            for (size_t k = 0; k < QL_LEN(blocksize); k++)
                check_blocks(n % 3 ? &ql_quant_nf4 : &ql_quant_fp4, bytes + n % 8, t, n, blocksize[k]);
        }
}

/* ---- blocks --------------------------------------------------------------------------------- */

static void check_packed(const char *hex, const uint8_t *packed) {
    char text[65];
    for (int i = 0; i < 32; i++) snprintf(text + 2 * i, 3, "%02x", packed[i]);
    assert_string_equal(text, hex);
}

static void a_block_worked_out_by_hand(void **state) {
    (void)state;
    float x[64], absmax;
    uint8_t packed[32];
    for (int i = 0; i < 64; i++) x[i] = (float)(37 * i % 64 - 32) / 16;
    ql_quantize(&ql_quant_nf4, x, QL_F32, 64, 64, packed, &absmax);
    assert_true(absmax == 2.0f);
    check_packed("091c3e60a2d4f71b2e5f91c3e60a1d4e71b2d5f81c3e6091c3e70a2d4f81b2e5", packed);
    ql_quantize(&ql_quant_fp4, x, QL_F32, 64, 64, packed, &absmax);
    check_packed("b6a5c29b7a5f31a4d2e36a5c2eb7a5c30b4d2f36a4d2eb6a5c29b7d2f31a4d2e", packed);
}

static void check_case(const char *name, ql_dtype dtype, size_t n, int blocksize) {
    const ql_quant *q = ql_quant_find(name[0] == 'n' ? "nf4" : "fp4");
    const ql_stored *x = expected(name, ".x"), *packed = expected(name, ".packed"), *absmax = expected(name, ".absmax");
    uint8_t *got = ql_alloc((n + 1) / 2);
    float *maxima = QL_NEW_ARRAY(float, (size_t)absmax->count);
    assert_int_equal(x->count, n);
    ql_quantize(q, x->data, dtype, n, blocksize, got, maxima);
    assert_memory_equal(maxima, absmax->data, absmax->bytes);
    assert_memory_equal(got, packed->data, packed->bytes);
    free(got);
    free(maxima);
}

static void blocks_equal_bitsandbytes(void **state) {
    (void)state;
    static const struct {
        const char *dtype;
        ql_dtype type;
        int n, blocksize;
    } cases[] = {{"f32", QL_F32, 1, 64},      {"f32", QL_F32, 63, 64},    {"f32", QL_F32, 1000, 64},
                 {"f32", QL_F32, 4097, 4096}, {"bf16", QL_BF16, 256, 64}, {"bf16", QL_BF16, 1025, 64},
                 {"bf16", QL_BF16, 777, 128}, {"f16", QL_F16, 65, 64},    {"f16", QL_F16, 1026, 64},
                 {"f16", QL_F16, 500, 256}};
    for (size_t i = 0; i < 2 * QL_LEN(cases); i++) {
        char name[64];
        size_t k = i / 2;
        snprintf(name, sizeof name, "%s.%s.%d.%d", i & 1 ? "fp4" : "nf4", cases[k].dtype, cases[k].n,
                 cases[k].blocksize);
        check_case(name, cases[k].type, (size_t)cases[k].n, cases[k].blocksize);
    }
}

static void zeros_get_code_zero_and_an_odd_end_gets_the_code_of_zero(void **state) {
    (void)state;
    float x[67] = {0}, absmax[2];
    uint8_t packed[34];
    x[64] = x[65] = x[66] = 1.0f;
    ql_quantize(&ql_quant_nf4, x, QL_F32, 67, 64, packed, absmax);
    for (int i = 0; i < 32; i++) assert_int_equal(packed[i], 0);
    assert_int_equal(packed[32], 0xff);
    assert_int_equal(packed[33], 0xf7);
    assert_true(absmax[0] == 0 && absmax[1] == 1);
    ql_quantize(&ql_quant_fp4, x, QL_F32, 67, 64, packed, absmax);
    assert_int_equal(packed[0], 0);
    assert_int_equal(packed[33], 0x30);
}

/* ---- double quantisation ---------------------------------------------------------------------- */

static void the_dynamic_map_is_that_of_bitsandbytes(void **state) {
    (void)state;
    assert_memory_equal(ql_dynamic_map(), expected("dynamic_map", "")->data, 256 * sizeof(float));
}

static void check_nested(const char *name, size_t n) {
    const ql_stored *absmax = expected(name, ".absmax"), *q = expected(name, ".q");
    uint8_t got[700];
    float in[700], scales[3], offset;
    assert_true(n <= 700 && n == (size_t)absmax->count);
    memcpy(in, absmax->data, absmax->bytes);
    ql_quantize_absmax(in, n, got, scales, &offset);
    assert_memory_equal(got, q->data, n);
    if (!strcmp(name, "nested.equal")) return;
    assert_memory_equal(scales, expected(name, ".scales")->data, expected(name, ".scales")->bytes);
    assert_memory_equal(&offset, expected(name, ".offset")->data, sizeof offset);
}

static void maxima_equal_the_cuda_rules(void **state) {
    (void)state;
    check_nested("nested.1", 1);
    check_nested("nested.255", 255);
    check_nested("nested.256", 256);
    check_nested("nested.700", 700);
    check_nested("nested.equal", 5);
}

/* Values exactly between two entries go to the even index. With -x in the block too the offset is
 * 0, and with 1 the scale is 1. */
static void ties_go_to_the_even_index(void **state) {
    (void)state;
    const float *map = ql_dynamic_map();
    for (int i = 0; i < 255; i++) {
        float middle = (map[i] + map[i + 1]) * 0.5f;
        float x[4] = {1.0f, -1.0f, middle, -middle}, scale, offset;
        uint8_t q[4];
        ql_quantize_absmax(x, 4, q, &scale, &offset);
        assert_true(offset == 0 && scale == 1);
        assert_int_equal(q[2], i % 2 ? i + 1 : i);
    }
}

/* The search of the CUDA kernel, with its branches. */
static uint8_t search(const float *map, float x) {
    int pivot = 127, lower = 0, upper = 255;
    for (int step = 64; step > 0; step /= 2) {
        if (x > map[pivot]) lower = pivot, pivot += step;
        else upper = pivot, pivot -= step;
    }
    if (x > map[pivot]) return (uint8_t)(x > (map[upper] + map[pivot]) * 0.5f ? upper : pivot);
    return (uint8_t)(x < (map[lower] + map[pivot]) * 0.5f ? lower : pivot);
}

/* With 1 and -1 in the block its offset is 0 and its scale 1, so that x itself is looked up. */
static void the_search_equals_that_of_the_cuda_kernel(void **state) {
    (void)state;
    float x[256] = {1, -1}, scale, offset;
    uint8_t q[256];
    for (uint32_t round = 0; round < 400; round++) {
        for (uint32_t i = 2; i < 256; i += 2) {
            uint32_t word = ql_philox(17, i, round, 0, 0).word[0];
            float v = round % 2 ? ql_uniform(word) : value_of(word % 0x3f800001u);
            x[i] = v, x[i + 1] = -v;
        }
        ql_quantize_absmax(x, 256, q, &scale, &offset);
        assert_true(offset == 0 && scale == 1);
        for (int i = 0; i < 256; i++) assert_int_equal(q[i], search(ql_dynamic_map(), x[i]));
    }
}

static void a_nan_among_the_maxima_gets_the_first_code(void **state) {
    (void)state;
    float x[3] = {1, NAN, 2}, scale, offset;
    uint8_t q[3];
    ql_quantize_absmax(x, 3, q, &scale, &offset);
    assert_true(isnan(offset) && scale == 0);
    assert_int_equal(q[0] | q[1] | q[2], 0);
}

/* ---- decoding --------------------------------------------------------------------------------- */

static void any_piece_decodes_like_the_whole(void **state) {
    (void)state;
    enum { N = 1000 };
    uint8_t packed[N / 2], q[32];
    float absmax[32], nested[1], whole[N], piece[N], offset;
    for (uint32_t i = 0; i < N / 2; i++) packed[i] = (uint8_t)ql_philox(5, i, 0, 0, 0).word[0];
    for (int i = 0; i < 32; i++) absmax[i] = 0.01f * (float)(i + 1);
    ql_quantize_absmax(absmax, 32, q, nested, &offset);
    for (int double_quant = 0; double_quant < 2; double_quant++) {
        ql_quant_view v = {.packed = packed, .code = ql_quant_nf4.code, .blocksize = 32, .nested_blocksize = 256};
        if (double_quant)
            v.absmax_q = q, v.nested_absmax = nested, v.nested_code = ql_dynamic_map(), v.nested_offset = offset;
        else
            v.absmax = absmax;
        ql_dequantize(&v, 0, N, whole);
        for (size_t i = 0; i < N; i++) {
            int code = i % 2 ? packed[i / 2] & 15 : packed[i / 2] >> 4;
            assert_true(whole[i] == ql_quant_nf4.code[code] * ql_quant_scale(&v, i / 32));
        }
        for (size_t first = 0; first < 70; first++) {
            for (size_t n = 0; n < 140; n += 1 + n / 8) {
                memset(piece, 0xff, sizeof piece);
                ql_dequantize(&v, first, n, piece);
                assert_memory_equal(piece, whole + first, n * sizeof(float));
                assert_int_equal(bits_of(piece[n]), 0xffffffff);
            }
        }
    }
}

/* ---- halves ----------------------------------------------------------------------------------- */

/* The compiler's own half type is the oracle. */
static void halves_convert_as_the_compiler_does(void **state) {
    (void)state;
    for (uint32_t b = 0; b < 65536; b++) {
        uint16_t half = (uint16_t)b;
        _Float16 h;
        memcpy(&h, &half, sizeof h);
        float want = (float)h, got = ql_f16_to_f32(half);
        if (isnan(want))
            assert_true(isnan(got));
        else
            assert_int_equal(bits_of(got), bits_of(want));
        if (!isnan(want)) assert_int_equal(ql_f32_to_f16(want), half);
        if (!isnan(ql_bf16_to_f32(half))) assert_int_equal(ql_f32_to_bf16(ql_bf16_to_f32(half)), half);
        assert_int_equal(bits_of(ql_bf16_to_f32(half)), b << 16);
    }
}

static void check_rounding(float x) {
    _Float16 h = (_Float16)x;
    uint16_t half;
    memcpy(&half, &h, sizeof half);
    assert_int_equal(ql_f32_to_f16(x), half);
    /* Truncation and its neighbour away from zero: the nearer one, or the even one. */
    uint32_t low = bits_of(x) >> 16, high = low + 1;
    double below = fabs((double)x - (double)value_of(low << 16)),
           above = fabs((double)value_of(high << 16) - (double)x);
    if (isinf(value_of(high << 16))) above = 0x1p127 * 2 - fabs((double)x);
    uint32_t want = below < above ? low : above < below ? high : low & 1 ? high : low;
    assert_int_equal(ql_f32_to_bf16(x), want);
}

static void rounding_is_to_nearest_even(void **state) {
    (void)state;
    for (uint32_t i = 0; i < 400000; i++) {
        float x = value_of(ql_philox(11, i, 0, 0, 0).word[0]);
        if (isfinite(x)) check_rounding(x);
    }
    for (uint32_t b = 0; b < 65536; b++) { /* all ties and their neighbours near the range of f16 */
        float tie = ql_f16_to_f32((uint16_t)b);
        if (!isfinite(tie) || !isfinite(ql_f16_to_f32((uint16_t)(b + 1)))) continue;
        float middle = (tie + ql_f16_to_f32((uint16_t)(b + 1))) / 2;
        check_rounding(middle);
        check_rounding(nextafterf(middle, 1e9f));
        check_rounding(nextafterf(middle, -1e9f));
    }
    check_rounding(65519.996f);
    check_rounding(65520.0f);
    check_rounding(3.4e38f);
    assert_true(isnan(ql_f16_to_f32(ql_f32_to_f16(NAN))) && isnan(ql_bf16_to_f32(ql_f32_to_bf16(NAN))));
    assert_true(isnan(ql_bf16_to_f32(ql_f32_to_bf16(value_of(0x7f800001)))));
    assert_int_equal(ql_f32_to_f16(INFINITY), 0x7c00);
    assert_int_equal(ql_f32_to_bf16(-INFINITY), 0xff80);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nf4_codes_change_just_above_each_threshold),
        cmocka_unit_test(fp4_codes_change_just_above_each_threshold),
        cmocka_unit_test(types_are_found_by_name),
        cmocka_unit_test(all_halves_at_many_scales_give_the_same_bits),
        cmocka_unit_test(random_floats_give_the_same_bits),
        cmocka_unit_test(lengths_offsets_and_values_that_are_not_finite),
        cmocka_unit_test(a_block_worked_out_by_hand),
        cmocka_unit_test(blocks_equal_bitsandbytes),
        cmocka_unit_test(zeros_get_code_zero_and_an_odd_end_gets_the_code_of_zero),
        cmocka_unit_test(the_dynamic_map_is_that_of_bitsandbytes),
        cmocka_unit_test(maxima_equal_the_cuda_rules),
        cmocka_unit_test(ties_go_to_the_even_index),
        cmocka_unit_test(the_search_equals_that_of_the_cuda_kernel),
        cmocka_unit_test(a_nan_among_the_maxima_gets_the_first_code),
        cmocka_unit_test(any_piece_decodes_like_the_whole),
        cmocka_unit_test(halves_convert_as_the_compiler_does),
        cmocka_unit_test(rounding_is_to_nearest_even),
    };
    return cmocka_run_group_tests_name("quant", tests, open_golden, close_golden);
}
