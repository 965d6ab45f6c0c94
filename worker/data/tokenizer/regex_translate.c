/* Oniguruma (Ruby syntax) to PCRE2. What differs, and is rewritten here:
 *   \s \S        exactly White_Space; PCRE2 adds U+180E
 *   \w \W \b \B  Alphabetic, M, Nd, Pc; PCRE2 10.42 knows L, N and _
 *   \h \v \O     hexadecimal digit, vertical tab, any character
 *   [a[bc]] [a&&b] [[:alpha:]]  nested classes, intersections, Unicode POSIX classes
 *   x{1,3}+ x{,3} x{3}? x**     a repetition of the repetition; {0,3}; optional; nested
 *   \p{Han} \p{Letter}  the script alone, not its extensions; long names of categories
 *   (?m) and (?i) inside a group  dot matches newline; holds up to the end of the group
 * Everything else means the same in both, or is refused by name. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "worker/data/tokenizer/regex.h"

#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#include "worker/data/tokenizer/text.h"

#define SPACE "\\t-\\r \\x{85}\\x{A0}\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}\\x{202F}\\x{205F}\\x{3000}"
#define NOT_SPACE                                                                                                      \
    "\\x{0}-\\x08\\x0E-\\x1F!-\\x{84}\\x{86}-\\x{9F}\\x{A1}-\\x{167F}\\x{1681}-\\x{1FFF}\\x{200B}-\\x{2027}"           \
    "\\x{202A}-\\x{202E}\\x{2030}-\\x{205E}\\x{2060}-\\x{2FFF}\\x{3001}-\\x{10FFFF}"
#define WORD "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}"
/* Outside a class, Oniguruma counts the Latin-1 superscripts and fractions as well. */
#define WORD_OUTSIDE WORD "\\x{B2}\\x{B3}\\x{B9}\\x{BC}-\\x{BE}"
#define HEX "0-9A-Fa-f"
#define NO_ATOM ((size_t)-1)

enum { MAX_DEPTH = 64 };

typedef struct {
    const char *p, *end;
    const char *where;
    ql_str *out;
    size_t atom;                /* where the last atom begins in `out`                     */
    size_t group[MAX_DEPTH];    /* where each open group begins                            */
    int closers[MAX_DEPTH + 1]; /* groups opened by (?i) that end with the group they are in */
    int depth;
} translation;

static ql_err refuse(const translation *t, const char *what) {
    return ql_fail(QL_DATA, "%s: the regular expression uses %s, which is not supported", t->where, what);
}

/* ---- what escapes and POSIX names stand for ------------------------------------------------- */

typedef struct {
    char name;
    bool nested;         /* inside a class it is a class of its own: [a[^b]] */
    const char *body;    /* inside a class                                   */
    const char *outside; /* on its own                                       */
} escape_class;

static const escape_class escape_classes[] = {
    {'s', false, SPACE, "[" SPACE "]"},       {'S', false, NOT_SPACE, "[" NOT_SPACE "]"},
    {'w', false, WORD, "[" WORD_OUTSIDE "]"}, {'W', true, "[^" WORD "]", "[^" WORD_OUTSIDE "]"},
    {'h', false, HEX, "[" HEX "]"},           {'H', true, "[^" HEX "]", "[^" HEX "]"},
    {'d', false, "\\p{Nd}", "\\p{Nd}"},       {'D', false, "\\P{Nd}", "\\P{Nd}"},
};

static const struct {
    const char *name, *body;
} posix_classes[] = {
    {"alpha", "\\p{Alphabetic}"},
    {"digit", "\\p{Nd}"},
    {"space", SPACE},
    {"upper", "\\p{Uppercase}"},
    {"lower", "\\p{Lowercase}"},
    {"alnum", "\\p{Alphabetic}\\p{Nd}"},
    {"punct", "\\p{P}\\p{S}"},
    {"word", WORD},
    {"xdigit", HEX},
    {"cntrl", "\\p{Cc}"},
    {"blank", "\\p{Zs}\\t"},
};

