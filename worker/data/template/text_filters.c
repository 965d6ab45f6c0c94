/* Filters of strings and numbers, and tojson. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/data/template/literal.h"
#include "worker/data/template/run.h"
#include "worker/data/template/tojson.h"

#define FILTER(name) static jj_value name(jj_run *r, jj_value v, const jj_arguments *a)

static const jj_text *optional_text(jj_run *r, jj_value v) {
    return v.kind == JJ_MISSING || v.kind == JJ_NONE ? NULL : jj_want_text(r, v);
}

FILTER(trim) { return jj_of_text(jj_strip(r->h, jj_string(r->h, v), optional_text(r, a->at[0]), JJ_LEFT | JJ_RIGHT)); }
FILTER(upper) { return (void)a, jj_cased(r->h, jj_string(r->h, v), JJ_UPPER); }
FILTER(lower) { return (void)a, jj_cased(r->h, jj_string(r->h, v), JJ_LOWER); }
FILTER(capitalize) { return (void)a, jj_capitalized(r->h, jj_string(r->h, v)); }
FILTER(string) { return (void)a, jj_of_text(jj_string(r->h, v)); }
FILTER(escape) { return (void)a, jj_of_text(jj_escaped(r->h, jj_string(r->h, v))); }

FILTER(safe) {
    (void)a;
    jj_text *whole = jj_string(r->h, v), *t = jj_part(r->h, whole, 0, whole->size);
    t->marked = true;
    return jj_of_text(t);
}

/* Words begin behind blanks and the signs - ( { [ <. */
FILTER(title) {
    (void)a;
    const jj_text *t = jj_string(r->h, v);
    jj_buffer b = {0};
    bool begins = true;
    for (size_t at = 0; at < t->size;) {
        size_t n = jj_char_size(t, at);
        uint32_t c = jj_char(t, at);
        jj_put_cased(r->h, &b, t, at, at + n, begins ? JJ_UPPER : JJ_LOWER);
        begins = jj_is_space(c) || (c < 0x80 && c && strchr("-({[<", (int)c));
        at += n;
    }
    return jj_finish(r->h, &b);
}

FILTER(replace) {
    jj_text *from = jj_string(r->h, a->at[0]), *to = jj_string(r->h, a->at[1]);
    int64_t most = a->at[2].kind == JJ_NONE ? -1 : jj_want_int(r, a->at[2], -1);
    return jj_replaced(r->h, jj_string(r->h, v), from, to, most);
}

static jj_text *indentation(jj_run *r, jj_value width) {
    if (width.kind == JJ_TEXT) return width.text;
    jj_value four = width.kind == JJ_MISSING ? jj_int(4) : width;
    return jj_arithmetic(r->h, JJ_OP('*', 0), jj_value_of(r->h, " "), four).text;
}

FILTER(indent) {
    jj_text *by = indentation(r, a->at[0]);
    bool first = jj_truth(a->at[1]), blank = jj_truth(a->at[2]);
    jj_buffer closed = {0}, b = {0};
    jj_put_text(r->h, &closed, jj_want_text(r, v));
    jj_puts(r->h, &closed, "\n"); /* so that a last line that is empty counts */
    const jj_list *lines = jj_lines(r->h, jj_finish(r->h, &closed).text, false);
    for (size_t i = 0; i < lines->n; i++) {
        const jj_text *line = lines->at[i].text;
        if (i) jj_puts(r->h, &b, "\n");
        if (i ? blank || line->size : first) jj_put_text(r->h, &b, by);
        jj_put_text(r->h, &b, line);
    }
    return jj_finish(r->h, &b);
}

FILTER(or_default) {
    bool use = v.kind == JJ_UNDEFINED || (jj_truth(a->at[1]) && !jj_truth(v));
    if (!use) return v;
    return a->at[0].kind == JJ_MISSING ? jj_value_of(r->h, "") : a->at[0];
}

/* What float() takes. */
static bool read_real(jj_run *r, jj_text *t, double *out) {
    char text[400], *end;
    t = jj_strip(r->h, t, NULL, JJ_LEFT | JJ_RIGHT);
    size_t n = 0;
    for (size_t i = 0; i < t->size; i++) {
        bool between = i > 0 && i + 1 < t->size && t->data[i - 1] >= '0' && t->data[i - 1] <= '9' && t->data[i + 1] >= '0' && t->data[i + 1] <= '9';
        if (t->data[i] == '_' && between) continue;
        if (n == sizeof text - 1 || t->data[i] == 0 || strchr("xXpP(_", t->data[i])) return false;
        text[n++] = t->data[i];
    }
    text[n] = 0;
    *out = strtod(text, &end);
    return n > 0 && *end == 0;
}

static bool read_whole(jj_run *r, jj_text *t, int64_t base, int64_t *out) {
    t = jj_strip(r->h, t, NULL, JJ_LEFT | JJ_RIGHT);
    const char *at = t->data, *end = at + t->size;
    bool minus = at < end && *at == '-', large;
    if (at < end && (*at == '-' || *at == '+')) at++;
    const char *prefix = base == 2 ? "bB" : base == 8 ? "oO" : base == 16 ? "xX" : "";
    if (end - at > 2 && at[0] == '0' && at[1] && strchr(prefix, at[1])) at += 2;
    if (base < 2 || base > 36) jj_fail(r->h, "int: a base from 2 to 36 is needed");
    bool good = jj_read_digits(at, (size_t)(end - at), (int)base, out, &large);
    if (large) jj_fail(r->h, "a number is beyond 64 bits");
    if (minus) *out = -*out;
    return good;
}

