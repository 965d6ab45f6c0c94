/* What the forward and the backward pass of attention with bf16 operands share.
 *
 * Scores lie turned: a row is a key, its columns are queries. Then maxima, sums and everything else
 * that softmax does for a query run down a lane, without a step across lanes. */
#pragma once
#include "kernels/cpu/bf16/bf16.h"
#include "kernels/cpu/bf16/halves.h"
#include "kernels/cpu/simd/attention_rows.h"
#include "kernels/cpu/simd/exponential.h"

enum { KEYS = QL_KEY_BLOCK, BLOCKS_AT_ONCE = QL_BF16_KEYS_AT_ONCE / KEYS, COLS = 64, FOUR = 4 };
_Static_assert(KEYS % QL_BF16_BLOCK == 0 && COLS % QL_BF16_TILE_COLS_MAX == 0, "whole blocks and tiles");

QL_INLINE uint16_t *take_halves(float **scratch, int64_t halves) {
    return (uint16_t *)(void *)take(scratch, ql_ceil_div(halves, 2));
}
QL_INLINE int64_t round_up(int64_t n, int64_t to) {
    return ql_ceil_div(n, to) * to;
}

/* What COLS columns see: column c the keys [first, first + length) of the document. */
typedef struct {
    uint32_t first[COLS], length[COLS];
    int64_t some_first, some_end; /* no column sees more */
    int64_t all_first, all_end;   /* every column sees these */
} visibility;

QL_INLINE void sees_none(visibility *s) {
    *s = (visibility){.some_first = INT64_MAX, .all_end = INT64_MAX};
}
QL_INLINE void sees(visibility *s, int64_t column, key_range keys) {
    s->first[column] = (uint32_t)keys.first;
    s->length[column] = (uint32_t)(keys.end - keys.first);
    s->some_first = ql_min(s->some_first, keys.first);
    s->some_end = ql_max(s->some_end, keys.end);
    s->all_first = ql_max(s->all_first, keys.first);
    s->all_end = ql_min(s->all_end, keys.end);
}
/* Of the block of keys that begins at `key`. */
QL_INLINE bool sees_nothing_of(const visibility *s, int64_t key) {
    return s->some_first >= key + KEYS || s->some_end <= key;
}
QL_INLINE bool sees_all_of(const visibility *s, int64_t key) {
    return s->all_first <= key && s->all_end >= key + KEYS;
}
/* Which of the columns from `column` on see the key. */
QL_INLINE m16 seen_by(const visibility *s, int64_t column, int64_t key) {
    return w_less(w_sub(w_all((uint32_t)key), w_load(s->first + column)), w_load(s->length + column));
}

/* Four rows of 16 columns as two rows of pairs of a right panel. */
QL_INLINE void store_four(ql_bf16_order order, v16 a, v16 b, v16 c, v16 d, uint16_t *to) {
    bool crossed = order == QL_BF16_CROSSED;
    halves_store(to, halves_zip(crossed ? halves_round(c, a) : halves_round(a, b)));
    halves_store(to + QL_BF16_BLOCK, halves_zip(crossed ? halves_round(d, b) : halves_round(c, d)));
}
