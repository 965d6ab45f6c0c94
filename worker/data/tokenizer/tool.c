#include "worker/data/tokenizer/tool.h"

#include <stdlib.h>

#include "base/json.h"
#include "worker/data/tokenizer/text.h"
#include "worker/data/tokenizer/tokenizer.h"

typedef struct {
    ql_tokenizer *tokenizer;
    ql_encoder *encoder;
    bool add_special;
    size_t line;
    ql_ids ids;
    ql_str out;
} tool;
typedef ql_err line_fn(tool *t, const ql_json *value);

static ql_err tokenize_line(tool *t, const ql_json *value) {
    size_t n;
    const char *text = ql_json_text(value, &n);
    QL_CHECK(text, QL_DATA, "is %s; it must be a JSON string", ql_json_kind_name(value));
    t->ids.count = 0;
    QL_TRY(ql_encode(t->encoder, text, n, t->add_special, &t->ids));
    ql_str_puts(&t->out, "[");
    for (size_t i = 0; i < t->ids.count; i++) ql_str_printf(&t->out, i ? ", %d" : "%d", t->ids.id[i]);
    ql_str_puts(&t->out, "]\n");
    return ql_ok();
}

static ql_err detokenize_line(tool *t, const ql_json *value) {
    QL_CHECK(ql_json_is(value, QL_JSON_ARRAY), QL_DATA, "is %s; it must be a JSON list of ids",
             ql_json_kind_name(value));
    t->ids.count = 0;
    for (size_t i = 0; i < ql_json_size(value); i++) {
        const ql_json *item = ql_json_at(value, i);
        int64_t id = ql_json_int(item, -1);
        QL_CHECK(ql_json_is(item, QL_JSON_INT) && id >= 0 && id < ql_tokenizer_size(t->tokenizer), QL_DATA,
                 "item %zu is not an id of this tokenizer (0 to %lld)", i + 1,
                 (long long)ql_tokenizer_size(t->tokenizer) - 1);
        QL_PUSH(t->ids.id, t->ids.count, t->ids.capacity, (int32_t)id);
    }
    ql_str text = {0};
    ql_err e = ql_decode(t->tokenizer, t->ids.id, t->ids.count, false, &text);
    if (!ql_bad(e)) {
        ql_json_put_string(&t->out, text.data ? text.data : "", text.size);
        ql_str_puts(&t->out, "\n");
    }
    ql_str_free(&text);
    return e;
}

static ql_err do_line(tool *t, line_fn *fn, const char *line, size_t n, FILE *out) {
    ql_json *value = NULL;
    QL_TRY(ql_one_line(ql_json_parse(line, n, "<stdin>", t->line, &value)));
    t->out.size = 0;
    ql_err e = ql_err_prefix(fn(t, value), "<stdin>:%zu", t->line);
    ql_json_free(value);
    QL_TRY(e);
    if (fwrite(t->out.data, 1, t->out.size, out) != t->out.size) return ql_fail_errno("<stdout>");
    return ql_ok();
}

static ql_err do_lines(tool *t, line_fn *fn, FILE *in, FILE *out) {
    char *line = NULL;
    size_t capacity = 0;
    ssize_t n;
    ql_err e = ql_ok();
    while (!ql_bad(e) && (n = getline(&line, &capacity, in)) >= 0) {
        t->line++;
        if (n > 0 && line[n - 1] == '\n') n--; /* a JSON error at the end belongs to this line */
        e = do_line(t, fn, line, (size_t)n, out);
    }
    free(line);
    QL_TRY(e);
    if (ferror(in)) return ql_fail_errno("<stdin>");
    if (fflush(out) != 0) return ql_fail_errno("<stdout>");
    return ql_ok();
}

static ql_err run(const char *model_folder, bool add_special, line_fn *fn, FILE *in, FILE *out) {
    tool t = {.add_special = add_special};
    QL_TRY(ql_tokenizer_open(model_folder, &t.tokenizer));
    t.encoder = ql_encoder_open(t.tokenizer);
    ql_err e = do_lines(&t, fn, in, out);
    ql_encoder_close(t.encoder);
    ql_tokenizer_close(t.tokenizer);
    free(t.ids.id);
    ql_str_free(&t.out);
    return e;
}

ql_err ql_tool_tokenize(const char *model_folder, bool add_special, FILE *in, FILE *out) {
    return run(model_folder, add_special, tokenize_line, in, out);
}

ql_err ql_tool_detokenize(const char *model_folder, FILE *in, FILE *out) {
    return run(model_folder, false, detokenize_line, in, out);
}
