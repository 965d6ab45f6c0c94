/* The files beside tokenizer.json, as transformers reads them: tokenizer_config.json, and where that has
 * no added_tokens_decoder, special_tokens_map.json, which then wins over it; beside a sentencepiece model added_tokens.json, too. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "worker/data/tokenizer/state.h"

enum { CONFIG_LIMIT = 16 << 20 };

typedef struct {
    char *path;
    ql_json *json; /* NULL: the file is absent */
} config_file;

static ql_err open_file(const char *folder, const char *name, config_file *out) {
    out->path = ql_path_join(folder, name);
    if (!ql_file_exists(out->path)) return ql_ok();
    QL_TRY(ql_json_read(out->path, CONFIG_LIMIT, &out->json));
    QL_CHECK(ql_json_is(out->json, QL_JSON_OBJECT), QL_DATA, "%s: is %s; it must be an object", out->path,
             ql_json_kind_name(out->json));
    return ql_ok();
}

static void close_file(config_file *f) {
    ql_json_free(f->json);
    free(f->path);
}

/* ---- added tokens ---------------------------------------------------------------------------- */

typedef struct {
    int64_t id;
    const ql_json *token;
    const char *text; /* of a token that is given by its text */
} numbered;

static int by_id(const void *a, const void *b) {
    const numbered *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

/* added_tokens_decoder: {"id": token}, added in the order of the ids. */
static ql_err put_decoder(ql_tokenizer *t, const ql_json *decoder, const char *where) {
    QL_CHECK(ql_json_is(decoder, QL_JSON_OBJECT), QL_DATA, "%s: is %s; it must be an object", where,
             ql_json_kind_name(decoder));
    size_t n = 0;
    numbered *list = QL_NEW_ARRAY(numbered, ql_json_size(decoder));
    for (void *it = ql_json_first(decoder); it; it = ql_json_next(decoder, it)) {
        list[n++] = (numbered){strtoll(ql_json_key(it), NULL, 10), ql_json_value(it), NULL};
    }
    qsort(list, n, sizeof *list, by_id);
    ql_err e = ql_ok();
    for (size_t i = 0; i < n && !ql_bad(e); i++) {
        e = ql_added_put_json(&t->added, &t->model, list[i].token, (ql_added_token){.listed = true}, where);
    }
    free(list);
    return e;
}

/* added_tokens.json of older folders: {"content": id}, for a tokenizer that has no list of its own. The ids have to be those
 * that the tokens get when they are added in order. */
static ql_err put_added(ql_tokenizer *t, const config_file *f) {
    size_t n = 0;
    numbered *list = QL_NEW_ARRAY(numbered, ql_json_size(f->json));
    for (void *it = ql_json_first(f->json); it; it = ql_json_next(f->json, it)) {
        list[n++] = (numbered){ql_json_int(ql_json_value(it), -1), ql_json_value(it), ql_json_key(it)};
    }
    qsort(list, n, sizeof *list, by_id);
    ql_err e = ql_ok();
    for (size_t i = 0; i < n && !ql_bad(e); i++) {
        const char *text = list[i].text;
        e = ql_added_put(&t->added, &t->model, (ql_added_token){0}, text, strlen(text));
        const ql_added_token *added = ql_added_find(&t->added, text, strlen(text));
        if (ql_bad(e) || !added || added->id == list[i].id) continue;
        e = ql_fail(QL_DATA, "%s: the id of '%.64s' is %lld, but the next free one is %d", f->path, text, (long long)list[i].id, added->id);
    }
    free(list);
    return e;
}

/* A token that is named as special is one, listed or not. */
static ql_err put_special(ql_tokenizer *t, const ql_json *token, const char *where) {
    if (ql_json_kind(token) == QL_JSON_NULL) return ql_ok();
    size_t n;
    const char *text = ql_json_text(ql_json_is(token, QL_JSON_OBJECT) ? ql_json_get(token, "content") : token, &n);
    const ql_added_token *known = text ? ql_added_find(&t->added, text, n) : NULL;
    if (known && known->listed) return ql_ok();
    return ql_added_put_json(&t->added, &t->model, token, (ql_added_token){.special = true}, where);
}

static const char *const named_tokens[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                           "pad_token", "cls_token", "mask_token"};

static bool is_named(const char *key) {
    for (size_t i = 0; i < QL_LEN(named_tokens); i++) {
        if (strcmp(key, named_tokens[i]) == 0) return true;
    }
    return false;
}

static ql_err put_list(ql_tokenizer *t, const ql_json *list, const char *where) {
    for (size_t i = 0; ql_json_is(list, QL_JSON_ARRAY) && i < ql_json_size(list); i++) {
        QL_TRY(put_special(t, ql_json_at(list, i), where));
    }
    if (!ql_json_is(list, QL_JSON_OBJECT)) return ql_ok();
    for (void *it = ql_json_first(list); it; it = ql_json_next(list, it)) {
        QL_TRY(put_special(t, ql_json_value(it), where));
    }
    return ql_ok();
}

/* bos_token and its like, a model's own "image_token", and the list of further ones. */
static ql_err put_specials(ql_tokenizer *t, const config_file *f) {
    for (size_t i = 0; i < QL_LEN(named_tokens); i++) {
        QL_TRY(put_special(t, ql_json_get(f->json, named_tokens[i]), f->path));
    }
    for (void *it = ql_json_first(f->json); it; it = ql_json_next(f->json, it)) {
        const char *key = ql_json_key(it);
        size_t n = strlen(key);
        bool token = n > 6 && strcmp(key + n - 6, "_token") == 0 && !is_named(key);
        if (token && ql_json_is(ql_json_value(it), QL_JSON_STRING)) {
            QL_TRY(put_special(t, ql_json_value(it), f->path));
        }
    }
    QL_TRY(put_list(t, ql_json_get(f->json, "additional_special_tokens"), f->path));
    return put_list(t, ql_json_get(f->json, "extra_special_tokens"), f->path);
}

/* ---- bos and eos ----------------------------------------------------------------------------- */

/* The token that a file names by text; false when it names none that exists. */
static bool token_named(const ql_tokenizer *t, const ql_json *json, const char *key, int32_t *id) {
    const ql_json *v = ql_json_get(json, key);
    size_t n;
    const char *text = ql_json_text(ql_json_is(v, QL_JSON_OBJECT) ? ql_json_get(v, "content") : v, &n);
    int32_t found = text ? ql_tokenizer_find(t, text, n) : -1;
    if (found >= 0) *id = found;
    return found >= 0;
}

/* eos_token_id of config.json: a number, or a list whose first counts. */
static void token_numbered(const ql_tokenizer *t, const ql_json *json, const char *key, int32_t *id) {
    const ql_json *v = ql_json_get(json, key);
    int64_t number = ql_json_int(ql_json_is(v, QL_JSON_ARRAY) ? ql_json_at(v, 0) : v, -1);
    bool known = number >= 0 && number <= INT32_MAX && ql_tokenizer_piece(t, (int32_t)number, NULL);
    if (*id < 0 && known) *id = (int32_t)number;
}

static void find_bos_and_eos(ql_tokenizer *t, const config_file *special, const config_file *config,
                             const config_file *generation, const config_file *model) {
    if (!token_named(t, special->json, "bos_token", &t->bos_id)) token_named(t, config->json, "bos_token", &t->bos_id);
    if (!token_named(t, special->json, "eos_token", &t->eos_id)) token_named(t, config->json, "eos_token", &t->eos_id);
    token_numbered(t, generation->json, "bos_token_id", &t->bos_id);
    token_numbered(t, model->json, "bos_token_id", &t->bos_id);
    token_numbered(t, generation->json, "eos_token_id", &t->eos_id);
    token_numbered(t, model->json, "eos_token_id", &t->eos_id);
    size_t n;
    const char *eos = t->eos_id >= 0 ? ql_tokenizer_piece(t, t->eos_id, &n) : NULL;
    if (eos) t->eos = ql_strndup(eos, n);
}

/* Given explicitly, add_bos_token and add_eos_token replace what tokenizer.json adds. A sentencepiece model adds nothing by
 * itself, and its bos_token comes first unless told otherwise. */
static ql_err override_template(ql_tokenizer *t, const config_file *f) {
    bool given = t->model.scores || ql_json_is(ql_json_get(f->json, "add_bos_token"), QL_JSON_BOOL) ||
                 ql_json_is(ql_json_get(f->json, "add_eos_token"), QL_JSON_BOOL);
    bool bos, eos;
    QL_TRY(ql_get_bool(f->json, "add_bos_token", t->model.scores && t->bos_id >= 0, f->path, &bos));
    QL_TRY(ql_get_bool(f->json, "add_eos_token", false, f->path, &eos));
    if (!given) return ql_ok();
    QL_CHECK(!bos || t->bos_id >= 0, QL_DATA, "%s: add_bos_token is true, but there is no bos_token", f->path);
    QL_CHECK(!eos || t->eos_id >= 0, QL_DATA, "%s: add_eos_token is true, but there is no eos_token", f->path);
    t->template.count = 0;
    if (bos) ql_ids_push(&t->template, t->bos_id);
    ql_ids_push(&t->template, QL_TEXT);
    if (eos) ql_ids_push(&t->template, t->eos_id);
    return ql_ok();
}

/* Where a sentencepiece model gets its additional space: as transformers' LlamaTokenizer has it, at the beginning of the
 * text; `legacy` also behind every special token. */
static ql_err place_first_space(ql_tokenizer *t, const config_file *f) {
    bool wanted, legacy;
    if (!t->model.scores) return ql_ok();
    QL_TRY(ql_get_bool(f->json, "add_prefix_space", true, f->path, &wanted));
    QL_TRY(ql_get_bool(f->json, "legacy", false, f->path, &legacy));
    for (size_t i = 0; i < t->normalizer.n; i++) {
        ql_part *part = &t->normalizer.part[i];
        if (!part->rules || part->prefix == QL_PREFIX_NEVER) continue;
        part->prefix = !wanted ? QL_PREFIX_NEVER : legacy ? QL_PREFIX_ALWAYS : QL_PREFIX_FIRST;
    }
    return ql_ok();
}

/* ---- all of it ------------------------------------------------------------------------------- */

enum { CONFIG, SPECIAL, ADDED, GENERATION, MODEL, N_FILES };

static ql_err read_files(const char *folder, bool sentencepiece, config_file f[N_FILES]) {
    QL_TRY(open_file(folder, "tokenizer_config.json", &f[CONFIG]));
    if (!ql_json_get(f[CONFIG].json, "added_tokens_decoder")) {
        QL_TRY(open_file(folder, "special_tokens_map.json", &f[SPECIAL]));
        if (sentencepiece) QL_TRY(open_file(folder, "added_tokens.json", &f[ADDED]));
    }
    QL_TRY(open_file(folder, "generation_config.json", &f[GENERATION]));
    return open_file(folder, "config.json", &f[MODEL]);
}

static ql_err apply_files(ql_tokenizer *t, config_file f[N_FILES]) {
    ql_added_begin(&t->added, &t->model);
    const ql_json *decoder = ql_json_get(f[CONFIG].json, "added_tokens_decoder");
    if (decoder) {
        for (size_t i = 0; i < t->added.n; i++) t->added.token[i].listed = false;
        char *where = ql_format("%s: added_tokens_decoder", f[CONFIG].path);
        ql_err e = put_decoder(t, decoder, where);
        free(where);
        QL_TRY(e);
    }
    if (f[ADDED].json) QL_TRY(put_added(t, &f[ADDED]));
    if (f[SPECIAL].json) QL_TRY(put_specials(t, &f[SPECIAL]));
    if (f[CONFIG].json) QL_TRY(put_specials(t, &f[CONFIG]));
    find_bos_and_eos(t, &f[SPECIAL], &f[CONFIG], &f[GENERATION], &f[MODEL]);
    QL_TRY(place_first_space(t, &f[CONFIG]));
    return override_template(t, &f[CONFIG]);
}

ql_err ql_config_load(const char *folder, ql_tokenizer *t) {
    config_file f[N_FILES] = {0};
    ql_err e = read_files(folder, t->model.scores, f);
    if (!ql_bad(e)) e = apply_files(t, f);
    for (int i = 0; i < N_FILES; i++) close_file(&f[i]);
    return e;
}
