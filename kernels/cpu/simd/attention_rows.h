/* What every attention routine needs, whatever its products are made of. */
#pragma once
#include "kernels/cpu/simd/simd.h"
#include "kernels/cpu/simd/vector.h"

/* The keys that a query of a document sees: [first, end). */
typedef struct {
    int64_t first, end;
} key_range;
QL_INLINE key_range visible_keys(const ql_attention_job *j, int64_t query) {
    int64_t own = j->keys - j->queries + query;
    return (key_range){j->window > 0 ? ql_max(0, own - j->window + 1) : 0, own + 1};
}

/* The next `floats` of the scratch, whole vectors. */
QL_INLINE float *take(float **scratch, int64_t floats) {
    float *p = *scratch;
    *scratch += ql_ceil_div(floats, LANES) * LANES;
    return p;
}

/* Copies rows of head_dim floats; their zeros become +0. */
QL_INLINE void store_rows(const float *from, int64_t padded, int64_t count, int64_t head_dim, float *to,
                          int64_t stride) {
    for (int64_t i = 0; i < count; i++) FOR_LANES(d, lanes, head_dim)
    v_put(to + i * stride + d, v_add(v_load(from + i * padded + d), v_zero()), lanes);
}

/* Sets the rows of dq to 0 or, at the end, their zeros to +0. */
QL_INLINE void touch_dq(const ql_attention_job *j, int64_t from, int64_t to, bool begin) {
    int64_t n = j->group * j->head_dim;
    for (int64_t i = from; i < to; i++) {
        float *row = j->dq + i * j->q_stride;
        FOR_LANES(d, lanes, n)
        v_put(row + d, begin ? v_zero() : v_add(v_get(row + d, lanes), v_zero()), lanes);
    }
}
