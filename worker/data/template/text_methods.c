/* Methods of strings. */
#include <string.h>
#include <utf8proc.h>

#include "worker/data/template/run.h"

#define METHOD(name) static jj_value name(jj_run *r, jj_value self, const jj_arguments *a)

static const jj_text *optional_text(jj_run *r, jj_value v) {
    return v.kind == JJ_MISSING || v.kind == JJ_NONE ? NULL : jj_want_text(r, v);
}

static jj_value stripped(jj_run *r, jj_value self, const jj_arguments *a, int sides) {
    return jj_of_text(jj_strip(r->h, self.text, optional_text(r, a->at[0]), sides));
}
METHOD(strip) { return stripped(r, self, a, JJ_LEFT | JJ_RIGHT); }
METHOD(lstrip) { return stripped(r, self, a, JJ_LEFT); }
METHOD(rstrip) { return stripped(r, self, a, JJ_RIGHT); }

static void push_part(jj_run *r, jj_list *l, const jj_text *t, size_t from, size_t to) {
    jj_spend(r->h, 1);
    jj_push(r->h, l, jj_of_text(jj_part(r->h, t, from, to)));
}

static size_t skip(jj_run *r, const jj_text *t, size_t at, bool spaces) {
    while (at < t->size && jj_is_space(jj_char(t, at)) == spaces) at += jj_char_size(t, at);
    jj_spend(r->h, 1);
    return at;
}

static jj_list *words(jj_run *r, const jj_text *t, int64_t most) {
    jj_list *l = jj_list_new(r->h, JJ_PLAIN_LIST);
    jj_spend(r->h, t->size / 2);
    for (size_t at = skip(r, t, 0, true); at < t->size;) {
        if (most >= 0 && (int64_t)l->n == most) {
            push_part(r, l, t, at, t->size);
            break;
        }
        size_t end = skip(r, t, at, false);
        push_part(r, l, t, at, end);
        at = skip(r, t, end, true);
    }
    return l;
}

static const jj_text *separator(jj_run *r, jj_value v) {
    const jj_text *t = optional_text(r, v);
    if (t && t->size == 0) jj_fail(r->h, "split: the separator is empty");
    return t;
}

METHOD(split) {
    const jj_text *t = self.text, *by = separator(r, a->at[0]);
    int64_t most = jj_want_int(r, a->at[1], -1);
    if (!by) return jj_of_list(words(r, t, most));
    jj_list *l = jj_list_new(r->h, JJ_PLAIN_LIST);
    size_t from = 0;
    for (size_t at; most != 0 && (at = jj_find(r->h, t, by, from)) != SIZE_MAX; most--) {
        push_part(r, l, t, from, at);
        from = at + by->size;
    }
    push_part(r, l, t, from, t->size);
    return jj_of_list(l);
}

static size_t find_last(jj_run *r, const jj_text *t, const jj_text *what, size_t end) {
    jj_spend(r->h, 1);
    for (size_t at = end + 1 > what->size ? end + 1 - what->size : 0; at-- > 0;) {
        if (at % 8 == 0) jj_spend(r->h, 1 + what->size / 64);
        if (!what->size || (t->data[at] == what->data[0] && !memcmp(t->data + at, what->data, what->size))) return at;
    }
    return SIZE_MAX;
}

METHOD(rsplit) {
    const jj_text *t = self.text, *by = separator(r, a->at[0]);
    int64_t most = jj_want_int(r, a->at[1], -1);
    if (!by) {
        if (most >= 0) jj_fail(r->h, "rsplit without a separator but with a number is not supported");
        return jj_of_list(words(r, t, -1));
    }
    jj_list *back = jj_list_new(r->h, JJ_PLAIN_LIST), *l = jj_list_new(r->h, JJ_PLAIN_LIST);
    size_t end = t->size;
    for (size_t at; most != 0 && (at = find_last(r, t, by, end)) != SIZE_MAX; most--) {
        push_part(r, back, t, at + by->size, end);
        end = at;
    }
    push_part(r, back, t, 0, end);
    for (size_t i = back->n; i-- > 0;) jj_push(r->h, l, back->at[i]);
    return jj_of_list(l);
}

