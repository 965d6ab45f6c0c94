/* The "model" of a tokenizer.json. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/data/tokenizer/bpe.h"
#include "worker/data/tokenizer/part.h"
#include "worker/data/tokenizer/text.h"

#define MARKER "\xE2\x96\x81" /* U+2581 */

/* Ids are indices of tables, so they may not be far beyond what a file of this size can name. */
static ql_err check_vocab(const ql_json *vocab, const char *file, size_t file_size, size_t *bytes, size_t *n_ids) {
    int64_t limit = ql_min((int64_t)file_size + 65536, INT32_MAX);
    *bytes = *n_ids = 0;
    for (void *it = ql_json_first(vocab); it; it = ql_json_next(vocab, it)) {
        const ql_json *value = ql_json_value(it);
        int64_t id = ql_json_int(value, -1);
        QL_CHECK(ql_json_is(value, QL_JSON_INT), QL_DATA,
                 "%s: model.vocab: the id of '%.64s' is %s; it must be an integer", file, ql_json_key(it),
                 ql_json_kind_name(value));
        QL_CHECK(id >= 0 && id < limit, QL_DATA, "%s: model.vocab: the id %lld of '%.64s' is out of range (0 to %lld)",
                 file, (long long)id, ql_json_key(it), (long long)limit - 1);
        *bytes += strlen(ql_json_key(it));
        if ((size_t)id >= *n_ids) *n_ids = (size_t)id + 1;
    }
    return ql_ok();
}

static ql_err load_vocab(const ql_json *model, const char *file, size_t file_size, ql_vocab *out) {
    const ql_json *vocab = ql_json_get(model, "vocab");
    QL_CHECK(ql_json_is(vocab, QL_JSON_OBJECT), QL_DATA, "%s: model.vocab is %s; it must be an object", file,
             ql_json_kind_name(vocab));
    size_t bytes, n_ids;
    QL_TRY(check_vocab(vocab, file, file_size, &bytes, &n_ids));
    ql_vocab_open(out, ql_json_size(vocab), bytes, n_ids);
    for (void *it = ql_json_first(vocab); it; it = ql_json_next(vocab, it)) {
        const char *text = ql_json_key(it);
        int64_t id = ql_json_int(ql_json_value(it), -1);
        QL_CHECK(ql_vocab_add(out, text, strlen(text), (int32_t)id), QL_DATA,
                 "%s: model.vocab: the id %lld belongs to '%.64s' and to '%.64s'", file, (long long)id, text,
                 out->token[id].text ? out->token[id].text : "");
    }
    return ql_ok();
}

/* ["a", "b"], or "a b" in older files. */
static ql_err merge_sides(const ql_json *merge, const char *side[2], size_t size[2]) {
    size_t n;
    const char *text = ql_json_text(merge, &n);
    if (text) {
        const char *space = memchr(text, ' ', n);
        QL_CHECK(space && !memchr(space + 1, ' ', n - (size_t)(space + 1 - text)), QL_DATA,
                 "'%.64s' is not two tokens with one space between them", text);
        side[0] = text;
        size[0] = (size_t)(space - text);
        side[1] = space + 1;
        size[1] = n - size[0] - 1;
        return ql_ok();
    }
    QL_CHECK(ql_json_is(merge, QL_JSON_ARRAY) && ql_json_size(merge) == 2, QL_DATA,
             "is %s; it must be a list of two strings, or one string", ql_json_kind_name(merge));
    for (size_t i = 0; i < 2; i++) {
        side[i] = ql_json_text(ql_json_at(merge, i), &size[i]);
        QL_CHECK(side[i], QL_DATA, "is not made of two strings");
    }
    return ql_ok();
}

static ql_err find_token(const ql_vocab *v, const char *text, size_t n, int32_t *id) {
    *id = ql_vocab_find(v, text, n);
    QL_CHECK(*id >= 0, QL_DATA, "the token '%.*s' is not in model.vocab", (int)ql_min((int64_t)n, 64), text);
    return ql_ok();
}

static bool joins_before_marker(const char *side[2], const size_t size[2]) {
    const size_t n = strlen(MARKER);
    bool right_begins = size[1] >= n && memcmp(side[1], MARKER, n) == 0;
    bool left_ends = size[0] >= n && memcmp(side[0] + size[0] - n, MARKER, n) == 0;
    return right_begins && !left_ends;
}

static ql_err load_merge(ql_bpe *b, const ql_json *json, uint32_t rank, ql_str *joined) {
    const char *side[2] = {0};
    size_t size[2] = {0};
    QL_TRY(merge_sides(json, side, size));
    ql_merge m = {.rank = rank};
    QL_TRY(find_token(&b->vocab, side[0], size[0], &m.left));
    QL_TRY(find_token(&b->vocab, side[1], size[1], &m.right));
    QL_CHECK(size[1] >= b->prefix.size, QL_DATA, "the second token is shorter than continuing_subword_prefix");
    joined->size = 0;
    ql_str_put(joined, side[0], size[0]);
    ql_str_put(joined, side[1] + b->prefix.size, size[1] - b->prefix.size);
    QL_TRY(find_token(&b->vocab, joined->data, joined->size, &m.id));
    if (joins_before_marker(side, size)) b->cut_at_marker = false;
    ql_merges_put(&b->merges, m);
    return ql_ok();
}