static const escape_class *find_escape(char c) {
    for (size_t i = 0; i < QL_LEN(escape_classes); i++) {
        if (escape_classes[i].name == c) return &escape_classes[i];
    }
    return NULL;
}

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}
static bool is_hex(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* Names of categories and classes that PCRE2 spells otherwise, without case, '_', '-' and ' '. */
static const struct {
    const char *name, *as;
} property_names[] = {
    {"letter", "L"},
    {"uppercaseletter", "Lu"},
    {"lowercaseletter", "Ll"},
    {"titlecaseletter", "Lt"},
    {"modifierletter", "Lm"},
    {"otherletter", "Lo"},
    {"mark", "M"},
    {"nonspacingmark", "Mn"},
    {"spacingmark", "Mc"},
    {"enclosingmark", "Me"},
    {"number", "N"},
    {"decimalnumber", "Nd"},
    {"letternumber", "Nl"},
    {"othernumber", "No"},
    {"punctuation", "P"},
    {"symbol", "S"},
    {"mathsymbol", "Sm"},
    {"currencysymbol", "Sc"},
    {"modifiersymbol", "Sk"},
    {"othersymbol", "So"},
    {"separator", "Z"},
    {"spaceseparator", "Zs"},
    {"other", "C"},
    {"control", "Cc"},
    {"format", "Cf"},
    {"unassigned", "Cn"},
    {"alpha", "Alphabetic"},
    {"digit", "Nd"},
    {"upper", "Uppercase"},
    {"lower", "Lowercase"},
    {"space", "White_Space"},
};

static bool is_script(const char *name, size_t n) {
    char *text = ql_format("\\p{sc:%.*s}", (int)n, name);
    int code;
    PCRE2_SIZE at;
    pcre2_code *compiled =
        n > 2 ? pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED, PCRE2_UTF, &code, &at, NULL) : NULL;
    pcre2_code_free(compiled);
    free(text);
    return compiled != NULL;
}

static void put_property(ql_str *out, const char *name, size_t n) {
    char plain[32];
    size_t length = 0;
    for (size_t i = 0; i < n && length + 1 < sizeof plain; i++) {
        if (!strchr("_- ", name[i])) plain[length++] = (char)(name[i] | 0x20);
    }
    plain[length] = 0;
    for (size_t i = 0; i < QL_LEN(property_names); i++) {
        if (strcmp(plain, property_names[i].name) != 0) continue;
        ql_str_puts(out, property_names[i].as);
        return;
    }
    if (is_script(name, n)) ql_str_puts(out, "sc:");
    ql_str_put(out, name, n);
}

/* The rest of \p{...}, \P{...} and \x{...}; t->p is at the brace. */
static ql_err copy_braced(translation *t, bool property, ql_str *out) {
    const char *name = t->p + 1, *close = memchr(t->p, '}', (size_t)(t->end - t->p));
    QL_CHECK(close, QL_DATA, "%s: the regular expression has a '{' without '}'", t->where);
    ql_str_puts(out, "{");
    if (property && *name == '^') ql_str_put(out, name++, 1);
    if (property)
        put_property(out, name, (size_t)(close - name));
    else
        ql_str_put(out, name, (size_t)(close - name));
    ql_str_puts(out, "}");
    t->p = close + 1;
    return ql_ok();
}

/* An escape that is one character or property, the same inside and outside a class; t->p is
 * behind the backslash. */
static ql_err plain_escape(translation *t, ql_str *out) {
    char c = *t->p;
    if ((c == 'p' || c == 'P' || c == 'x') && t->p + 1 < t->end && t->p[1] == '{') {
        ql_str_printf(out, "\\%c", c);
        t->p++;
        return copy_braced(t, c != 'x', out);
    }
    if (c == 'u') {
        bool four = t->end - t->p >= 5 && is_hex(t->p[1]) && is_hex(t->p[2]) && is_hex(t->p[3]) && is_hex(t->p[4]);
        if (!four) return refuse(t, "\\u without four hexadecimal digits");
        ql_str_printf(out, "\\x{%.4s}", t->p + 1);
        t->p += 5;
        return ql_ok();
    }
    if (c == 'p' || c == 'P' || c == 'c' || c == 'C' || c == 'M') return refuse(t, "a control or property escape");
    t->p++;
    if (c == 'v') {
        ql_str_puts(out, "\\x0B");
    } else if (strchr("ntrfaex0123456789", c) || (!is_letter(c) && (uint8_t)c < 0x80)) {
        ql_str_printf(out, "\\%c", c);
    } else {
        ql_str_put(out, &c, 1); /* a letter without meaning stands for itself */
    }
    return ql_ok();
}

/* ---- classes -------------------------------------------------------------------------------- */

/* A class while it is read: what fits in brackets, and alternatives that do not. */
typedef struct {
    ql_str body, others;
} class_parts;

static void class_other(class_parts *c, const char *expression, size_t n) {
    if (c->others.size) ql_str_puts(&c->others, "|");
    ql_str_put(&c->others, expression, n);
}

