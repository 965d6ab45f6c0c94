/* Records out of a file, one at a time: JSON Lines, or one JSON array of objects; the first byte
 * that is not white space decides. The file is mapped, a record is a span of the map, and nothing
 * is parsed before it is asked for, so memory stays at one record and line numbers are the
 * file's own. A byte order mark, CRLF and blank lines are fine. All local. */
#pragma once
#include "base/file.h"
#include "base/json.h"

typedef struct {
    const char *text; /* into the map; valid until the reader is closed */
    size_t      size;
    size_t      line; /* where it begins, from 1 */
} ql_span;

typedef struct {
    ql_map map;
    size_t at;       /* the next unread byte */
    size_t line;     /* its line             */
    size_t released; /* pages before this were given back */
    bool   is_array, begun, ended;
} ql_reader;

/* QL_DATA: absent, a folder, empty, or plainly something else (compressed, UTF-16, Parquet). */
QL_RESULT ql_reader_open(const char *path, ql_reader *out);
void      ql_reader_close(ql_reader *r);
/* No record is larger, nor holds more values. */
enum { QL_RECORD_BYTES = 64 << 20, QL_RECORD_VALUES = 1 << 20 };
/* The next record; `more` is false at the end. QL_DATA where the array itself is damaged or a record is too large; what is
 * inside a record shows only when it is parsed. */
QL_RESULT ql_reader_next(ql_reader *r, ql_span *out, bool *more);
/* Tells the kernel that the records read so far will not be looked at again. */
void ql_reader_release(ql_reader *r);

/* Parses one record. QL_DATA, "FILE:LINE: ...": not UTF-8, not JSON, not an object, or of too many values. */
QL_RESULT ql_span_parse(const ql_span *s, const char *path, ql_json **out);
