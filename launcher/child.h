/* Programs that are asked something: run with nothing on standard input, their output read, and ended with all they started
 * when they take too long. Local. */
#pragma once
#include "base/err.h"
#include "base/mem.h"

enum { QL_CHILD_ABSENT = 127 };

typedef struct {
    ql_str text, errors; /* its standard output and standard error, the first MiB of each */
    int    status;       /* exit status; 128 + n: signal n; QL_CHILD_ABSENT: there is no such program */
    bool   is_late;      /* it was asked to end (SIGTERM), and made to a second later, because it took too long; `text` is what it had said */
} ql_answer;

/* Runs argv[0] (a path, or a name looked up in PATH). QL_IO only when this system starts no program at all; what the program
 * says or how it ends is for the caller to judge. `out` is to be freed even then. */
QL_RESULT ql_child_ask(const char *const *argv, double seconds, ql_answer *out);
/* The same with a text on its standard input. */
QL_RESULT ql_child_tell(const char *const *argv, const char *input, double seconds, ql_answer *out);
/* The same with a piece of our own work, in a process of its own: what it prints on descriptor 1 is `text`, what it returns is the
 * status. It hears SIGTERM, a second before its end, when it takes too long, and when we end. Where it is
 * stuck because a disk does not answer, it is left behind, and ends once that does. */
QL_RESULT ql_child_do(int (*work)(void *), void *with, double seconds, ql_answer *out);
void      ql_answer_free(ql_answer *a);
/* Of the text, the first line without its end, or what there is; the caller frees it. */
char *ql_answer_first_line(const ql_str *text);
