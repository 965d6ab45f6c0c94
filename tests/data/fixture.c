#include "tests/data/fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

static char folder[64];
static char path_of[4][128];

int make_scratch(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/qlora-data-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

int remove_scratch(void **state) {
    (void)state;
    return ql_bad(ql_dir_remove(folder)) ? -1 : 0;
}

const char *scratch(void) {
    return folder;
}

static const char *write_to(const char *path, const void *bytes, size_t n) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
    return path;
}

const char *file_of(int slot, const void *bytes, size_t n) {
    snprintf(path_of[slot], sizeof path_of[slot], "%s/records-%d.jsonl", folder, slot);
    return write_to(path_of[slot], bytes, n);
}

const char *named_file(const char *name, const void *bytes, size_t n) {
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return write_to(path, bytes, n);
}

const char *named_text(const char *name, const char *text) {
    return named_file(name, text, strlen(text));
}

const char *file_of_text(int slot, const char *text) {
    return file_of(slot, text, strlen(text));
}

reading reading_of(const char *path) {
    reading r = {.config = {.max_length = 1024, .completion_only_loss = QL_AUTO, .seed = 42}};
    r.spec[0].path = (char *)(uintptr_t)path;
    r.files.count = 1;
    r.options.vocab_size = 260;
    return r;
}

void read_with(reading *r, const char *setting) {
    ql_tokenizer *t;
    assert_false(ql_bad(ql_tokenizer_open(setting, &t)));
    r->options.config = &r->config;
    r->options.tokenizer = t;
    r->files.item = r->spec;
    r->verdict = ql_corpus_read(&r->files, &r->options, &r->corpus);
    ql_tokenizer_close(t);
}

void done_with(reading *r) {
    ql_corpus_free(&r->corpus);
}

static void expect_pieces(reading *r, const char *what, va_list ap) {
    read_with(r, "");
    if (r->verdict.code != QL_DATA) fail_msg("accepted (code %d): %s", r->verdict.code, what);
    for (const char *piece; (piece = va_arg(ap, const char *));)
        if (!strstr(ql_err_text(), piece)) fail_msg("\"%s\" lacks \"%s\"", ql_err_text(), piece);
    assert_null(strchr(ql_err_text(), '\n'));
    assert_null(r->corpus.document);
    done_with(r);
}

void expect_refusal(const char *text, ...) {
    reading r = reading_of(file_of_text(0, text));
    va_list ap;
    va_start(ap, text);
    expect_pieces(&r, text, ap);
    va_end(ap);
}

void expect_refused_file(const char *path, ...) {
    reading r = reading_of(path);
    va_list ap;
    va_start(ap, path);
    expect_pieces(&r, path, ap);
    va_end(ap);
}

char *shown_file(const char *path) {
    reading r = reading_of(path);
    ql_str out = {0};
    read_with(&r, "");
    if (ql_bad(r.verdict)) fail_msg("%s", ql_err_text());
    for (size_t i = 0; i < r.corpus.documents; i++) {
        char *text = shown(&r.corpus, i);
        ql_str_printf(&out, "%s%s", i ? "|" : "", text);
        free(text);
    }
    done_with(&r);
    return out.data;
}

void expect_file(const char *path, const char *expected) {
    char *text = shown_file(path);
    assert_string_equal(text, expected);
    free(text);
}

char *shown(const ql_corpus *c, size_t document) {
    const ql_document *d = &c->document[document];
    ql_str out = {0};
    for (int64_t i = 0; i < d->length; i++) {
        if (d->is_target[i] && (i == 0 || !d->is_target[i - 1])) ql_str_puts(&out, "{");
        size_t n;
        const char *piece = ql_tokenizer_piece(NULL, d->ids[i], &n);
        ql_str_put(&out, piece, n);
        if (d->is_target[i] && (i + 1 == d->length || !d->is_target[i + 1])) ql_str_puts(&out, "}");
    }
    return out.data;
}
