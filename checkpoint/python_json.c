#include "checkpoint/python_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void ql_python_put_float(ql_str *out, double v) {
    char text[40];
    int digits = 0;
    do snprintf(text, sizeof text, "%.*e", digits, v);
    while (strtod(text, NULL) != v && digits++ < 16);
    char *mark = strchr(text, 'e');
    int exponent = atoi(mark + 1);
    if (exponent < -4 || exponent >= 16) {
        ql_str_puts(out, text);
        return;
    }
    int decimals = digits > exponent ? digits - exponent : 0;
    ql_str_printf(out, "%.*f%s", decimals, v, decimals ? "" : ".0");
}

/* How many bytes follow the first one of a code point; -1 when none begins so. */
static int following(unsigned char first) {
    if (first < 0x80) return 0;
    if (first >= 0xc2 && first < 0xe0) return 1;
    if (first >= 0xe0 && first < 0xf0) return 2;
    return first >= 0xf0 && first < 0xf5 ? 3 : -1;
}

/* One code point, or U+FFFD for a byte that begins none. Moves `at` behind it. */
static uint32_t next_code_point(const unsigned char **at) {
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    const unsigned char *s = (*at)++;
    int more = following(s[0]);
    if (more < 0) return 0xfffd;
    uint32_t c = more ? s[0] & (0x3fu >> more) : s[0];
    for (int i = 1; i <= more; i++) {
        if ((s[i] & 0xc0) != 0x80) return 0xfffd;
        c = c << 6 | (s[i] & 0x3fu);
    }
    if (c < least[more] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff)) return 0xfffd;
    *at += more;
    return c;
}

static void put_code_point(ql_str *out, uint32_t c) {
    static const char escaped[] = "\"\\\b\f\n\r\t", letter[] = "\"\\bfnrt";
    const char *special = c && c < 0x80 ? strchr(escaped, (int)c) : NULL;
    if (special)
        ql_str_printf(out, "\\%c", letter[special - escaped]);
    else if (c >= 0x20 && c < 0x7f)
        ql_str_printf(out, "%c", (char)c);
    else if (c < 0x10000)
        ql_str_printf(out, "\\u%04x", c);
    else
        ql_str_printf(out, "\\u%04x\\u%04x", 0xd800 + ((c - 0x10000) >> 10), 0xdc00 + ((c - 0x10000) & 0x3ff));
}

void ql_python_put_string(ql_str *out, const char *text) {
    ql_str_puts(out, "\"");
    for (const unsigned char *at = (const unsigned char *)text; *at;) put_code_point(out, next_code_point(&at));
    ql_str_puts(out, "\"");
}
