/* Reading protocol buffers, as far as a sentencepiece model needs it: the fields of a message one after another. */
#pragma once
#include "base/ql.h"

typedef struct {
    const uint8_t *at, *end;
    bool damaged; /* ended before its end */
} ql_proto;
typedef struct {
    uint32_t number;
    uint64_t value;    /* of a number; 32 and 64 bits that are a float's as they are */
    const char *bytes; /* of a string or of a message; NULL: a number */
    size_t size;
} ql_proto_field;

ql_proto ql_proto_begin(const char *bytes, size_t n);
/* false: there is no further field, or the message is damaged. */
bool ql_proto_next(ql_proto *p, ql_proto_field *field);
