#include "worker/data/tokenizer/part.h"

#include <stdlib.h>
#include <string.h>

#include "worker/data/tokenizer/sentencepiece_rules.h"
#include "worker/data/tokenizer/text.h"

void ql_pieces_free(ql_pieces *p) {
    ql_text_free(&p->text);
    free(p->piece);
    free(p->next);
    free(p->span);
}

void ql_pile_push(ql_pile *p) {
    QL_PUSH(p->next_end, p->n_next, p->next_capacity, p->next_bytes.size);
}

void ql_pile_swap(ql_pile *p) {
    ql_str bytes = p->bytes;
    size_t *end = p->end, capacity = p->capacity;
    p->bytes = p->next_bytes;
    p->end = p->next_end;
    p->n = p->n_next;
    p->capacity = p->next_capacity;
    p->next_bytes = bytes;
    p->next_bytes.size = 0;
    p->next_end = end;
    p->n_next = 0;
    p->next_capacity = capacity;
}

void ql_pile_free(ql_pile *p) {
    ql_str_free(&p->bytes);
    ql_str_free(&p->next_bytes);
    free(p->end);
    free(p->next_end);
}

/* ---- parameters ------------------------------------------------------------------------------ */

static ql_err wrong_type(const ql_json *v, const char *key, const char *where, const char *expected) {
    return ql_fail(QL_DATA, "%s: %s is %s; it must be %s", where, key, ql_json_kind_name(v), expected);
}

ql_err ql_get_bool(const ql_json *o, const char *key, bool otherwise, const char *where, bool *out) {
    const ql_json *v = ql_json_get(o, key);
    if (v && ql_json_kind(v) != QL_JSON_NULL && !ql_json_is(v, QL_JSON_BOOL)) {
        return wrong_type(v, key, where, "true or false");
    }
    *out = ql_json_bool(v, otherwise);
    return ql_ok();
}

ql_err ql_get_count(const ql_json *o, const char *key, const char *where, int64_t *out) {
    const ql_json *v = ql_json_get(o, key);
    *out = ql_json_int(v, -1);
    if (*out < 0) return wrong_type(v, key, where, "an integer that is not negative");
    return ql_ok();
}

ql_err ql_get_text(const ql_json *o, const char *key, const char *where, ql_str *out) {
    const ql_json *v = ql_json_get(o, key);
    size_t n;
    const char *text = ql_json_text(v, &n);
    if (!text) return wrong_type(v, key, where, "a string");
    ql_str_put(out, text, n);
    return ql_ok();
}

ql_err ql_get_character(const ql_json *o, const char *key, const char *where, uint32_t *out) {
    const ql_json *v = ql_json_get(o, key);
    size_t n;
    const char *text = ql_json_text(v, &n);
    if (!text || n == 0 || ql_utf8_get(text, out) != n) return wrong_type(v, key, where, "one character");
    return ql_ok();
}

ql_err ql_get_pattern(const ql_json *o, const char *where, ql_pattern **out) {
    const ql_json *v = ql_json_get(o, "pattern");
    size_t n;
    const char *literal = ql_json_text(ql_json_get(v, "String"), &n);
    if (literal) return ql_pattern_literal(literal, n, where, out);
    const char *regex = ql_json_text(ql_json_get(v, "Regex"), &n);
    if (regex) return ql_pattern_regex(regex, n, where, out);
    return wrong_type(v, "pattern", where, "{\"String\": text} or {\"Regex\": text}");
}

ql_err ql_get_behavior(const ql_json *o, ql_behavior otherwise, bool required, const char *where, ql_behavior *out) {
    static const char *const name[] = {[QL_REMOVED] = "Removed",
                                       [QL_ISOLATED] = "Isolated",
                                       [QL_MERGED_WITH_PREVIOUS] = "MergedWithPrevious",
                                       [QL_MERGED_WITH_NEXT] = "MergedWithNext",
                                       [QL_CONTIGUOUS] = "Contiguous"};
    const ql_json *v = ql_json_get(o, "behavior");
    const char *text = ql_json_text(v, NULL);
    *out = otherwise;
    if (!v && !required) return ql_ok();
    for (size_t i = 0; text && i < QL_LEN(name); i++) {
        if (strcmp(text, name[i]) != 0) continue;
        *out = (ql_behavior)i;
        return ql_ok();
    }
    return wrong_type(v, "behavior", where, "Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous");
}

