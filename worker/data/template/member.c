/* Attributes, items and slices. A dot looks for a method first and for a key then, brackets the other way round. */
#include "worker/data/template/run.h"

static jj_value method(jj_run *r, const jj_table *table, jj_value self, const jj_text *name) {
    const jj_builtin *b = jj_look_up(table, name);
    if (!b) return (jj_value){.kind = JJ_MISSING};
    jj_method *m = jj_alloc(r->h, sizeof *m);
    m->self = self;
    m->what = b;
    return (jj_value){.kind = JJ_METHOD, .method = m};
}

static jj_value loop_item(const jj_loop *l, bool there, size_t index, jj_text *name) {
    return there ? l->items->at[index] : jj_undefined(name);
}

static jj_value loop_member(jj_run *r, jj_value v, jj_text *name) {
    const jj_loop *l = v.loop;
    int64_t index = (int64_t)l->index, n = (int64_t)l->items->n;
    if (jj_text_is(name, "index")) return jj_int(index + 1);
    if (jj_text_is(name, "index0")) return jj_int(index);
    if (jj_text_is(name, "revindex")) return jj_int(n - index);
    if (jj_text_is(name, "revindex0")) return jj_int(n - index - 1);
    if (jj_text_is(name, "first")) return jj_bool(index == 0);
    if (jj_text_is(name, "last")) return jj_bool(index == n - 1);
    if (jj_text_is(name, "length")) return jj_int(n);
    if (jj_text_is(name, "depth")) return jj_int(1);
    if (jj_text_is(name, "depth0")) return jj_int(0);
    if (jj_text_is(name, "previtem")) return loop_item(l, index > 0, l->index - 1, name);
    if (jj_text_is(name, "nextitem")) return loop_item(l, index + 1 < n, l->index + 1, name);
    return method(r, &jj_loop_methods, v, name);
}

/* Not a key. */
static jj_value own_member(jj_run *r, jj_value of, jj_text *name) {
    switch (of.kind) {
        case JJ_UNDEFINED: jj_fail_undefined(r->h, of);
        case JJ_TEXT: return method(r, &jj_text_methods, of, name);
        case JJ_LIST: return method(r, of.list->form <= JJ_TUPLE ? &jj_list_methods : &jj_view_methods, of, name);
        case JJ_DICT: return method(r, &jj_dict_methods, of, name);
        case JJ_NAMESPACE: return jj_dict_get(r->h, of.dict, jj_of_text(name));
        case JJ_LOOP: return loop_member(r, of, name);
        default: return (jj_value){.kind = JJ_MISSING};
    }
}

static jj_value or_undefined(jj_value v, jj_text *name) { return v.kind == JJ_MISSING ? jj_undefined(name) : v; }

jj_value jj_attribute(jj_run *r, jj_value of, jj_text *name) {
    jj_value v = own_member(r, of, name);
    if (v.kind == JJ_MISSING && of.kind == JJ_DICT) v = jj_dict_get(r->h, of.dict, jj_of_text(name));
    return or_undefined(v, name);
}

static jj_value at_index(jj_run *r, jj_value of, int64_t i) {
    int64_t n = (int64_t)(of.kind == JJ_TEXT ? jj_chars(r->h, of.text) : of.list->n);
    if (i < 0) i += n;
    if (i < 0 || i >= n) return (jj_value){.kind = JJ_MISSING};
    if (of.kind == JJ_LIST) return of.list->at[i];
    size_t at = jj_byte_of(r->h, of.text, (size_t)i);
    return jj_of_text(jj_part(r->h, of.text, at, at + jj_char_size(of.text, at)));
}

jj_value jj_item(jj_run *r, jj_value of, jj_value key) {
    jj_value v = {.kind = JJ_MISSING};
    if (of.kind == JJ_UNDEFINED) jj_fail_undefined(r->h, of);
    if (of.kind == JJ_DICT) v = jj_dict_get(r->h, of.dict, key);
    else if ((of.kind == JJ_TEXT || jj_is_indexed(of)) && jj_is_whole(key)) return or_undefined(at_index(r, of, jj_whole(key)), NULL);
    if (v.kind == JJ_MISSING && key.kind == JJ_TEXT) v = own_member(r, of, key.text);
    return or_undefined(v, key.kind == JJ_TEXT ? key.text : NULL);
}

typedef struct {
    int64_t from, step;
    size_t n;
} range;

static int64_t bound(jj_run *r, jj_value v, int64_t otherwise, int64_t n, int64_t low, int64_t high) {
    if (v.kind == JJ_NONE) return otherwise;
    if (!jj_is_whole(v)) jj_fail(r->h, "the bounds of a slice are integers or none, not %s", jj_kind_name(v));
    int64_t i = jj_whole(v);
    if (i < 0) i += n;
    return i < low ? low : i > high ? high : i;
}

static range slice_range(jj_run *r, int64_t n, jj_value from, jj_value to, jj_value step) {
    int64_t by = step.kind == JJ_NONE ? 1 : jj_want_int(r, step, 1);
    if (by == 0) jj_fail(r->h, "the step of a slice is zero");
    if (by > n) by = n + 1;
    if (by < -n) by = -n - 1;
    bool up = by > 0;
    int64_t first = bound(r, from, up ? 0 : n - 1, n, up ? 0 : -1, up ? n : n - 1);
    int64_t end = bound(r, to, up ? n : -1, n, up ? 0 : -1, up ? n : n - 1);
    int64_t span = up ? end - first : first - end;
    int64_t stride = up ? by : -by;
    return (range){first, by, span > 0 ? (size_t)((span + stride - 1) / stride) : 0};
}

static jj_value text_slice(jj_run *r, jj_text *t, range s) {
    if (s.n == 0) return jj_of_text(jj_part(r->h, t, 0, 0));
    if (s.step == 1) {
        size_t from = jj_byte_of(r->h, t, (size_t)s.from);
        return jj_of_text(jj_part(r->h, t, from, jj_byte_of(r->h, t, (size_t)s.from + s.n)));
    }
    jj_value whole = jj_of_text(t);
    const jj_list *chars = jj_iterate(r->h, whole);
    jj_buffer b = {0};
    for (size_t i = 0; i < s.n; i++) jj_put_text(r->h, &b, chars->at[s.from + (int64_t)i * s.step].text);
    jj_value v = jj_finish(r->h, &b);
    v.text->marked = t->marked;
    return v;
}

jj_value jj_slice(jj_run *r, jj_value of, jj_value from, jj_value to, jj_value step) {
    if (of.kind == JJ_UNDEFINED) jj_fail_undefined(r->h, of);
    if (of.kind == JJ_TEXT) return text_slice(r, of.text, slice_range(r, (int64_t)jj_chars(r->h, of.text), from, to, step));
    if (!jj_is_indexed(of)) jj_fail(r->h, "a value of type %s has no slices%s", jj_kind_name(of), of.kind == JJ_LIST ? "; put |list before" : "");
    range s = slice_range(r, (int64_t)of.list->n, from, to, step);
    jj_list *l = jj_list_new(r->h, of.list->form);
    jj_spend(r->h, s.n / 4);
    for (size_t i = 0; i < s.n; i++) jj_push(r->h, l, of.list->at[s.from + (int64_t)i * s.step]);
    return jj_of_list(l);
}
