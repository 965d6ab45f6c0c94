/* One value into one field, strictly. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/config/reader.h"
#include "base/config/value.h"
#include "base/json.h"

static bool wrong(ql_reader *r, const ql_key *key, const ql_yaml *node, const char *hint) {
    ql_str expected = {0};
    ql_key_expects(key, &expected);
    char *where = ql_reader_where(r, node), *shown = ql_yaml_show(node);
    ql_reader_mistake(r, where, "%s is %s; expected %s%s", key->name, shown, expected.data, hint);
    free(where);
    free(shown);
    ql_str_free(&expected);
    return false;
}

static void replace_text(char **field, char *text) {
    free(*field);
    *field = text;
}

static bool within(const ql_key *key, double v) {
    if (v < key->low || ((key->open & QL_LOW_OPEN) && v <= key->low)) return false;
    if (key->high == 0) return true;
    return v < key->high || (v == key->high && !(key->open & QL_HIGH_OPEN));
}

static bool is_auto(const ql_key *key, const ql_yaml *node) {
    return key->automatic && node->kind == QL_YAML_SCALAR && !strcmp(node->text, "auto");
}

static bool set_bool(ql_reader *r, const ql_key *key, const ql_yaml *node) {
    bool value;
    if (node->kind != QL_YAML_SCALAR || !ql_value_bool(node->text, &value)) return wrong(r, key, node, "");
    if (!node->plain) return wrong(r, key, node, " without quotes");
    *(bool *)ql_key_at(key, r->config) = value;
    return true;
}

static bool set_tristate(ql_reader *r, const ql_key *key, const ql_yaml *node) {
    bool         value = false;
    ql_tristate *field = ql_key_at(key, r->config);
    if (is_auto(key, node)) {
        *field = QL_AUTO;
        return true;
    }
    if (node->kind != QL_YAML_SCALAR || !node->plain || !ql_value_bool(node->text, &value)) return wrong(r, key, node, "");
    *field = value ? QL_TRUE : QL_FALSE;
    return true;
}

static bool set_whole(ql_reader *r, const ql_key *key, const ql_yaml *node) {
    int64_t value, *field = ql_key_at(key, r->config);
    if (is_auto(key, node)) {
        *field = (int64_t)key->none;
        return true;
    }
    bool (*read)(const char *, int64_t *) = key->kind == QL_KEY_SIZE ? ql_value_size : ql_value_whole;
    if (node->kind != QL_YAML_SCALAR || !read(node->text, &value)) return wrong(r, key, node, "");
    if (!within(key, (double)value)) return wrong(r, key, node, key->kind == QL_KEY_SIZE ? ", at least 1MiB" : "");
    *field = value;
    return true;
}

static bool set_real(ql_reader *r, const ql_key *key, const ql_yaml *node) {
    double value, *field = ql_key_at(key, r->config);
    if (node->kind != QL_YAML_SCALAR || !ql_value_number(node->text, &value) || !within(key, value))
        return wrong(r, key, node, "");
    *field = value;
    return true;
}

/* "no" and "false" are the same word in YAML 1.1, whatever its capitals. */
static const char *bool_word(const ql_yaml *node) {
    bool value;
    if (!node->plain || !ql_value_bool(node->text, &value)) return NULL;
    return value ? "true" : "false";
}

static bool set_choice(ql_reader *r, const ql_key *key, const ql_yaml *node) {
    if (node->kind != QL_YAML_SCALAR) return wrong(r, key, node, "");
    char *text = ql_value_choice(key->choices, node->text);
    if (!text && bool_word(node)) text = ql_value_choice(key->choices, bool_word(node));
    if (!text) return wrong(r, key, node, "");
    if (strcmp(text, node->text) != 0 && !bool_word(node)) {
        char *where = ql_reader_where(r, node);
        ql_reader_note(r, where, "%s: %s is read as %s, which is the same here", key->name, node->text, text);
        free(where);
    }
    replace_text(ql_key_at(key, r->config), text);
    return true;
}

static bool set_text(ql_reader *r, const ql_key *key, const ql_yaml *node) {
    if (node->kind != QL_YAML_SCALAR) return wrong(r, key, node, "");
    char *text = key->choices ? ql_value_choice(key->choices, node->text) : NULL;
    if (!text && bool_word(node)) {
        if (key->choices) text = ql_value_choice(key->choices, bool_word(node));
        if (!text) return wrong(r, key, node, " (a text that looks like true or false needs quotes)");
    }
    if (!text && !*node->text) return wrong(r, key, node, " that is not empty");
    replace_text(ql_key_at(key, r->config), text ? text : ql_strdup(node->text));
    return true;
}

/* "q_proj,v_proj" or "q_proj": names, since as an expression for whole names it never matches. */
static bool is_name_list(const char *text) {
    return text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_, ")] == 0 &&
           strspn(text, ", ") < strlen(text);
}

static void push_text(ql_texts *t, char *text) {
    QL_PUSH(t->item, t->count, t->capacity, text);
}

static void split_names(const char *text, ql_texts *out) {
    for (const char *p = text + strspn(text, ", "); *p; p += strspn(p, ", ")) {
        size_t n = strcspn(p, ", ");
        push_text(out, ql_strndup(p, n));
        p += n;
    }
}

static bool collect_texts(const ql_yaml *node, ql_texts *out) {
    for (size_t i = 0; i < node->count; i++) {
        const ql_yaml *item = &node->item[i];
        if (item->kind != QL_YAML_SCALAR || ql_yaml_is_null(item) || !*item->text) return false;
        push_text(out, ql_strdup(item->text));
    }
    return node->count > 0;
}

