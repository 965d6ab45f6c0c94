#include <string.h>

#include "worker/tool/tool.h"

static const ql_tool tools[] = {
    {"tokenize", ql_do_tokenize}, {"detokenize", ql_do_detokenize}, {"template", ql_do_template}, {"inspect", ql_do_inspect},
    {"prepare", ql_do_prepare},   {"quantize", ql_do_quantize},     {"generate", ql_do_generate},
    {"rings", ql_do_rings},       {"meet", ql_do_meet},             {"checkpoints", ql_do_checkpoints},
};

const ql_tool *ql_tool_find(const char *name) {
    for (size_t i = 0; i < QL_LEN(tools); i++)
        if (!strcmp(tools[i].name, name)) return &tools[i];
    return NULL;
}

static const ql_tool_option *find_option(const ql_tool_option *options, size_t n, const char *word) {
    for (size_t i = 0; i < n; i++)
        if (!strcmp(options[i].name, word)) return &options[i];
    return NULL;
}

ql_err ql_tool_arguments(const char *tool, int argc, char **argv, const ql_tool_option *options, size_t n, char **words,
                         size_t *n_words) {
    *n_words = 0;
    bool only_words = false;
    for (int i = 0; i < argc; i++) {
        if (!only_words && !strcmp(argv[i], "--")) {
            only_words = true;
            continue;
        }
        if (only_words || argv[i][0] != '-' || !argv[i][1]) {
            words[(*n_words)++] = argv[i];
            continue;
        }
        const ql_tool_option *o = find_option(options, n, argv[i]);
        QL_CHECK(o, QL_USAGE, "%s: unknown option %s; see qlora %s --help", tool, argv[i], tool);
        if (o->flag) {
            *o->flag = true;
            continue;
        }
        QL_CHECK(i + 1 < argc, QL_USAGE, "%s: %s needs a value; see qlora %s --help", tool, argv[i], tool);
        *o->value = argv[++i];
    }
    return ql_ok();
}