METHOD(splitlines) { return jj_of_list(jj_lines(r->h, self.text, jj_truth(a->at[0]))); }

/* The part of the text from code point a[1] to a[2], in bytes. */
static jj_text *part(jj_run *r, jj_text *t, const jj_arguments *a, size_t *from) {
    jj_value first = a->at[1].kind == JJ_MISSING ? jj_none() : a->at[1], end = a->at[2].kind == JJ_MISSING ? jj_none() : a->at[2];
    int64_t start = first.kind == JJ_NONE ? 0 : jj_want_int(r, first, 0);
    *from = start > 0 && (size_t)start > jj_chars(r->h, t) ? SIZE_MAX : 0;
    jj_text *p = jj_slice(r, jj_of_text(t), first, end, jj_none()).text;
    if (*from == 0 && p->size) *from = (size_t)(p->data - t->data);
    else if (*from == 0 && start > 0) *from = jj_byte_of(r->h, t, (size_t)start);
    return p;
}

static bool has_affix(jj_run *r, const jj_text *t, jj_value v, bool at_end) {
    if (jj_is_form(v, JJ_TUPLE)) {
        for (size_t i = 0; i < v.list->n; i++)
            if (has_affix(r, t, v.list->at[i], at_end)) return true;
        return false;
    }
    const jj_text *affix = jj_want_text(r, v);
    jj_spend(r->h, 1 + affix->size / 64);
    return affix->size <= t->size && !memcmp(t->data + (at_end ? t->size - affix->size : 0), affix->data, affix->size);
}

static jj_value affixed(jj_run *r, jj_value self, const jj_arguments *a, bool at_end) {
    size_t from;
    const jj_text *t = part(r, self.text, a, &from);
    return jj_bool(from != SIZE_MAX && has_affix(r, t, a->at[0], at_end));
}
METHOD(startswith) { return affixed(r, self, a, false); }
METHOD(endswith) { return affixed(r, self, a, true); }

static jj_value without_affix(jj_run *r, jj_value self, jj_value affix, bool at_end) {
    size_t n = jj_want_text(r, affix)->size;
    if (!has_affix(r, self.text, affix, at_end)) return self;
    return jj_of_text(jj_part(r->h, self.text, at_end ? 0 : n, self.text->size - (at_end ? n : 0)));
}
METHOD(removeprefix) { return without_affix(r, self, a->at[0], false); }
METHOD(removesuffix) { return without_affix(r, self, a->at[0], true); }

METHOD(upper) { return (void)a, jj_cased(r->h, self.text, JJ_UPPER); }
METHOD(lower) { return (void)a, jj_cased(r->h, self.text, JJ_LOWER); }
METHOD(title) { return (void)a, jj_cased(r->h, self.text, JJ_TITLE); }
METHOD(capitalize) { return (void)a, jj_capitalized(r->h, self.text); }

METHOD(replace) {
    jj_text *from = jj_want_text(r, a->at[0]), *to = jj_want_text(r, a->at[1]);
    if (self.text->marked) {
        from = jj_escaped(r->h, from);
        to = jj_escaped(r->h, to);
    }
    jj_value v = jj_replaced(r->h, self.text, from, to, jj_want_int(r, a->at[2], -1));
    v.text->marked = self.text->marked;
    return v;
}

METHOD(join) {
    const jj_list *l = jj_iterate(r->h, a->at[0]);
    jj_buffer b = {0};
    for (size_t i = 0; i < l->n; i++) {
        jj_text *t = jj_want_text(r, l->at[i]);
        if (i) jj_put_text(r->h, &b, self.text);
        jj_put_text(r->h, &b, self.text->marked ? jj_escaped(r->h, t) : t);
    }
    jj_value v = jj_finish(r->h, &b);
    v.text->marked = self.text->marked;
    return v;
}

