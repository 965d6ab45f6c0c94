/* Verdicts. Every function that can fail returns `ql_err`, and the caller must look at it.
 *
 * The code of a verdict is the exit status of the program (docs: contract, section 5), so a
 * failure is classified once, where it is born. The sentence that a user reads is kept per
 * thread; it says what is wrong, where, and what to do: "FILE:LINE: what; cure". */
#pragma once
#include "base/ql.h"

typedef enum {
    QL_OK      = 0,
    QL_USAGE   = 64, /* command line or configuration                        */
    QL_DATA    = 65, /* a model, data set, adapter or checkpoint is not right */
    QL_BUG     = 70, /* we are wrong                                          */
    QL_IO      = 74, /* the operating system refused                          */
    QL_TEMP    = 75, /* fault, lost peer, out of memory: try again            */
    QL_DENIED  = 77, /* refused for security                                  */
    QL_STOPPED = 85, /* stopped on request, with a verified checkpoint        */
} ql_code;

/* A struct, so that no integer can be taken for a verdict by mistake. */
typedef struct {
    ql_code code;
} ql_err;
#define QL_RESULT QL_MUST_USE ql_err

static inline ql_err ql_ok(void) { return (ql_err){QL_OK}; }
static inline bool   ql_bad(ql_err e) { return e.code != QL_OK; }

/* Makes a verdict and replaces this thread's sentence. What is quoted in it may hold anything: control characters become
 * '?', and only a sentence of QL_USAGE may have several lines, one mistake each. */
ql_err ql_fail(ql_code code, const char *fmt, ...) QL_PRINTF(2, 3);
/* The same, followed by ": ", strerror(errno) and, where there is one, the cure, with code QL_IO. */
ql_err ql_fail_errno(const char *fmt, ...) QL_PRINTF(1, 2);
/* Puts "prefix: " before the sentence of a bad verdict; a good one passes untouched. */
QL_RESULT ql_err_prefix(ql_err e, const char *fmt, ...) QL_PRINTF(2, 3);
/* Gives a bad verdict another code: a loader may turn an IO failure into bad input. */
QL_RESULT ql_err_as(ql_err e, ql_code code);
/* The sentence of this thread's last failure. Borrowed; valid until the next failure. */
const char *ql_err_text(void);
/* Puts '?' in place of control characters; with `lines_too`, also of line feeds. */
void ql_hide_controls(char *text, bool lines_too);

#define QL_TRY(call)                 \
    do {                             \
        ql_err e_ = (call);          \
        if (ql_bad(e_)) return e_;   \
    } while (0)
/* For functions that must release something: one label, one exit, `err` holds the verdict. */
#define QL_TRY_TO(label, err, call)  \
    do {                             \
        (err) = (call);              \
        if (ql_bad(err)) goto label; \
    } while (0)
#define QL_CHECK(cond, code, ...)                      \
    do {                                               \
        if (!(cond)) return ql_fail((code), __VA_ARGS__); \
    } while (0)
