#include "worker/data/tokenizer/sentencepiece.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "worker/data/tokenizer/protobuf.h"
#include "worker/data/tokenizer/sentencepiece_rules.h"
#include "worker/data/tokenizer/text.h"

#define MARKER "\xE2\x96\x81"

enum { FILE_LIMIT = 64 << 20, TYPE_BPE = 2 };

/* Numbers of fields, as sentencepiece_model.proto has them. */
enum { MODEL_PIECE = 1, MODEL_TRAINER = 2, MODEL_NORMALIZER = 3 };
enum { PIECE_TEXT = 1, PIECE_SCORE = 2, PIECE_KIND = 3 };
enum { TRAINER_TYPE = 3, TRAINER_SPACE_LAST = 24, TRAINER_BYTES = 35, TRAINER_BOS = 46, TRAINER_EOS = 47 };
enum { RULES_MAP = 2, RULES_PREFIX = 3, RULES_EXTRA = 4, RULES_ESCAPE = 5 };

typedef struct {
    const char *bytes; /* of the file; NULL: absent */
    size_t size;
} view;

typedef struct {
    size_t n_pieces, n_bytes; /* of their texts */
    uint64_t type;
    bool byte_fallback, space_last, prefix, remove_extra_spaces, escape_spaces;
    view bos, eos, map;
} description;

/* ---- the file -------------------------------------------------------------------------------- */

typedef void take_fn(description *d, const ql_proto_field *f);

static view text_of(const ql_proto_field *f) {
    return (view){f->bytes, f->size};
}

static void take_trainer(description *d, const ql_proto_field *f) {
    if (f->number == TRAINER_TYPE) d->type = f->value;
    if (f->number == TRAINER_SPACE_LAST) d->space_last = f->value;
    if (f->number == TRAINER_BYTES) d->byte_fallback = f->value;
    if (f->number == TRAINER_BOS) d->bos = text_of(f);
    if (f->number == TRAINER_EOS) d->eos = text_of(f);
}

static void take_rules(description *d, const ql_proto_field *f) {
    if (f->number == RULES_MAP) d->map = text_of(f);
    if (f->number == RULES_PREFIX) d->prefix = f->value;
    if (f->number == RULES_EXTRA) d->remove_extra_spaces = f->value;
    if (f->number == RULES_ESCAPE) d->escape_spaces = f->value;
}

/* Reads one message inside the model. */
static bool take_message(description *d, const ql_proto_field *message, take_fn *take) {
    ql_proto_field f;
    if (!message->bytes) return false;
    ql_proto p = ql_proto_begin(message->bytes, message->size);
    while (ql_proto_next(&p, &f)) take(d, &f);
    return !p.damaged;
}

typedef struct {
    view text;
    float score;
    uint64_t kind;
} piece;

static bool read_piece(const ql_proto_field *message, piece *out) {
    ql_proto_field f;
    *out = (piece){.kind = QL_PIECE_NORMAL};
    if (!message->bytes) return false;
    ql_proto p = ql_proto_begin(message->bytes, message->size);
    while (ql_proto_next(&p, &f)) {
        if (f.number == PIECE_TEXT) out->text = text_of(&f);
        if (f.number == PIECE_KIND) out->kind = f.value;
        uint32_t bits = (uint32_t)f.value;
        if (f.number == PIECE_SCORE) memcpy(&out->score, &bits, sizeof bits);
    }
    return !p.damaged;
}