/* One expression that matches one character of the class; the parts are freed. Atomic: a character
 * that fits two alternatives must not be tried twice, or runs take exponential time. */
static void class_finish(class_parts *c, bool negated, ql_str *out) {
    if (!c->others.size && !c->body.size) {
        ql_str_puts(out, negated ? "(?s:.)" : "(?!)");
    } else if (!c->others.size) {
        ql_str_printf(out, negated ? "[^%s]" : "[%s]", c->body.data);
    } else {
        ql_str_printf(out, negated ? "(?:(?!%s%s%s%s)(?s:.))" : "(?>%s%s%s%s)", c->body.size ? "[" : "",
                      c->body.size ? c->body.data : "", c->body.size ? "]|" : "", c->others.data);
    }
    ql_str_free(&c->body);
    ql_str_free(&c->others);
}

static ql_err posix_class(translation *t, class_parts *c, bool *done) {
    *done = false;
    if (t->end - t->p < 4 || t->p[1] != ':') return ql_ok();
    const char *name = t->p + 2;
    bool negated = *name == '^';
    if (negated) name++;
    for (size_t i = 0; i < QL_LEN(posix_classes); i++) {
        size_t n = strlen(posix_classes[i].name);
        if ((size_t)(t->end - name) < n + 2 || memcmp(name, posix_classes[i].name, n) != 0) continue;
        if (name[n] != ':' || name[n + 1] != ']') continue;
        class_parts one = {0};
        ql_str_puts(&one.body, posix_classes[i].body);
        ql_str text = {0};
        class_finish(&one, negated, &text);
        class_other(c, text.data, text.size);
        ql_str_free(&text);
        t->p = name + n + 2;
        *done = true;
        return ql_ok();
    }
    return refuse(t, "an unknown [: :] class");
}

static ql_err read_class(translation *t, int depth, ql_str *out);

static ql_err nested_class(translation *t, class_parts *c, int depth) {
    bool done;
    QL_TRY(posix_class(t, c, &done));
    if (done) return ql_ok();
    ql_str inner = {0};
    t->p++;
    ql_err e = read_class(t, depth + 1, &inner);
    if (!ql_bad(e)) class_other(c, inner.data, inner.size);
    ql_str_free(&inner);
    return e;
}

static ql_err class_escape(translation *t, class_parts *c, bool *set) {
    t->p++;
    if (t->p == t->end) return refuse(t, "a backslash at its end");
    const escape_class *known = find_escape(*t->p);
    if (*t->p == 'b') {
        ql_str_puts(&c->body, "\\x08");
        t->p++;
        return ql_ok();
    }
    *set = known != NULL || *t->p == 'p' || *t->p == 'P';
    if (!known) return plain_escape(t, &c->body);
    if (known->nested)
        class_other(c, known->body, strlen(known->body));
    else
        ql_str_puts(&c->body, known->body);
    t->p++;
    return ql_ok();
}

/* One item of a class. A '-' behind a set of characters is itself, not a range. */
static ql_err class_item(translation *t, class_parts *c, int depth) {
    bool set = false;
    if (*t->p == '[') {
        QL_TRY(nested_class(t, c, depth));
        set = true;
    } else if (*t->p == '\\') {
        QL_TRY(class_escape(t, c, &set));
    } else {
        /* PCRE2 takes "[." and "[=" for the beginning of something else. */
        if (strchr(".:=", *t->p)) ql_str_puts(&c->body, "\\");
        ql_str_put(&c->body, t->p++, 1);
    }
    if (set && t->p < t->end && *t->p == '-') {
        ql_str_puts(&c->body, "\\-");
        t->p++;
    }
    return ql_ok();
}

/* Ends the operand before "&&": the class so far must match, and what follows too. */
static void class_and(class_parts *c, ql_str *required) {
    ql_str_puts(required, "(?=");
    class_finish(c, false, required);
    ql_str_puts(required, ")");
}

static ql_err class_items(translation *t, class_parts *c, ql_str *required, int depth) {
    if (t->p < t->end && *t->p == ']') { /* a first ']' is a character */
        ql_str_puts(&c->body, "\\]");
        t->p++;
    }
    while (t->p < t->end && *t->p != ']') {
        if (*t->p == '&' && t->p + 1 < t->end && t->p[1] == '&') {
            class_and(c, required);
            t->p += 2;
        } else {
            QL_TRY(class_item(t, c, depth));
        }
    }
    QL_CHECK(t->p < t->end, QL_DATA, "%s: the regular expression has a '[' without ']'", t->where);
    t->p++;
    return ql_ok();
}

