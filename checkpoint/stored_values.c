#include <string.h>

#include "checkpoint/safetensors.h"

enum { PIECE = 1 << 16 };

/* A value is NaN or infinite when all bits of its exponent are set. */
static bool finite16(const uint8_t *at, size_t n, uint16_t exponent) {
    uint16_t x[PIECE / 2];
    uint32_t bad = 0;
    memcpy(x, at, n * 2);
    for (size_t i = 0; i < n; i++) bad |= (x[i] & exponent) == exponent;
    return !bad;
}

static bool finite32(const uint8_t *at, size_t n) {
    uint32_t x[PIECE / 4], bad = 0;
    memcpy(x, at, n * 4);
    for (size_t i = 0; i < n; i++) bad |= (x[i] & 0x7f800000u) == 0x7f800000u;
    return !bad;
}

static bool finite_piece(ql_dtype t, const uint8_t *at, size_t bytes) {
    switch (t) {
        case QL_F32: return finite32(at, bytes / 4);
        case QL_BF16: return finite16(at, bytes / 2, 0x7f80);
        case QL_F16: return finite16(at, bytes / 2, 0x7c00);
        default: return true;
    }
}

bool ql_stored_is_finite(const ql_stored *t) {
    bool good = true;
    for (size_t at = 0; t->dtype_known && good && at < t->bytes; at += PIECE)
        good = finite_piece(t->dtype, t->data + at, (size_t)ql_min(PIECE, (int64_t)(t->bytes - at)));
    ql_stored_release(t);
    return good;
}
