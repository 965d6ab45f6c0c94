/* qlora inspect: the data side of a run, without its model's weights. */
#include "worker/data/inspect/inspect.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "worker/gate.h"
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

typedef struct {
    const char *rows, *page;
    bool        json, boundaries;
} wishes;

/* Where nobody says which rows: as many as one can look at. */
static ql_err inspect(const ql_job *j, const wishes *w) {
    enum { ROWS_OF_TEXT = 3, TOKENS_OF_TEXT = 6000, ROWS_OF_A_PAGE = 20, TOKENS_OF_A_PAGE = 40000, TOKENS_AT_MOST = 1 << 20 };
    ql_inspection i = {.config = &j->config, .corpus = &j->train, .rows = &j->train_rows, .tokenizer = j->tokenizer, .chat = j->chat.name,
                       .held_out = j->config.val_set_size > 0 ? j->eval.records : 0, .rows_per_step = j->global_batch,
                       .to = w->json ? -1 : w->page ? ROWS_OF_A_PAGE : ROWS_OF_TEXT, .boundaries = w->boundaries};
    ql_audited set[QL_GATE_SETS];
    i.audits = ql_gate_sets(j, set);
    i.audited = set;
    if (w->page) i.most_tokens = w->rows ? TOKENS_AT_MOST : TOKENS_OF_A_PAGE;
    else if (!w->rows) i.most_tokens = w->json ? 0 : TOKENS_OF_TEXT;
    QL_TRY(read_range(w->rows, &i.from, &i.to));
    if (w->json) return ql_inspect_json(&i, stdout);
    ql_look look = ql_look_of(stdout);
    if (!w->page) return ql_inspect_text(&i, &look, stdout);
    QL_TRY(ql_inspect_page(&i, w->page));
    ql_info("%s shows what will be trained on; open it in a browser", w->page);
    return ql_ok();
}

ql_err ql_do_inspect(int argc, char **argv) {
    wishes               w = {0};
    const ql_tool_option options[] = {
        {"--rows", &w.rows, NULL}, {"--json", NULL, &w.json}, {"--html", &w.page, NULL}, {"--tokens", NULL, &w.boundaries}};
    char **words = QL_NEW_ARRAY(char *, (size_t)argc + 1);
    size_t n;
    ql_job j = {0};
    ql_err e = ql_tool_arguments("inspect", argc, argv, options, QL_LEN(options), words, &n);
    if (!ql_bad(e) && w.json && w.page) e = ql_fail(QL_USAGE, "inspect: --json and --html are two ways to show the same; give one");
    if (!ql_bad(e)) e = ql_tool_read_config("inspect", words, n, &j);
    if (!ql_bad(e)) e = ql_tool_read_data(&j);
    if (!ql_bad(e)) e = inspect(&j, &w);
    ql_job_close(&j);
    free(words);
    return e;
}
