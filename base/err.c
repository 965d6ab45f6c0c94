#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { SENTENCE = 16384 }; /* a configuration may have many mistakes, one a line */
static _Thread_local char sentence[SENTENCE];

void ql_hide_controls(char *text, bool lines_too) {
    for (unsigned char *c = (unsigned char *)text; *c; c++) {
        bool c1 = c[0] == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0; /* U+0080 to U+009F */
        if ((*c < ' ' && (*c != '\n' || lines_too)) || *c == 0x7f || c1) *c = '?';
        if (c1) *++c = '?';
    }
}

ql_err ql_fail(ql_code code, const char *fmt, ...) {
    char    text[SENTENCE]; /* an argument may be the old sentence */
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    ql_hide_controls(text, code != QL_USAGE);
    memcpy(sentence, text, sizeof text);
    return (ql_err){code};
}

ql_err ql_fail_errno(const char *fmt, ...) {
    int     saved = errno;
    char    text[SENTENCE];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return ql_fail(QL_IO, "%s: %s", text, strerror(saved));
}

ql_err ql_err_prefix(ql_err e, const char *fmt, ...) {
    if (!ql_bad(e)) return e;
    char    text[SENTENCE];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return ql_fail(e.code, "%s: %s", text, ql_err_text());
}

ql_err ql_err_as(ql_err e, ql_code code) {
    if (ql_bad(e)) e.code = code;
    return e;
}

const char *ql_err_text(void) {
    return sentence;
}
