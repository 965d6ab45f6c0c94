/* encode_lines MODEL_FOLDER: encodes by line: a JSON string from standard input; {"ids": [...], "ranges": [[from, to], ...]}
 * (bytes; without what the post-processor adds), or {"error": ...}, to standard output. For comparisons with Hugging Face
 * tokenizers. Fails where ql_encode finds other ids than ql_encode_ranges. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "worker/data/tokenizer/tokenizer.h"

static void put_result(ql_err e, const ql_ids *ids, const ql_ranges *ranges) {
    ql_str out = {0};
    if (ql_bad(e)) {
        ql_str_puts(&out, "{\"error\": ");
        ql_json_put_string(&out, ql_err_text(), strlen(ql_err_text()));
    } else {
        ql_str_puts(&out, "{\"ids\": [");
        for (size_t i = 0; i < ids->count; i++) ql_str_printf(&out, "%s%d", i ? ", " : "", ids->id[i]);
        ql_str_puts(&out, "], \"ranges\": [");
        for (size_t i = 0; i < ranges->n; i++) {
            ql_str_printf(&out, "%s[%zu, %zu]", i ? ", " : "", ranges->at[i].from, ranges->at[i].to);
        }
        ql_str_puts(&out, "]");
    }
    ql_str_puts(&out, "}");
    puts(out.data);
    ql_str_free(&out);
}

static ql_err encode(ql_encoder *e, const ql_json *line, ql_ids *ids, ql_ranges *ranges) {
    size_t n;
    ql_ids plain = {0};
    const char *text = ql_json_text(line, &n);
    if (!text) return ql_fail(QL_DATA, "not a string");
    QL_TRY(ql_encode_ranges(e, text, n, false, ids, ranges));
    ql_err verdict = ql_encode(e, text, n, false, &plain);
    bool same = plain.count == ids->count && (!plain.count || memcmp(plain.id, ids->id, plain.count * sizeof *plain.id) == 0);
    free(plain.id);
    QL_TRY(verdict);
    QL_CHECK(same && ranges->n == ids->count, QL_DATA, "ql_encode and ql_encode_ranges differ");
    return ql_ok();
}

int main(int argc, char **argv) {
    ql_tokenizer *t;
    char *line = NULL;
    size_t capacity = 0;
    ssize_t n;
    ql_err e = argc == 2 ? ql_tokenizer_open(argv[1], &t) : ql_fail(QL_USAGE, "usage: encode_lines MODEL_FOLDER");
    if (ql_bad(e)) {
        fprintf(stderr, "qlora: error: %s\n", ql_err_text());
        return e.code;
    }
    ql_encoder *encoder = ql_encoder_open(t);
    for (size_t i = 1; (n = getline(&line, &capacity, stdin)) > 0; i++) {
        ql_json *text = NULL;
        ql_ids ids = {0};
        ql_ranges ranges = {0};
        e = ql_json_parse(line, (size_t)n, "stdin", i, &text);
        if (!ql_bad(e)) e = encode(encoder, text, &ids, &ranges);
        put_result(e, &ids, &ranges);
        ql_json_free(text);
        free(ids.id);
        ql_ranges_free(&ranges);
    }
    free(line);
    ql_encoder_close(encoder);
    ql_tokenizer_close(t);
    return 0;
}
