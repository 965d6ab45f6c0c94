/* The pieces of `qlora`: commands as a table, their arguments checked, and what starts a worker. */
#pragma once
#include "base/err.h"

typedef enum { QL_ARG_FLAG, QL_ARG_TEXT, QL_ARG_WHOLE, QL_ARG_REAL, QL_ARG_ROWS, QL_ARG_CHOICE } ql_arg_kind;

/* An option of a command; ends with a row of NULLs. */
typedef struct {
    const char *name, *value, *meaning; /* "--rows", "A:B", ... ; `value` of a choice: "nf4|fp4" */
    ql_arg_kind kind;
    bool        required;
    double      low, high; /* high 0: no bound */
} ql_option;

typedef struct ql_command ql_command;
/* The arguments that were given, in the order options, then the rest. */
typedef struct {
    const ql_command *command;
    char            **word; /* options first, "--x" and its value apart; NULL-terminated */
    size_t            count, capacity;
    size_t            first_rest; /* word[first_rest...]: what is no option */
    bool              wants_help;
} ql_arguments;

struct ql_command {
    const char *name, *form, *summary;
    /* What stands beside the options: a CONFIG and KEY=VALUEs; the same or nothing; KEY=VALUEs and a text; a folder; nothing; or CONFIGs and
     * KEY=VALUEs, which the command checks. */
    enum { QL_REST_NONE, QL_REST_CONFIG, QL_REST_MAY_CONFIG, QL_REST_PROMPT, QL_REST_FOLDER, QL_REST_CONFIGS } rest;
    const ql_option *options;
    /* Does not return when it could start something. */
    QL_RESULT (*start)(const ql_arguments *);
};

extern const ql_command ql_commands[];
extern const size_t     ql_n_commands;

/* Sorts and checks words[0..n). QL_USAGE with a sentence that names the command. */
QL_RESULT ql_arguments_read(const ql_command *command, char **words, size_t n, ql_arguments *out);
void      ql_arguments_free(ql_arguments *a);
/* The value of an option, or NULL. */
const char *ql_arguments_value(const ql_arguments *a, const char *option);
/* Copies the options with their values into `words` from n on, but for those named in `ours`, and returns the new n. Words are borrowed. */
size_t      ql_arguments_pass_on(const ql_arguments *a, const char *const *ours, size_t n_ours, char **words, size_t n);
void        ql_command_help(const ql_command *command);

/* The path of qlora-worker: beside this program, else in PATH. Caller frees. */
QL_RESULT ql_worker_find(char **path);
/* Becomes `argv[0]` (a path, or a name looked up in PATH); returns only on failure. */
QL_RESULT ql_become(char **argv);
/* Becomes qlora-worker HEAD... and all words of `a`. */
QL_RESULT ql_become_worker(const char *const *head, size_t n_head, const ql_arguments *a);

/* Before an mpirun is started: QL_USAGE for root outside a container who has not said that it may be. */
QL_RESULT ql_allow_root(const ql_arguments *a);

QL_RESULT ql_start_run(const ql_arguments *a);
QL_RESULT ql_start_plan(const ql_arguments *a);
QL_RESULT ql_start_doctor(const ql_arguments *a);
QL_RESULT ql_start_submit(const ql_arguments *a);
