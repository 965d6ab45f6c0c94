/* What `qlora` starts this program for (`qlora-worker --do NAME ...`): everything that needs the
 * model folder but no training. One function and one row (tools.c) each; argv begins after NAME. */
#pragma once
#include "base/err.h"

typedef struct {
    const char *name;
    ql_err (*run)(int argc, char **argv);
} ql_tool;

/* NULL: no such tool. */
const ql_tool *ql_tool_find(const char *name);

ql_err ql_do_tokenize(int argc, char **argv);
ql_err ql_do_detokenize(int argc, char **argv);
ql_err ql_do_template(int argc, char **argv);
ql_err ql_do_inspect(int argc, char **argv);
ql_err ql_do_prepare(int argc, char **argv);
ql_err ql_do_quantize(int argc, char **argv);
ql_err ql_do_generate(int argc, char **argv);
ql_err ql_do_rings(int argc, char **argv);
ql_err ql_do_meet(int argc, char **argv);
ql_err ql_do_checkpoints(int argc, char **argv);

/* Arguments of tools. A row per option; what is no option goes to `words`. */
typedef struct {
    const char  *name;  /* "--model"                                  */
    const char **value; /* receives the word that follows, or NULL: a flag */
    bool        *flag;
} ql_tool_option;
/* QL_USAGE: unknown option or missing value, named. Returns the number of words in *n_words. */
QL_RESULT ql_tool_arguments(const char *tool, int argc, char **argv, const ql_tool_option *options, size_t n, char **words,
                            size_t *n_words);
