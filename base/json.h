/* JSON through jansson, and nothing of jansson beyond it: strict UTF-8, duplicate keys refused,
 * nesting bounded by the library (2,048). A value is borrowed from its document.
 *
 * A value costs up to 130 bytes of memory for one or two of text ("[{},{},..."), so that the number of values is bounded,
 * too: a document takes at most 330 MB beside its text. (The largest tokenizers have 2.2 million values.) */
#pragma once
#include "base/err.h"
#include "base/mem.h"

typedef struct json_t ql_json; /* const ql_json *: a borrowed value */

enum { QL_JSON_VALUES = 5 << 19 };
/* Whether the text, JSON or not, holds more values than `most`: at least as many as a parser would make. */
bool ql_json_has_more(const char *text, size_t n, size_t most);
/* Parses exactly one value, of at most QL_JSON_VALUES. `name` and `first_line` go into the message: "NAME:LINE: ...". */
QL_RESULT ql_json_parse(const char *text, size_t n, const char *name, size_t first_line, ql_json **out);
/* Reads a file of at most `limit` bytes and parses it. */
QL_RESULT ql_json_read(const char *path, size_t limit, ql_json **out);
void      ql_json_free(ql_json *document);

typedef enum { QL_JSON_NULL, QL_JSON_BOOL, QL_JSON_INT, QL_JSON_REAL, QL_JSON_STRING, QL_JSON_ARRAY, QL_JSON_OBJECT } ql_json_type;
ql_json_type ql_json_kind(const ql_json *v);      /* NULL counts as QL_JSON_NULL */
const char  *ql_json_kind_name(const ql_json *v); /* "a string", "an object", ... */
static inline bool ql_json_is(const ql_json *v, ql_json_type t) { return v && ql_json_kind(v) == t; }

/* NULL when v is no object or has no such key. A key that holds null is returned. */
const ql_json *ql_json_get(const ql_json *v, const char *key);
size_t         ql_json_size(const ql_json *v);              /* array or object; 0 otherwise */
const ql_json *ql_json_at(const ql_json *array, size_t i);
const char    *ql_json_text(const ql_json *v, size_t *size); /* NULL unless a string; `size` may be NULL */
bool           ql_json_bool(const ql_json *v, bool otherwise);
int64_t        ql_json_int(const ql_json *v, int64_t otherwise);   /* integers only */
double         ql_json_number(const ql_json *v, double otherwise); /* integers and reals */

/* Members in file order:
 *   for (void *it = ql_json_first(object); it; it = ql_json_next(object, it)) */
void          *ql_json_first(const ql_json *object);
void          *ql_json_next(const ql_json *object, void *iterator);
const char    *ql_json_key(void *iterator);
const ql_json *ql_json_value(void *iterator);

/* Writing, straight into text. */
void ql_json_put(ql_str *out, const ql_json *v); /* any value, on one line; reads back as the same */
/* With quotes. UTF-8 is kept, and U+FFFD put in the place of bytes that are none, such as names of files may have. */
void ql_json_put_string(ql_str *out, const char *text, size_t n);
/* A short decimal that reads back as the same double ("float": as the same float); NaN and
 * infinities as null. */
void ql_json_put_double(ql_str *out, double v);
void ql_json_put_float(ql_str *out, float v);
