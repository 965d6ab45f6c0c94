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

/* What can be done about a refusal of the operating system, where that is always the same. */
static const char *cure_of(int error) {
    switch (error) {
        case ENOSPC: return "; free some space there";
        case EDQUOT: return "; free some of your quota there";
        case EROFS: return "; make it writable, or choose another place";
        case EFBIG: return "; allow larger files (ulimit -f)";
        case EIO: return "; look at the disk";
        case EACCES: return "; look at its owner and permissions";
        default: return "";
    }
}

ql_err ql_fail_errno(const char *fmt, ...) {
    int     saved = errno;
    char    text[SENTENCE];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return ql_fail(QL_IO, "%s: %s%s", text, strerror(saved), cure_of(saved));
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
