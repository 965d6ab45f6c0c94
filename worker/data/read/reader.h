/* Records out of a file, one at a time. What kind of file it is, its name says (.csv, .tsv, .txt, before a .gz or .zst), or
 * else the first byte that is not white space: JSON Lines, or one JSON array of objects. Each record comes as the text of
 * a JSON object, whatever it was; nothing of it is parsed before it is asked for, so memory stays at a few records, and
 * line numbers are those of the file's text. A byte order mark, CRLF and blank lines are fine. All local. */
#pragma once
#include "base/json.h"
#include "worker/data/read/source.h"

typedef struct {
    const char *text; /* valid until ql_reader_release or ql_reader_close */
    size_t      size;
    size_t      line; /* where it begins, from 1 */
} ql_span;

typedef enum { QL_SAMPLE_LINE, QL_SAMPLE_PARAGRAPH, QL_SAMPLE_DOCUMENT } ql_sample_by;

/* How files without field names are read. Borrowed strings. */
typedef struct {
    const char  *text_field; /* the field that plain text goes into */
    ql_sample_by sample_by;
} ql_reader_options;

typedef struct ql_reader ql_reader;
struct ql_reader {
    ql_source source;
    size_t    begin;    /* of the record, in the window      */
    size_t    at;       /* the next unread byte of the window */
    size_t    line;     /* its line                           */
    size_t    released; /* pages before this were given back  */
    ql_err (*next)(ql_reader *r, ql_span *out, bool *more);
    bool    begun, ended; /* an array */
    char  **kept;         /* texts of spans that are not in the map */
    size_t  kept_count, kept_capacity, kept_gone; /* those that were freed count on */
    char    separator; /* of CSV or TSV */
    ql_str *column;    /* [columns]: its name in JSON, with the colon */
    size_t  columns, columns_capacity;
    ql_str  record, value; /* room to write in */
    ql_reader_options options;
};

/* QL_DATA: absent, a folder, empty, or plainly something else (UTF-16, Parquet, a zip archive). */
QL_RESULT ql_reader_open(const char *path, const ql_reader_options *o, ql_reader *out);
void      ql_reader_close(ql_reader *r);
/* No record is larger, nor holds more values. */
enum { QL_RECORD_BYTES = 64 << 20, QL_RECORD_VALUES = 1 << 20 };
/* The next record; `more` is false at the end. QL_DATA where the file itself is damaged, was changed since it was opened or a
 * record is too large; what is inside a record of JSON shows only when it is parsed. */
QL_RESULT ql_reader_next(ql_reader *r, ql_span *out, bool *more);
/* The records read so far will not be looked at again. */
void ql_reader_release(ql_reader *r);
/* The same of those before a place, which is where the reader was. */
typedef struct {
    size_t at, kept;
} ql_reader_mark;
ql_reader_mark ql_reader_here(const ql_reader *r);
void           ql_reader_release_until(ql_reader *r, const ql_reader_mark *m);
/* The part of the file that was read. */
double ql_reader_part(const ql_reader *r);

/* Parses one record. QL_DATA, "FILE:LINE: ...": not UTF-8, not JSON, not an object, or of too many values. */
QL_RESULT ql_span_parse(const ql_span *s, const char *path, ql_json **out);
