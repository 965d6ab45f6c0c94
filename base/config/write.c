/* The struct as YAML again, such that reading it gives the same struct. */
#include <stdlib.h>
#include <string.h>

#include "base/config/keys.h"
#include "base/config/value.h"
#include "base/json.h"

/* Letters, digits and a few signs, and no other reading as a number, truth value or null. */
static bool is_plain_safe(const char *text) {
    static const char signs[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-";
    bool              truth;
    double            number;
    int64_t           whole;
    if (!*text || *text == '-' || text[strspn(text, signs)]) return false;
    if (text[strspn(text, "0123456789.eE_-")] == 0) return false;
    if (ql_value_bool(text, &truth) || ql_value_number(text, &number) || ql_value_whole(text, &whole)) return false;
    return strcasecmp(text, "null") != 0 && strcasecmp(text, "y") != 0 && strcasecmp(text, "n") != 0;
}

/* Decodes one character of valid UTF-8. */
static size_t next_character(const char *s, uint32_t *c) {
    unsigned char first = (unsigned char)*s;
    size_t        n = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    *c = n == 1 ? first : first & (0xff >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if (((unsigned char)s[i] & 0xc0) != 0x80) return 1; /* not UTF-8: byte by byte */
        *c = *c << 6 | ((unsigned char)s[i] & 0x3f);
    }
    return n;
}

static bool needs_escape(uint32_t c) {
    return c < ' ' || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029 || c == 0xfeff || c == 0xfffe || c == 0xffff;
}

void ql_yaml_put_text(ql_str *out, const char *text) {
    if (is_plain_safe(text)) {
        ql_str_puts(out, text);
        return;
    }
    ql_str_puts(out, "\"");
    for (size_t n; *text; text += n) {
        uint32_t c;
        n = next_character(text, &c);
        if (c == '"' || c == '\\') ql_str_printf(out, "\\%c", (char)c);
        else if (needs_escape(c)) ql_str_printf(out, "\\u%04x", c);
        else ql_str_put(out, text, n);
    }
    ql_str_puts(out, "\"");
}

/* YAML 1.1 takes 1e-08 for a text; 1.0e-08 is a number everywhere. */
static void put_real(ql_str *out, double v) {
    ql_str text = {0};
    ql_json_put_double(&text, v);
    char *e = strchr(text.data, 'e');
    if (e && !strchr(text.data, '.')) ql_str_printf(out, "%.*s.0%s", (int)(e - text.data), text.data, e);
    else ql_str_puts(out, text.data);
    ql_str_free(&text);
}

static void put_texts(ql_str *out, const ql_texts *t, bool is_list) {
    if (t->count == 0) ql_str_puts(out, "null");
    if (!is_list && t->count > 0) ql_yaml_put_text(out, t->item[0]);
    if (!is_list || t->count == 0) return;
    for (size_t i = 0; i < t->count; i++) {
        ql_str_puts(out, i ? ", " : "[");
        ql_yaml_put_text(out, t->item[i]);
    }
    ql_str_puts(out, "]");
}

static void put_spec(ql_str *out, ql_dataset_spec *spec) {
    const char *separator = "{";
    for (size_t i = 0; i < ql_n_dataset_fields; i++) {
        const char *text = *ql_dataset_text(&ql_dataset_fields[i], spec);
        if (!text) continue;
        ql_str_printf(out, "%s%s: ", separator, ql_dataset_fields[i].name);
        ql_yaml_put_text(out, text);
        separator = ", ";
    }
    ql_str_puts(out, "}");
}

static void put_datasets(ql_str *out, const ql_datasets *d) {
    if (d->count == 0) ql_str_puts(out, "null");
    for (size_t i = 0; i < d->count; i++) {
        ql_str_puts(out, "\n  - ");
        put_spec(out, &d->item[i]);
    }
}

/* Not given: none of these kinds has another way to say it. */
static bool put_none(ql_str *out, const ql_key *key, bool is_none) {
    if (is_none) ql_str_puts(out, key->automatic ? "auto" : "null");
    return is_none;
}

void ql_key_write(const ql_key *key, const ql_config *c, ql_str *out) {
    const void *field = ql_key_in(key, c);
    bool        optional = !key->initial;
    switch (key->kind) {
        case QL_KEY_BOOL: ql_str_puts(out, *(const bool *)field ? "true" : "false"); break;
        case QL_KEY_TRISTATE: {
            ql_tristate v = *(const ql_tristate *)field;
            if (!put_none(out, key, v == QL_AUTO)) ql_str_puts(out, v == QL_TRUE ? "true" : "false");
            break;
        }
        case QL_KEY_INT:
        case QL_KEY_SIZE: {
            int64_t v = *(const int64_t *)field;
            if (!put_none(out, key, optional && v == (int64_t)key->none)) ql_str_printf(out, "%lld", (long long)v);
            break;
        }
        case QL_KEY_REAL: {
            double v = *(const double *)field;
            if (!put_none(out, key, optional && v == key->none)) put_real(out, v);
            break;
        }
        case QL_KEY_TEXT:
        case QL_KEY_CHOICE: {
            const char *text = *(char *const *)field;
            if (!put_none(out, key, text == NULL)) ql_yaml_put_text(out, text);
            break;
        }
        case QL_KEY_MAPPING: { /* JSON is YAML, too */
            const char *text = *(char *const *)field;
            ql_str_puts(out, text ? text : "null");
            break;
        }
        case QL_KEY_TEXTS: put_texts(out, field, *(const bool *)((const char *)c + key->list_flag)); break;
        case QL_KEY_DATASETS: put_datasets(out, field); break;
    }
}

void ql_config_write(const ql_config *c, ql_str *out) {
    const char *group = "";
    for (size_t i = 0; i < ql_n_keys; i++) {
        const ql_key *key = &ql_keys[i];
        if (strcmp(group, key->group) != 0) ql_str_printf(out, "%s# %s\n", i ? "\n" : "", key->group);
        group = key->group;
        ql_str_printf(out, "%s: ", key->name);
        if (key->kind == QL_KEY_DATASETS && ((const ql_datasets *)ql_key_in(key, c))->count) out->size--;
        ql_key_write(key, c, out);
        ql_str_puts(out, "\n");
    }
}

/* The fields of data sets decide, their paths do not: files are compared by digest. */
static void put_dataset_fact(ql_str *out, const ql_datasets *d) {
    for (size_t i = 0; i < d->count; i++) {
        ql_dataset_spec without_path = d->item[i];
        without_path.path = NULL;
        ql_str fields = {0};
        put_spec(&fields, &without_path);
        ql_str_printf(out, "%s%s", i ? " " : "", strcmp(fields.data, "}") != 0 ? fields.data : "{}");
        ql_str_free(&fields);
    }
}

size_t ql_config_facts(const ql_config *c, ql_config_fact **out) {
    size_t          count = 0, capacity = 0;
    ql_config_fact *facts = NULL;
    for (size_t i = 0; i < ql_n_keys; i++) {
        const ql_key *key = &ql_keys[i];
        if (!key->decides) continue;
        ql_str value = {0};
        if (key->kind == QL_KEY_DATASETS) put_dataset_fact(&value, ql_key_in(key, c));
        else ql_key_write(key, c, &value);
        if (key->quiet && !strcmp(value.data, key->initial ? key->initial : "null")) {
            ql_str_free(&value);
            continue;
        }
        ql_config_fact fact = {key->name, value.data ? value.data : ql_strdup("")};
        QL_PUSH(facts, count, capacity, fact);
    }
    *out = facts;
    return count;
}

/* A key that is forgotten here only makes more caches than need be. */
static bool decides_tokens(const ql_key *key) {
    static const char *const other[] = {"dataset", "eval_dataset", "dataset_cache", "val_set_size", "deduplicate", "seed",
                                        "group_by_length", "audit", "audit_max_untargeted", "audit_max_lost"};
    for (size_t i = 0; i < QL_LEN(other); i++)
        if (!strcmp(other[i], key->name)) return false;
    return !strcmp(key->group, "data");
}

void ql_config_put_data(const ql_config *c, const ql_dataset_spec *spec, ql_str *out) {
    for (size_t i = 0; i < ql_n_keys; i++) {
        if (!decides_tokens(&ql_keys[i])) continue;
        ql_str_printf(out, "%s: ", ql_keys[i].name);
        ql_key_write(&ql_keys[i], c, out);
        ql_str_puts(out, "\n");
    }
    for (size_t i = 0; i < ql_n_dataset_fields; i++) {
        const ql_dataset_field *f = &ql_dataset_fields[i];
        const char *text = *(char *const *)(const void *)((const char *)spec + f->offset);
        if (!text || !strcmp(f->name, "path") || !strcmp(f->name, "weight")) continue;
        ql_str_printf(out, "of the set, %s: ", f->name);
        ql_yaml_put_text(out, text);
        ql_str_puts(out, "\n");
    }
}
