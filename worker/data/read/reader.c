#include "worker/data/read/reader.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <utf8proc.h>

#include "worker/data/read/cure.h"
#include "worker/data/read/reader_kinds.h"

/* Beginnings of files that people pass by mistake, and the way out. */
static const struct {
    const char *bytes;
    size_t size, at;
    const char *is, *cure;
    bool is_text; /* may begin a text as well: counts only where JSON is expected */
} stranger[] = {
    {"\x1f\x8b", 2, 0, "compressed twice", "unpack it once with gunzip", false},
    {"\x28\xb5\x2f\xfd", 4, 0, "compressed twice", "unpack it once with unzstd", false},
    {"\x50\x2a\x4d\x18", 4, 0, "compressed twice", "unpack it once with unzstd", false},
    {"BZh", 3, 0, "compressed with bzip2", "unpack it with bunzip2 first", true},
    {"\xfd\x37zXZ", 5, 0, "compressed with xz", "unpack it with unxz first", false},
    {"7z\xbc\xaf\x27\x1c", 6, 0, "a 7z archive", "unpack it first", false},
    {"\x04\x22\x4d\x18", 4, 0, "compressed with lz4", "unpack it with unlz4 first", false},
    {"PK\x03\x04", 4, 0, "a zip archive or a spreadsheet", "unpack it, or save it as CSV, first", false},
    {"\xd0\xcf\x11\xe0", 4, 0, "an old Office document", "save it as CSV first", false},
    {"ustar", 5, 257, "a tar archive", "unpack it with tar -xf first", false},
    {"PAR1", 4, 0, "a Parquet file", "convert it to JSON Lines first", false},
    {"ARROW1", 6, 0, "an Arrow file", "convert it to JSON Lines first", false},
    {"\xff\xff\xff\xff", 4, 0, "an Arrow stream", "convert it to JSON Lines first", false},
    {"ORC", 3, 0, "an ORC file", "convert it to JSON Lines first", true},
    {"Obj\x01", 4, 0, "an Avro file", "convert it to JSON Lines first", false},
    {"\x89HDF", 4, 0, "an HDF5 file", "convert it to JSON Lines first", false},
    {"\x93NUMPY", 6, 0, "a NumPy array", "write the texts as JSON Lines first", false},
    {"\x80\x04\x95", 3, 0, "a pickle of Python", "write the records as JSON Lines first", false},
    {"SQLite format 3", 15, 0, "an SQLite database", "export a table as CSV first", false},
    {"%PDF", 4, 0, "a PDF document", "write its text into JSON Lines first", true},
    {"<!DOCTYPE", 9, 0, "a web page", "download the file itself", true},
    {"<html", 5, 0, "a web page", "download the file itself", true},
    {"version https://git-lfs", 23, 0, "a pointer of Git LFS", "fetch the file itself with git lfs pull", false},
    {"\xff\xfe", 2, 0, "UTF-16 text", "convert it to UTF-8 first (iconv -f UTF-16 -t UTF-8)", false},
    {"\xfe\xff", 2, 0, "UTF-16 text", "convert it to UTF-8 first (iconv -f UTF-16 -t UTF-8)", false},
};
static const char mark[] = "\xef\xbb\xbf"; /* of the byte order, in UTF-8 */

/* ---- the window ---- */

ql_err ql_reader_reach(ql_reader *r, bool *there) {
    while (r->at == r->source.size && !r->source.ended) {
        QL_TRY(ql_err_prefix(ql_source_more(&r->source, r->begin), "%s:%zu", ql_reader_path(r), r->line));
        r->at -= r->begin;
        r->begin = 0;
    }
    *there = r->at < r->source.size;
    return ql_ok();
}