static int64_t position(jj_run *r, jj_value self, const jj_arguments *a, bool last) {
    size_t from;
    const jj_text *t = part(r, self.text, a, &from), *what = jj_want_text(r, a->at[0]);
    if (from == SIZE_MAX) return -1;
    size_t at = last ? find_last(r, t, what, t->size) : jj_find(r->h, t, what, 0);
    return at == SIZE_MAX ? -1 : (int64_t)jj_chars(r->h, jj_part(r->h, self.text, 0, from + at));
}
METHOD(find) { return jj_int(position(r, self, a, false)); }
METHOD(rfind) { return jj_int(position(r, self, a, true)); }
METHOD(text_index) {
    int64_t at = position(r, self, a, false);
    if (at < 0) jj_fail(r->h, "index: the string is not there");
    return jj_int(at);
}

METHOD(text_count) {
    size_t from;
    jj_text *t = part(r, self.text, a, &from), *what = jj_want_text(r, a->at[0]);
    int64_t n = 0;
    if (from == SIZE_MAX) return jj_int(0);
    if (what->size == 0) return jj_int((int64_t)jj_chars(r->h, t) + 1);
    for (size_t at = 0; (at = jj_find(r->h, t, what, at)) != SIZE_MAX; at += what->size) {
        jj_spend(r->h, 1);
        n++;
    }
    return jj_int(n);
}

typedef bool (*char_class)(uint32_t c);

static jj_value all_are(jj_run *r, const jj_text *t, char_class is) {
    jj_spend(r->h, t->size / 2);
    for (size_t at = 0; at < t->size; at += jj_char_size(t, at))
        if (!is(jj_char(t, at))) return jj_bool(false);
    return jj_bool(t->size > 0);
}
static bool is_letter(uint32_t c) {
    utf8proc_category_t g = utf8proc_category((utf8proc_int32_t)c);
    return g >= UTF8PROC_CATEGORY_LU && g <= UTF8PROC_CATEGORY_LO;
}
static bool is_digit(uint32_t c) { return utf8proc_category((utf8proc_int32_t)c) == UTF8PROC_CATEGORY_ND; }
static bool is_letter_or_digit(uint32_t c) { return is_letter(c) || is_digit(c); }

METHOD(isspace_) { return (void)a, all_are(r, self.text, jj_is_space); }
METHOD(isalpha_) { return (void)a, all_are(r, self.text, is_letter); }
METHOD(isdigit_) { return (void)a, all_are(r, self.text, is_digit); }
METHOD(isalnum_) { return (void)a, all_are(r, self.text, is_letter_or_digit); }

static jj_value is_cased(jj_run *r, jj_value self, const char *test) {
    const jj_arguments none = {0};
    return jj_bool(jj_test(r, jj_text_at(r->h, test, strlen(test)), self, &none));
}
METHOD(isupper_) { return (void)a, is_cased(r, self, "upper"); }
METHOD(islower_) { return (void)a, is_cased(r, self, "lower"); }

static const jj_builtin methods[] = {
    {"strip", "chars", 0, strip},
    {"lstrip", "chars", 0, lstrip},
    {"rstrip", "chars", 0, rstrip},
    {"split", "sep maxsplit", 0, split},
    {"rsplit", "sep maxsplit", 0, rsplit},
    {"splitlines", "keepends", 0, splitlines},
    {"startswith", "prefix start end", 1, startswith},
    {"endswith", "suffix start end", 1, endswith},
    {"removeprefix", "prefix", 1, removeprefix},
    {"removesuffix", "suffix", 1, removesuffix},
    {"upper", "", 0, upper},
    {"lower", "", 0, lower},
    {"title", "", 0, title},
    {"capitalize", "", 0, capitalize},
    {"replace", "old new count", 2, replace},
    {"join", "iterable", 1, join},
    {"find", "sub start end", 1, find},
    {"rfind", "sub start end", 1, rfind},
    {"index", "sub start end", 1, text_index},
    {"count", "sub start end", 1, text_count},
    {"isspace", "", 0, isspace_},
    {"isalpha", "", 0, isalpha_},
    {"isdigit", "", 0, isdigit_},
    {"isalnum", "", 0, isalnum_},
    {"isupper", "", 0, isupper_},
    {"islower", "", 0, islower_},
};
const jj_table jj_text_methods = {methods, QL_LEN(methods)};
