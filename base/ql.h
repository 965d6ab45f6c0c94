/* What every file of the project may assume: fixed-width integers, the word
 * `ql_`, and a handful of compiler attributes. Nothing else belongs here. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define QL_PRINTF(f, a) __attribute__((format(printf, f, a), nonnull(f)))
#define QL_MUST_USE     __attribute__((warn_unused_result))
#define QL_NORETURN     __attribute__((noreturn))
#define QL_LEN(a)       (sizeof(a) / sizeof((a)[0]))

static inline int64_t ql_min(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t ql_max(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t ql_ceil_div(int64_t a, int64_t b) { return a / b + (a % b > 0); }
static inline size_t  ql_align(size_t n, size_t to) { return (n + to - 1) / to * to; }
