/* JSON Lines, and one JSON array of records. */
#include "worker/data/read/reader_kinds.h"

ql_err ql_read_line(ql_reader *r, ql_span *out, bool *more) {
    QL_TRY(ql_reader_skip_space(r));
    *more = r->at < r->source.size;
    if (!*more) return ql_ok();
    QL_TRY(ql_reader_find_line_end(r)); /* the line break is counted by skip_space */
    size_t n = r->at - r->begin;
    ql_reader_show(r, n, r->line, out);
    return ql_reader_check_size(r, n, r->line);
}

typedef struct {
    size_t depth;
    bool in_string, escaped;
} nesting;

/* Whether the element ends before this byte. Knows strings and nesting and nothing else; whatever is wrong inside, the parser
 * will say. */
static bool ends_before(nesting *n, uint8_t c) {
    if (n->in_string) {
        n->in_string = n->escaped || c != '"';
        n->escaped = !n->escaped && c == '\\';
        return false;
    }
    if (n->depth == 0 && (c == ',' || c == ']')) return true;
    n->in_string = c == '"';
    n->depth += c == '{' || c == '[';
    n->depth -= n->depth > 0 && (c == '}' || c == ']');
    return false;
}

/* Moves behind one element: to the comma or bracket that follows it, or to the end of the file, or as far as a record may go. */
static ql_err skip_element(ql_reader *r) {
    nesting n = {0};
    for (bool there = true; there;) {
        const uint8_t *data = r->source.data;
        size_t at = r->at, end = ql_reader_farthest(r);
        for (; at < end; at++) {
            uint8_t c = data[at];
            if (n.in_string && !n.escaped && c != '"' && c != '\\' && c != '\n') continue; /* most bytes, and quickly */
            if (ends_before(&n, c)) break;
            r->line += c == '\n';
        }
        r->at = at;
        if (at < end || at - r->begin > QL_RECORD_BYTES) break;
        QL_TRY(ql_reader_reach(r, &there));
    }
    return ql_ok();
}

static ql_err finish_array(ql_reader *r) {
    r->ended = true;
    r->at++;
    QL_TRY(ql_reader_skip_space(r));
    QL_CHECK(r->at == r->source.size, QL_DATA,
             "%s:%zu: there is text after the end of the array; remove it, or write one record per line", ql_reader_path(r), r->line);
    return ql_ok();
}

ql_err ql_read_element(ql_reader *r, ql_span *out, bool *more) {
    if (r->ended) return ql_ok();
    QL_TRY(ql_reader_skip_space(r));
    bool after_comma = r->begun && r->at < r->source.size && ql_reader_byte(r) == ',';
    if (after_comma) {
        r->at++;
        QL_TRY(ql_reader_skip_space(r));
    }
    QL_CHECK(r->at < r->source.size, QL_DATA, "%s:%zu: the array of records is not closed by ']'; is the file cut off?",
             ql_reader_path(r), r->line);
    uint8_t c = ql_reader_byte(r);
    if (c == ']' && !after_comma) return finish_array(r);
    QL_CHECK(c != ']' && c != ',', QL_DATA, "%s:%zu: found '%c' where a record was expected; remove the spare comma",
             ql_reader_path(r), r->line, c);
    *more = r->begun = true;
    size_t line = r->line;
    QL_TRY(skip_element(r));
    ql_reader_show(r, r->at - r->begin, line, out);
    return ql_reader_check_size(r, out->size, line);
}
