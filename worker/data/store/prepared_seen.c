#include "worker/data/store/prepared_seen.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cache_folder.h"
#include "base/file.h"
#include "base/hash.h"

enum { VERSION = 1, LIMIT = 64 << 20 };
static const ql_cache_kind kind = {"dataset_cache", ".digests"};

bool ql_mark_is_settled(const ql_file_mark *m, double now) {
    return (double)m->changed * 1e-9 < now - 2 && m->changed % 1000000000 != 0;
}

/* For these files, and for their state. */
static void name_of(const ql_file_list *files, const ql_file_mark *mark, char name[64]) {
    const uint32_t version = VERSION;
    ql_hasher *place = ql_hasher_open(), *state = ql_hasher_open();
    char       place_text[65], state_text[65];
    ql_hasher_add(state, &version, sizeof version);
    for (size_t i = 0; i < files->count; i++) {
        char *real = realpath(files->path[i], NULL);
        ql_hasher_add_string(place, real ? real : files->path[i]);
        ql_hasher_add_string(state, real ? real : files->path[i]);
        ql_hasher_add_string(state, files->path[i]);
        ql_hasher_add(state, &mark[i], sizeof mark[i]);
        free(real);
    }
    ql_sha256 p = ql_hasher_close(place), s = ql_hasher_close(state);
    ql_sha256_text(&p, place_text);
    ql_sha256_text(&s, state_text);
    snprintf(name, 64, "%.*s-%.32s%s", QL_CACHE_PLACE_DIGITS, place_text, state_text, kind.ending);
}

static bool take(const ql_map *m, ql_str *out) {
    ql_hash128_value digest;
    if (m->size <= sizeof digest || m->size > LIMIT) return false;
    const char *text = (const char *)m->data + sizeof digest;
    size_t      n = m->size - sizeof digest;
    memcpy(&digest, m->data, sizeof digest);
    ql_hash128_value now = ql_hash128(text, n);
    if (now.low != digest.low || now.high != digest.high) return false;
    ql_str_put(out, text, n);
    return true;
}

bool ql_seen_find(const char *folder, const ql_file_list *files, const ql_file_mark *mark, ql_str *out) {
    char   name[64];
    ql_map m;
    name_of(files, mark, name);
    char *path = ql_path_join(folder, name);
    bool  found = !ql_bad(ql_map_open_own(path, &m)) && take(&m, out);
    if (found) (void)utimensat(AT_FDCWD, path, NULL, AT_SYMLINK_NOFOLLOW); /* it was used */
    ql_map_close(&m);
    free(path);
    return found;
}

void ql_seen_keep(const char *folder, const ql_file_list *files, const ql_file_mark *mark, const ql_str *text) {
    char             name[64];
    ql_str           whole = {0};
    ql_hash128_value digest = ql_hash128(text->data, text->size);
    name_of(files, mark, name);
    char *path = ql_path_join(folder, name);
    ql_str_put(&whole, &digest, sizeof digest);
    ql_str_put(&whole, text->data, text->size);
    ql_cache_folder_clean(&kind, folder, name);
    (void)ql_bad(ql_file_replace(path, whole.data, whole.size));
    ql_str_free(&whole);
    free(path);
}
