/* The 16-bit types round to the nearest number that they have, ties to even; functions of bits and integers. */
#include "kernels/cuda/language.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <algorithm>
#include <vector>
extern "C" {
#include <cmocka.h>
}

/* All numbers of a type that are not negative, ascending: their bits ascend, too. */
static std::vector<double> all_numbers(float (*value)(unsigned short), unsigned short infinity) {
    std::vector<double> numbers;
    for (unsigned short bits = 0; bits < infinity; bits++) numbers.push_back(static_cast<double>(value(bits)));
    numbers.push_back(2 * numbers.back() - numbers[numbers.size() - 2]); /* where infinity is, for rounding */
    return numbers;
}
static unsigned short nearest(const std::vector<double> &numbers, double x) {
    size_t above = static_cast<size_t>(std::lower_bound(numbers.begin(), numbers.end(), x) - numbers.begin());
    if (above == numbers.size()) return static_cast<unsigned short>(above - 1);
    if (numbers[above] == x) return static_cast<unsigned short>(above);
    double to_lower = x - numbers[above - 1], to_upper = numbers[above] - x;
    bool lower = to_lower < to_upper || (to_lower == to_upper && above % 2);
    return static_cast<unsigned short>(lower ? above - 1 : above);
}

template <typename T> static unsigned short bits_of(T x) {
    unsigned short bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
template <typename T> static float value_of(unsigned short bits) {
    T x;
    memcpy(&x, &bits, sizeof bits);
    return to_float(x);
}

template <typename T> static void check_rounding(unsigned short infinity, int mantissa) {
    std::vector<double> numbers = all_numbers(value_of<T>, infinity);
    assert_true(numbers[1] == ldexp(1, mantissa == 10 ? -24 : -133)); /* the least; and one: */
    assert_true(value_of<T>(static_cast<unsigned short>(infinity / 2 - (1 << mantissa) / 2)) == 1);
    for (unsigned short bits = 0; bits < infinity; bits++) {
        float x = value_of<T>(bits);
        if (bits) assert_true(numbers[bits] > numbers[bits - 1u]);
        assert_int_equal(bits_of(from_float<T>(x)), bits);
        assert_int_equal(bits_of(from_float<T>(-x)), bits | 0x8000);
        float middle = static_cast<float>((numbers[bits] + numbers[bits + 1u]) / 2);
        for (float y : {middle, nextafterf(middle, 0), nextafterf(middle, INFINITY)})
            assert_int_equal(bits_of(from_float<T>(y)), nearest(numbers, static_cast<double>(y)));
    }
    for (uint32_t i = 0; i < 1000000; i++) {
        float y = __uint_as_float(i * 2654435761u & 0x7fffffffu);
        if (isfinite(y)) assert_int_equal(bits_of(from_float<T>(y)), nearest(numbers, static_cast<double>(y)));
    }
    assert_true(isinf(value_of<T>(infinity)));
    assert_int_equal(bits_of(from_float<T>(INFINITY)), infinity);
    assert_int_equal(bits_of(from_float<T>(-INFINITY)), infinity | 0x8000);
    assert_true(isnan(to_float(from_float<T>(NAN))));
    assert_true(isnan(value_of<T>(static_cast<unsigned short>(infinity + 1))));
}
static void test_bf16(void **) {
    check_rounding<__nv_bfloat16>(0x7f80, 7);
}
static void test_f16(void **) {
    check_rounding<__half>(0x7c00, 10);
}

static void test_packing(void **) {
    assert_int_equal(pack_two<__half>(1, -2), 0xc0003c00u);
    assert_int_equal(pack_two<__nv_bfloat16>(1, -2), 0xc0003f80u);
}

static void test_bits(void **) {
    assert_int_equal(__byte_perm(0x33221100u, 0x77665544u, 0x7250u), 0x77225500u);
    assert_int_equal(__byte_perm(0x00008000u, 0, 0x9991u), 0xffffff80u);
    assert_int_equal(__funnelshift_l(0x80000001u, 0x12345678u, 4), 0x23456788u);
    assert_int_equal(__funnelshift_r(0x80000001u, 0x12345678u, 4), 0x88000000u);
    assert_int_equal(__funnelshift_l(1, 2, 32), 2);
    assert_int_equal(__brev(0x80000005u), 0xa0000001u);
    assert_int_equal(__popc(0xf0f0u), 8);
    assert_int_equal(__clz(1), 31);
    assert_int_equal(__clz(0), 32);
    assert_int_equal(__ffs(8), 4);
    assert_int_equal(__umulhi(0xffffffffu, 0xffffffffu), 0xfffffffeu);
    assert_int_equal(__mulhi(-1, 1), -1);
    assert_true(__umul64hi(~0ull, ~0ull) == ~0ull - 1);
    assert_int_equal(__float_as_uint(-1.0f), 0xbf800000u);
}
static void test_conversions(void **) {
    assert_int_equal(__float2int_rn(2.5f), 2);
    assert_int_equal(__float2int_rn(-3.5f), -4);
    assert_int_equal(__float2int_rz(-3.5f), -3);
    assert_int_equal(__float2int_rd(-3.5f), -4);
    assert_int_equal(__float2int_rn(3e9f), INT32_MAX);
    assert_int_equal(__float2int_rn(-3e9f), INT32_MIN);
    assert_int_equal(__float2int_rn(NAN), 0);
    assert_true(__double2ll_rn(0x1p40 + 0.5) == 1ll << 40);
    assert_true(__float2ll_rn(-1e30f) == INT64_MIN);
    assert_int_equal(min(3, 5), 3);
    assert_int_equal(max(static_cast<int64_t>(3), static_cast<int64_t>(5)), 5);
    assert_true(max(1.5f, NAN) == 1.5f && min(2.5f, 1.0f) == 1.0f);
}
static void test_powers_of_two(void **) {
    for (int e = -126; e < 128; e++) assert_true(fast_exp2(static_cast<float>(e)) == ldexpf(1, e));
    assert_true(fast_exp2(-126.5f) == 0);
    assert_true(fast_exp2(-INFINITY) == 0);
    assert_true(isinf(fast_exp2(200)));
    assert_true(isnan(fast_exp2(NAN)));
}

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(test_bf16), cmocka_unit_test(test_f16),         cmocka_unit_test(test_packing),
        cmocka_unit_test(test_bits), cmocka_unit_test(test_conversions), cmocka_unit_test(test_powers_of_two),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
