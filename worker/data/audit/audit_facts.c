#include "worker/data/audit/audit_facts.h"

#include <stdlib.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"

/* ---- reading --------------------------------------------------------------------------------- */

enum { CONFIG_BYTES = 16 << 20, MOST_STOPS = 64 };
static const char *const file_name[] = {"generation_config.json", "config.json"};

static void add_stop(ql_audit_facts *f, int64_t id) {
    if (id < 0 || id > INT32_MAX || f->stops == MOST_STOPS || ql_audit_stops(f, (int32_t)id)) return;
    f->stop = ql_realloc(f->stop, (f->stops + 1) * sizeof *f->stop);
    f->stop[f->stops++] = (int32_t)id;
}

/* A number, or a list of them. */
static void add_stops(const ql_json *eos, ql_audit_facts *f) {
    add_stop(f, ql_json_int(eos, -1));
    for (size_t i = 0; i < ql_json_size(eos); i++) add_stop(f, ql_json_int(ql_json_at(eos, i), -1));
}

static ql_err read_file(const char *folder, const char *name, ql_audit_facts *f) {
    char    *path = ql_path_join(folder, name);
    ql_json *json = NULL;
    ql_err   e = ql_file_exists(path) ? ql_json_read(path, CONFIG_BYTES, &json) : ql_ok();
    if (!f->stops_from) add_stops(ql_json_get(json, "eos_token_id"), f);
    if (f->stops > 0 && !f->stops_from) {
        f->stops_from = name;
        f->certain = name == file_name[0] && !ql_json_bool(ql_json_get(json, "_from_model_config"), false);
    }
    if (!f->bos_from) f->bos = ql_json_int(ql_json_get(json, "bos_token_id"), -1);
    if (f->bos >= 0 && !f->bos_from) f->bos_from = name;
    ql_json_free(json);
    free(path);
    return e;
}

ql_err ql_audit_facts_open(const char *model_folder, const ql_tokenizer *t, int64_t vocab, int64_t positions, ql_audit_facts *out) {
    *out = (ql_audit_facts){.tokenizer = t, .bos = -1, .vocab = vocab, .positions = positions};
    ql_err e = ql_ok();
    for (size_t i = 0; i < QL_LEN(file_name) && !ql_bad(e); i++) e = read_file(model_folder, file_name[i], out);
    out->model_stops = out->stops;
    if (!out->certain) add_stop(out, ql_tokenizer_eos_id(t));
    out->digest = ql_hash64(out->stop, out->stops * sizeof *out->stop, (uint64_t)positions);
    if (ql_bad(e)) ql_audit_facts_close(out);
    return e;
}

void ql_audit_facts_close(ql_audit_facts *f) {
    free(f->stop);
    *f = (ql_audit_facts){0};
}

bool ql_audit_stops(const ql_audit_facts *f, int32_t id) {
    for (size_t i = 0; i < f->stops; i++)
        if (f->stop[i] == id) return true;
    return false;
}

/* ---- tokenizer and model --------------------------------------------------------------------- */

/* "</s> is 2; generation_config.json has 5" */
static void differs(const ql_audit_facts *f, ql_audit_check c, int32_t id, const char *file, int64_t other, ql_audit *a) {
    size_t      n = 0;
    const char *piece = ql_tokenizer_piece(f->tokenizer, id, &n);
    char       *example = ql_format("%.*s is %d; %s has %lld", (int)ql_min((int64_t)n, 40), piece ? piece : "?", id, file, (long long)other);
    ql_audit_fact(a, c, file, example);
    free(example);
}

static bool begins_with_bos(const ql_audit_facts *f) {
    ql_encoder *e = ql_encoder_open(f->tokenizer);
    ql_ids      ids = {0};
    bool        begins = !ql_bad(ql_encode(e, "a", 1, true, &ids)) && ids.count > 0 && ids.id[0] == ql_tokenizer_bos_id(f->tokenizer);
    free(ids.id);
    ql_encoder_close(e);
    return begins;
}

static bool is_of_model(const ql_audit_facts *f, int32_t id) {
    for (size_t i = 0; i < f->model_stops; i++)
        if (f->stop[i] == id) return true;
    return false;
}

static void look_at_eos(const ql_audit_facts *f, ql_audit *a) {
    if (!ql_tokenizer_eos(f->tokenizer)) ql_audit_fact(a, QL_AUDIT_NO_EOS, NULL, NULL);
    else if (f->model_stops > 0 && !is_of_model(f, ql_tokenizer_eos_id(f->tokenizer)))
        differs(f, QL_AUDIT_EOS_DIFFERS, ql_tokenizer_eos_id(f->tokenizer), f->stops_from, f->stop[0], a);
}

static void look_at_bos(const ql_audit_facts *f, ql_audit *a) {
    int32_t bos = ql_tokenizer_bos_id(f->tokenizer);
    if (bos >= 0 && f->bos >= 0 && bos != f->bos && begins_with_bos(f)) differs(f, QL_AUDIT_BOS_DIFFERS, bos, f->bos_from, f->bos, a);
}

void ql_audit_model(const ql_audit_facts *f, ql_audit *a) {
    enum { FEW = 1024 }; /* so many are padding, or a toy */
    int64_t size = ql_tokenizer_size(f->tokenizer);
    char   *sizes = ql_format("%lld and %lld", (long long)size, (long long)f->vocab);
    look_at_eos(f, a);
    look_at_bos(f, a);
    if (size > f->vocab) ql_audit_fact(a, QL_AUDIT_VOCAB_LARGE, NULL, sizes);
    if (size < f->vocab / 2 && f->vocab - size > FEW) ql_audit_fact(a, QL_AUDIT_VOCAB_SMALL, NULL, sizes);
    free(sizes);
}
