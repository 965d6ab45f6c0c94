#include "worker/data/tokenizer/protobuf.h"

#include <string.h>

enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

ql_proto ql_proto_begin(const char *bytes, size_t n) {
    const uint8_t *at = (const uint8_t *)bytes;
    return (ql_proto){at, at + n, false};
}

static bool damaged(ql_proto *p) {
    p->damaged = true;
    p->at = p->end;
    return false;
}

static bool read_varint(ql_proto *p, uint64_t *out) {
    *out = 0;
    for (unsigned shift = 0; shift < 64 && p->at < p->end; shift += 7) {
        uint8_t byte = *p->at++;
        *out |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80) return true;
    }
    return damaged(p);
}

/* Little-endian, n bytes. */
static bool read_fixed(ql_proto *p, size_t n, uint64_t *out) {
    if ((size_t)(p->end - p->at) < n) return damaged(p);
    *out = 0;
    for (size_t i = 0; i < n; i++) *out |= (uint64_t)p->at[i] << 8 * i;
    p->at += n;
    return true;
}

static bool read_bytes(ql_proto *p, ql_proto_field *field) {
    uint64_t size;
    if (!read_varint(p, &size)) return false;
    if (size > (uint64_t)(p->end - p->at)) return damaged(p);
    field->bytes = (const char *)p->at;
    field->size = size;
    p->at += size;
    return true;
}

bool ql_proto_next(ql_proto *p, ql_proto_field *field) {
    uint64_t key;
    *field = (ql_proto_field){0};
    if (p->at == p->end || !read_varint(p, &key)) return false;
    if (key >> 3 == 0 || key >> 3 > UINT32_MAX) return damaged(p);
    field->number = (uint32_t)(key >> 3);
    switch (key & 7) {
        case VARINT: return read_varint(p, &field->value);
        case FIXED64: return read_fixed(p, 8, &field->value);
        case FIXED32: return read_fixed(p, 4, &field->value);
        case BYTES: return read_bytes(p, field);
        default: return damaged(p); /* groups, which nobody writes any more */
    }
}
