/* CSV as RFC 4180 has it, and TSV, which differs in the separator: fields may stand in quotes, with line breaks, separators
 * and doubled quotes inside. The first row names the columns; a row becomes an object of strings. A quote inside a field
 * that does not begin with one is a character like others, as for Python's csv. */
#include <string.h>

#include "worker/data/read/reader_kinds.h"

static ql_err skip_blank_lines(ql_reader *r) {
    bool there = true;
    for (; there; r->at += there) {
        QL_TRY(ql_reader_reach(r, &there));
        if (there && ql_reader_byte(r) != '\n' && ql_reader_byte(r) != '\r') break;
        if (there) r->line += ql_reader_byte(r) == '\n';
    }
    r->begin = r->at;
    return ql_ok();
}

typedef struct {
    bool   at_start, quoted, closed; /* of a field: before it, inside its quotes, behind a quote that may have closed them */
    size_t line, quote_line;
} progress;

/* Whether the row ends before this byte. */
static bool ends_before(progress *p, uint8_t c, char separator) {
    bool outside = !p->quoted;
    p->line += c == '\n';
    if (outside && c == '\n') return true;
    bool opens = c == '"' && (p->at_start || p->closed);
    if (opens && p->at_start) p->quote_line = p->line;
    p->closed = !outside && c == '"';
    p->quoted = outside ? opens : !p->closed;
    p->at_start = outside && c == separator;
    return false;
}

/* Moves to the line feed that ends the row, or to the end of the file. */
static ql_err skip_row(ql_reader *r, progress *p) {
    for (bool there = true; there;) {
        for (size_t end = ql_reader_farthest(r); r->at < end; r->at++)
            if (ends_before(p, r->source.data[r->at], r->separator)) return ql_ok();
        if (r->at - r->begin > QL_RECORD_BYTES) break;
        QL_TRY(ql_reader_reach(r, &there));
    }
    QL_CHECK(!p->quoted, QL_DATA, "%s:%zu: the quote that begins a field here is not closed %s; close it, or double it if it belongs to the text",
             ql_reader_path(r), p->quote_line, r->at - r->begin > QL_RECORD_BYTES ? "within 64 MiB" : "before the end of the file");
    return ql_reader_check_size(r, r->at - r->begin, r->line);
}

/* A row in the window, and how far it was read. */
typedef struct {
    const char *text, *end, *begin;
    size_t      line; /* of `begin` */
} row;

static size_t line_at(const row *w, const char *text) {
    size_t line = w->line;
    for (const char *c = w->begin; c < text; c++) line += *c == '\n';
    return line;
}

/* The field in quotes at w->text, to r->value. */
static ql_err read_quoted(ql_reader *r, row *w) {
    const char *opened = w->text++;
    for (bool more = true; more;) {
        const char *quote = memchr(w->text, '"', (size_t)(w->end - w->text));
        if (!quote) quote = w->end;
        more = quote + 1 < w->end && quote[1] == '"'; /* a doubled one belongs to the text */
        ql_str_put(&r->value, w->text, (size_t)(quote - w->text) + more);
        w->text = quote < w->end ? quote + 1 + more : w->end;
    }
    QL_CHECK(w->text == w->end || *w->text == r->separator, QL_DATA,
             "%s:%zu: text follows the closing quote of the field that begins in line %zu; double the quotes that belong to the text",
             ql_reader_path(r), line_at(w, w->text), line_at(w, opened));
    return ql_ok();
}

static ql_err read_field(ql_reader *r, row *w) {
    r->value.size = 0;
    if (w->text < w->end && *w->text == '"') return read_quoted(r, w);
    const char *end = w->text < w->end ? memchr(w->text, r->separator, (size_t)(w->end - w->text)) : NULL;
    if (!end) end = w->end;
    size_t n = (size_t)(end - w->text);
    QL_CHECK(n == 0 || !memchr(w->text, '\r', n), QL_DATA,
             "%s:%zu: a carriage return stands alone outside quotes; write line ends as LF or CRLF", ql_reader_path(r), line_at(w, w->text));
    ql_str_put(&r->value, w->text, n);
    w->text = end;
    return ql_ok();
}

/* The next row, `begin` to its end without the line break; its text is text. */
static ql_err find_row(ql_reader *r, row *out, bool *more) {
    QL_TRY(skip_blank_lines(r));
    *more = r->at < r->source.size;
    progress p = {.at_start = true, .line = r->line};
    if (*more) QL_TRY(skip_row(r, &p));
    const char *text = (const char *)r->source.data + r->begin;
    size_t      n = r->at - r->begin;
    if (n > 0 && text[n - 1] == '\r') n--;
    *out = (row){text, text + n, text, r->line};
    QL_TRY(ql_reader_check_text(r, text, n, r->line));
    for (size_t i = 0; i < n; i++) r->line += text[i] == '\n';
    return ql_ok();
}

