/* qlora tokenize and qlora detokenize. */
#include <stdio.h>

#include "worker/data/tokenizer/tool.h"
#include "worker/tool/tool.h"

static ql_err read_arguments(const char *tool, int argc, char **argv, const char **model, bool *no_special) {
    const ql_tool_option options[] = {{"--model", model, NULL}, {"--no-special", NULL, no_special}};
    char                *words[1];
    size_t               n;
    for (int i = 0; i < argc; i++)
        QL_CHECK(argv[i][0] == '-' || (i > 0 && argv[i - 1][0] == '-'), QL_USAGE,
                 "%s: \"%s\": takes its input from standard input", tool, argv[i]);
    QL_TRY(ql_tool_arguments(tool, argc, argv, options, QL_LEN(options), words, &n));
    QL_CHECK(*model, QL_USAGE, "%s: --model DIR is missing", tool);
    return ql_ok();
}

ql_err ql_do_tokenize(int argc, char **argv) {
    const char *model = NULL;
    bool        no_special = false;
    QL_TRY(read_arguments("tokenize", argc, argv, &model, &no_special));
    return ql_tool_tokenize(model, !no_special, stdin, stdout);
}

ql_err ql_do_detokenize(int argc, char **argv) {
    const char *model = NULL;
    bool        no_special = false;
    QL_TRY(read_arguments("detokenize", argc, argv, &model, &no_special));
    return ql_tool_detokenize(model, stdin, stdout);
}
