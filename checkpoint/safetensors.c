#include "checkpoint/safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/json.h"
#include "checkpoint/safetensors_header.h"

enum { MAX_INDEX = 32 << 20, MAX_SHARDS = 2000 };

struct ql_tensor_set {
    ql_stored_list list; /* by name */
    ql_map **file;
    size_t n_files, file_capacity;
};

size_t ql_tensor_set_size(const ql_tensor_set *s) {
    return s->list.count;
}

const ql_stored *ql_tensor_set_at(const ql_tensor_set *s, size_t i) {
    return &s->list.at[i];
}

static int name_order(const void *name, const void *stored) {
    return strcmp(name, ((const ql_stored *)stored)->name);
}

const ql_stored *ql_tensor_set_find(const ql_tensor_set *s, const char *name) {
    if (!s->list.count) return NULL;
    return bsearch(name, s->list.at, s->list.count, sizeof *s->list.at, name_order);
}

void ql_tensor_set_close(ql_tensor_set *s) {
    if (!s) return;
    for (size_t i = 0; i < s->list.count; i++) free((void *)(uintptr_t)s->list.at[i].name);
    for (size_t i = 0; i < s->n_files; i++) {
        ql_map_close(s->file[i]);
        free(s->file[i]);
    }
    free(s->list.at);
    free(s->file);
    free(s);
}

/* ---- opening --------------------------------------------------------------------------- */

/* `shard`: the name of a file of the folder `path`, or NULL for `path` itself. */
static ql_err add_file(ql_tensor_set *s, const char *path, const char *shard) {
    ql_map *m = QL_NEW(ql_map);
    ql_err e = shard ? ql_map_open_named(path, shard, m) : ql_map_open(path, m);
    if (ql_bad(e)) {
        free(m);
        return e;
    }
    QL_PUSH(s->file, s->n_files, s->file_capacity, m);
    return ql_header_read(m, &s->list);
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const ql_stored *)a)->name, ((const ql_stored *)b)->name);
}

static ql_err sort_by_name(ql_tensor_set *s) {
    ql_stored *t = s->list.at;
    if (s->list.count) qsort(t, s->list.count, sizeof *t, by_name);
    for (size_t i = 1; i < s->list.count; i++) {
        if (strcmp(t[i - 1].name, t[i].name) != 0) continue;
        QL_CHECK(t[i].file != t[i - 1].file, QL_DATA, "%s: tensor %s: is there twice; save the file again",
                 t[i].file->path, t[i].name);
        return ql_fail(QL_DATA, "%s: tensor %s: is in %s too; remove shards that do not belong to this model",
                       t[i].file->path, t[i].name, t[i - 1].file->path);
    }
    return ql_ok();
}

ql_err ql_tensor_file_open(const char *path, ql_tensor_set **out) {
    ql_tensor_set *s = QL_NEW(ql_tensor_set);
    ql_err e = add_file(s, path, NULL);
    if (!ql_bad(e)) e = sort_by_name(s);
    *out = ql_bad(e) ? NULL : s;
    if (ql_bad(e)) ql_tensor_set_close(s);
    return e;
}

/* ---- shards ---------------------------------------------------------------------------- */

static const ql_map *file_named(const ql_tensor_set *s, const char *name) {
    for (size_t i = s->n_files; i > 0; i--) {
        const char *slash = strrchr(s->file[i - 1]->path, '/');
        if (!strcmp(slash ? slash + 1 : s->file[i - 1]->path, name)) return s->file[i - 1];
    }
    return NULL;
}

static ql_err add_shard(ql_tensor_set *s, const char *folder, const char *index, const char *tensor, const char *name, size_t size) {
    QL_CHECK(name, QL_DATA, "%s: tensor \"%.100s\": its shard is not a file name; save the model again", index, tensor);
    QL_CHECK(ql_name_is_plain(name, size), QL_DENIED,
             "%s: names a shard that is no plain name in its folder; do not use this model, or save it again", index);
    if (file_named(s, name)) return ql_ok();
    QL_CHECK(s->n_files < MAX_SHARDS, QL_DATA, "%s: names more than %d shards", index, MAX_SHARDS);
    char *path = ql_path_join(folder, name);
    bool there = ql_file_exists(path);
    free(path);
    ql_err e = add_file(s, folder, name);
    QL_CHECK(there || e.code != QL_DATA, QL_DATA, "%s: names the shard %s, which is missing; fetch the whole model folder",
             index, name);
    return e;
}