/* ---- the header ---- */

static bool has_column(const ql_reader *r, const ql_str *name) {
    for (size_t i = 0; i < r->columns; i++)
        if (r->column[i].size == name->size && memcmp(r->column[i].data, name->data, name->size) == 0) return true;
    return false;
}

static ql_err add_column(ql_reader *r, size_t line) {
    ql_str name = {0};
    QL_CHECK(r->value.size > 0, QL_DATA, "%s:%zu: column %zu has no name; the first row names the columns, and each needs a name",
             ql_reader_path(r), line, r->columns + 1);
    ql_json_put_string(&name, r->value.data, r->value.size);
    ql_str_puts(&name, ": ");
    bool is_double = has_column(r, &name);
    QL_PUSH(r->column, r->columns, r->columns_capacity, name);
    QL_CHECK(!is_double, QL_DATA, "%s:%zu: two columns are named \"%.*s\"; rename one in the first row", ql_reader_path(r), line,
             (int)ql_min((int64_t)r->value.size, 60), r->value.data);
    return ql_ok();
}

static ql_err check_separator(const ql_reader *r, size_t line) {
    static const struct {
        char        sign;
        const char *name;
    } other[] = {{';', "semicolons"}, {'\t', "tabs"}, {',', "commas"}, {'|', "bars"}};
    for (size_t i = 0; i < QL_LEN(other); i++)
        QL_CHECK(r->columns > 1 || !memchr(r->value.data, other[i].sign, r->value.size), QL_DATA,
                 "%s:%zu: the columns seem to be separated by %s; expected commas in a .csv file and tabs in a .tsv file", ql_reader_path(r), line,
                 other[i].name);
    return ql_ok();
}

enum { COLUMNS = 4096 };

static ql_err check_no_json(ql_reader *r) {
    bool is_json;
    QL_TRY(skip_blank_lines(r));
    QL_TRY(ql_reader_looks_like_json(r, &is_json));
    QL_CHECK(!is_json, QL_DATA, "%s:%zu: holds records of JSON, but a .%csv file is read as rows; rename it to end in .jsonl", ql_reader_path(r), r->line,
             r->separator == ',' ? 'c' : 't');
    return ql_ok();
}

ql_err ql_read_columns(ql_reader *r) {
    row  w;
    bool more;
    QL_TRY(check_no_json(r));
    QL_TRY(find_row(r, &w, &more));
    QL_CHECK(more, QL_DATA, "%s:1: is empty; expected a first row with the names of the columns, and rows below it", ql_reader_path(r));
    for (bool first = true; first || w.text < w.end; first = false) {
        w.text += !first;
        QL_CHECK(r->columns < COLUMNS, QL_DATA, "%s:%zu: has more than %d columns; leave out those that are not trained on", ql_reader_path(r), w.line, COLUMNS);
        QL_TRY(read_field(r, &w));
        QL_TRY(add_column(r, w.line));
    }
    return check_separator(r, w.line);
}

/* ---- a row ---- */

static size_t rest_of_fields(ql_reader *r, row *w, size_t n) {
    for (; w->text < w->end; n++) {
        w->text++;
        if (ql_bad(read_field(r, w))) break;
    }
    return n;
}

ql_err ql_read_row(ql_reader *r, ql_span *out, bool *more) {
    row w;
    QL_TRY(find_row(r, &w, more));
    if (!*more) return ql_ok();
    size_t line = w.line, n = 0;
    r->record.size = 0;
    for (; n < r->columns && (n == 0 || w.text < w.end); n++) {
        w.text += n > 0;
        QL_TRY(read_field(r, &w));
        ql_str_puts(&r->record, n ? ", " : "{");
        ql_str_put(&r->record, r->column[n].data, r->column[n].size);
        ql_json_put_string(&r->record, r->value.data, r->value.size);
    }
    n = rest_of_fields(r, &w, n);
    QL_CHECK(n == r->columns, QL_DATA, "%s:%zu: the row has %zu fields, the header %zu; put fields that hold a %s or a line break in quotes",
             ql_reader_path(r), line, n, r->columns, r->separator == ',' ? "comma" : "tab");
    ql_str_puts(&r->record, "}");
    return ql_reader_show_record(r, line, out);
}
