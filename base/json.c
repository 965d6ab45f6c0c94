#include "base/json.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

/* The text of an integer: does it fit into 64 bits? */
static bool fits(const char *number, size_t n) {
    bool negative = number[0] == '-';
    int order = (n -= negative) > 19 ? 1 : n < 19 ? -1 : memcmp(number + negative, "9223372036854775808", 19);
    return negative ? order <= 0 : order < 0;
}

/* jansson refuses integers beyond 64 bits, which are good JSON: model_max_length in
 * tokenizer_config.json often is 1000000000000000019884624838656, and records carry 64-bit hashes.
 * Copies the text with ".0" behind each such integer, so that it is read as a real. */
static void widen_integers(const char *text, size_t n, ql_str *out) {
    for (size_t at = 0, end; at < n; at = end) {
        end = at + 1;
        if (text[at] == '"') {
            while (end < n && text[end] != '"') end += text[end] == '\\' ? 2 : 1;
            end = end < n ? end + 1 : n;
            ql_str_put(out, text + at, end - at);
            continue;
        }
        bool digit = text[at] >= '0' && text[at] <= '9';
        while ((digit || text[at] == '-') && end < n && text[end] && strchr("0123456789.eE+-", text[end])) end++;
        ql_str_put(out, text + at, end - at);
        bool integer = digit || (text[at] == '-' && end > at + 1);
        for (size_t i = at + 1; i < end; i++) integer = integer && text[i] >= '0' && text[i] <= '9';
        if (integer && !fits(text + at, end - at)) ql_str_puts(out, ".0");
    }
}

/* Every value but the first comes behind a bracket, a comma or a colon. */
bool ql_json_has_more(const char *text, size_t n, size_t most) {
    size_t values = 1;
    if (n < most) return false;
    for (size_t at = 0; at < n && values <= most; at++) {
        if (text[at] == '"')
            for (at++; at < n && text[at] != '"';) at += text[at] == '\\' ? 2 : 1;
        else
            values += text[at] == '[' || text[at] == '{' || text[at] == ',' || text[at] == ':';
    }
    return values > most;
}

static ql_json *load(const char *text, size_t n, json_error_t *problem) {
    enum { FLAGS = JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL };
    ql_json *v = json_loadb(text, n, FLAGS, problem);
    if (v || json_error_code(problem) != json_error_numeric_overflow) return v;
    ql_str wide = {0};
    widen_integers(text, n, &wide);
    v = json_loadb(wide.data, wide.size, FLAGS, problem);
    ql_str_free(&wide);
    return v;
}

ql_err ql_json_parse(const char *text, size_t n, const char *name, size_t first_line, ql_json **out) {
    json_error_t problem;
    *out = NULL;
    QL_CHECK(!ql_json_has_more(text, n, QL_JSON_VALUES), QL_DATA, "%s:%zu: holds more than %d values, which no file that is read here needs",
             name, first_line, QL_JSON_VALUES);
    *out = load(text, n, &problem);
    if (*out) return ql_ok();
    /* The library quotes what it found, line ends included. */
    for (char *c = problem.text; *c; c++)
        if ((unsigned char)*c < 0x20) *c = ' ';
    size_t line = first_line + (problem.line > 0 ? (size_t)problem.line - 1 : 0);
    return ql_fail(QL_DATA, "%s:%zu: is not valid JSON: %s (column %d)", name, line, problem.text, problem.column);
}

ql_err ql_json_read(const char *path, size_t limit, ql_json **out) {
    *out = NULL;
    ql_str text;
    QL_TRY(ql_file_read(path, limit, &text));
    ql_err e = ql_json_parse(text.data ? text.data : "", text.size, path, 1, out);
    ql_str_free(&text);
    return e;
}

void ql_json_free(ql_json *document) {
    json_decref(document);
}

ql_json_type ql_json_kind(const ql_json *v) {
    if (!v) return QL_JSON_NULL;
    switch (json_typeof(v)) {
        case JSON_OBJECT: return QL_JSON_OBJECT;
        case JSON_ARRAY: return QL_JSON_ARRAY;
        case JSON_STRING: return QL_JSON_STRING;
        case JSON_INTEGER: return QL_JSON_INT;
        case JSON_REAL: return QL_JSON_REAL;
        case JSON_TRUE:
        case JSON_FALSE: return QL_JSON_BOOL;
        case JSON_NULL: break;
    }
    return QL_JSON_NULL;
}