/* t->p is behind the '['. */
static ql_err read_class(translation *t, int depth, ql_str *out) {
    if (depth == MAX_DEPTH) return refuse(t, "very deeply nested classes");
    bool negated = t->p < t->end && *t->p == '^';
    if (negated) t->p++;
    class_parts c = {0};
    ql_str required = {0};
    ql_err e = class_items(t, &c, &required, depth);
    if (!required.size) {
        class_finish(&c, negated, out);
    } else {
        class_parts both = {0};
        class_finish(&c, false, &required);
        class_other(&both, required.data, required.size);
        class_finish(&both, negated, out);
    }
    ql_str_free(&required);
    return e;
}

/* ---- repetition ------------------------------------------------------------------------------ */

static void wrap_atom(translation *t, const char *suffix) {
    ql_str tail = {0};
    ql_str_put(&tail, t->out->data + t->atom, t->out->size - t->atom);
    t->out->size = t->atom;
    ql_str_printf(t->out, "(?:%s)%s", tail.data, suffix);
    ql_str_free(&tail);
}

/* {n} {n,} {n,m} {,m}; false when the brace is a character. */
static bool read_interval(translation *t, ql_str *interval, bool *fixed) {
    const char *p = t->p + 1, *low = p;
    while (p < t->end && is_digit(*p)) p++;
    size_t n_low = (size_t)(p - low), n_high = 0;
    bool comma = p < t->end && *p == ',';
    if (comma) {
        const char *high = ++p;
        while (p < t->end && is_digit(*p)) p++;
        n_high = (size_t)(p - high);
    }
    if (p == t->end || *p != '}' || (!n_low && !n_high)) return false;
    ql_str_printf(interval, "{%s", n_low ? "" : "0");
    ql_str_put(interval, low, (size_t)(p + 1 - low));
    *fixed = !comma;
    t->p = p + 1;
    return true;
}

/* x{1,3}+ repeats the repetition, which is x+, and x{0,3}+ is x*: without nested repetitions
 * that would be tried in every combination. */
static bool simple_repetition(translation *t, const ql_str *text) {
    bool ranged = memcmp(text->data + 2, ",", 1) == 0 && text->data[3] != '}';
    bool more = t->end - t->p > 1 && strchr("+?*{", t->p[1]);
    if (!ranged || (text->data[1] != '0' && text->data[1] != '1') || t->p == t->end || *t->p != '+' || more)
        return false;
    ql_str_puts(t->out, text->data[1] == '0' ? "*" : "+");
    t->p++;
    return true;
}

static void interval(translation *t) {
    ql_str text = {0};
    bool fixed;
    if (t->atom == NO_ATOM || !read_interval(t, &text, &fixed)) {
        t->atom = t->out->size;
        ql_str_puts(t->out, "\\{");
        t->p++;
    } else {
        size_t atom = t->atom;
        bool done = simple_repetition(t, &text);
        if (!done) ql_str_put(t->out, text.data, text.size);
        if (!done && t->p < t->end && *t->p == '?' && !fixed) {
            ql_str_put(t->out, t->p++, 1);
        }
        t->atom = atom;
        /* A quantifier that follows repeats the whole: without the group, '+' would mean
         * possessive and '?' lazy. */
        if (t->p < t->end && strchr("+?*{", *t->p)) wrap_atom(t, "");
    }
    ql_str_free(&text);
}

static void quantifier(translation *t) {
    size_t atom = t->atom;
    ql_str_put(t->out, t->p++, 1);
    if (t->p < t->end && (*t->p == '?' || *t->p == '+')) ql_str_put(t->out, t->p++, 1);
    t->atom = atom;
    if (atom != NO_ATOM && t->p < t->end && strchr("+?*{", *t->p)) wrap_atom(t, "");
}

/* ---- groups ---------------------------------------------------------------------------------- */

/* (?i) holds up to the end of the enclosing group, alternatives included, so it opens a group. */
static ql_err options(translation *t) {
    ql_str_puts(t->out, "(?");
    while (t->p < t->end && *t->p != ')' && *t->p != ':') {
        if (!strchr("imx-", *t->p)) return refuse(t, "a group option other than i, m and x");
        char c = *t->p++;
        if (c == 'm') c = 's';
        ql_str_put(t->out, &c, 1);
    }
    QL_CHECK(t->p < t->end, QL_DATA, "%s: the regular expression has a '(' without ')'", t->where);
    if (*t->p++ == ')') {
        t->depth--;
        t->closers[t->depth]++;
        t->atom = NO_ATOM;
    }
    ql_str_puts(t->out, ":");
    return ql_ok();
}