/* The first line of tiktoken's lists, which go by the same name: base64, a space and a number. */
static bool is_tiktoken(const ql_str *file) {
    const char *line = file->data ? file->data : "";
    size_t text = strspn(line, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=");
    size_t digits = line[text] == ' ' ? strspn(line + text + 1, "0123456789") : 0;
    char end = digits ? line[text + 1 + digits] : 0;
    return text > 0 && (end == '\n' || end == '\r');
}

static ql_err describe(const ql_str *file, const char *where, description *d) {
    QL_CHECK(!is_tiktoken(file), QL_DATA, "%s: is tiktoken's list of tokens, which does not say how words are cut; " QL_WRITE_TOKENIZER_JSON, where);
    *d = (description){.type = 1, .prefix = true, .remove_extra_spaces = true, .escape_spaces = true};
    d->bos = (view){"<s>", 3};
    d->eos = (view){"</s>", 4};
    ql_proto p = ql_proto_begin(file->data ? file->data : "", file->size);
    ql_proto_field f;
    piece one;
    bool good = true;
    while (good && ql_proto_next(&p, &f)) {
        if (f.number == MODEL_PIECE) {
            good = read_piece(&f, &one);
            d->n_pieces++;
            d->n_bytes += one.text.size;
        }
        if (f.number == MODEL_TRAINER) good = take_message(d, &f, take_trainer);
        if (f.number == MODEL_NORMALIZER) good = take_message(d, &f, take_rules);
    }
    QL_CHECK(good && !p.damaged && d->n_pieces, QL_DATA,
             "%s: is damaged, or not a sentencepiece model; fetch it again, or fetch the model's tokenizer.json", where);
    QL_CHECK(d->type == TYPE_BPE, QL_DATA,
             "%s: is a sentencepiece model of another type than BPE (%llu; 1 is Unigram), which is not supported; choose a model whose tokenizer is BPE",
             where, (unsigned long long)d->type);
    return ql_ok();
}

/* ---- pieces ---------------------------------------------------------------------------------- */

typedef struct {
    float score;
    int32_t id;
} scored;

static int highest_first(const void *a, const void *b) {
    float x = ((const scored *)a)->score, y = ((const scored *)b)->score;
    return (x < y) - (x > y);
}

static void rank(ql_scores *s, scored *list, size_t n) {
    qsort(list, n, sizeof *list, highest_first);
    uint32_t r = 0;
    for (size_t i = 0; i < n; i++) {
        if (i && list[i].score < list[i - 1].score) r++;
        s->rank[list[i].id] = r;
    }
}

/* A marker behind another character: words cannot be cut before every marker. */
static bool marker_inside(const char *text, size_t n) {
    const size_t m = strlen(MARKER);
    for (size_t at = 1; at + m <= n; at++) {
        bool here = memcmp(text + at, MARKER, m) == 0;
        if (here && !(at >= m && memcmp(text + at - m, MARKER, m) == 0)) return true;
    }
    return false;
}

static ql_err add_piece(ql_tokenizer *t, const piece *p, int32_t id, const char *where) {
    const char *text = p->text.bytes ? p->text.bytes : "";
    size_t n = p->text.size;
    bool spoken = p->kind == QL_PIECE_NORMAL || p->kind == QL_PIECE_USER;
    QL_CHECK(n > 0 && ql_utf8_check(text, n) == n && !memchr(text, 0, n), QL_DATA, "%s: piece %d is empty or not a text", where, id);
    QL_CHECK(p->kind >= QL_PIECE_NORMAL && p->kind <= QL_PIECE_BYTE && p->kind != QL_PIECE_UNUSED, QL_DATA,
             "%s: piece %d '%.*s' is of type %llu, which is not supported (1 to 4 and 6 are)", where, id, (int)ql_min((int64_t)n, 64), text,
             (unsigned long long)p->kind);
    QL_CHECK(!isnan(p->score), QL_DATA, "%s: the score of piece %d is not a number", where, id);
    QL_CHECK(ql_vocab_add(&t->model.vocab, text, n, id), QL_DATA, "%s: there are two pieces '%.*s'", where, (int)ql_min((int64_t)n, 64), text);
    t->model.scores->kind[id] = (uint8_t)p->kind;
    if (p->kind == QL_PIECE_USER) ql_trie_add(&t->model.scores->user, text, n, id);
    if (spoken && marker_inside(text, n)) t->model.cut_at_marker = false;
    if (p->kind != QL_PIECE_UNKNOWN) return ql_ok();
    QL_CHECK(t->model.unk_id < 0, QL_DATA, "%s: there are two pieces of type UNKNOWN", where);
    t->model.unk_id = id;
    return ql_ok();
}

static ql_err add_pieces(ql_tokenizer *t, const ql_str *file, scored *list, const char *where) {
    ql_proto p = ql_proto_begin(file->data, file->size);
    ql_proto_field f;
    int32_t id = 0;
    while (ql_proto_next(&p, &f)) {
        piece one;
        if (f.number != MODEL_PIECE || !read_piece(&f, &one)) continue;
        QL_TRY(add_piece(t, &one, id, where));
        list[id] = (scored){one.score, id};
        id++;
    }
    QL_CHECK(t->model.unk_id >= 0, QL_DATA, "%s: there is no piece of type UNKNOWN", where);
    return ql_ok();
}

static int32_t piece_of_kind(const ql_bpe *b, view text, ql_piece_kind kind) {
    int32_t id = text.bytes ? ql_vocab_find(&b->vocab, text.bytes, text.size) : -1;
    return id >= 0 && b->scores->kind[id] == kind ? id : -1;
}

static ql_err find_bytes(ql_bpe *b, const char *where) {
    for (int i = 0; i < 256; i++) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", i);
        b->byte_id[i] = piece_of_kind(b, (view){name, 6}, QL_PIECE_BYTE);
        QL_CHECK(!b->byte_fallback || b->byte_id[i] >= 0, QL_DATA, "%s: byte_fallback is set, but there is no piece %s for a byte", where, name);
    }
    return ql_ok();
}

