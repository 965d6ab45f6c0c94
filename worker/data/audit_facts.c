#include "worker/data/audit_facts.h"

#include <stdlib.h>

#include "base/file.h"
#include "base/json.h"

enum { CONFIG_BYTES = 16 << 20 };

static void add_stop(ql_audit_facts *f, int64_t id) {
    if (id < 0 || id > INT32_MAX) return;
    for (size_t i = 0; i < f->stops; i++)
        if (f->stop[i] == id) return;
    f->stop = ql_realloc(f->stop, (f->stops + 1) * sizeof *f->stop);
    f->stop[f->stops++] = (int32_t)id;
}

/* A number, or a list of them. */
static ql_err add_stops_of(const char *folder, const char *name, ql_audit_facts *f) {
    char    *path = ql_path_join(folder, name);
    ql_json *json = NULL;
    ql_err   e = ql_file_exists(path) ? ql_json_read(path, CONFIG_BYTES, &json) : ql_ok();
    const ql_json *eos = ql_json_get(json, "eos_token_id");
    add_stop(f, ql_json_int(eos, -1));
    for (size_t i = 0; i < ql_json_size(eos); i++) add_stop(f, ql_json_int(ql_json_at(eos, i), -1));
    ql_json_free(json);
    free(path);
    return e;
}

ql_err ql_audit_facts_open(const char *model_folder, const ql_tokenizer *t, ql_audit_facts *out) {
    *out = (ql_audit_facts){.tokenizer = t};
    ql_err e = add_stops_of(model_folder, "generation_config.json", out);
    if (!ql_bad(e) && out->stops == 0) e = add_stops_of(model_folder, "config.json", out);
    add_stop(out, ql_tokenizer_eos_id(t));
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
