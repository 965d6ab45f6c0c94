/* qlora template: conversations in, rendered text out, a JSON value a line. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "worker/data/template/folder.h"
#include "worker/tool/tool.h"

typedef struct {
    ql_chat chat;
    bool prompt; /* --generation-prompt */
    size_t line;
    ql_str text, out;
} renderer;

/* A line is an object with messages and other variables, or only the list of messages. */
static ql_err read_variables(const renderer *r, const char *line, size_t n, ql_json **out) {
    ql_str object = {0};
    bool list = n > 0 && line[strspn(line, " \t")] == '[';
    if (list) ql_str_puts(&object, r->prompt ? "{\"add_generation_prompt\": true, \"messages\": " : "{\"messages\": ");
    ql_str_put(&object, line, n);
    if (list) ql_str_puts(&object, "}");
    ql_err e = ql_json_parse(object.data ? object.data : "", object.size, "<stdin>", r->line, out);
    ql_str_free(&object);
    return e;
}

static ql_err render_line(renderer *r, const char *line, size_t n, FILE *out) {
    ql_json *variables = NULL;
    QL_TRY(read_variables(r, line, n, &variables));
    ql_err e = ql_json_size(ql_json_get(variables, "messages")) ? ql_ok() : ql_fail(QL_DATA, "there are no messages");
    if (!ql_bad(e)) e = ql_template_render(r->chat.template, r->chat.common, variables, time(NULL), &r->text, NULL);
    ql_json_free(variables);
    QL_TRY(ql_err_prefix(e, "<stdin>:%zu", r->line));
    r->out.size = 0;
    ql_json_put_string(&r->out, r->text.data, r->text.size);
    ql_str_puts(&r->out, "\n");
    return fwrite(r->out.data, 1, r->out.size, out) == r->out.size ? ql_ok() : ql_fail_errno("<stdout>");
}

static ql_err render_lines(renderer *r, FILE *in, FILE *out) {
    char *line = NULL;
    size_t capacity = 0;
    ssize_t n;
    ql_err e = ql_ok();
    while (!ql_bad(e) && (n = getline(&line, &capacity, in)) >= 0) {
        r->line++;
        if (n > 0 && line[n - 1] == '\n') line[--n] = 0;
        e = render_line(r, line, (size_t)n, out);
    }
    free(line);
    QL_TRY(e);
    if (ferror(in)) return ql_fail_errno("<stdin>");
    return fflush(out) == 0 ? ql_ok() : ql_fail_errno("<stdout>");
}

ql_err ql_do_template(int argc, char **argv) {
    renderer r = {0};
    const char *model = NULL, *name = NULL, *choice = NULL;
    const ql_tool_option options[] = {
        {"--model", &model, NULL}, {"--name", &name, NULL}, {"--chat-template", &choice, NULL}, {"--generation-prompt", NULL, &r.prompt}};
    char **words = QL_NEW_ARRAY(char *, argc + 1);
    size_t n;
    ql_err e = ql_tool_arguments("template", argc, argv, options, QL_LEN(options), words, &n);
    if (!ql_bad(e) && n > 0) e = ql_fail(QL_USAGE, "template: \"%s\": takes its input from standard input", words[0]);
    if (!ql_bad(e) && !model) e = ql_fail(QL_USAGE, "template: --model DIR is missing");
    if (!ql_bad(e) && name && choice) e = ql_fail(QL_USAGE, "template: --name and --chat-template both name a template; give one");
    free(words);
    QL_TRY(e);
    QL_TRY(choice && strcmp(choice, "auto") ? ql_chat_choose(model, choice, NULL, &r.chat) : ql_chat_open(model, name, &r.chat));
    e = render_lines(&r, stdin, stdout);
    ql_chat_close(&r.chat);
    ql_str_free(&r.text);
    ql_str_free(&r.out);
    return e;
}
