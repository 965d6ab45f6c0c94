/* What is put around the ids of a text: one row per type, and the result one list, in which
 * QL_TEXT stands for the text. */
#include "worker/data/tokenizer/post_processor.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_TEMPLATE = 4096 };

typedef ql_err load_fn(const ql_json *json, const char *where, ql_ids *template);

static ql_err id_of(const ql_json *v, const char *where, int32_t *out) {
    int64_t id = ql_json_int(v, -1);
    QL_CHECK(id >= 0 && id <= INT32_MAX, QL_DATA, "%s: an id is %s; it must be an integer from 0 to %d", where,
             ql_json_is(v, QL_JSON_INT) ? "out of range" : ql_json_kind_name(v), INT32_MAX);
    *out = (int32_t)id;
    return ql_ok();
}

/* {"SpecialToken": {"id": name}}: the ids that special_tokens has for the name. */
static ql_err special_piece(const ql_json *json, const ql_json *name, const char *where, ql_ids *out) {
    const char *text = ql_json_text(name, NULL);
    QL_CHECK(text, QL_DATA, "%s: the id of a SpecialToken is %s; it must be a string", where, ql_json_kind_name(name));
    const ql_json *ids = ql_json_get(ql_json_get(ql_json_get(json, "special_tokens"), text), "ids");
    QL_CHECK(ql_json_is(ids, QL_JSON_ARRAY), QL_DATA, "%s: special_tokens has no ids for '%.64s'", where, text);
    for (size_t i = 0; i < ql_json_size(ids) && out->count <= MAX_TEMPLATE; i++) {
        int32_t id = -1;
        QL_TRY(id_of(ql_json_at(ids, i), where, &id));
        ql_ids_push(out, id);
    }
    return ql_ok();
}

static ql_err template_piece(const ql_json *json, const ql_json *piece, const char *where, const ql_ids *inner,
                             ql_ids *out) {
    const ql_json *special = ql_json_get(piece, "SpecialToken"), *sequence = ql_json_get(piece, "Sequence");
    if (special) return special_piece(json, ql_json_get(special, "id"), where, out);
    const char *which = ql_json_text(ql_json_get(sequence, "id"), NULL);
    QL_CHECK(which && strcmp(which, "A") == 0, QL_DATA,
             "%s: a piece of `single` is neither {\"SpecialToken\": ...} nor {\"Sequence\": {\"id\": \"A\"}}", where);
    for (size_t i = 0; i < inner->count && out->count <= MAX_TEMPLATE; i++) ql_ids_push(out, inner->id[i]);
    return ql_ok();
}

static ql_err template_processing(const ql_json *json, const char *where, ql_ids *template) {
    const ql_json *single = ql_json_get(json, "single");
    QL_CHECK(ql_json_is(single, QL_JSON_ARRAY), QL_DATA, "%s: single is %s; it must be a list", where,
             ql_json_kind_name(single));
    ql_ids inner = *template, outer = {0};
    ql_err e = ql_ok();
    for (size_t i = 0; i < ql_json_size(single) && !ql_bad(e); i++) {
        e = template_piece(json, ql_json_at(single, i), where, &inner, &outer);
    }
    free(inner.id);
    *template = outer;
    QL_TRY(e);
    QL_CHECK(outer.count <= MAX_TEMPLATE, QL_DATA, "%s: adds more than %d tokens", where, MAX_TEMPLATE);
    return ql_ok();
}

/* [CLS] A [SEP], each given as [text, id]. */
static ql_err bert(const ql_json *json, const char *where, ql_ids *template) {
    int32_t cls = -1, sep = -1;
    QL_TRY(id_of(ql_json_at(ql_json_get(json, "cls"), 1), where, &cls));
    QL_TRY(id_of(ql_json_at(ql_json_get(json, "sep"), 1), where, &sep));
    ql_ids outer = {0};
    ql_ids_push(&outer, cls);
    for (size_t i = 0; i < template->count; i++) ql_ids_push(&outer, template->id[i]);
    ql_ids_push(&outer, sep);
    free(template->id);
    *template = outer;
    return ql_ok();
}

static const struct {
    const char *type;
    load_fn *load; /* NULL: does not touch ids */
} kinds[] = {
    {"TemplateProcessing", template_processing},
    {"BertProcessing", bert},
    {"RobertaProcessing", bert},
    {"ByteLevel", NULL}, /* offsets only */
};

static ql_err load(const ql_json *json, const char *where, ql_ids *template) {
    const char *type = ql_json_text(ql_json_get(json, "type"), NULL);
    QL_CHECK(type, QL_DATA, "%s: must be an object with a type, but is %s", where, ql_json_kind_name(json));
    if (strcmp(type, "Sequence") == 0) {
        const ql_json *list = ql_json_get(json, "processors");
        QL_CHECK(ql_json_is(list, QL_JSON_ARRAY), QL_DATA, "%s: processors is %s; it must be a list", where,
                 ql_json_kind_name(list));
        for (size_t i = 0; i < ql_json_size(list); i++) QL_TRY(load(ql_json_at(list, i), where, template));
        return ql_ok();
    }
    for (size_t i = 0; i < QL_LEN(kinds); i++) {
        if (strcmp(type, kinds[i].type) == 0) return kinds[i].load ? kinds[i].load(json, where, template) : ql_ok();
    }
    return ql_fail(QL_DATA,
                   "%s: type %.64s is not supported; supported are Sequence, TemplateProcessing, BertProcessing, "
                   "RobertaProcessing and ByteLevel",
                   where, type);
}

ql_err ql_template_load(const ql_json *document, const char *file, ql_ids *out) {
    ql_ids_push(out, QL_TEXT);
    const ql_json *json = ql_json_get(document, "post_processor");
    if (ql_json_kind(json) == QL_JSON_NULL) return ql_ok();
    char *where = ql_format("%s: post_processor", file);
    ql_err e = load(json, where, out);
    free(where);
    return e;
}
