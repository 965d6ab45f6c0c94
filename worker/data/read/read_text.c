/* Plain text: a record for each line, paragraph or document, as Hugging Face's `text` loader has it; but blank lines are no
 * records. */
#include <string.h>

#include "worker/data/read/reader_kinds.h"

/* Whether the line from `from` on, counted from `begin`, up to `at` is blank. */
static bool is_blank(const ql_reader *r, size_t from) {
    for (const uint8_t *c = r->source.data + r->begin + from; c < r->source.data + r->at; c++)
        if (*c != ' ' && *c != '\t' && *c != '\r') return false;
    return true;
}

/* To the beginning of the next line that is not blank. */
static ql_err skip_blank_lines(ql_reader *r, bool *more) {
    *more = false;
    for (bool there = true; there && !*more;) {
        r->begin = r->at;
        QL_TRY(ql_reader_find_line_end(r));
        *more = !is_blank(r, 0);
        if (*more) break;
        QL_TRY(ql_reader_reach(r, &there));
        bool at_break = there && ql_reader_byte(r) == '\n';
        r->line += at_break;
        r->at += at_break;
    }
    if (*more) r->at = r->begin;
    return ql_ok();
}

/* "[{" and a quote, with any space between them: no text begins so. */
static bool begins_an_array(const ql_reader *r) {
    static const char signs[] = "[{\"";
    size_t found = 0;
    for (size_t i = r->begin; i < r->source.size && found < strlen(signs); i++) {
        uint8_t c = r->source.data[i];
        if (c == ' ' || c == '\t' || c == '\r' || c == '\n') continue;
        if (c != (uint8_t)signs[found++]) return false;
    }
    return found == strlen(signs);
}

ql_err ql_reader_looks_like_json(ql_reader *r, bool *yes) {
    QL_TRY(ql_reader_find_line_end(r));
    const char *text = (const char *)r->source.data + r->begin;
    size_t      n = r->at - r->begin;
    ql_json    *record = NULL;
    *yes = begins_an_array(r) || (n > 0 && text[0] == '{' && n <= QL_RECORD_BYTES && !ql_bad(ql_json_parse(text, n, "", 1, &record)));
    ql_json_free(record);
    r->at = r->begin;
    return ql_ok();
}

ql_err ql_check_plain_text(ql_reader *r) {
    bool more, is_json;
    QL_TRY(skip_blank_lines(r, &more));
    QL_CHECK(more, QL_DATA, "%s:1: is empty; expected text", ql_reader_path(r));
    QL_TRY(ql_reader_looks_like_json(r, &is_json));
    QL_CHECK(!is_json, QL_DATA, "%s:%zu: holds records of JSON, but a .txt file is read as plain text; rename it to end in .jsonl", ql_reader_path(r),
             r->line);
    return ql_ok();
}

/* The n bytes from `begin` on, with LF for CRLF, as {"text": ...}. */
static ql_err show_text(ql_reader *r, size_t n, size_t line, ql_span *out) {
    const char *text = (const char *)r->source.data + r->begin;
    QL_TRY(ql_reader_check_size(r, n, line));
    QL_TRY(ql_reader_check_text(r, text, n, line));
    r->value.size = r->record.size = 0;
    for (const char *end = text + n; text < end;) {
        const char *stop = memchr(text, '\r', (size_t)(end - text));
        ql_str_put(&r->value, text, (size_t)((stop ? stop : end) - text));
        if (stop && (stop + 1 == end || stop[1] != '\n')) ql_str_puts(&r->value, "\r");
        text = stop ? stop + 1 : end;
    }
    ql_str_puts(&r->record, "{");
    ql_json_put_string(&r->record, r->options.text_field, strlen(r->options.text_field));
    ql_str_puts(&r->record, ": ");
    ql_json_put_string(&r->record, r->value.data ? r->value.data : "", r->value.size);
    ql_str_puts(&r->record, "}");
    return ql_reader_show_record(r, line, out);
}

/* The n bytes from `begin` on are the record. */
static ql_err take(ql_reader *r, size_t n, ql_span *out) {
    const char *text = (const char *)r->source.data + r->begin;
    size_t      line = r->line;
    r->at = r->begin + n;
    for (size_t i = 0; i < n; i++) r->line += text[i] == '\n';
    return show_text(r, n > 0 && text[n - 1] == '\r' ? n - 1 : n, line, out);
}

ql_err ql_read_text_line(ql_reader *r, ql_span *out, bool *more) {
    QL_TRY(skip_blank_lines(r, more));
    if (!*more) return ql_ok();
    QL_TRY(ql_reader_find_line_end(r)); /* the line break is counted with the blank lines */
    return take(r, r->at - r->begin, out);
}

ql_err ql_read_paragraph(ql_reader *r, ql_span *out, bool *more) {
    QL_TRY(skip_blank_lines(r, more));
    size_t n = 0, from = 0; /* the paragraph, and the line, from `begin` on */
    for (bool there = *more; there && n <= QL_RECORD_BYTES; from = r->at - r->begin) {
        QL_TRY(ql_reader_find_line_end(r));
        if (n > 0 && is_blank(r, from)) break;
        n = r->at - r->begin;
        QL_TRY(ql_reader_reach(r, &there));
        r->at += there;
    }
    return *more ? take(r, n, out) : ql_ok();
}

ql_err ql_read_document(ql_reader *r, ql_span *out, bool *more) {
    *more = !r->ended;
    r->ended = true;
    for (bool there = *more; there && r->at - r->begin <= QL_RECORD_BYTES;) {
        r->at = ql_reader_farthest(r);
        QL_TRY(ql_reader_reach(r, &there));
    }
    return *more ? take(r, r->at - r->begin, out) : ql_ok();
}
