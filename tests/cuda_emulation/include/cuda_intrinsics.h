/* CUDA's arithmetic functions. What CUDA computes approximately (__expf, rsqrtf, ...) is computed as
 * well as the C library does: compare by tolerance. */
#pragma once
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <type_traits>

namespace emulation {
template <typename To, typename From>
inline To same_bits(From value) {
    static_assert(sizeof(To) == sizeof(From));
    To bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}
} // namespace emulation

/* ---- bits ---- */

static inline int __float_as_int(float x) { return emulation::same_bits<int>(x); }
static inline unsigned __float_as_uint(float x) { return emulation::same_bits<unsigned>(x); }
static inline float __int_as_float(int x) { return emulation::same_bits<float>(x); }
static inline float __uint_as_float(unsigned x) { return emulation::same_bits<float>(x); }
static inline long long __double_as_longlong(double x) { return emulation::same_bits<long long>(x); }
static inline double __longlong_as_double(long long x) { return emulation::same_bits<double>(x); }

static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
static inline int __clz(int x) { return x ? __builtin_clz(static_cast<unsigned>(x)) : 32; }
static inline int __clzll(long long x) { return x ? __builtin_clzll(static_cast<unsigned long long>(x)) : 64; }
static inline int __ffs(int x) { return __builtin_ffs(x); }
static inline int __ffsll(long long x) { return __builtin_ffsll(x); }
static inline unsigned __brev(unsigned x) {
    unsigned reversed = 0;
    for (int i = 0; i < 32; i++) reversed |= (x >> i & 1) << (31 - i);
    return reversed;
}
/* The upper (l) or lower (r) word of high:low, shifted by `by` modulo 32. */
static inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned by) {
    return static_cast<unsigned>(((static_cast<uint64_t>(high) << 32 | low) << (by & 31)) >> 32);
}
static inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned by) {
    return static_cast<unsigned>((static_cast<uint64_t>(high) << 32 | low) >> (by & 31));
}
/* Bytes 0 to 3 are of x, 4 to 7 of y; nibble i of the selector chooses byte i, and its upper bit that
 * the byte's sign is repeated instead. */
static inline unsigned __byte_perm(unsigned x, unsigned y, unsigned selector) {
    uint64_t both = static_cast<uint64_t>(y) << 32 | x;
    unsigned result = 0;
    for (int i = 0; i < 4; i++) {
        unsigned choice = selector >> (4 * i) & 15, byte = static_cast<unsigned>(both >> (8 * (choice & 7))) & 255;
        if (choice & 8) byte = byte & 128 ? 255 : 0;
        result |= byte << (8 * i);
    }
    return result;
}

/* ---- integers ---- */

static inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>(static_cast<uint64_t>(a) * b >> 32); }
static inline int __mulhi(int a, int b) { return static_cast<int>(static_cast<int64_t>(a) * b >> 32); }
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return static_cast<unsigned long long>(static_cast<unsigned __int128>(a) * b >> 64);
}
static inline long long __mul64hi(long long a, long long b) {
    return static_cast<long long>(static_cast<__int128>(a) * b >> 64);
}
template <typename A, typename B>
static inline std::common_type_t<A, B> min(A a, B b) {
    static_assert(std::is_arithmetic_v<A> && std::is_arithmetic_v<B>);
    if constexpr (std::is_floating_point_v<std::common_type_t<A, B>>) return fmin(a, b);
    else return static_cast<std::common_type_t<A, B>>(a) < static_cast<std::common_type_t<A, B>>(b) ? a : b;
}
template <typename A, typename B>
static inline std::common_type_t<A, B> max(A a, B b) {
    static_assert(std::is_arithmetic_v<A> && std::is_arithmetic_v<B>);
    if constexpr (std::is_floating_point_v<std::common_type_t<A, B>>) return fmax(a, b);
    else return static_cast<std::common_type_t<A, B>>(a) > static_cast<std::common_type_t<A, B>>(b) ? a : b;
}

/* ---- floats ---- */

static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fsub_rn(float a, float b) { return a - b; }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
static inline float __fdiv_rn(float a, float b) { return a / b; }
static inline float __fdividef(float a, float b) { return a / b; }
static inline float __frcp_rn(float a) { return 1 / a; }
static inline float __fsqrt_rn(float a) { return sqrtf(a); }
static inline float __frsqrt_rn(float a) { return static_cast<float>(1 / sqrt(static_cast<double>(a))); }
static inline double __dadd_rn(double a, double b) { return a + b; }
static inline double __dmul_rn(double a, double b) { return a * b; }
static inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }
static inline float rsqrtf(float a) { return 1 / sqrtf(a); }
static inline double rsqrt(double a) { return 1 / sqrt(a); }
static inline float __saturatef(float a) { return fminf(fmaxf(a, 0), 1); }

/* The C library declares functions of some of these names, so they are macros. */
#define __expf(x) expf(x)
#define __exp10f(x) exp10f(x)
#define __logf(x) logf(x)
#define __log2f(x) log2f(x)
#define __log10f(x) log10f(x)
#define __sinf(x) sinf(x)
#define __cosf(x) cosf(x)
#define __powf(x, y) powf(x, y)

/* 2^x; what is below 2^-126 is 0. */
static inline float fast_exp2(float x) {
    float power = exp2f(x);
    return power < 0x1p-126f ? 0 : power;
}

/* ---- conversions ---- */

namespace emulation {
/* Out of range: the nearest; NaN: 0, as on the device. */
template <typename To, typename From>
inline To saturated(From whole) {
    const From beyond = static_cast<From>(sizeof(To) == 4 ? 0x1p31 : 0x1p63);
    if (whole != whole) return 0;
    if (whole >= beyond) return sizeof(To) == 4 ? static_cast<To>(INT32_MAX) : static_cast<To>(INT64_MAX);
    if (whole < -beyond) return sizeof(To) == 4 ? static_cast<To>(INT32_MIN) : static_cast<To>(INT64_MIN);
    return static_cast<To>(whole);
}
} // namespace emulation
static inline int __float2int_rn(float x) { return emulation::saturated<int>(nearbyintf(x)); }
static inline int __float2int_rz(float x) { return emulation::saturated<int>(truncf(x)); }
static inline int __float2int_rd(float x) { return emulation::saturated<int>(floorf(x)); }
static inline int __float2int_ru(float x) { return emulation::saturated<int>(ceilf(x)); }
static inline long long __float2ll_rn(float x) { return emulation::saturated<long long>(nearbyintf(x)); }
static inline int __double2int_rn(double x) { return emulation::saturated<int>(nearbyint(x)); }
static inline long long __double2ll_rn(double x) { return emulation::saturated<long long>(nearbyint(x)); }
static inline float __double2float_rn(double x) { return static_cast<float>(x); }
static inline float __int2float_rn(int x) { return static_cast<float>(x); }
static inline float __uint2float_rn(unsigned x) { return static_cast<float>(x); }
static inline float __ll2float_rn(long long x) { return static_cast<float>(x); }
static inline double __ll2double_rn(long long x) { return static_cast<double>(x); }
static inline double __int2double_rn(int x) { return x; }
