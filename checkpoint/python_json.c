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

/* One code point, or U+FFFD for a byte that begins none. Moves `at` behind it. */
static uint32_t next_code_point(const unsigned char **at) {
    const unsigned char *s = *at;
    int more = s[0] < 0x80                   ? 0
               : s[0] >= 0xc2 && s[0] < 0xe0 ? 1
               : s[0] >= 0xe0 && s[0] < 0xf0 ? 2
               : s[0] >= 0xf0 && s[0] < 0xf5 ? 3
                                             : -1;
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    uint32_t c = more == 0 ? s[0] : s[0] & (0x3fu >> more);
    bool good = more >= 0;
    for (int i = 1; good && i <= more; i++) {
        good = (s[i] & 0xc0) == 0x80;
        c = c << 6 | (s[i] & 0x3fu);
    }
    good = good && c >= least[more] && c <= 0x10ffff && (c < 0xd800 || c > 0xdfff);
    *at += good ? 1 + more : 1;
    return good ? c : 0xfffd;
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
