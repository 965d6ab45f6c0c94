#include "base/config/value.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"

enum { LONGEST = 64 };

static bool one_of(const char *text, const char *const *words, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!strcmp(text, words[i])) return true;
    return false;
}

bool ql_value_bool(const char *text, bool *out) {
    static const char *const yes[] = {"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"};
    static const char *const no[] = {"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"};
    *out = one_of(text, yes, QL_LEN(yes));
    return *out || one_of(text, no, QL_LEN(no));
}

static const char *skip_digits(const char *p) {
    while (isdigit((unsigned char)*p)) p++;
    return p;
}

/* [+-] digits [. digits] [e [+-] digits], at least one digit before the exponent. */
static bool is_decimal(const char *text, bool *is_whole) {
    const char *p = text + (*text == '+' || *text == '-');
    const char *start = p, *end = skip_digits(p);
    size_t      digits = (size_t)(end - start);
    bool        octal = digits > 1 && *start == '0';
    p = end;
    *is_whole = true;
    if (*p == '.') {
        *is_whole = false;
        end = skip_digits(p + 1);
        digits += (size_t)(end - p - 1);
        p = end;
    }
    if (digits == 0 || (octal && *is_whole)) return false;
    if (*p == 'e' || *p == 'E') {
        *is_whole = false;
        p += 1 + (p[1] == '+' || p[1] == '-');
        end = skip_digits(p);
        if (end == p) return false;
        p = end;
    }
    return *p == 0;
}

/* Copies without the underscores that YAML 1.1 allows between digits. */
static bool plain_number(const char *text, char *out) {
    size_t n = 0;
    for (const char *p = text; *p; p++) {
        if (*p == '_' && p > text && isdigit((unsigned char)p[-1]) && isdigit((unsigned char)p[1])) continue;
        if (n + 1 >= LONGEST) return false;
        out[n++] = *p;
    }
    out[n] = 0;
    return true;
}

bool ql_value_number(const char *text, double *out) {
    char copy[LONGEST];
    bool whole;
    if (!plain_number(text, copy) || !is_decimal(copy, &whole)) return false;
    *out = strtod(copy, NULL);
    return isfinite(*out);
}

bool ql_value_whole(const char *text, int64_t *out) {
    char copy[LONGEST];
    bool whole;
    if (!plain_number(text, copy) || !is_decimal(copy, &whole)) return false;
    if (whole) {
        errno = 0;
        *out = strtoll(copy, NULL, 10);
        return errno == 0;
    }
    double v = strtod(copy, NULL);
    if (!(fabs(v) <= 0x1p53) || v != floor(v)) return false;
    *out = (int64_t)v;
    return true;
}

static bool unit_of(const char *text, double *unit) {
    static const struct {
        const char *name;
        double      bytes;
    } units[] = {{"", 1},          {"B", 1},          {"KB", 1e3},      {"MB", 1e6},      {"GB", 1e9},     {"TB", 1e12},
                 {"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30}, {"TiB", 0x1p40}};
    for (size_t i = 0; i < QL_LEN(units); i++) {
        *unit = units[i].bytes;
        if (!strcasecmp(text, units[i].name)) return true;
    }
    return false;
}

bool ql_value_size(const char *text, int64_t *out) {
    if (ql_value_whole(text, out)) return *out >= 0; /* exact beyond 2^53 */
    char   copy[LONGEST];
    size_t n = strspn(text, "0123456789._");
    double number, unit;
    if (n >= sizeof copy || !unit_of(text + n + strspn(text + n, " "), &unit)) return false;
    memcpy(copy, text, n);
    copy[n] = 0;
    if (!ql_value_number(copy, &number) || number * unit > 0x1p60) return false;
    *out = (int64_t)(number * unit);
    return true;
}

char *ql_value_choice(const char *choices, const char *word) {
    size_t      n = strlen(word);
    const char *group = choices;
    while (group && *group) {
        size_t length = strcspn(group, " ");
        for (const char *p = group; p < group + length; p += strcspn(p, " |") + 1) {
            if (strcspn(p, " |") == n && !strncmp(p, word, n)) return ql_strndup(group, strcspn(group, " |"));
        }
        group += length;
        group += *group == ' ';
    }
    return NULL;
}
