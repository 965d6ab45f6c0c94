/* qlora inspect: the data side of a run, without its model's weights. */
#include "worker/data/inspect.h"

#include <stdio.h>
#include <stdlib.h>

#include "worker/tool/data.h"
#include "worker/tool/tool.h"

/* "A:B", "A:", ":B" or "A": rows A up to, but not with, B. */
static ql_err read_range(const char *text, int64_t *from, int64_t *to) {
    if (!text) return ql_ok();
    char *end;
    long  first = strtol(text, &end, 10);
    bool  ok = *text && first >= 0;
    *from = end == text ? 0 : first;
    *to = *from + 1;
    if (*end == ':') {
        const char *second = end + 1;
        *to = *second ? strtol(second, &end, 10) : -1;
        if (!*second) end = (char *)(uintptr_t)second;
    }
    QL_CHECK(ok && !*end && (*to < 0 || *to >= *from), QL_USAGE, "inspect: --rows: \"%s\" is not of the form A:B", text);
    return ql_ok();
}

static ql_err inspect(const ql_job *j, const char *rows, bool json) {
    int64_t from = 0, to = json ? -1 : 3;
    QL_TRY(read_range(rows, &from, &to));
    return ql_inspect(&j->config, &j->train, &j->train_rows, j->tokenizer, from, to, json, stdout);
}

ql_err ql_do_inspect(int argc, char **argv) {
    const char          *rows = NULL;
    bool                 json = false;
    const ql_tool_option options[] = {{"--rows", &rows, NULL}, {"--json", NULL, &json}};
    char               **words = QL_NEW_ARRAY(char *, (size_t)argc + 1);
    size_t               n;
    ql_job               j = {0};
    ql_err               e = ql_tool_arguments("inspect", argc, argv, options, QL_LEN(options), words, &n);
    if (!ql_bad(e)) e = ql_tool_read_data("inspect", words, n, &j);
    if (!ql_bad(e)) e = inspect(&j, rows, json);
    ql_job_close(&j);
    free(words);
    return e;
}
