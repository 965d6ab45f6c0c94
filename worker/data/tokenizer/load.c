/* tokenizer.json. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "worker/data/tokenizer/sentencepiece.h"
#include "worker/data/tokenizer/state.h"
#include "worker/data/tokenizer/text.h"

enum { FILE_LIMIT = 40 << 20 };

ql_err ql_added_put_json(ql_added *a, const ql_bpe *model, const ql_json *json, ql_added_token flags,
                         const char *where) {
    size_t n;
    const ql_json *content = ql_json_is(json, QL_JSON_OBJECT) ? ql_json_get(json, "content") : json;
    const char *text = ql_json_text(content, &n);
    QL_CHECK(text, QL_DATA, "%s: a token is %s; it must be a string, or an object with a string as content", where,
             ql_json_kind_name(content));
    if (content != json) {
        QL_TRY(ql_get_bool(json, "single_word", false, where, &flags.single_word));
        QL_TRY(ql_get_bool(json, "lstrip", false, where, &flags.lstrip));
        QL_TRY(ql_get_bool(json, "rstrip", false, where, &flags.rstrip));
        QL_TRY(ql_get_bool(json, "special", flags.special, where, &flags.special));
        QL_TRY(ql_get_bool(json, "normalized", !flags.special, where, &flags.normalized));
    }
    return ql_added_put(a, model, flags, text, n);
}

static ql_err load_added(ql_tokenizer *t, const ql_json *document, const char *file) {
    const ql_json *list = ql_json_get(document, "added_tokens");
    if (ql_json_kind(list) == QL_JSON_NULL) return ql_ok();
    QL_CHECK(ql_json_is(list, QL_JSON_ARRAY), QL_DATA, "%s: added_tokens is %s; it must be a list", file,
             ql_json_kind_name(list));
    char *where = ql_format("%s: added_tokens", file);
    ql_err e = ql_ok();
    ql_added_begin(&t->added, &t->model);
    for (size_t i = 0; i < ql_json_size(list) && !ql_bad(e); i++) {
        const ql_json *item = ql_json_at(list, i);
        int64_t id = ql_json_int(ql_json_get(item, "id"), -1);
        /* The id is checked and then not used: Hugging Face takes the vocabulary's, or the next free one. */
        if (id < 0 || id > INT32_MAX) {
            e = ql_fail(QL_DATA, "%s[%zu]: id is missing or out of range", where, i);
        } else {
            e = ql_added_put_json(&t->added, &t->model, item, (ql_added_token){.listed = true}, where);
        }
    }
    free(where);
    return e;
}

/* The last pre-tokenizer's byte map is left to the model, which sees every word only once. */
static void defer_byte_map(ql_tokenizer *t) {
    if (!t->pre_tokenizer.n) return;
    ql_part *last = &t->pre_tokenizer.part[t->pre_tokenizer.n - 1];
    if (strcmp(last->kind->type, "ByteLevel") != 0) return;
    last->defer_bytes = true;
    t->map_bytes = true;
}

static ql_err load_document(ql_tokenizer *t, const ql_json *document, const char *file, size_t file_size) {
    QL_CHECK(ql_json_is(document, QL_JSON_OBJECT), QL_DATA, "%s: is %s; it must be an object", file,
             ql_json_kind_name(document));
    QL_TRY(ql_bpe_load(document, file, file_size, &t->model));
    QL_TRY(ql_pipeline_load(&ql_normalizers, document, file, &t->normalizer));
    QL_TRY(ql_pipeline_load(&ql_pre_tokenizers, document, file, &t->pre_tokenizer));
    QL_TRY(ql_pipeline_load(&ql_decoders, document, file, &t->decoder));
    QL_TRY(ql_template_load(document, file, &t->template));
    defer_byte_map(t);
    return load_added(t, document, file);
}

static ql_err load_file(ql_tokenizer *t, const char *file) {
    ql_str text = {0};
    ql_json *document = NULL;
    ql_err e = ql_file_read(file, FILE_LIMIT, &text);
    if (!ql_bad(e)) e = ql_json_parse(text.data ? text.data : "", text.size, file, 1, &document);
    if (!ql_bad(e)) e = load_document(t, document, file, text.size);
    if (!ql_bad(e)) t->fingerprint = ql_hash64(text.data, text.size, 1);
    ql_json_free(document);
    ql_str_free(&text);
    return e;
}

/* Template ids must be tokens; everything else that decides ids goes into the digest. */
static ql_err finish(ql_tokenizer *t, const char *file) {
    t->size = ql_max((int64_t)t->model.vocab.n_ids, (int64_t)t->added.n_ids);
    for (size_t i = 0; i < t->template.count; i++) {
        int32_t id = t->template.id[i];
        size_t n;
        QL_CHECK(id == QL_TEXT || ql_tokenizer_spelling(t, id, &n), QL_DATA,
                 "%s: post_processor: adds the id %d, which no token has", file, id);
    }
    uint64_t digest = ql_hash64(t->template.id, t->template.count * sizeof(int32_t), t->fingerprint);
    for (size_t i = 0; i < t->added.n; i++) {
        const ql_added_token *a = &t->added.token[i];
        int32_t facts[] = {a->id, a->single_word, a->lstrip, a->rstrip, a->normalized, a->special, a->shadowed};
        digest = ql_hash64(facts, sizeof facts, ql_hash64(a->content, a->size, digest));
    }
    t->fingerprint = digest;
    return ql_ok();
}