static bool is_space(uint8_t c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

ql_err ql_reader_skip_space(ql_reader *r) {
    for (bool there = true; there;) {
        for (; r->at < r->source.size && is_space(r->source.data[r->at]); r->at++) r->line += r->source.data[r->at] == '\n';
        r->begin = r->at;
        if (r->at < r->source.size) break;
        QL_TRY(ql_reader_reach(r, &there));
    }
    return ql_ok();
}

size_t ql_reader_farthest(const ql_reader *r) {
    size_t rest = r->source.size - r->begin;
    return r->begin + (rest > QL_RECORD_BYTES ? (size_t)QL_RECORD_BYTES + 1 : rest);
}

ql_err ql_reader_find_line_end(ql_reader *r) {
    for (bool there = true; there;) {
        size_t room = ql_reader_farthest(r) - r->at;
        const uint8_t *begin = r->source.data + r->at, *end = room ? memchr(begin, '\n', room) : NULL;
        r->at += end ? (size_t)(end - begin) : room;
        if (end || r->at - r->begin > QL_RECORD_BYTES) break;
        QL_TRY(ql_reader_reach(r, &there));
    }
    return ql_ok();
}

ql_err ql_reader_check_size(const ql_reader *r, size_t size, size_t line) {
    QL_CHECK(size <= QL_RECORD_BYTES, QL_DATA, "%s:%zu: the record has more than %d bytes; split it", ql_reader_path(r), line, QL_RECORD_BYTES);
    return ql_ok();
}

static const char *keep(ql_reader *r, const void *text, size_t n) {
    char *copy = ql_alloc(n + 1);
    memcpy(copy, text, n);
    QL_PUSH(r->kept, r->kept_count, r->kept_capacity, copy);
    return copy;
}

void ql_reader_show(ql_reader *r, size_t n, size_t line, ql_span *out) {
    const char *text = (const char *)r->source.data + r->begin;
    *out = (ql_span){r->source.unpacker ? keep(r, text, n) : text, n, line};
}

ql_err ql_reader_show_record(ql_reader *r, size_t line, ql_span *out) {
    QL_TRY(ql_reader_check_size(r, r->record.size, line));
    *out = (ql_span){keep(r, r->record.data, r->record.size), r->record.size, line};
    return ql_ok();
}

/* ---- opening ---- */

static bool begins_with(const ql_source *s, const char *bytes, size_t n, size_t at) {
    return s->size >= at + n && memcmp(s->data + at, bytes, n) == 0;
}

static bool has_ending(const char *name, size_t n, const char *ending) {
    size_t m = strlen(ending);
    return n > m && strncasecmp(name + n - m, ending, m) == 0;
}

static size_t length_without(const char *name, size_t n, const char *ending) {
    return has_ending(name, n, ending) ? n - strlen(ending) : n;
}

/* The kind by the name; NULL: JSON of some form. */
static void choose_by_name(ql_reader *r, const char *name) {
    static ql_err (*const text[])(ql_reader *, ql_span *, bool *) = {ql_read_text_line, ql_read_paragraph, ql_read_document};
    size_t n = length_without(name, length_without(name, length_without(name, strlen(name), ".gz"), ".zst"), ".zstd");
    bool is_csv = has_ending(name, n, ".csv"), is_tsv = has_ending(name, n, ".tsv");
    r->separator = is_tsv ? '\t' : ',';
    if (is_csv || is_tsv) r->next = ql_read_row;
    if (has_ending(name, n, ".txt") || has_ending(name, n, ".text")) r->next = text[r->options.sample_by];
}

static ql_err recognise(ql_reader *r, const char *path) {
    bool there;
    QL_TRY(ql_reader_reach(r, &there));
    choose_by_name(r, path);
    for (size_t i = 0; i < QL_LEN(stranger); i++)
        QL_CHECK((r->next && stranger[i].is_text) || !begins_with(&r->source, stranger[i].bytes, stranger[i].size, stranger[i].at), QL_DATA,
                 "%s:1: is %s; expected JSON Lines, a JSON array, CSV or TSV: %s", path, stranger[i].is, stranger[i].cure);
    if (begins_with(&r->source, mark, strlen(mark), 0)) r->at = strlen(mark);
    r->begin = r->at;
    if (r->next == ql_read_row) return ql_read_columns(r);
    if (r->next) return ql_check_plain_text(r);
    QL_TRY(ql_reader_skip_space(r));
    QL_TRY(ql_reader_reach(r, &there));
    QL_CHECK(there, QL_DATA, "%s:1: is empty; expected one JSON object per line, or a JSON array of them", path);
    bool is_array = ql_reader_byte(r) == '[';
    r->next = is_array ? ql_read_element : ql_read_line;
    r->at += is_array;
    return ql_ok();
}

ql_err ql_reader_open(const char *path, const ql_reader_options *o, ql_reader *out) {
    *out = (ql_reader){.line = 1, .options = *o};
    struct stat st;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) return ql_fail(QL_DATA, "%s: is a folder; name a file of records in it", path);
    QL_TRY(ql_source_open(path, &out->source));
    ql_err e = recognise(out, path);
    if (ql_bad(e)) ql_reader_close(out);
    return e;
}

/* The first n of them. */
static void free_kept(ql_reader *r, size_t n) {
    for (size_t i = 0; i < n; i++) free(r->kept[i]);
    r->kept_count -= n;
    r->kept_gone += n;
    if (r->kept_count > 0) memmove(r->kept, r->kept + n, r->kept_count * sizeof *r->kept);
}