static bool take(translation *t, const char *text) {
    size_t n = strlen(text);
    if ((size_t)(t->end - t->p) < n || memcmp(t->p, text, n) != 0) return false;
    ql_str_put(t->out, text, n);
    t->p += n;
    return true;
}

static ql_err open_group(translation *t) {
    if (t->depth == MAX_DEPTH) return refuse(t, "very deeply nested groups");
    t->group[t->depth++] = t->out->size;
    t->closers[t->depth] = 0;
    t->atom = NO_ATOM;
    if (t->p + 1 < t->end && t->p[1] == '*') return refuse(t, "a callout (*...)");
    if (t->p + 1 == t->end || t->p[1] != '?') {
        ql_str_put(t->out, t->p++, 1);
        return ql_ok();
    }
    if (take(t, "(?:") || take(t, "(?=") || take(t, "(?!") || take(t, "(?>") || take(t, "(?<") || take(t, "(?'")) {
        return ql_ok();
    }
    t->p += 2;
    if (t->p < t->end && *t->p == '#') {
        const char *close = memchr(t->p, ')', (size_t)(t->end - t->p));
        QL_CHECK(close, QL_DATA, "%s: the regular expression has a '(' without ')'", t->where);
        t->p = close + 1;
        t->depth--;
        return ql_ok();
    }
    return options(t);
}

static void close_group(translation *t) {
    for (int i = 0; i < t->closers[t->depth]; i++) ql_str_puts(t->out, ")");
    t->closers[t->depth] = 0;
    ql_str_put(t->out, t->p++, 1);
    /* A ')' too many is left for PCRE2 to name. */
    t->atom = t->depth > 0 ? t->group[--t->depth] : NO_ATOM;
}

/* ---- the rest -------------------------------------------------------------------------------- */

static ql_err escape(translation *t) {
    t->p++;
    if (t->p == t->end) return refuse(t, "a backslash at its end");
    t->atom = t->out->size;
    char c = *t->p;
    const escape_class *known = find_escape(c);
    if (known) {
        ql_str_puts(t->out, known->outside);
    } else if (c == 'b' || c == 'B') {
        const char *edge = c == 'b' ? "(?:(?<=[" WORD_OUTSIDE "])(?![" WORD_OUTSIDE "])|(?<![" WORD_OUTSIDE
                                      "])(?=[" WORD_OUTSIDE "]))"
                                    : "(?:(?<=[" WORD_OUTSIDE "])(?=[" WORD_OUTSIDE "])|(?<![" WORD_OUTSIDE
                                      "])(?![" WORD_OUTSIDE "]))";
        ql_str_puts(t->out, edge);
    } else if (c == 'O') {
        ql_str_puts(t->out, "(?s:.)");
    } else if (strchr("AzZGKRXNkg", c)) {
        ql_str_printf(t->out, "\\%c", c);
    } else {
        return plain_escape(t, t->out);
    }
    t->p++;
    return ql_ok();
}

static ql_err step(translation *t) {
    switch (*t->p) {
        case '\\': return escape(t);
        case '(': return open_group(t);
        case ')': close_group(t); return ql_ok();
        case '{': interval(t); return ql_ok();
        case '*':
        case '+':
        case '?': quantifier(t); return ql_ok();
        case '[':
            t->p++;
            t->atom = t->out->size;
            return read_class(t, 0, t->out);
        case '|':
            ql_str_put(t->out, t->p++, 1);
            t->atom = NO_ATOM;
            return ql_ok();
        default: break;
    }
    uint32_t c;
    size_t n = ql_utf8_get(t->p, &c);
    t->atom = t->out->size;
    ql_str_put(t->out, t->p, n);
    t->p += n;
    return ql_ok();
}

ql_err ql_regex_translate(const char *regex, size_t n, const char *where, ql_str *out) {
    translation t = {.p = regex, .end = regex + n, .where = where, .out = out, .atom = NO_ATOM};
    QL_CHECK(!memchr(regex, 0, n), QL_DATA, "%s: the regular expression contains a NUL", where);
    ql_str_reserve(out, n);
    while (t.p < t.end) QL_TRY(step(&t));
    for (int i = 0; i < t.closers[0]; i++) ql_str_puts(out, ")");
    return ql_ok();
}
