#include "worker/data/reader.h"

#include <string.h>
#include <sys/stat.h>
#include <utf8proc.h>

/* Beginnings of files that people pass by mistake, and the way out. */
static const struct {
    const char *bytes;
    size_t size;
    const char *is, *cure;
} stranger[] = {
    {"\x1f\x8b", 2, "compressed with gzip", "unpack it with gunzip first"},
    {"\x28\xb5\x2f\xfd", 4, "compressed with zstd", "unpack it with unzstd first"},
    {"BZh", 3, "compressed with bzip2", "unpack it with bunzip2 first"},
    {"\xfd\x37zXZ", 5, "compressed with xz", "unpack it with unxz first"},
    {"PK\x03\x04", 4, "a zip archive", "unpack it first"},
    {"PAR1", 4, "a Parquet file", "convert it to JSON Lines first"},
    {"\xff\xfe", 2, "UTF-16 text", "convert it to UTF-8 first (iconv -f UTF-16 -t UTF-8)"},
    {"\xfe\xff", 2, "UTF-16 text", "convert it to UTF-8 first (iconv -f UTF-16 -t UTF-8)"},
};

static bool is_space(uint8_t c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void skip_space(ql_reader *r) {
    for (; r->at < r->map.size && is_space(r->map.data[r->at]); r->at++) r->line += r->map.data[r->at] == '\n';
}

static bool begins_with(const ql_map *m, const char *bytes, size_t n) {
    return m->size >= n && memcmp(m->data, bytes, n) == 0;
}

static ql_err recognise(ql_reader *r, const char *path) {
    for (size_t i = 0; i < QL_LEN(stranger); i++)
        QL_CHECK(!begins_with(&r->map, stranger[i].bytes, stranger[i].size), QL_DATA,
                 "%s:1: is %s; expected JSON Lines or a JSON array: %s", path, stranger[i].is, stranger[i].cure);
    if (begins_with(&r->map, "\xef\xbb\xbf", 3)) r->at = 3;
    skip_space(r);
    QL_CHECK(r->at < r->map.size, QL_DATA, "%s:1: is empty; expected one JSON object per line, or a JSON array of them",
             path);
    r->is_array = r->map.data[r->at] == '[';
    if (r->is_array) r->at++;
    return ql_ok();
}

ql_err ql_reader_open(const char *path, ql_reader *out) {
    *out = (ql_reader){.line = 1};
    struct stat st;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return ql_fail(QL_DATA, "%s: is a folder; name a file of records in it (.jsonl or .json)", path);
    QL_TRY(ql_map_open(path, &out->map));
    ql_err e = recognise(out, path);
    if (ql_bad(e)) ql_reader_close(out);
    return e;
}

void ql_reader_close(ql_reader *r) {
    ql_map_close(&r->map);
    *r = (ql_reader){0};
}

void ql_reader_release(ql_reader *r) {
    ql_map_release(&r->map, r->released, r->at - r->released);
    r->released = r->at;
}

/* How far a record that begins here may go: a byte more than is allowed. */
static size_t farthest(const ql_reader *r) {
    size_t rest = r->map.size - r->at;
    return r->at + (rest > QL_RECORD_BYTES ? (size_t)QL_RECORD_BYTES + 1 : rest);
}

static ql_err check_size(const ql_reader *r, const ql_span *s) {
    QL_CHECK(s->size <= QL_RECORD_BYTES, QL_DATA, "%s:%zu: the record has more than %d bytes; split it", r->map.path, s->line,
             QL_RECORD_BYTES);
    return ql_ok();
}

static ql_err next_line(ql_reader *r, ql_span *out, bool *more) {
    skip_space(r);
    *more = r->at < r->map.size;
    if (!*more) return ql_ok();
    const uint8_t *begin = r->map.data + r->at;
    size_t room = farthest(r) - r->at;
    const uint8_t *end = memchr(begin, '\n', room);
    size_t n = end ? (size_t)(end - begin) : room;
    *out = (ql_span){(const char *)begin, n, r->line};
    r->at += n; /* the line break is counted by skip_space */
    return check_size(r, out);
}

/* Moves behind one element: to the comma or bracket that follows it, or to the end of the file, or as far as a record may go.
 * Knows strings and nesting and nothing else; whatever is wrong inside, the parser will say. */
static void skip_element(ql_reader *r) {
    size_t depth = 0, end = farthest(r);
    bool in_string = false;
    for (; r->at < end; r->at++) {
        uint8_t c = r->map.data[r->at];
        if (c == '\n') r->line++;
        if (in_string) {
            if (c == '\\' && r->at + 1 < end && r->map.data[r->at + 1] != '\n')
                r->at++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            depth++;
        } else if (depth == 0 && (c == ',' || c == ']')) {
            return;
        } else if (depth > 0 && (c == '}' || c == ']')) {
            depth--;
        }
    }
}

static ql_err finish_array(ql_reader *r, bool *more) {
    *more = false;
    r->ended = true;
    r->at++;
    skip_space(r);
    QL_CHECK(r->at == r->map.size, QL_DATA,
             "%s:%zu: there is text after the end of the array; remove it, or write one record per line", r->map.path,
             r->line);
    return ql_ok();
}

static ql_err next_element(ql_reader *r, ql_span *out, bool *more) {
    *more = false;
    if (r->ended) return ql_ok();
    skip_space(r);
    bool after_comma = r->begun && r->at < r->map.size && r->map.data[r->at] == ',';
    if (after_comma) {
        r->at++;
        skip_space(r);
    }
    QL_CHECK(r->at < r->map.size, QL_DATA, "%s:%zu: the array of records is not closed by ']'; is the file cut off?",
             r->map.path, r->line);
    uint8_t c = r->map.data[r->at];
    if (c == ']' && !after_comma) return finish_array(r, more);
    QL_CHECK(c != ']' && c != ',', QL_DATA, "%s:%zu: found '%c' where a record was expected; remove the spare comma",
             r->map.path, r->line, c);
    *more = r->begun = true;
    *out = (ql_span){(const char *)r->map.data + r->at, 0, r->line};
    skip_element(r);
    out->size = (size_t)((const char *)r->map.data + r->at - out->text);
    return check_size(r, out);
}

ql_err ql_reader_next(ql_reader *r, ql_span *out, bool *more) {
    if (r->is_array) return next_element(r, out, more);
    return next_line(r, out, more);
}

/* The first byte that does not belong to UTF-8, or n. */
static size_t first_bad_byte(const char *text, size_t n) {
    size_t at = 0;
    while (at < n) {
        utf8proc_int32_t ignored;
        utf8proc_ssize_t step = utf8proc_iterate((const uint8_t *)text + at, (utf8proc_ssize_t)(n - at), &ignored);
        if (step <= 0) return at;
        at += (size_t)step;
    }
    return n;
}

/* Called when parsing failed: broken UTF-8 is worth a sentence of its own. */
static ql_err explain(const ql_span *s, const char *path, ql_err e) {
    size_t bad = first_bad_byte(s->text, s->size), line = s->line;
    if (bad == s->size) return e;
    for (size_t i = 0; i < bad; i++) line += s->text[i] == '\n';
    return ql_fail(QL_DATA,
                   "%s:%zu: is not valid UTF-8: byte 0x%02x, the %zuth of the record; convert the file to UTF-8", path,
                   line, (uint8_t)s->text[bad], bad + 1);
}

ql_err ql_span_parse(const ql_span *s, const char *path, ql_json **out) {
    *out = NULL;
    QL_CHECK(!ql_json_has_more(s->text, s->size, QL_RECORD_VALUES), QL_DATA,
             "%s:%zu: the record holds more than %d values; leave out the fields that are not trained on", path, s->line, QL_RECORD_VALUES);
    ql_err e = ql_json_parse(s->text, s->size, path, s->line, out);
    if (ql_bad(e)) return explain(s, path, e);
    if (ql_json_is(*out, QL_JSON_OBJECT)) return e;
    e = ql_fail(QL_DATA, "%s:%zu: the record is %s; expected an object, {\"field\": \"text\", ...}", path, s->line,
                ql_json_kind_name(*out));
    ql_json_free(*out);
    *out = NULL;
    return e;
}