static bool set_texts(ql_reader *r, const ql_key *key, const ql_yaml *node) {
    ql_texts texts = {0};
    bool     is_list = node->kind == QL_YAML_LIST;
    bool     good = is_list ? collect_texts(node, &texts) : node->kind == QL_YAML_SCALAR && *node->text;
    if (!good || bool_word(node)) {
        ql_texts_free(&texts);
        return wrong(r, key, node, "");
    }
    if (is_list && texts.count == 1 && !strcmp(texts.item[0], "all-linear")) is_list = false;
    if (node->kind == QL_YAML_SCALAR) {
        is_list = is_name_list(node->text);
        if (is_list) split_names(node->text, &texts);
        else push_text(&texts, ql_strdup(node->text));
    }
    ql_texts *field = ql_key_at(key, r->config);
    ql_texts_free(field);
    *field = texts;
    *(bool *)((char *)r->config + key->list_flag) = is_list;
    return true;
}

/* A value without quotes is what YAML takes it for. */
static void put_scalar(ql_str *out, const ql_yaml *node) {
    bool   truth;
    double number;
    if (node->plain && ql_yaml_is_null(node)) ql_str_puts(out, "null");
    else if (node->plain && ql_value_bool(node->text, &truth)) ql_str_puts(out, truth ? "true" : "false");
    else if (node->plain && ql_value_number(node->text, &number)) ql_json_put_double(out, number);
    else ql_json_put_string(out, node->text, strlen(node->text));
}

static void put_json(ql_str *out, const ql_yaml *node) {
    bool mapping = node->kind == QL_YAML_MAPPING;
    if (node->kind == QL_YAML_SCALAR) {
        put_scalar(out, node);
        return;
    }
    ql_str_puts(out, mapping ? "{" : "[");
    for (size_t i = 0; i < node->count; i++) {
        if (i) ql_str_puts(out, ", ");
        if (mapping) ql_json_put_string(out, node->item[i].key, strlen(node->item[i].key));
        if (mapping) ql_str_puts(out, ": ");
        put_json(out, &node->item[i]);
    }
    ql_str_puts(out, mapping ? "}" : "]");
}

/* A mapping, or the text of one in JSON. */
static bool set_mapping(ql_reader *r, const ql_key *key, const ql_yaml *node) {
    ql_str   text = {0};
    ql_json *json = NULL;
    bool     written = node->kind == QL_YAML_SCALAR;
    if (written) ql_str_puts(&text, node->text);
    else put_json(&text, node);
    bool good = !ql_bad(ql_json_parse(text.data, text.size, key->name, 1, &json)) && ql_json_is(json, QL_JSON_OBJECT);
    text.size = 0;
    if (good) ql_json_put(&text, json);
    if (good) replace_text(ql_key_at(key, r->config), ql_json_size(json) ? ql_strdup(text.data) : NULL);
    ql_json_free(json);
    ql_str_free(&text);
    return good || wrong(r, key, node, "");
}

static bool set_datasets(ql_reader *r, const ql_key *key, const ql_yaml *node) {
    ql_datasets  new = {0};
    ql_datasets *field = ql_key_at(key, r->config);
    if (!ql_reader_datasets(r, key, node, &new)) return false;
    ql_datasets_free(field);
    *field = new;
    return true;
}

bool ql_reader_set(ql_reader *r, const ql_key *key, const ql_yaml *node) {
    switch (key->kind) {
        case QL_KEY_BOOL: return set_bool(r, key, node);
        case QL_KEY_TRISTATE: return set_tristate(r, key, node);
        case QL_KEY_INT:
        case QL_KEY_SIZE: return set_whole(r, key, node);
        case QL_KEY_REAL: return set_real(r, key, node);
        case QL_KEY_TEXT: return set_text(r, key, node);
        case QL_KEY_CHOICE: return set_choice(r, key, node);
        case QL_KEY_TEXTS: return set_texts(r, key, node);
        case QL_KEY_MAPPING: return set_mapping(r, key, node);
        case QL_KEY_DATASETS: return set_datasets(r, key, node);
    }
    return false;
}

void ql_texts_free(ql_texts *t) {
    for (size_t i = 0; i < t->count; i++) free(t->item[i]);
    free(t->item);
    *t = (ql_texts){0};
}

void ql_key_free(const ql_key *key, ql_config *c) {
    void *field = ql_key_at(key, c);
    switch (key->kind) {
        case QL_KEY_TEXT:
        case QL_KEY_CHOICE:
        case QL_KEY_MAPPING: replace_text(field, NULL); break;
        case QL_KEY_TEXTS: ql_texts_free(field); break;
        case QL_KEY_DATASETS: ql_datasets_free(field); break;
        default: break;
    }
}

static void set_none(const ql_key *key, void *field) {
    switch (key->kind) {
        case QL_KEY_TRISTATE: *(ql_tristate *)field = (ql_tristate)key->none; break;
        case QL_KEY_INT:
        case QL_KEY_SIZE: *(int64_t *)field = (int64_t)key->none; break;
        case QL_KEY_REAL: *(double *)field = key->none; break;
        default: break; /* texts and lists: empty */
    }
}

void ql_reader_reset(ql_reader *r, const ql_key *key) {
    ql_key_free(key, r->config);
    if (key->kind == QL_KEY_TEXTS) *(bool *)((char *)r->config + key->list_flag) = false;
    if (!key->initial) {
        set_none(key, ql_key_at(key, r->config));
        return;
    }
    ql_yaml node = {.kind = QL_YAML_SCALAR, .plain = true, .text = (char *)(uintptr_t)key->initial};
    (void)ql_reader_set(r, key, &node);
}