/* Shards may hold tensors that the index does not name: transformers reads those too. */
static ql_err check_map(const ql_tensor_set *s, const char *index, const ql_json *map) {
    for (void *it = ql_json_first(map); it; it = ql_json_next(map, it)) {
        const char *tensor = ql_json_key(it), *name = ql_json_text(ql_json_value(it), NULL);
        const ql_stored *t = ql_tensor_set_find(s, tensor);
        QL_CHECK(t, QL_DATA, "%s: tensor %s: is not in %s; fetch the whole model folder again", index, tensor, name);
        QL_CHECK(t->file == file_named(s, name), QL_DATA,
                 "%s: tensor %s: is in %s instead of %s; fetch the whole model folder again", index, tensor,
                 t->file->path, name);
    }
    return ql_ok();
}

static ql_err open_shards(ql_tensor_set *s, const char *folder, const char *index, const ql_json *document) {
    const ql_json *map = ql_json_get(document, "weight_map");
    QL_CHECK(ql_json_is(map, QL_JSON_OBJECT), QL_DATA, "%s: has no object \"weight_map\"; save the model again", index);
    for (void *it = ql_json_first(map); it; it = ql_json_next(map, it)) {
        size_t size;
        const char *name = ql_json_text(ql_json_value(it), &size);
        QL_TRY(add_shard(s, folder, index, ql_json_key(it), name, size));
    }
    QL_TRY(sort_by_name(s));
    return check_map(s, index, map);
}

static ql_err open_index(const char *folder, const char *index, ql_tensor_set **out) {
    ql_json *document;
    QL_TRY(ql_json_read(index, MAX_INDEX, &document));
    ql_tensor_set *s = QL_NEW(ql_tensor_set);
    ql_err e = open_shards(s, folder, index, document);
    ql_json_free(document);
    *out = ql_bad(e) ? NULL : s;
    if (ql_bad(e)) ql_tensor_set_close(s);
    return e;
}

static ql_err no_weights(const char *folder) {
    char *old = ql_path_join(folder, "pytorch_model.bin"),
         *shards = ql_path_join(folder, "pytorch_model.bin.index.json");
    bool pickled = ql_file_exists(old) || ql_file_exists(shards);
    free(old);
    free(shards);
    QL_CHECK(!pickled, QL_DATA,
             "%s: holds weights as pytorch_model.bin only; convert them: load the folder with "
             "transformers and save_pretrained() it, which writes safetensors",
             folder);
    return ql_fail(QL_DATA,
                   "%s: has neither model.safetensors nor model.safetensors.index.json; is this a Hugging Face "
                   "model folder?",
                   folder);
}

ql_err ql_tensor_folder_open(const char *folder, ql_tensor_set **out) {
    char *single = ql_path_join(folder, "model.safetensors"),
         *index = ql_path_join(folder, "model.safetensors.index.json");
    ql_err e;
    *out = NULL;
    if (ql_file_exists(single))
        e = ql_tensor_file_open(single, out);
    else if (ql_file_exists(index))
        e = open_index(folder, index, out);
    else
        e = no_weights(folder);
    free(single);
    free(index);
    return e;
}

/* ---- what a set is --------------------------------------------------------------------- */

enum { SAMPLE = 4096 };

/* Asked for all at once, since a disk answers many questions as fast as one. */
static void expect_samples(const ql_tensor_set *s) {
    for (size_t i = 0; i < s->list.count; i++) {
        const ql_stored *t = &s->list.at[i];
        size_t at = (size_t)(t->data - t->file->data), sample = t->bytes < SAMPLE ? t->bytes : SAMPLE;
        ql_map_expect(t->file, at, sample);
        ql_map_expect(t->file, at + t->bytes - sample, sample);
    }
}

uint64_t ql_tensor_set_fingerprint(const ql_tensor_set *s) {
    uint64_t h = s->list.count;
    expect_samples(s);
    for (size_t i = 0; i < s->list.count; i++) {
        const ql_stored *t = &s->list.at[i];
        size_t sample = t->bytes < SAMPLE ? t->bytes : SAMPLE;
        h = ql_hash64(t->name, strlen(t->name), h);
        h = ql_hash64(t->dtype_name, strlen(t->dtype_name), h);
        h = ql_hash64(t->dim, sizeof t->dim[0] * (size_t)t->rank, h);
        h = ql_hash64(&t->bytes, sizeof t->bytes, h);
        h = ql_hash64(t->data, sample, h);
        h = ql_hash64(t->data + t->bytes - sample, sample, h);
        ql_stored_release(t);
    }
    return h;
}

void ql_stored_expect(const ql_stored *t) {
    ql_map_expect(t->file, (size_t)(t->data - t->file->data), t->bytes);
}

void ql_stored_release_part(const ql_stored *t, size_t from, size_t bytes) {
    ql_map_release(t->file, (size_t)(t->data - t->file->data) + from, bytes);
}

void ql_stored_release(const ql_stored *t) {
    ql_map_release(t->file, (size_t)(t->data - t->file->data), t->bytes);
}
