#include "checkpoint/safetensors_header.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"

/* The header is cut into its members here, and each member is parsed on its own: a header of
 * 100 MB as one JSON document would cost twenty times its size in memory. */

static const char DAMAGED[] = "the file is damaged, save or fetch it again";
enum { MAX_DESCRIPTION = 1 << 16 };

static const ql_stored_dtype dtypes[] = {
    {"BOOL", 8, false, QL_U8},        {"F4", 4, false, QL_U8},          {"F6_E2M3", 6, false, QL_U8},
    {"F6_E3M2", 6, false, QL_U8},     {"U8", 8, true, QL_U8},           {"I8", 8, true, QL_I8},
    {"F8_E5M2", 8, false, QL_U8},     {"F8_E4M3", 8, false, QL_U8},     {"F8_E8M0", 8, false, QL_U8},
    {"F8_E4M3FNUZ", 8, false, QL_U8}, {"F8_E5M2FNUZ", 8, false, QL_U8}, {"I16", 16, false, QL_U8},
    {"U16", 16, false, QL_U8},        {"F16", 16, true, QL_F16},        {"BF16", 16, true, QL_BF16},
    {"I32", 32, true, QL_I32},        {"U32", 32, false, QL_U8},        {"F32", 32, true, QL_F32},
    {"C64", 64, false, QL_U8},        {"F64", 64, true, QL_F64},        {"I64", 64, true, QL_I64},
    {"U64", 64, false, QL_U8}};

const ql_stored_dtype *ql_stored_dtype_find(const char *name) {
    for (size_t i = 0; i < QL_LEN(dtypes); i++)
        if (!strcmp(dtypes[i].name, name)) return &dtypes[i];
    return NULL;
}

const ql_stored_dtype *ql_stored_dtype_of(ql_dtype t) {
    for (size_t i = 0; i < QL_LEN(dtypes); i++)
        if (dtypes[i].known && dtypes[i].dtype == t) return &dtypes[i];
    return NULL;
}

/* ---- members of an object as pieces of text -------------------------------------------- */

typedef struct {
    const char *at, *end;
} text_span;

static void skip_space(text_span *s) {
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\n' || *s->at == '\t' || *s->at == '\r')) s->at++;
}

static bool take(text_span *s, char c) {
    skip_space(s);
    if (s->at == s->end || *s->at != c) return false;
    s->at++;
    return true;
}

/* A string with its quotes. */
static bool take_string(text_span *s, text_span *out) {
    skip_space(s);
    out->at = s->at;
    if (!take(s, '"')) return false;
    while (s->at < s->end && *s->at != '"') s->at += *s->at == '\\' && s->at + 1 < s->end ? 2 : 1;
    if (s->at >= s->end) return false;
    out->end = ++s->at;
    return true;
}

/* Any value: up to the comma or bracket that ends it. Whether it is JSON is found out later. */
static bool take_value(text_span *s, text_span *out) {
    skip_space(s);
    out->at = s->at;
    for (int64_t depth = 0; s->at < s->end; s->at++) {
        char c = *s->at;
        text_span ignored;
        if (c == '"') {
            if (!take_string(s, &ignored)) return false;
            s->at--;
        }
        if (depth == 0 && (c == ',' || c == '}' || c == ']')) break;
        if (c == '{' || c == '[') depth++;
        if (c == '}' || c == ']') depth--;
    }
    out->end = s->at;
    return s->at < s->end;
}

typedef struct reading reading;
typedef ql_err (*member_fn)(reading *r, const char *key, text_span value);
struct reading {
    const ql_map *map;
    ql_stored_list *out;
    const uint8_t *data; /* first byte after the header */
    size_t notes;        /* members of __metadata__     */
};