ql_err ql_replace_load(ql_part *part, const ql_json *json, const char *where) {
    QL_TRY(ql_get_pattern(json, where, &part->pattern));
    return ql_get_text(json, "content", where, &part->content);
}

ql_err ql_metaspace_load(ql_part *part, const ql_json *json, const char *where) {
    static const char *const name[] = {
        [QL_PREFIX_ALWAYS] = "always", [QL_PREFIX_FIRST] = "first", [QL_PREFIX_NEVER] = "never"};
    QL_TRY(ql_get_character(json, "replacement", where, &part->character));
    ql_utf8_append(&part->content, part->character);
    QL_TRY(ql_get_bool(json, "split", true, where, &part->split));
    /* Old files have add_prefix_space and no scheme. */
    QL_TRY(ql_get_bool(json, "add_prefix_space", true, where, &part->add_prefix_space));
    const ql_json *v = ql_json_get(json, "prepend_scheme");
    const char *text = ql_json_text(v, NULL);
    part->prefix = part->add_prefix_space ? QL_PREFIX_ALWAYS : QL_PREFIX_NEVER;
    if (!v) return ql_ok();
    for (size_t i = 0; text && i < QL_LEN(name); i++) {
        if (strcmp(text, name[i]) != 0) continue;
        part->prefix = (ql_prefix)i;
        return ql_ok();
    }
    return wrong_type(v, "prepend_scheme", where, "always, first or never");
}

/* ---- reading a pipeline ---------------------------------------------------------------------- */

static const ql_part_kind *find_kind(const ql_part_table *table, const char *type) {
    for (size_t i = 0; i < table->n_kinds; i++) {
        if (strcmp(table->kind[i].type, type) == 0) return &table->kind[i];
    }
    return NULL;
}

static ql_err unknown_kind(const ql_part_table *table, const char *type, const char *where) {
    ql_str known = {0};
    for (size_t i = 0; i < table->n_kinds; i++) {
        ql_str_printf(&known, "%s%s", i ? ", " : "", table->kind[i].type);
    }
    ql_err e = ql_fail(QL_DATA, "%s: type %.64s is not supported; supported are %s", where, type, known.data);
    ql_str_free(&known);
    return e;
}

static ql_err load_part(const ql_part_table *table, const ql_json *json, const char *where, ql_pipeline *out);

static ql_err load_sequence(const ql_part_table *table, const ql_json *json, const char *key, const char *where,
                            ql_pipeline *out) {
    const ql_json *list = ql_json_get(json, key);
    if (!ql_json_is(list, QL_JSON_ARRAY)) return wrong_type(list, key, where, "a list");
    for (size_t i = 0; i < ql_json_size(list); i++) {
        /* Only the first level is named: a file may nest 2,000 of them. */
        QL_TRY(load_part(table, ql_json_at(list, i), where, out));
    }
    return ql_ok();
}

static ql_err load_part(const ql_part_table *table, const ql_json *json, const char *where, ql_pipeline *out) {
    const char *type = ql_json_text(ql_json_get(json, "type"), NULL);
    QL_CHECK(type, QL_DATA, "%s: a part must be an object with a type, but is %s", where, ql_json_kind_name(json));
    const ql_part_kind *kind = find_kind(table, type);
    if (!kind) return unknown_kind(table, type, where);
    if (kind->sequence) return load_sequence(table, json, kind->sequence, where, out);
    QL_PUSH(out->part, out->n, out->capacity, (ql_part){.kind = kind});
    if (!kind->load) return ql_ok();
    char *place = ql_format("%s %s", where, type);
    ql_err e = kind->load(&out->part[out->n - 1], json, place);
    free(place);
    return e;
}

ql_err ql_pipeline_load(const ql_part_table *table, const ql_json *document, const char *file, ql_pipeline *out) {
    const ql_json *json = ql_json_get(document, table->key);
    if (ql_json_kind(json) == QL_JSON_NULL) return ql_ok();
    char *where = ql_format("%s: %s", file, table->key);
    ql_err e = load_part(table, json, where, out);
    free(where);
    return e;
}

void ql_pipeline_free(ql_pipeline *p) {
    for (size_t i = 0; i < p->n; i++) {
        ql_pattern_free(p->part[i].pattern);
        ql_str_free(&p->part[i].content);
        ql_sentencepiece_rules_free(p->part[i].rules);
    }
    free(p->part);
}
