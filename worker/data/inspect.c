#include "worker/data/inspect.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct {
    const ql_config *config;
    const ql_corpus *corpus;
    const ql_row_set *rows;
    const ql_tokenizer *tokenizer;
    bool colour;
    FILE *file;
    ql_str text; /* of the row at hand; written when the row is complete */
} page;

static ql_err flush(page *p) {
    bool fine = fwrite(p->text.data ? p->text.data : "", 1, p->text.size, p->file) == p->text.size;
    p->text.size = 0;
    if (!fine || ferror(p->file)) return ql_fail_errno("the rows cannot be written");
    return ql_ok();
}

static const ql_document *document_at(const page *p, int64_t k) {
    return &p->corpus->document[p->rows->document[k]];
}

/* --- for programs --- */

static void put_ids(page *p, int64_t row, bool labels) {
    const char *comma = "";
    for (int64_t k = p->rows->start[row]; k < p->rows->start[row + 1]; k++) {
        const ql_document *d = document_at(p, k);
        for (int64_t i = 0; i < d->length; i++, comma = ", ")
            ql_str_printf(&p->text, "%s%d", comma, !labels || d->is_target[i] ? d->ids[i] : -100);
    }
}

static void put_documents(page *p, int64_t row) {
    int64_t start = 0, first = p->rows->start[row];
    for (int64_t k = first; k < p->rows->start[row + 1]; k++) {
        const ql_document *d = document_at(p, k);
        ql_str_printf(&p->text, "%s{\"record\": %lld, \"start\": %lld, \"length\": %d}", k > first ? ", " : "",
                      (long long)d->record, (long long)start, d->length);
        start += d->length;
    }
}

static ql_err put_row_json(page *p, int64_t number, int64_t row) {
    ql_str_printf(&p->text, "{\"row\": %lld, \"input_ids\": [", (long long)number);
    put_ids(p, row, false);
    ql_str_puts(&p->text, "], \"labels\": [");
    put_ids(p, row, true);
    ql_str_puts(&p->text, "], \"documents\": [");
    put_documents(p, row);
    ql_str_puts(&p->text, "]}\n");
    return ql_ok();
}

/* --- for people --- */

static const char *mark(const page *p, bool begin) {
    if (p->colour) return begin ? "\033[32m" : "\033[0m";
    return begin ? "[[" : "]]";
}

/* Text of a record may hold anything; a terminal must not obey it. */
static void put_harmless(ql_str *out, const char *text, size_t n) {
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        bool c1 = c == 0xc2 && i + 1 < n && (unsigned char)text[i + 1] < 0xa0; /* U+0080 to U+009F */
        if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f)
            ql_str_printf(out, "\\x%02x", c);
        else if (c1)
            ql_str_printf(out, "\\x%02x", (unsigned char)text[++i]);
        else
            ql_str_put(out, &text[i], 1);
    }
}

/* Appends the text of tokens [0, n) of a document that is not yet in `seen`, the text of its
 * first tokens; so spaces between pieces, and characters that are cut, come out as in the whole. */
static ql_err put_piece(page *p, const ql_document *d, int64_t n, ql_str *seen) {
    ql_str all = {0};
    ql_err e = ql_decode(p->tokenizer, d->ids, (size_t)n, false, &all);
    size_t same = 0;
    while (same < seen->size && same < all.size && seen->data[same] == all.data[same]) same++;
    if (!ql_bad(e)) put_harmless(&p->text, all.data + same, all.size - same);
    ql_str_free(seen);
    *seen = all;
    return e;
}

static ql_err put_document(page *p, const ql_document *d) {
    ql_str_printf(&p->text, "-- record %lld: %d tokens, %d targets --\n", (long long)d->record, d->length, d->targets);
    const uint8_t *is_target = d->is_target;
    ql_str seen = {0};
    ql_err e = ql_ok();
    for (int64_t from = 0, to; from < d->length && !ql_bad(e); from = to) {
        for (to = from + 1; to < d->length && is_target[to] == is_target[from];) to++;
        if (is_target[from]) ql_str_puts(&p->text, mark(p, true));
        e = put_piece(p, d, to, &seen);
        if (is_target[from]) ql_str_puts(&p->text, mark(p, false));
    }
    ql_str_puts(&p->text, "\n");
    ql_str_free(&seen);
    return e;
}

static double percent(int64_t part, int64_t whole) {
    return whole ? 100.0 * (double)part / (double)whole : 0.0;
}