void ql_reader_close(ql_reader *r) {
    free_kept(r, r->kept_count);
    free(r->kept);
    for (size_t i = 0; i < r->columns; i++) ql_str_free(&r->column[i]);
    free(r->column);
    ql_str_free(&r->record);
    ql_str_free(&r->value);
    ql_source_close(&r->source);
    *r = (ql_reader){0};
}

/* ---- reading ---- */

ql_err ql_reader_next(ql_reader *r, ql_span *out, bool *more) {
    *more = false;
    QL_TRY(r->next(r, out, more));
    return *more ? ql_ok() : ql_source_check_unchanged(&r->source);
}

ql_reader_mark ql_reader_here(const ql_reader *r) {
    return (ql_reader_mark){r->at, r->kept_gone + r->kept_count};
}

void ql_reader_release_until(ql_reader *r, const ql_reader_mark *m) {
    if (m->kept > r->kept_gone) free_kept(r, m->kept - r->kept_gone);
    ql_source_release(&r->source, m->at);
}

void ql_reader_release(ql_reader *r) {
    ql_reader_mark here = ql_reader_here(r);
    ql_reader_release_until(r, &here);
}

double ql_reader_part(const ql_reader *r) {
    return ql_source_part(&r->source, r->at);
}

/* ---- what is in a record ---- */

size_t ql_first_bad_byte(const char *text, size_t n) {
    size_t at = 0;
    while (at < n) {
        utf8proc_int32_t ignored;
        utf8proc_ssize_t step = utf8proc_iterate((const uint8_t *)text + at, (utf8proc_ssize_t)(n - at), &ignored);
        if (step <= 0) return at;
        at += (size_t)step;
    }
    return n;
}

static size_t line_of(const char *text, size_t at, size_t line) {
    for (size_t i = 0; i < at; i++) line += text[i] == '\n';
    return line;
}

static ql_err refuse_byte(const char *path, const char *text, size_t at, size_t line) {
    return ql_fail(QL_DATA, "%s:%zu: is not valid UTF-8: byte 0x%02x at place %zu of the record; convert the file to UTF-8", path,
                   line_of(text, at, line), (uint8_t)text[at], at + 1);
}

static ql_err refuse_zero(const char *path, const char *text, size_t at, size_t line) {
    return ql_fail(QL_DATA, "%s:%zu: holds a NUL byte; expected text: remove it, or name another file (UTF-16 becomes UTF-8 with iconv -f UTF-16LE -t UTF-8)",
                   path, line_of(text, at, line));
}

ql_err ql_reader_check_text(const ql_reader *r, const char *text, size_t n, size_t line) {
    const char *zero = n ? memchr(text, 0, n) : NULL;
    if (zero) return refuse_zero(ql_reader_path(r), text, (size_t)(zero - text), line);
    size_t bad = ql_first_bad_byte(text, n);
    return bad == n ? ql_ok() : refuse_byte(ql_reader_path(r), text, bad, line);
}

/* Called when parsing failed: what is no text is worth a sentence of its own. */
static ql_err explain(const ql_span *s, const char *path, ql_err e) {
    const char *zero = memchr(s->text, 0, s->size);
    if (zero) return refuse_zero(path, s->text, (size_t)(zero - s->text), s->line);
    size_t bad = ql_first_bad_byte(s->text, s->size);
    if (bad < s->size) return refuse_byte(path, s->text, bad, s->line);
    return ql_fail(e.code, "%s; %s", ql_err_text(), ql_json_cure(s->text, s->size, ql_err_text()));
}

/* What is JSON, but no record. */
static const char *hint_for(const ql_json *v) {
    size_t      n;
    const char *text = ql_json_text(v, &n);
    if (text && n > 0 && text[0] == '{') return "; was it encoded twice?";
    return ql_json_is(v, QL_JSON_ARRAY) ? "; an array of records must be the whole file" : "";
}

ql_err ql_span_parse(const ql_span *s, const char *path, ql_json **out) {
    *out = NULL;
    QL_CHECK(!ql_json_has_more(s->text, s->size, QL_RECORD_VALUES), QL_DATA,
             "%s:%zu: the record holds more than %d values; leave out the fields that are not trained on", path, s->line, QL_RECORD_VALUES);
    ql_err e = ql_json_parse(s->text, s->size, path, s->line, out);
    if (ql_bad(e)) return explain(s, path, e);
    if (ql_json_is(*out, QL_JSON_OBJECT)) return e;
    e = ql_fail(QL_DATA, "%s:%zu: the record is %s; expected an object, {\"field\": \"text\", ...}%s", path, s->line, ql_json_kind_name(*out),
                hint_for(*out));
    ql_json_free(*out);
    *out = NULL;
    return e;
}
