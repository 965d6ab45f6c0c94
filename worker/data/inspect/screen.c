#include "worker/data/inspect/screen.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <utf8proc.h>

static bool has_utf8(void) {
    static const char *const variable[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (size_t i = 0; i < QL_LEN(variable); i++) {
        const char *value = getenv(variable[i]);
        if (value && *value) return strcasestr(value, "utf-8") || strcasestr(value, "utf8");
    }
    return false;
}

static int width_of(FILE *out) {
    enum { USUAL = 100, LEAST = 40 };
    struct winsize size;
    if (ioctl(fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return (int)ql_max(LEAST, size.ws_col);
    const char *columns = getenv("COLUMNS");
    int         n = columns ? atoi(columns) : 0;
    return n >= LEAST && n <= 1000 ? n : USUAL;
}

ql_look ql_look_of(FILE *out) {
    const char *plain = getenv("NO_COLOR"), *term = getenv("TERM");
    bool        colour = isatty(fileno(out)) && !(plain && plain[0]) && !(term && !strcmp(term, "dumb"));
    return (ql_look){colour, has_utf8(), width_of(out)};
}

const char *ql_sign(const ql_screen *s, const char *utf8, const char *ascii) {
    return s->look.utf8 ? utf8 : ascii;
}

static void use_style(ql_screen *s, ql_style style) {
    static const char *const code[] = {
        [QL_FAINT] = "2", [QL_STRONG] = "1", [QL_TARGET] = "32", [QL_SPECIAL] = "35;7", [QL_SPECIAL_TARGET] = "32;7", [QL_ALARM] = "33"};
    if (!s->look.colour || style == s->style) return;
    if (s->style != QL_PLAIN) ql_str_puts(&s->text, "\033[0m");
    if (style != QL_PLAIN) ql_str_printf(&s->text, "\033[%sm", code[style]);
    s->style = style;
}

void ql_screen_end_line(ql_screen *s) {
    use_style(s, QL_PLAIN);
    ql_str_puts(&s->text, "\n");
    s->column = 0;
    s->break_at = 0;
}

void ql_screen_newline(ql_screen *s) {
    ql_screen_end_line(s);
    if (s->fence) {
        use_style(s, QL_FAINT);
        ql_str_puts(&s->text, ql_sign(s, "\xe2\x94\x82", "|"));
        use_style(s, QL_PLAIN);
        s->column = 1;
    }
    for (; s->column < s->indent; s->column++) ql_str_puts(&s->text, " ");
}

/* Moves what was written after the line's last space to the next line. */
static void move_word(ql_screen *s) {
    ql_str   word = {0};
    int      columns = s->column - s->break_column;
    ql_style first = s->break_style, last = s->style;
    ql_str_put(&word, s->text.data + s->break_at, s->text.size - s->break_at);
    s->text.size = s->break_at;
    s->style = first;
    ql_screen_newline(s);
    use_style(s, first);
    ql_str_put(&s->text, word.data ? word.data : "", word.size);
    s->column += columns;
    s->style = last;
    ql_str_free(&word);
}

static bool is_full(const ql_screen *s, int columns) {
    return s->look.colour && s->column + columns > s->look.width;
}

/* One character of `columns` columns. */
static void put(ql_screen *s, ql_style style, const char *bytes, size_t n, int columns) {
    if (is_full(s, columns) && s->break_at > 0) move_word(s);
    if (is_full(s, columns)) ql_screen_newline(s); /* a word that is longer than a line */
    use_style(s, style);
    ql_str_put(&s->text, bytes, n);
    s->column += columns;
    if (n != 1 || *bytes != ' ' || s->column <= s->indent + 1) return;
    s->break_at = s->text.size;
    s->break_column = s->column;
    s->break_style = style;
}

static size_t bytes_of(const char *text, size_t n, int32_t *character) {
    utf8proc_ssize_t size = utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)n, character);
    if (size > 0) return (size_t)size;
    *character = -1;
    return 1;
}

void ql_screen_put(ql_screen *s, ql_style style, const char *text) {
    int32_t c;
    for (size_t left = strlen(text), n; left > 0; text += n, left -= n) {
        n = bytes_of(text, left, &c);
        put(s, style, text, n, 1);
    }
}

void ql_screen_printf(ql_screen *s, ql_style style, const char *format, ...) {
    char   *text = NULL;
    va_list args;
    va_start(args, format);
    if (vasprintf(&text, format, args) < 0) abort();
    va_end(args);
    ql_screen_put(s, style, text);
    free(text);
}

/* Characters that a terminal obeys, that have no place of their own, or that turn the direction of others. */
static bool is_dangerous(int32_t c) {
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0x200e || c == 0x200f ||
           c == 0x61c || c == 0x200b || c == 0x2060 || c == 0xfeff || c == 0x2028 || c == 0x2029;
}

static void put_code(ql_screen *s, ql_style style, int32_t c, unsigned char byte) {
    ql_screen_printf(s, style, c < 0x100 ? "\\x%02x" : "\\u%04x", c < 0 ? byte : (unsigned)c);
}

static void put_tab(ql_screen *s, ql_style style) {
    enum { STOP = 4 };
    ql_screen_put(s, QL_FAINT, ql_sign(s, "\xe2\x87\xa5", ">"));
    while ((s->column - s->indent) % STOP != 0) put(s, style, " ", 1, 1);
}

void ql_screen_quote(ql_screen *s, ql_style style, const char *text, size_t n) {
    int32_t c;
    for (size_t at = 0, size; at < n; at += size) {
        size = bytes_of(text + at, n - at, &c);
        if (c == '\n') {
            ql_screen_put(s, QL_FAINT, ql_sign(s, "\xe2\x86\xb5", "\\n"));
            ql_screen_newline(s);
        } else if (c == '\t') {
            put_tab(s, style);
        } else if (is_dangerous(c)) {
            put_code(s, style, c, (unsigned char)text[at]);
        } else {
            put(s, style, text + at, size, (int)ql_max(0, utf8proc_charwidth(c)));
        }
    }
}

void ql_screen_bar(ql_screen *s, ql_style style, int64_t part, int64_t whole, int width) {
    static const char *const eighth[] = {"", "\xe2\x96\x8f", "\xe2\x96\x8e", "\xe2\x96\x8d", "\xe2\x96\x8c", "\xe2\x96\x8b", "\xe2\x96\x8a", "\xe2\x96\x89"};
    int64_t eighths = whole > 0 ? ql_ceil_div(part * 8 * width, whole) : 0;
    if (!s->look.utf8) eighths = ql_ceil_div(eighths, 8) * 8;
    for (int64_t i = 0; i < eighths / 8; i++) ql_screen_put(s, style, ql_sign(s, "\xe2\x96\x88", "#"));
    ql_screen_put(s, style, eighth[eighths % 8]);
}