static ql_err put_row(page *p, int64_t number, int64_t row) {
    int64_t first = p->rows->start[row], end = p->rows->start[row + 1], tokens = ql_row_tokens(p->corpus, p->rows, row);
    int64_t targets = 0;
    for (int64_t k = first; k < end; k++) targets += document_at(p, k)->targets;
    ql_str_printf(&p->text, "\n== row %lld: %lld tokens (%.1f %% of %lld), %lld targets, %lld document%s ==\n",
                  (long long)number, (long long)tokens, percent(tokens, p->rows->max_length),
                  (long long)p->rows->max_length, (long long)targets, (long long)(end - first),
                  end - first == 1 ? "" : "s");
    for (int64_t k = first; k < end; k++) QL_TRY(put_document(p, document_at(p, k)));
    return ql_ok();
}

/* How long the documents are, in at most ten steps. */
static void put_histogram(page *p) {
    enum { STEPS = 10, WIDTH = 40 };
    int64_t count[STEPS] = {0}, longest = 1, most = 1;
    const ql_corpus *c = p->corpus;
    for (size_t i = 0; i < c->documents; i++) longest = ql_max(longest, c->document[i].length);
    int64_t step = ql_ceil_div(longest, STEPS);
    for (size_t i = 0; i < c->documents; i++) count[ql_max(c->document[i].length - 1, 0) / step]++;
    for (int i = 0; i < STEPS; i++) most = ql_max(most, count[i]);
    ql_str_puts(&p->text, "lengths   tokens of a document\n");
    for (int64_t i = 0; i * step < longest; i++) {
        char bar[WIDTH + 1];
        int n = (int)ql_ceil_div(count[i] * WIDTH, most);
        memset(bar, '#', (size_t)n);
        bar[n] = 0;
        ql_str_printf(&p->text, "          %6lld - %-6lld %8lld %s\n", (long long)(i * step + 1),
                      (long long)((i + 1) * step), (long long)count[i], bar);
    }
}

static void put_summary(page *p) {
    const ql_corpus *c = p->corpus;
    const ql_row_set *r = p->rows;
    const char *asked = c->completion_only ? "the completions" : "every token but the first of a document";
    ql_str_printf(&p->text, "format    %s; trained on: %s\n", c->format, asked);
    ql_str_printf(&p->text,
                  "records   %lld, of which %zu used, %lld truncated; dropped: %lld too long, %lld without targets\n",
                  (long long)c->records, c->documents, (long long)c->truncated, (long long)c->dropped_long,
                  (long long)c->without_targets);
    if (c->duplicates > 0) ql_str_printf(&p->text, "          left out as like another: %lld\n", (long long)c->duplicates);
    ql_str_printf(&p->text, "rows      %lld of %lld tokens, %.2f %% full, %.1f documents a row\n", (long long)r->rows,
                  (long long)r->max_length, percent(r->tokens, r->rows * r->max_length),
                  r->rows ? (double)c->documents / (double)r->rows : 0.0);
    ql_str_printf(&p->text, "tokens    %lld, of which %lld targets (%.1f %%)\n", (long long)r->tokens,
                  (long long)r->targets, percent(r->targets, r->tokens));
    put_histogram(p);
    ql_str_printf(&p->text, "legend    context %starget%s\n", mark(p, true), mark(p, false));
}

static ql_err put_all(page *p, int64_t from, int64_t to, bool json) {
    int64_t *order = QL_NEW_ARRAY(int64_t, (size_t)p->rows->rows);
    ql_row_order(p->rows, p->config->seed, 0, order);
    if (!json) put_summary(p);
    ql_err e = flush(p);
    for (int64_t i = from; i < to && !ql_bad(e); i++) {
        e = json ? put_row_json(p, i, order[i]) : put_row(p, i, order[i]);
        if (!ql_bad(e)) e = flush(p);
    }
    free(order);
    return e;
}

ql_err ql_inspect(const ql_config *c, const ql_corpus *corpus, const ql_row_set *rows, const ql_tokenizer *t,
                  int64_t from, int64_t to, bool json, FILE *out) {
    int64_t end = to < 0 ? rows->rows : ql_min(to, rows->rows);
    QL_CHECK(from >= 0 && from < rows->rows && (to < 0 || from <= to), QL_USAGE,
             "rows %lld:%lld do not exist; there are rows 0:%lld", (long long)from, (long long)to,
             (long long)rows->rows);
    page p = {.config = c, .corpus = corpus, .rows = rows, .tokenizer = t, .file = out};
    const char *plain = getenv("NO_COLOR");
    p.colour = !json && isatty(fileno(out)) && (!plain || !plain[0]);
    ql_err e = put_all(&p, from, end, json);
    ql_str_free(&p.text);
    if (!ql_bad(e) && fflush(out) != 0) e = ql_fail_errno("the rows cannot be written");
    return e;
}