const char *ql_json_kind_name(const ql_json *v) {
    static const char *const name[] = {"null", "a boolean", "an integer", "a number", "a string", "a list", "an object"};
    return v ? name[ql_json_kind(v)] : "absent";
}

const ql_json *ql_json_get(const ql_json *v, const char *key) {
    return json_object_get(v, key);
}

size_t ql_json_size(const ql_json *v) {
    return json_is_object(v) ? json_object_size(v) : json_array_size(v);
}

const ql_json *ql_json_at(const ql_json *array, size_t i) {
    return json_array_get(array, i);
}

const char *ql_json_text(const ql_json *v, size_t *size) {
    if (size) *size = json_string_length(v);
    return json_string_value(v);
}

bool ql_json_bool(const ql_json *v, bool otherwise) {
    return json_is_boolean(v) ? json_is_true(v) : otherwise;
}

int64_t ql_json_int(const ql_json *v, int64_t otherwise) {
    return json_is_integer(v) ? (int64_t)json_integer_value(v) : otherwise;
}

double ql_json_number(const ql_json *v, double otherwise) {
    return json_is_number(v) ? json_number_value(v) : otherwise;
}

/* jansson's iterators take a non-const object but do not change it. */
void *ql_json_first(const ql_json *object) {
    return json_object_iter((ql_json *)(uintptr_t)object);
}

void *ql_json_next(const ql_json *object, void *iterator) {
    return json_object_iter_next((ql_json *)(uintptr_t)object, iterator);
}

const char *ql_json_key(void *iterator) {
    return json_object_iter_key(iterator);
}

const ql_json *ql_json_value(void *iterator) {
    return json_object_iter_value(iterator);
}

void ql_json_put(ql_str *out, const ql_json *v) {
    char *text = json_dumps(v, JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
    ql_str_puts(out, text ? text : "null");
    free(text);
}

/* Bytes of the character that begins here; 0: none does (RFC 3629). */
static size_t character(const unsigned char *c, size_t n) {
    size_t size = c[0] < 0x80 ? 1 : c[0] < 0xC2 ? 0 : c[0] < 0xE0 ? 2 : c[0] < 0xF0 ? 3 : c[0] < 0xF5 ? 4 : 0;
    if (size == 0 || size > n) return 0;
    for (size_t i = 1; i < size; i++)
        if ((c[i] & 0xC0) != 0x80) return 0;
    bool overlong = (c[0] == 0xE0 && c[1] < 0xA0) || (c[0] == 0xF0 && c[1] < 0x90);
    bool beyond = (c[0] == 0xED && c[1] > 0x9F) || (c[0] == 0xF4 && c[1] > 0x8F); /* surrogates, and more than U+10FFFF */
    return overlong || beyond ? 0 : size;
}

static void put_plain(ql_str *out, const char *text, size_t n, size_t *i) {
    size_t size = character((const unsigned char *)text + *i, n - *i);
    ql_str_put(out, size ? text + *i : "\xEF\xBF\xBD", size ? size : 3);
    if (size > 1) *i += size - 1;
}

void ql_json_put_string(ql_str *out, const char *text, size_t n) {
    ql_str_put(out, "\"", 1);
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        switch (c) {
            case '"': ql_str_puts(out, "\\\""); break;
            case '\\': ql_str_puts(out, "\\\\"); break;
            case '\n': ql_str_puts(out, "\\n"); break;
            case '\r': ql_str_puts(out, "\\r"); break;
            case '\t': ql_str_puts(out, "\\t"); break;
            default:
                if (c < 0x20) ql_str_printf(out, "\\u%04x", c);
                else put_plain(out, text, n, &i);
        }
    }
    ql_str_put(out, "\"", 1);
}

static void put_shortest(ql_str *out, double v, int first, int last, bool is_float) {
    char text[40];
    if (!isfinite(v)) {
        ql_str_puts(out, "null");
        return;
    }
    for (int digits = first; digits <= last; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (is_float ? strtof(text, NULL) == (float)v : strtod(text, NULL) == v) break;
    }
    ql_str_puts(out, text);
}

void ql_json_put_double(ql_str *out, double v) {
    put_shortest(out, v, 15, 17, false);
}

void ql_json_put_float(ql_str *out, float v) {
    put_shortest(out, (double)v, 6, 9, true);
}
