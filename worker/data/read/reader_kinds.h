/* What the kinds of files (read_*.c) share with reader.c: the window and the line number. */
#pragma once
#include "worker/data/read/reader.h"

/* By kind: the record from `begin` on, `at` moved behind it. */
QL_RESULT ql_read_line(ql_reader *r, ql_span *out, bool *more);
QL_RESULT ql_read_element(ql_reader *r, ql_span *out, bool *more);
QL_RESULT ql_read_row(ql_reader *r, ql_span *out, bool *more);
QL_RESULT ql_read_text_line(ql_reader *r, ql_span *out, bool *more);
QL_RESULT ql_read_paragraph(ql_reader *r, ql_span *out, bool *more);
QL_RESULT ql_read_document(ql_reader *r, ql_span *out, bool *more);
/* The header of CSV. */
QL_RESULT ql_read_columns(ql_reader *r);
/* Plain text that is JSON Lines by its looks is a mistake of the name. */
QL_RESULT ql_check_plain_text(ql_reader *r);

static inline const char *ql_reader_path(const ql_reader *r) { return r->source.map.path; }
static inline uint8_t     ql_reader_byte(const ql_reader *r) { return r->source.data[r->at]; }
/* Whether there is a byte at `at`. Reads on where the window ends, which moves what is in it; bytes from `begin` on stay. */
QL_RESULT ql_reader_reach(ql_reader *r, bool *there);
/* To the next byte that is not white space, where the next record begins. */
QL_RESULT ql_reader_skip_space(ql_reader *r);
/* To the next line break, the end of the file, or as far as a record may go. */
QL_RESULT ql_reader_find_line_end(ql_reader *r);
/* Whether the line from `begin` on is an object of JSON, or an array of objects begins there. */
QL_RESULT ql_reader_looks_like_json(ql_reader *r, bool *yes);
/* The end of the window, or how far the record may go: a byte more than is allowed. */
size_t    ql_reader_farthest(const ql_reader *r);
QL_RESULT ql_reader_check_size(const ql_reader *r, size_t size, size_t line);
/* The span of the n bytes from `begin` on; those of a sliding window are copied. */
void ql_reader_show(ql_reader *r, size_t n, size_t line, ql_span *out);
/* The span of r->record, copied. */
QL_RESULT ql_reader_show_record(ql_reader *r, size_t line, ql_span *out);
/* QL_DATA, with FILE and the line, counted from `line` on: the bytes hold a NUL or something that is not UTF-8. */
QL_RESULT ql_reader_check_text(const ql_reader *r, const char *text, size_t n, size_t line);
/* The first byte that does not belong to UTF-8, or n. */
size_t ql_first_bad_byte(const char *text, size_t n);