static jj_value whole_of_real(jj_run *r, double d, jj_value otherwise) {
    if (isnan(d) || isinf(d)) return otherwise;
    if (fabs(d) >= 0x1p63) jj_fail(r->h, "a number is beyond 64 bits");
    return jj_int((int64_t)d);
}

FILTER(to_int) {
    jj_value otherwise = a->at[0].kind == JJ_MISSING ? jj_int(0) : a->at[0];
    int64_t whole;
    double real;
    if (jj_is_whole(v)) return jj_int(jj_whole(v));
    if (v.kind == JJ_FLOAT) return whole_of_real(r, v.real, otherwise);
    if (v.kind == JJ_UNDEFINED) jj_fail_undefined(r->h, v);
    if (v.kind != JJ_TEXT) return otherwise;
    if (read_whole(r, v.text, jj_want_int(r, a->at[1], 10), &whole)) return jj_int(whole);
    return read_real(r, v.text, &real) ? whole_of_real(r, real, otherwise) : otherwise;
}

FILTER(to_float) {
    jj_value otherwise = a->at[0].kind == JJ_MISSING ? jj_float(0) : a->at[0];
    double real;
    if (jj_is_number(v)) return jj_float(jj_real(v));
    if (v.kind == JJ_UNDEFINED) jj_fail_undefined(r->h, v);
    return v.kind == JJ_TEXT && read_real(r, v.text, &real) ? jj_float(real) : otherwise;
}

FILTER(absolute) {
    (void)a;
    bool minus = jj_is_whole(v) ? jj_whole(v) < 0 : v.kind == JJ_FLOAT && signbit(v.real);
    return jj_sign(r->h, minus ? JJ_OP('-', 0) : JJ_OP('+', 0), v);
}

/* Half to even, on the exact decimal value. */
static double rounded(double d, int64_t digits) {
    char text[400];
    if (!isfinite(d) || digits > 300) return d;
    if (digits < 0) {
        double unit = pow(10, (double)-digits);
        return isfinite(unit) ? rint(d / unit) * unit : 0;
    }
    snprintf(text, sizeof text, "%.*f", (int)(digits < 60 ? digits : 60), d);
    return strtod(text, NULL);
}

FILTER(round_number) {
    const jj_text *method = optional_text(r, a->at[1]);
    int64_t digits = jj_want_int(r, a->at[0], 0);
    if (v.kind == JJ_UNDEFINED) jj_fail_undefined(r->h, v);
    if (!jj_is_number(v)) jj_fail(r->h, "round: a value of type %s is no number", jj_kind_name(v));
    if (!method || jj_text_is(method, "common"))
        return jj_is_whole(v) && digits >= 0 ? jj_int(jj_whole(v)) : jj_is_whole(v) ? jj_int((int64_t)rounded(jj_real(v), digits)) : jj_float(rounded(v.real, digits));
    double unit = pow(10, (double)digits), scaled = jj_real(v) * unit;
    if (jj_text_is(method, "ceil")) return jj_float(ceil(scaled) / unit);
    if (jj_text_is(method, "floor")) return jj_float(floor(scaled) / unit);
    jj_fail(r->h, "round: the method is common, ceil or floor");
}

static void separators(jj_run *r, jj_value given, jj_json_style *s) {
    if (given.kind == JJ_MISSING || given.kind == JJ_NONE) return;
    const jj_list *pair = jj_iterate(r->h, given);
    if (pair->n != 2) jj_fail(r->h, "tojson: separators are two strings");
    s->item = jj_want_text(r, pair->at[0]);
    s->key = jj_want_text(r, pair->at[1]);
}

FILTER(tojson) {
    jj_json_style s = {.ensure_ascii = jj_truth(a->at[0]), .sort_keys = jj_truth(a->at[3])};
    bool lines = a->at[1].kind != JJ_MISSING && a->at[1].kind != JJ_NONE;
    if (lines) s.indent = indentation(r, a->at[1]);
    s.item = jj_text_at(r->h, ", ", lines ? 1 : 2);
    s.key = jj_text_at(r->h, ": ", 2);
    separators(r, a->at[2], &s);
    jj_buffer b = {0};
    jj_put_json(r->h, &b, v, &s);
    return jj_finish(r->h, &b);
}

static const jj_builtin filters[] = {
    {"trim", "chars", 0, trim},
    {"upper", "", 0, upper},
    {"lower", "", 0, lower},
    {"capitalize", "", 0, capitalize},
    {"title", "", 0, title},
    {"string", "", 0, string},
    {"escape", "", 0, escape},
    {"e", "", 0, escape},
    {"safe", "", 0, safe},
    {"replace", "old new count", 2, replace},
    {"indent", "width first blank", 0, indent},
    {"default", "default_value boolean", 0, or_default},
    {"d", "default_value boolean", 0, or_default},
    {"int", "default base", 0, to_int},
    {"float", "default", 0, to_float},
    {"abs", "", 0, absolute},
    {"round", "precision method", 0, round_number},
    {"tojson", "ensure_ascii indent separators sort_keys", 0, tojson},
};
const jj_table jj_text_filters = {filters, QL_LEN(filters)};
