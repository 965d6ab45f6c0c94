#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "checkpoint/bnb.h"

static const char CURE[] = "quantise the model again";
static const char STATE[] = ".quant_state.bitsandbytes__";
enum { MAX_STATE = 1 << 14 };

/* ---- the parts of one weight ------------------------------------------------------------- */

typedef struct {
    const char *weight_name;
    const ql_stored *packed, *absmax, *quant_map, *nested_absmax, *nested_map, *state;
} parts;

static ql_err bad(const ql_stored *t, const char *what) {
    return ql_fail(QL_DATA, "%s: tensor %s: %s; %s", t->file->path, t->name, what, CURE);
}

/* The index of the first tensor whose name is not less. */
static size_t first_from(const ql_tensor_set *s, const char *name) {
    size_t low = 0, high = ql_tensor_set_size(s);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(ql_tensor_set_at(s, middle)->name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static const ql_stored **place_of(parts *p, const char *suffix) {
    if (!strcmp(suffix, ".absmax")) return &p->absmax;
    if (!strcmp(suffix, ".quant_map")) return &p->quant_map;
    if (!strcmp(suffix, ".nested_absmax")) return &p->nested_absmax;
    if (!strcmp(suffix, ".nested_quant_map")) return &p->nested_map;
    if (!strncmp(suffix, STATE, sizeof STATE - 1)) return &p->state;
    return NULL;
}

/* Everything named "<weight>.something" must be a part that we know, and no part may be there twice. */
static ql_err collect(const ql_tensor_set *s, parts *p) {
    char *prefix = ql_format("%s.", p->weight_name);
    size_t n = strlen(prefix);
    ql_err e = ql_ok();
    for (size_t i = first_from(s, prefix); i < ql_tensor_set_size(s) && !ql_bad(e); i++) {
        const ql_stored *t = ql_tensor_set_at(s, i), **place;
        if (strncmp(t->name, prefix, n) != 0) break;
        place = place_of(p, t->name + n - 1);
        if (!place)
            e = bad(t, "is not a part of a 4-bit weight that bitsandbytes writes");
        else if (*place)
            e = bad(t, "is a second quant_state of the same weight");
        else
            *place = t;
    }
    free(prefix);
    return e;
}

static bool has_name_beginning(const ql_tensor_set *s, const char *weight_name, const char *suffix) {
    char *prefix = ql_format("%s%s", weight_name, suffix);
    size_t i = first_from(s, prefix);
    bool found = i < ql_tensor_set_size(s) && !strncmp(ql_tensor_set_at(s, i)->name, prefix, strlen(prefix));
    free(prefix);
    return found;
}

bool ql_bnb_is_quantised(const ql_tensor_set *s, const char *weight_name) {
    return has_name_beginning(s, weight_name, ".quant_") || has_name_beginning(s, weight_name, ".absmax");
}

static ql_err find_parts(const ql_tensor_set *s, parts *p) {
    p->packed = ql_tensor_set_find(s, p->weight_name);
    QL_CHECK(p->packed, QL_DATA, "tensor %s: is not in the model; fetch the whole model folder", p->weight_name);
    QL_TRY(collect(s, p));
    if (!p->state) return bad(p->packed, "has no quant_state.bitsandbytes__nf4 or __fp4 beside it");
    if (!p->absmax) return bad(p->packed, "has no .absmax beside it");
    if (!p->quant_map) return bad(p->packed, "has no .quant_map beside it");
    if (!p->nested_absmax != !p->nested_map)
        return bad(p->packed, "has only one of .nested_absmax and .nested_quant_map beside it");
    return ql_ok();
}

/* ---- the quant_state text ----------------------------------------------------------------- */

static bool is_blocksize(int64_t n) {
    return n >= 32 && n <= QL_MAX_BLOCK && (n & (n - 1)) == 0;
}

static bool find_source(const char *name, ql_dtype *out) {
    static const ql_dtype allowed[] = {QL_F32, QL_BF16, QL_F16};
    static const char *const names[] = {"float32", "bfloat16", "float16"};
    for (size_t i = 0; name && i < QL_LEN(allowed); i++) {
        if (strcmp(name, names[i]) != 0) continue;
        *out = allowed[i];
        return true;
    }
    return false;
}

static const char *check_state_keys(const ql_json *v) {
    static const char *const known[] = {"quant_type",       "blocksize",    "dtype",        "shape",
                                        "nested_blocksize", "nested_dtype", "nested_offset"};
    for (void *it = ql_json_first(v); it; it = ql_json_next(v, it)) {
        size_t i = 0;
        while (i < QL_LEN(known) && strcmp(known[i], ql_json_key(it)) != 0) i++;
        if (i == QL_LEN(known)) return "has a key that bitsandbytes does not write";
    }
    return NULL;
}

static const char *read_matrix(const ql_json *v, const ql_stored *state, ql_bnb_weight *out) {
    const char *type = ql_json_text(ql_json_get(v, "quant_type"), NULL);
    const ql_json *shape = ql_json_get(v, "shape");
    int64_t blocksize = ql_json_int(ql_json_get(v, "blocksize"), -1), n;
    out->quant = type ? ql_quant_find(type) : NULL;
    if (!out->quant) return "has a quant_type other than nf4 and fp4";
    if (strcmp(strstr(state->name, STATE) + sizeof STATE - 1, type) != 0) return "has another quant_type than its name";
    if (!is_blocksize(blocksize)) return "has a blocksize that is not a power of two from 32 to 4096";
    if (!find_source(ql_json_text(ql_json_get(v, "dtype"), NULL), &out->source)) return "has an unknown dtype";
    out->out = ql_json_int(ql_json_at(shape, 0), -1);
    out->in = ql_json_int(ql_json_at(shape, 1), -1);
    if (!ql_json_is(shape, QL_JSON_ARRAY) || ql_json_size(shape) != 2 || out->out < 1 || out->in < 1)
        return "has a shape that is not [out, in]";
    if (__builtin_mul_overflow(out->out, out->in, &n) || n > INT64_MAX / 8) return "has an impossible shape";
    out->view.blocksize = (int32_t)blocksize;
    return NULL;
}

static const char *read_nesting(const ql_json *v, ql_bnb_weight *out) {
    int64_t blocksize = ql_json_int(ql_json_get(v, "nested_blocksize"), -1);
    const char *dtype = ql_json_text(ql_json_get(v, "nested_dtype"), NULL);
    double offset = ql_json_number(ql_json_get(v, "nested_offset"), NAN);
    if (!is_blocksize(blocksize)) return "has a nested_blocksize that is not a power of two from 32 to 4096";
    if (!dtype || strcmp(dtype, "float32") != 0) return "has a nested_dtype other than float32";
    if (!isfinite((float)offset)) return "has no finite nested_offset";
    out->view.nested_blocksize = (int32_t)blocksize;
    out->view.nested_offset = (float)offset;
    return NULL;
}

static ql_err read_state(const parts *p, ql_bnb_weight *out) {
    const ql_stored *t = p->state;
    ql_json *v = NULL;
    if (strcmp(t->dtype_name, "U8") != 0 || t->bytes > MAX_STATE) return bad(t, "is not a short text");
    if (ql_bad(ql_json_parse((const char *)t->data, t->bytes, t->file->path, 1, &v)))
        return bad(t, "is not valid JSON");
    const char *wrong = ql_json_is(v, QL_JSON_OBJECT) ? check_state_keys(v) : "is not a JSON object";
    bool nested = ql_json_get(v, "nested_offset") || ql_json_get(v, "nested_blocksize");
    if (!wrong) wrong = read_matrix(v, t, out);
    if (!wrong && nested) wrong = read_nesting(v, out);
    if (!wrong && nested != (p->nested_absmax != NULL))
        wrong = "does not agree with the tensors about double quantisation";
    ql_json_free(v);
    return wrong ? bad(t, wrong) : ql_ok();
}

/* ---- the numbers --------------------------------------------------------------------------- */

/* `n` finite floats, aligned: where they lie, or a copy. */
static ql_err take_floats(const ql_stored *t, int64_t n, void **owned, const float **out) {
    QL_CHECK(!strcmp(t->dtype_name, "F32") && t->count == n, QL_DATA,
             "%s: tensor %s: has %lld elements of %s; %lld of F32 are needed; %s", t->file->path, t->name,
             (long long)t->count, t->dtype_name, (long long)n, CURE);
    if (!ql_stored_is_finite(t)) return bad(t, "holds a value that is not finite");
    *out = (const float *)(const void *)t->data;
    if ((uintptr_t)t->data % sizeof(float) == 0) return ql_ok();
    *owned = ql_alloc(t->bytes);
    memcpy(*owned, t->data, t->bytes);
    *out = *owned;
    return ql_ok();
}

static ql_err take_maxima(const parts *p, ql_bnb_weight *out) {
    int64_t blocks = ql_ceil_div(out->out * out->in, out->view.blocksize);
    if (!p->nested_absmax) return take_floats(p->absmax, blocks, &out->owned[0], &out->view.absmax);
    QL_CHECK(!strcmp(p->absmax->dtype_name, "U8") && p->absmax->count == blocks, QL_DATA,
             "%s: tensor %s: has %lld elements of %s; %lld of U8 are needed; %s", p->absmax->file->path,
             p->absmax->name, (long long)p->absmax->count, p->absmax->dtype_name, (long long)blocks, CURE);
    out->view.absmax_q = p->absmax->data;
    int64_t nested = ql_ceil_div(blocks, out->view.nested_blocksize);
    QL_TRY(take_floats(p->nested_absmax, nested, &out->owned[1], &out->view.nested_absmax));
    return take_floats(p->nested_map, 256, &out->owned[2], &out->view.nested_code);
}

/* The packed bytes may be stored as another type of the same size (bnb_4bit_quant_storage). */
static ql_err take_packed(const parts *p, ql_bnb_weight *out) {
    int64_t bytes = (out->out * out->in + 1) / 2;
    QL_CHECK(p->packed->bytes == (size_t)bytes, QL_DATA,
             "%s: tensor %s: has %zu bytes, but its quant_state says [%lld, %lld], which takes %lld; %s",
             p->packed->file->path, p->packed->name, p->packed->bytes, (long long)out->out, (long long)out->in,
             (long long)bytes, CURE);
    out->view.packed = p->packed->data;
    return ql_ok();
}

static ql_err read_weight(const ql_tensor_set *s, parts *p, ql_bnb_weight *out) {
    QL_TRY(find_parts(s, p));
    QL_TRY(read_state(p, out));
    QL_TRY(take_packed(p, out));
    QL_TRY(take_maxima(p, out));
    return take_floats(p->quant_map, 16, &out->owned[3], &out->view.code);
}

ql_err ql_bnb_read(const ql_tensor_set *s, const char *weight_name, ql_bnb_weight *out) {
    parts p = {.weight_name = weight_name};
    *out = (ql_bnb_weight){0};
    ql_err e = read_weight(s, &p, out);
    if (ql_bad(e)) ql_bnb_weight_free(out);
    return e;
}

void ql_bnb_weight_free(ql_bnb_weight *w) {
    for (size_t i = 0; i < QL_LEN(w->owned); i++) free(w->owned[i]);
    *w = (ql_bnb_weight){0};
}

void ql_bnb_release(const ql_tensor_set *s, const char *weight_name) {
    const ql_stored *t = ql_tensor_set_find(s, weight_name);
    if (t) ql_stored_release(t);
}
