/* Renders by line: {"template": ..., "variables": {...}, "now": seconds} from standard input; {"text": ..., "spans": [[from, to],
 * ...]} or {"error": ...} to standard output. For comparisons with Jinja2. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/data/template/template.h"

static void put_result(ql_err e, const ql_str *text, const ql_ranges *spans) {
    ql_str out = {0};
    if (ql_bad(e)) {
        ql_str_puts(&out, "{\"error\": ");
        ql_json_put_string(&out, ql_err_text(), strlen(ql_err_text()));
    } else {
        ql_str_puts(&out, "{\"text\": ");
        ql_json_put_string(&out, text->data ? text->data : "", text->size);
        ql_str_puts(&out, ", \"spans\": [");
        for (size_t i = 0; i < spans->n; i++) ql_str_printf(&out, "%s[%zu, %zu]", i ? ", " : "", spans->at[i].from, spans->at[i].to);
        ql_str_puts(&out, "]");
    }
    ql_str_puts(&out, "}");
    puts(out.data);
    ql_str_free(&out);
}

static ql_err render(const ql_json *job, ql_str *text, ql_ranges *spans) {
    size_t n;
    const char *source = ql_json_text(ql_json_get(job, "template"), &n);
    ql_template *t;
    if (!source) return ql_fail(QL_DATA, "no template");
    QL_TRY(ql_template_parse(source, n, "chat_template", &t));
    ql_err e = ql_template_render(t, NULL, ql_json_get(job, "variables"), ql_json_int(ql_json_get(job, "now"), 0), text, spans);
    ql_template_free(t);
    return e;
}

int main(void) {
    char *line = NULL;
    size_t capacity = 0;
    ssize_t n;
    for (size_t i = 1; (n = getline(&line, &capacity, stdin)) > 0; i++) {
        ql_json *job = NULL;
        ql_str text = {0};
        ql_ranges spans = {0};
        ql_err e = ql_json_parse(line, (size_t)n, "stdin", i, &job);
        if (!ql_bad(e)) e = render(job, &text, &spans);
        put_result(e, &text, &spans);
        ql_json_free(job);
        ql_str_free(&text);
        ql_ranges_free(&spans);
    }
    free(line);
    return 0;
}
