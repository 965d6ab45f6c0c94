/* Text in a terminal: styles, signs with and without UTF-8, lines that fit. */
#pragma once
#include "worker/data/inspect/inspect.h"

typedef enum { QL_PLAIN, QL_FAINT, QL_STRONG, QL_TARGET, QL_SPECIAL, QL_SPECIAL_TARGET, QL_ALARM } ql_style;

typedef struct {
    ql_look  look;
    ql_str   text;
    ql_style style;  /* of what was written last                                      */
    int      column; /* where the next character goes                                 */
    int      indent; /* of lines that go on                                           */
    bool     fence;  /* a line at the left of these                                   */
    /* After the last space of the line, where it can be broken; 0: nowhere. */
    size_t   break_at;
    int      break_column;
    ql_style break_style;
} ql_screen;

/* Text that we wrote: printable, one column a character. */
void ql_screen_put(ql_screen *s, ql_style style, const char *text);
void ql_screen_printf(ql_screen *s, ql_style style, const char *format, ...) QL_PRINTF(3, 4);
/* Text that may hold anything: a terminal must not obey it. Line breaks are shown and followed. */
void ql_screen_quote(ql_screen *s, ql_style style, const char *text, size_t n);
void ql_screen_newline(ql_screen *s); /* begins the next line, at its indent */
void ql_screen_end_line(ql_screen *s); /* begins the next line, at 0 */
/* `part` of `whole` as a bar of at most `width` columns. */
void ql_screen_bar(ql_screen *s, ql_style style, int64_t part, int64_t whole, int width);
/* With UTF-8 the first, else the second. */
const char *ql_sign(const ql_screen *s, const char *utf8, const char *ascii);
