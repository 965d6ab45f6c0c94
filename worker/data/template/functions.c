/* range, namespace, dict, raise_exception and strftime_now. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "worker/data/template/run.h"

static jj_value raise_exception(jj_run *r, jj_value self, const jj_arguments *a) {
    (void)self;
    const jj_text *said = jj_string(r->h, a->at[0]);
    jj_fail(r->h, "%.*s", (int)(said->size < 900 ? said->size : 900), said->data);
}

static jj_value range(jj_run *r, jj_value self, const jj_arguments *a) {
    (void)self;
    bool one = a->at[1].kind == JJ_MISSING;
    int64_t from = one ? 0 : jj_want_int(r, a->at[0], 0), to = jj_want_int(r, a->at[!one], 0), step = jj_want_int(r, a->at[2], 1);
    if (step == 0) jj_fail(r->h, "range: the step is zero");
    jj_list *l = jj_list_new(r->h, JJ_RANGE);
    for (int64_t i = from; step > 0 ? i < to : i > to;) {
        if (l->n == QL_TEMPLATE_RANGE) jj_fail(r->h, "a range of more than %d numbers", QL_TEMPLATE_RANGE);
        jj_push(r->h, l, jj_int(i));
        if (__builtin_add_overflow(i, step, &i)) break;
    }
    jj_spend(r->h, l->n / 4);
    return jj_of_list(l);
}

static void put_pairs(jj_run *r, jj_dict *d, jj_value from) {
    const jj_list *l = jj_iterate(r->h, from);
    for (size_t i = 0; i < l->n; i++) {
        jj_spend(r->h, 1);
        if (from.kind == JJ_DICT) {
            jj_dict_put(r->h, d, l->at[i], from.dict->at[i].value);
            continue;
        }
        const jj_list *pair = jj_iterate(r->h, l->at[i]);
        if (pair->n != 2) jj_fail(r->h, "dict: an item of %zu values is no pair", pair->n);
        jj_dict_put(r->h, d, pair->at[0], pair->at[1]);
    }
}

static jj_dict *dict_of(jj_run *r, const jj_arguments *a) {
    jj_dict *d = jj_dict_new(r->h);
    if (a->n > 1) jj_fail(r->h, "a dictionary is made of at most one argument without a name");
    if (a->n == 1) put_pairs(r, d, a->at[0]);
    for (size_t i = 0; i < a->n_keys; i++)
        jj_dict_put(r->h, d, jj_of_text(jj_part(r->h, a->keys[i], 0, a->keys[i]->size)), a->key_values[i]);
    return d;
}

static jj_value make_dict(jj_run *r, jj_value self, const jj_arguments *a) {
    (void)self;
    return jj_of_dict(dict_of(r, a));
}

static jj_value make_namespace(jj_run *r, jj_value self, const jj_arguments *a) {
    (void)self;
    jj_dict *d = dict_of(r, a);
    for (size_t i = 0; i < d->n; i++)
        if (d->at[i].key.kind == JJ_TEXT && d->at[i].key.text->size && d->at[i].key.text->data[0] == '_')
            jj_fail(r->h, "attributes of a namespace may not begin with _");
    return (jj_value){.kind = JJ_NAMESPACE, .dict = d};
}

static const char *const days[] = {"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"};
static const char *const months[] = {"January", "February", "March",     "April",   "May",      "June",
                                     "July",    "August",   "September", "October", "November", "December"};

static void put_number(jj_run *r, jj_buffer *b, int value, int width, bool plain) {
    char text[16];
    snprintf(text, sizeof text, "%0*d", plain ? 1 : width, value);
    jj_puts(r->h, b, text);
}

static void put_time(jj_run *r, jj_buffer *b, const struct tm *t, char what, bool plain) {
    int hour = t->tm_hour % 12 ? t->tm_hour % 12 : 12;
    switch (what) {
        case 'Y': put_number(r, b, t->tm_year + 1900, 1, plain); break;
        case 'y': put_number(r, b, t->tm_year % 100, 2, plain); break;
        case 'm': put_number(r, b, t->tm_mon + 1, 2, plain); break;
        case 'd': put_number(r, b, t->tm_mday, 2, plain); break;
        case 'H': put_number(r, b, t->tm_hour, 2, plain); break;
        case 'I': put_number(r, b, hour, 2, plain); break;
        case 'M': put_number(r, b, t->tm_min, 2, plain); break;
        case 'S': put_number(r, b, t->tm_sec, 2, plain); break;
        case 'j': put_number(r, b, t->tm_yday + 1, 3, plain); break;
        case 'f': put_number(r, b, 0, 6, false); break;
        case 'w': put_number(r, b, t->tm_wday, 1, plain); break;
        case 'A': jj_puts(r->h, b, days[t->tm_wday]); break;
        case 'a': jj_put(r->h, b, days[t->tm_wday], 3); break;
        case 'B': jj_puts(r->h, b, months[t->tm_mon]); break;
        case 'b': jj_put(r->h, b, months[t->tm_mon], 3); break;
        case 'p': jj_puts(r->h, b, t->tm_hour < 12 ? "AM" : "PM"); break;
        case 'e':
            if (t->tm_mday < 10 && !plain) jj_puts(r->h, b, " ");
            put_number(r, b, t->tm_mday, 1, plain);
            break;
        case '%': jj_puts(r->h, b, "%"); break;
        default: jj_fail(r->h, "strftime_now: %%%c is not supported", what);
    }
}

/* %F, %T, %D and %R are others together. */
static const char *several(char what) {
    switch (what) {
        case 'F': return "Y-m-d";
        case 'T': return "H:M:S";
        case 'R': return "H:M";
        case 'D': return "m/d/y";
        default: return NULL;
    }
}

static void put_several(jj_run *r, jj_buffer *b, const struct tm *t, const char *parts) {
    for (; *parts; parts++) {
        if (strchr("-:/", *parts)) jj_put(r->h, b, parts, 1);
        else put_time(r, b, t, *parts, false);
    }
}

static jj_value strftime_now(jj_run *r, jj_value self, const jj_arguments *a) {
    (void)self;
    const jj_text *f = jj_want_text(r, a->at[0]);
    time_t now = (time_t)r->now;
    r->asked_clock = true;
    struct tm t = {0};
    localtime_r(&now, &t);
    jj_buffer b = {0};
    for (size_t i = 0; i < f->size; i++) {
        if (f->data[i] != '%' || i + 1 == f->size) {
            jj_put(r->h, &b, f->data + i, 1);
            continue;
        }
        bool plain = f->data[i + 1] == '-' && i + 2 < f->size;
        i += plain ? 2 : 1;
        const char *parts = several(f->data[i]);
        if (parts) put_several(r, &b, &t, parts);
        else put_time(r, &b, &t, f->data[i], plain);
    }
    return jj_finish(r->h, &b);
}

static const jj_builtin functions[] = {
    {"raise_exception", "message", 1, raise_exception}, {"range", "start stop step", 1, range}, {"namespace", "*", 0, make_namespace},
    {"dict", "*", 0, make_dict},                        {"strftime_now", "format", 1, strftime_now},
};
const jj_table jj_functions = {functions, QL_LEN(functions)};