static ql_err load_pieces(ql_tokenizer *t, const ql_str *file, const description *d, const char *where) {
    ql_bpe *b = &t->model;
    b->unk_id = -1;
    b->byte_fallback = d->byte_fallback;
    b->cut_at_marker = true;
    ql_vocab_open(&b->vocab, d->n_pieces, d->n_bytes, d->n_pieces);
    b->scores = QL_NEW(ql_scores);
    b->scores->kind = QL_NEW_ARRAY(uint8_t, d->n_pieces);
    b->scores->rank = QL_NEW_ARRAY(uint32_t, d->n_pieces);
    ql_trie_open(&b->scores->user);
    scored *list = QL_NEW_ARRAY(scored, d->n_pieces);
    ql_err e = add_pieces(t, file, list, where);
    if (!ql_bad(e)) rank(b->scores, list, d->n_pieces);
    free(list);
    QL_TRY(e);
    /* The marker must be known, so that it ends a run of unknown characters wherever that is cut. */
    if (piece_of_kind(b, (view){MARKER, strlen(MARKER)}, QL_PIECE_NORMAL) < 0) b->cut_at_marker = false;
    return find_bytes(b, where);
}

/* ---- what stands around the pieces ----------------------------------------------------------- */

static ql_err load_rules(ql_tokenizer *t, const description *d, const char *where) {
    ql_sentencepiece_rules *r = QL_NEW(ql_sentencepiece_rules);
    *r = (ql_sentencepiece_rules){.user = &t->model.scores->user,
                                  .remove_extra_spaces = d->remove_extra_spaces,
                                  .escape_spaces = d->escape_spaces,
                                  .space_last = d->space_last};
    ql_sentencepiece_pipeline(&t->normalizer, r, d->prefix ? QL_PREFIX_FIRST : QL_PREFIX_NEVER);
    QL_CHECK(ql_charsmap_open(&r->map, d->map.bytes, d->map.size), QL_DATA, "%s: precompiled_charsmap is damaged; fetch the file again", where);
    return ql_ok();
}

static ql_err load_decoder(ql_tokenizer *t, const description *d, const char *where) {
    static const char start[] = "{\"decoder\": {\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Replace\", \"pattern\": {\"String\": \"\\u2581\"}, "
                                "\"content\": \" \"}, {\"type\": \"ByteFallback\"}, {\"type\": \"Fuse\"}";
    static const char strip[] = ", {\"type\": \"Strip\", \"content\": \" \", \"start\": 1, \"stop\": 0}";
    ql_str text = {0};
    ql_json *json = NULL;
    ql_str_printf(&text, "%s%s]}}", start, d->prefix && !d->space_last ? strip : "");
    ql_err e = ql_json_parse(text.data, text.size, where, 1, &json);
    if (!ql_bad(e)) e = ql_pipeline_load(&ql_decoders, json, where, &t->decoder);
    ql_json_free(json);
    ql_str_free(&text);
    return e;
}

/* Control pieces never come from text, unless as the special tokens that transformers makes of them. */
static ql_err load_controls(ql_tokenizer *t) {
    const ql_bpe *b = &t->model;
    ql_added_begin(&t->added, b);
    for (size_t id = 0; id < b->vocab.n_ids; id++) {
        if (b->scores->kind[id] != QL_PIECE_CONTROL && b->scores->kind[id] != QL_PIECE_UNKNOWN) continue;
        ql_added_token flags = {.special = true, .listed = true};
        QL_TRY(ql_added_put(&t->added, b, flags, b->vocab.token[id].text, b->vocab.token[id].size));
    }
    return ql_ok();
}

static ql_err load(ql_tokenizer *t, const ql_str *file, const char *where) {
    description d = {0};
    QL_TRY(describe(file, where, &d));
    QL_TRY(load_pieces(t, file, &d, where));
    QL_TRY(load_rules(t, &d, where));
    QL_TRY(load_decoder(t, &d, where));
    ql_ids_push(&t->template, QL_TEXT);
    t->bos_id = piece_of_kind(&t->model, d.bos, QL_PIECE_CONTROL);
    t->eos_id = piece_of_kind(&t->model, d.eos, QL_PIECE_CONTROL);
    t->fingerprint = ql_hash64(file->data, file->size, 1);
    return load_controls(t);
}

ql_err ql_sentencepiece_load(const char *path, ql_tokenizer *t) {
    ql_str file = {0};
    ql_err e = ql_file_read(path, FILE_LIMIT, &file);
    if (!ql_bad(e)) e = load(t, &file, path);
    ql_str_free(&file);
    return e;
}
