/* What a cache must be the cache of. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "worker/model/cache_internal.h"

static void add(ql_hasher *h, const void *bytes, size_t n) {
    ql_hasher_add(h, bytes, n);
}

/* The options that decide the bits. */
static void add_options(ql_hasher *h, const ql_load_options *o) {
    uint32_t numbers[] = {QL_CACHE_VERSION, QL_BLOCK, o->double_quant ? QL_NESTED_BLOCK : 0};
    add(h, numbers, sizeof numbers);
    ql_hasher_add_string(h, o->quant->name);
}

static const ql_stored *tensor_of(const ql_base_cache *c, size_t i) {
    const ql_model *m = c->model;
    return ql_tensor_set_find(m->tensors, m->graph.slot[c->slot[i]].name);
}

/* Where the matrix comes from, and the state of that file. */
static void add_matrix(ql_hasher *h, const ql_stored *t) {
    uint64_t place[] = {(uint64_t)t->dim[0], (uint64_t)t->dim[1], (uint64_t)(t->data - t->file->data)};
    ql_hasher_add_string(h, t->name);
    ql_hasher_add_string(h, t->dtype_name);
    add(h, place, sizeof place);
    add(h, &t->file->mark, sizeof t->file->mark);
}

static ql_sha256 place_of(const ql_model *m) {
    ql_hasher *h = ql_hasher_open();
    char      *path = realpath(m->folder, NULL);
    ql_hasher_add_string(h, path ? path : m->folder);
    add_options(h, &m->options);
    free(path);
    return ql_hasher_close(h);
}

void ql_cache_identify(ql_base_cache *c) {
    ql_hasher *h = ql_hasher_open();
    add_options(h, &c->model->options);
    add(h, &c->model->fingerprint, sizeof c->model->fingerprint);
    for (size_t i = 0; i < c->header.matrices; i++) add_matrix(h, tensor_of(c, i));
    ql_sha256 key = ql_hasher_close(h), place = place_of(c->model);
    char      key_text[65], place_text[65];
    memcpy(c->header.key, key.byte, sizeof c->header.key);
    ql_sha256_text(&key, key_text);
    ql_sha256_text(&place, place_text);
    snprintf(c->name, sizeof c->name, "%.*s-%.32s.base", QL_CACHE_PLACE_DIGITS, place_text, key_text);
}

static double seconds(int64_t nanoseconds) {
    return (double)nanoseconds * 1e-9;
}

/* Two changes within one tick of the file system's clock leave the same mark, so that a file is
 * trusted only some seconds after its last change; and not where changes are told to the second. */
bool ql_cache_model_is_settled(const ql_base_cache *c) {
    const double settled_after = 2;
    for (size_t i = 0; i < c->header.matrices; i++) {
        const ql_map *file = tensor_of(c, i)->file;
        ql_file_mark  now;
        bool          same = ql_file_mark_read(file->path, &now) && !memcmp(&now, &file->mark, sizeof now);
        bool          is_old = seconds(file->mark.changed) < c->opened - settled_after;
        if (same && is_old && file->mark.changed % 1000000000 != 0) continue;
        ql_info("note: the quantised base is not kept: %s %s", file->path,
                !same     ? "was changed meanwhile"
                : !is_old ? "was changed a moment ago"
                          : "lies where the time of changes is not kept exactly");
        return false;
    }
    return true;
}
