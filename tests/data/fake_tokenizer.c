/* A tokenizer for tests of what stands on one: a token is a byte, or one of the pairs below taken
 * greedily from the left, or the text of eos; bos comes first where special tokens are asked for.
 * Linked in place of the real one. The "folder" is its settings: "no-eos", "no-bos", "eos-added". */
#include "worker/data/tokenizer/tokenizer.h"

#include <stdlib.h>
#include <string.h>

enum { BOS = 256, EOS = 257, PAIR = 258, SIZE = 260 };
static const char *const pair[] = {"ab", "\n\n"};
static const char eos_text[] = "</s>";

struct ql_tokenizer {
    bool has_eos, has_bos, adds_eos;
};
struct ql_encoder {
    const ql_tokenizer *tokenizer;
};

ql_err ql_tokenizer_open(const char *model_folder, ql_tokenizer **out) {
    *out = QL_NEW(ql_tokenizer);
    **out = (ql_tokenizer){.has_eos = !strstr(model_folder, "no-eos"),
                           .has_bos = !strstr(model_folder, "no-bos"),
                           .adds_eos = strstr(model_folder, "eos-added")};
    return ql_ok();
}

void ql_tokenizer_close(ql_tokenizer *t) {
    free(t);
}

int64_t ql_tokenizer_size(const ql_tokenizer *t) {
    (void)t;
    return SIZE;
}

const char *ql_tokenizer_eos(const ql_tokenizer *t) {
    return t->has_eos ? eos_text : NULL;
}

int32_t ql_tokenizer_eos_id(const ql_tokenizer *t) {
    return t->has_eos ? EOS : -1;
}

int32_t ql_tokenizer_bos_id(const ql_tokenizer *t) {
    return t->has_bos ? BOS : -1;
}

const char *ql_tokenizer_piece(const ql_tokenizer *t, int32_t id, size_t *size) {
    static _Thread_local char byte[2];
    (void)t;
    const char *text = id >= PAIR && id < SIZE ? pair[id - PAIR] : id == EOS ? eos_text : id == BOS ? "<s>" : byte;
    byte[0] = (char)id;
    *size = text == byte ? 1 : strlen(text);
    return text;
}

int32_t ql_tokenizer_find(const ql_tokenizer *t, const char *text, size_t n) {
    (void)t;
    for (int32_t id = 0; id < SIZE; id++) {
        size_t size;
        const char *piece = ql_tokenizer_piece(t, id, &size);
        if (size == n && !memcmp(piece, text, n)) return id;
    }
    return -1;
}

bool ql_tokenizer_is_special(const ql_tokenizer *t, int32_t id) {
    (void)t;
    return id == BOS || id == EOS;
}

int32_t ql_tokenizer_special_in(const ql_tokenizer *t, const char *text, size_t n, size_t *from) {
    (void)t;
    const char *hit = memmem(text + *from, n - *from, eos_text, strlen(eos_text));
    if (!hit) return -1;
    *from = (size_t)(hit - text) + strlen(eos_text);
    return EOS;
}

uint64_t ql_tokenizer_fingerprint(const ql_tokenizer *t) {
    return t->has_eos * 4u + t->has_bos * 2u + t->adds_eos;
}

ql_encoder *ql_encoder_open(const ql_tokenizer *t) {
    ql_encoder *e = QL_NEW(ql_encoder);
    e->tokenizer = t;
    return e;
}

void ql_encoder_close(ql_encoder *e) {
    free(e);
}

static size_t match(const char *text, size_t n, int32_t *id) {
    for (int32_t known = EOS; known < SIZE; known++) {
        const char *piece = known == EOS ? eos_text : pair[known - PAIR];
        size_t size = strlen(piece);
        if (n < size || memcmp(text, piece, size) != 0) continue;
        *id = known;
        return size;
    }
    *id = (unsigned char)text[0];
    return 1;
}

static void put(ql_ids *ids, ql_ranges *ranges, int32_t id, size_t from, size_t to) {
    QL_PUSH(ids->id, ids->count, ids->capacity, id);
    if (ranges) QL_PUSH(ranges->at, ranges->n, ranges->capacity, ((ql_range){from, to}));
}

ql_err ql_encode_ranges(ql_encoder *e, const char *text, size_t n, bool add_special, ql_ids *ids, ql_ranges *ranges) {
    if (add_special && e->tokenizer->has_bos) put(ids, ranges, BOS, 0, 0);
    for (size_t at = 0, size; at < n; at += size) {
        int32_t id;
        size = match(text + at, n - at, &id);
        put(ids, ranges, id, at, at + size);
    }
    if (add_special && e->tokenizer->adds_eos) put(ids, ranges, EOS, n, n);
    return ql_ok();
}

ql_err ql_encode(ql_encoder *e, const char *text, size_t n, bool add_special, ql_ids *out) {
    return ql_encode_ranges(e, text, n, add_special, out, NULL);
}

ql_err ql_decode(const ql_tokenizer *t, const int32_t *ids, size_t n, bool skip_special, ql_str *out) {
    for (size_t i = 0; i < n; i++) {
        if (skip_special && (ids[i] == BOS || ids[i] == EOS)) continue;
        size_t size;
        const char *piece = ql_tokenizer_piece(t, ids[i], &size);
        ql_str_put(out, piece, size);
    }
    return ql_ok();
}