/* ---- folders without tokenizer.json ---------------------------------------------------------- */

static bool has_file(const char *folder, const char *name) {
    char *path = ql_path_join(folder, name);
    bool has = ql_file_exists(path);
    free(path);
    return has;
}

static ql_err no_tokenizer_json(const char *folder, const char *file) {
    static const struct {
        const char *name, *what;
    } others[] = {
        {"tiktoken.model", "tiktoken.model, which is tiktoken's list of tokens and does not say how words are cut"},
        {"tekken.json", "tekken.json, which is mistral-common's form"},
        {"merges.txt", "vocab.json and merges.txt, which do not say how words are cut"},
        {"vocab.txt", "vocab.txt, a WordPiece vocabulary, which is not supported"},
        {"spiece.model", "spiece.model, which models of other kinds have"},
    };
    for (size_t i = 0; i < QL_LEN(others); i++) {
        if (!has_file(folder, others[i].name)) continue;
        return ql_fail(QL_DATA, "%s: does not exist; the folder has %s: " QL_WRITE_TOKENIZER_JSON, file, others[i].what);
    }
    return ql_fail(QL_DATA, "%s: does not exist; a model folder needs it, or a sentencepiece model of type BPE as tokenizer.model", file);
}

/* Tokens are looked for in the text as it is: there is no normalised text before a piece of it is cut. */
static ql_err open_pieces(ql_tokenizer *t, const char *folder, const char *file) {
    QL_TRY(ql_sentencepiece_load(file, t));
    QL_TRY(ql_config_load(folder, t));
    for (size_t i = 0; i < t->added.n; i++) t->added.token[i].normalized = false;
    int32_t prefix = t->normalizer.part[0].prefix;
    t->fingerprint = ql_hash64(&prefix, sizeof prefix, t->fingerprint);
    return ql_ok();
}

static ql_err open_folder(ql_tokenizer *t, const char *folder, const char *file) {
    char *pieces = ql_path_join(folder, "tokenizer.model");
    bool json = ql_file_exists(file), sentencepiece = !json && ql_file_exists(pieces);
    ql_err e = ql_ok();
    if (!json && !sentencepiece) e = no_tokenizer_json(folder, file);
    if (json) e = load_file(t, file);
    if (json && !ql_bad(e)) e = ql_config_load(folder, t);
    if (sentencepiece) e = open_pieces(t, folder, pieces);
    if (!ql_bad(e)) e = ql_err_prefix(ql_added_seal(&t->added, &t->normalizer), "%s: added_tokens", file);
    if (!ql_bad(e)) e = finish(t, sentencepiece ? pieces : file);
    free(pieces);
    return e;
}

ql_err ql_tokenizer_open(const char *folder, ql_tokenizer **out) {
    ql_tokenizer *t = QL_NEW(ql_tokenizer);
    t->bos_id = t->eos_id = -1;
    char *file = ql_path_join(folder, "tokenizer.json");
    ql_err e = ql_one_line(open_folder(t, folder, file));
    free(file);
    if (ql_bad(e)) {
        ql_tokenizer_close(t);
        t = NULL;
    }
    *out = t;
    return e;
}

void ql_tokenizer_close(ql_tokenizer *t) {
    if (!t) return;
    ql_bpe_free(&t->model);
    ql_added_free(&t->added);
    ql_pipeline_free(&t->normalizer);
    ql_pipeline_free(&t->pre_tokenizer);
    ql_pipeline_free(&t->decoder);
    free(t->template.id);
    free(t->eos);
    free(t);
}

int64_t ql_tokenizer_size(const ql_tokenizer *t) {
    return t->size;
}

const char *ql_tokenizer_eos(const ql_tokenizer *t) {
    return t->eos;
}

int32_t ql_tokenizer_eos_id(const ql_tokenizer *t) {
    return t->eos_id;
}

int32_t ql_tokenizer_bos_id(const ql_tokenizer *t) {
    return t->bos_id;
}

uint64_t ql_tokenizer_fingerprint(const ql_tokenizer *t) {
    return t->fingerprint;
}

int32_t ql_tokenizer_find(const ql_tokenizer *t, const char *text, size_t n) {
    const ql_added_token *a = ql_added_find(&t->added, text, n);
    return a ? a->id : ql_vocab_find(&t->model.vocab, text, n);
}

static const char *vocab_text(const ql_tokenizer *t, int32_t id, size_t *n) {
    if (id < 0 || (size_t)id >= t->model.vocab.n_ids) return NULL;
    *n = t->model.vocab.token[id].size;
    return t->model.vocab.token[id].text;
}

bool ql_tokenizer_is_special(const ql_tokenizer *t, int32_t id) {
    const ql_added_token *a = ql_added_with_id(&t->added, id);
    return a && a->special;
}

const char *ql_tokenizer_piece(const ql_tokenizer *t, int32_t id, size_t *n) {
    size_t unused;
    const ql_added_token *a = ql_added_with_id(&t->added, id);
    if (!n) n = &unused;
    if (!a) return vocab_text(t, id, n);
    *n = a->size;
    return a->content;
}

const char *ql_tokenizer_spelling(const ql_tokenizer *t, int32_t id, size_t *n) {
    const ql_added_token *a = ql_added_with_id(&t->added, id);
    if (!a || !a->normal) return ql_tokenizer_piece(t, id, n);
    *n = a->normal_size;
    return a->normal;
}