/* The text of a JSON string; the caller frees. */
static ql_err unquote(reading *r, text_span quoted, char **out) {
    enum { ESCAPED = 6 }; /* bytes of text for one of the name: \u0041 */
    const char *file = r->map->path;
    ql_json *string;
    size_t size = (size_t)(quoted.end - quoted.at);
    QL_CHECK(size <= ESCAPED * QL_MAX_TENSOR_NAME + 2, QL_DATA, "%s: the header holds a name of %zu bytes; at most %d are allowed", file,
             size - 2, QL_MAX_TENSOR_NAME);
    if (ql_bad(ql_json_parse(quoted.at, (size_t)(quoted.end - quoted.at), file, 1, &string)))
        return ql_fail(QL_DATA, "%s: the header holds a string that is not valid; %s", file, DAMAGED);
    const char *text = ql_json_text(string, &size);
    ql_err e = ql_ok();
    if (size > QL_MAX_TENSOR_NAME)
        e = ql_fail(QL_DATA, "%s: the header holds a name of %zu bytes; at most %d are allowed", file, size,
                    QL_MAX_TENSOR_NAME);
    for (size_t i = 0; !ql_bad(e) && i < size; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            e = ql_fail(QL_DATA, "%s: the header holds a name with a control character; %s", file, DAMAGED);
    if (!ql_bad(e)) *out = ql_strndup(text, size);
    ql_json_free(string);
    return e;
}

/* Calls `each` for the members of the object that begins at `s`, and moves behind it. */
static ql_err each_member(reading *r, text_span *s, member_fn each) {
    const char *file = r->map->path;
    QL_CHECK(take(s, '{'), QL_DATA, "%s: the header is not a JSON object; %s", file, DAMAGED);
    if (take(s, '}')) return ql_ok();
    do {
        text_span key, value;
        char *name = NULL;
        bool whole = take_string(s, &key) && take(s, ':') && take_value(s, &value);
        QL_CHECK(whole, QL_DATA, "%s: the header is not valid JSON; %s", file, DAMAGED);
        QL_TRY(unquote(r, key, &name));
        ql_err e = each(r, name, value);
        free(name);
        if (ql_bad(e)) return e;
    } while (take(s, ','));
    QL_CHECK(take(s, '}'), QL_DATA, "%s: the header is not valid JSON; %s", file, DAMAGED);
    return ql_ok();
}

/* ---- one tensor ------------------------------------------------------------------------ */

static ql_err bad_tensor(const reading *r, const char *name, const char *what) {
    return ql_fail(QL_DATA, "%s: tensor %s: %s; %s", r->map->path, name, what, DAMAGED);
}

static const char *read_dtype(const ql_json *v, ql_stored *t, int *bits) {
    const char *text = ql_json_text(ql_json_get(v, "dtype"), NULL);
    if (!text) return "has no dtype";
    const ql_stored_dtype *d = ql_stored_dtype_find(text);
    if (!d) return "has a dtype that safetensors does not know";
    memcpy(t->dtype_name, d->name, strlen(d->name) + 1);
    t->dtype_known = d->known;
    t->dtype = d->dtype;
    *bits = d->bits;
    return NULL;
}

static const char *read_shape(const ql_json *v, ql_stored *t) {
    const ql_json *shape = ql_json_get(v, "shape");
    if (!ql_json_is(shape, QL_JSON_ARRAY)) return "has no shape";
    if (ql_json_size(shape) > QL_MAX_RANK) return "has more than 4 dimensions";
    t->rank = (int)ql_json_size(shape);
    t->count = 1;
    for (int i = 0; i < t->rank; i++) {
        t->dim[i] = ql_json_int(ql_json_at(shape, (size_t)i), -1);
        if (t->dim[i] < 0) return "has a dimension that is not a whole number";
        if (__builtin_mul_overflow(t->count, t->dim[i], &t->count)) return "has an impossible shape";
    }
    return NULL;
}

static const char *read_place(const reading *r, const ql_json *v, ql_stored *t, int bits) {
    const ql_json *offsets = ql_json_get(v, "data_offsets");
    int64_t begin = ql_json_int(ql_json_at(offsets, 0), -1), end = ql_json_int(ql_json_at(offsets, 1), -1);
    int64_t room = (int64_t)(r->map->data + r->map->size - r->data), size;
    if (!ql_json_is(offsets, QL_JSON_ARRAY) || ql_json_size(offsets) != 2) return "has no data_offsets";
    if (begin < 0 || end < begin) return "has data_offsets that are not two ascending numbers";
    if (__builtin_mul_overflow(t->count, (int64_t)bits, &size) || size % 8) return "has an impossible shape";
    if (end - begin != size / 8) return "has data_offsets that do not fit its shape and dtype";
    if (end > room) return "lies beyond the end of the file, which seems to be cut short";
    t->data = r->data + begin;
    t->bytes = (size_t)(end - begin);
    return NULL;
}

static ql_err read_tensor(reading *r, const char *name, text_span value) {
    size_t size = (size_t)(value.end - value.at);
    ql_stored t = {.file = r->map};
    ql_json *v = NULL;
    int bits = 0;
    QL_CHECK(r->out->count < QL_MAX_TENSORS, QL_DATA, "%s: holds more than %d tensors", r->map->path, QL_MAX_TENSORS);
    if (size > MAX_DESCRIPTION || ql_bad(ql_json_parse(value.at, size, r->map->path, 1, &v)))
        return bad_tensor(r, name, "has a description that is not valid JSON");
    const char *wrong = ql_json_is(v, QL_JSON_OBJECT) ? NULL : "is not described by an object";
    if (!wrong) wrong = read_dtype(v, &t, &bits);
    if (!wrong) wrong = read_shape(v, &t);
    if (!wrong) wrong = read_place(r, v, &t, bits);
    ql_json_free(v);
    if (wrong) return bad_tensor(r, name, wrong);
    t.name = ql_strdup(name);
    QL_PUSH(r->out->at, r->out->count, r->out->capacity, t);
    return ql_ok();
}

static ql_err read_note(reading *r, const char *key, text_span value) {
    ql_json *note = NULL;
    size_t size = (size_t)(value.end - value.at);
    QL_CHECK(r->notes++ < QL_MAX_TENSORS, QL_DATA, "%s: __metadata__ has more than %d members; %s", r->map->path, QL_MAX_TENSORS, DAMAGED);
    bool good = size > 0 && *value.at == '"' && !ql_bad(ql_json_parse(value.at, size, r->map->path, 1, &note)) && ql_json_is(note, QL_JSON_STRING);
    ql_json_free(note);
    if (good) return ql_ok();
    return ql_fail(QL_DATA, "%s: __metadata__: the value of \"%s\" is not a string; %s", r->map->path, key, DAMAGED);
}

static ql_err read_member(reading *r, const char *name, text_span value) {
    if (strcmp(name, "__metadata__") != 0) return read_tensor(r, name, value);
    return each_member(r, &value, read_note);
}

/* ---- the whole file -------------------------------------------------------------------- */

static int by_place(const void *a, const void *b) {
    const ql_stored *x = a, *y = b;
    if (x->data != y->data) return x->data < y->data ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

/* Tensors must cover the data without holes, overlaps or a rest. Sorts them by place. */
static ql_err check_cover(const reading *r, ql_stored *t, size_t n) {
    const uint8_t *at = r->data, *end = r->map->data + r->map->size;
    if (n) qsort(t, n, sizeof *t, by_place);
    for (size_t i = 0; i < n; i++) {
        if (t[i].data > at) return bad_tensor(r, t[i].name, "leaves a hole before it");
        if (t[i].data < at) return bad_tensor(r, t[i].name, "overlaps the tensor before it");
        at += t[i].bytes;
    }
    QL_CHECK(at == end, QL_DATA, "%s: has %zu bytes that belong to no tensor; %s", r->map->path, (size_t)(end - at),
             DAMAGED);
    return ql_ok();
}

static ql_err header_size(const ql_map *m, size_t *out) {
    static const char pointer[] = "version https://git-lfs";
    uint64_t n;
    QL_CHECK(m->size >= sizeof n, QL_DATA, "%s: has %zu bytes and is no safetensors file; %s", m->path, m->size,
             DAMAGED);
    QL_CHECK(m->size < sizeof pointer || memcmp(m->data, pointer, sizeof pointer - 1) != 0, QL_DATA,
             "%s: is a Git LFS pointer, not the file itself; run \"git lfs pull\" in its folder", m->path);
    memcpy(&n, m->data, sizeof n);
    QL_CHECK(n <= QL_MAX_HEADER, QL_DATA, "%s: says that its header has %llu bytes (at most %d are allowed); %s",
             m->path, (unsigned long long)n, QL_MAX_HEADER, DAMAGED);
    QL_CHECK(n <= m->size - sizeof n, QL_DATA, "%s: ends within its header of %llu bytes; %s", m->path,
             (unsigned long long)n, DAMAGED);
    *out = (size_t)n;
    return ql_ok();
}

ql_err ql_header_read(const ql_map *m, ql_stored_list *out) {
    size_t size = 0, before = out->count;
    QL_TRY(header_size(m, &size));
    const char *text = (const char *)m->data + sizeof(uint64_t);
    reading r = {.map = m, .out = out, .data = (const uint8_t *)text + size};
    text_span s = {text, text + size};
    QL_CHECK(size > 0 && text[0] == '{', QL_DATA, "%s: the header does not begin with {; %s", m->path, DAMAGED);
    QL_TRY(each_member(&r, &s, read_member));
    skip_space(&s);
    QL_CHECK(s.at == s.end, QL_DATA, "%s: the header goes on after its closing bracket; %s", m->path, DAMAGED);
    return check_cover(&r, out->at + before, out->count - before);
}