static ql_err load_merges(ql_bpe *b, const ql_json *model, const char *file) {
    const ql_json *merges = ql_json_get(model, "merges");
    QL_CHECK(ql_json_is(merges, QL_JSON_ARRAY), QL_DATA, "%s: model.merges is %s; it must be a list", file,
             ql_json_kind_name(merges));
    size_t n = ql_json_size(merges);
    ql_merges_open(&b->merges, n);
    ql_str joined = {0};
    ql_err e = ql_ok();
    uint32_t rank = 0;
    for (size_t i = 0; i < n && !ql_bad(e); i++) {
        const char *text = ql_json_text(ql_json_at(merges, i), NULL);
        if (text && strncmp(text, "#version", 8) == 0) continue; /* a line of an old merges.txt */
        e = ql_err_prefix(load_merge(b, ql_json_at(merges, i), rank++, &joined), "%s: model.merges[%zu]", file, i);
    }
    ql_str_free(&joined);
    return e;
}

static ql_err optional_text(const ql_json *o, const char *key, const char *where, ql_str *out) {
    if (ql_json_kind(ql_json_get(o, key)) == QL_JSON_NULL) return ql_ok();
    return ql_get_text(o, key, where, out);
}

static ql_err load_options(ql_bpe *b, const ql_json *model, const char *where) {
    QL_TRY(ql_get_bool(model, "fuse_unk", false, where, &b->fuse_unk));
    QL_TRY(ql_get_bool(model, "byte_fallback", false, where, &b->byte_fallback));
    QL_TRY(ql_get_bool(model, "ignore_merges", false, where, &b->ignore_merges));
    QL_TRY(optional_text(model, "continuing_subword_prefix", where, &b->prefix));
    QL_TRY(optional_text(model, "end_of_word_suffix", where, &b->suffix));
    QL_CHECK(ql_json_number(ql_json_get(model, "dropout"), 0) == 0, QL_DATA,
             "%s: dropout is not 0; ids would be random, so set it to null", where);
    ql_str unk = {0};
    QL_TRY(optional_text(model, "unk_token", where, &unk));
    b->unk_token = unk.data;
    return ql_ok();
}

/* What encoding looks up most, ahead of time. */
static void index_characters(ql_bpe *b) {
    for (int i = 0; i < 256; i++) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", i);
        b->byte_id[i] = ql_vocab_find(&b->vocab, name, strlen(name));
    }
    for (uint32_t c = 0; c < QL_DIRECT_CHARS; c++) {
        char text[4];
        b->char_id[c] = ql_vocab_find(&b->vocab, text, ql_utf8_put(text, c));
    }
    b->unk_id = b->unk_token ? ql_vocab_find(&b->vocab, b->unk_token, strlen(b->unk_token)) : -1;
    /* The marker must be known, so that it ends a run of unknown characters wherever that is cut. */
    bool whole_words = b->ignore_merges || b->prefix.size || b->suffix.size;
    if (whole_words || ql_vocab_find(&b->vocab, MARKER, strlen(MARKER)) < 0) b->cut_at_marker = false;
}

ql_err ql_bpe_load(const ql_json *document, const char *file, size_t file_size, ql_bpe *b) {
    const ql_json *model = ql_json_get(document, "model");
    QL_CHECK(ql_json_is(model, QL_JSON_OBJECT), QL_DATA, "%s: model is %s; it must be an object", file,
             ql_json_kind_name(model));
    const ql_json *type = ql_json_get(model, "type"); /* absent in old files */
    const char *name = ql_json_text(type, NULL);
    QL_CHECK(!type || (name && strcmp(name, "BPE") == 0), QL_DATA,
             "%s: model type %.64s is not supported; supported is BPE, so choose a model whose tokenizer is BPE", file, name ? name : ql_json_kind_name(type));
    char *where = ql_format("%s: model", file);
    ql_err e = load_options(b, model, where);
    free(where);
    QL_TRY(e);
    QL_TRY(load_vocab(model, file, file_size, &b->vocab));
    b->cut_at_marker = true;
    QL_TRY(load_merges(b, model, file));
    index_characters(b);
    return ql_ok();
}

void ql_bpe_free(ql_bpe *b) {
    ql_vocab_free(&b->vocab);
    ql_merges_free(&b->merges);
    ql_scores_free(b->scores);
    free(b->unk_token);
    ql_str_free(&b->prefix);
    ql_str_free(&b->suffix);
}
