#include "base/cache_folder.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/file.h"

/* As the XDG base directory specification has it: a path that is not absolute counts as not given. */
static char *automatic_folder(void) {
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (cache && *cache == '/') return ql_path_join(cache, "qlora");
    return home && *home == '/' ? ql_path_join(home, ".cache/qlora") : NULL;
}

char *ql_cache_folder(const char *wanted) {
    return strcmp(wanted, "auto") ? ql_strdup(wanted) : automatic_folder();
}

bool ql_cache_folder_is_safe(const ql_cache_kind *kind, const char *folder) {
    struct stat st;
    bool        exists = stat(folder, &st) == 0;
    if (!exists && errno == ENOENT) return true;
    const char *fault = !exists                     ? "cannot be looked at"
                        : !S_ISDIR(st.st_mode)      ? "is not a folder"
                        : st.st_uid != geteuid()    ? "belongs to another user"
                        : (st.st_mode & 022) != 0   ? "can be written by others"
                                                    : NULL;
    if (fault) ql_info("note: %s: %s %s; it is not used", kind->config_key, folder, fault);
    return !fault;
}

typedef struct {
    char           *path;
    struct timespec used;
} cached;

typedef struct {
    cached *item;
    size_t  count, capacity;
} cached_list;

static bool is_hex(const char *text, size_t n) {
    return strspn(text, "0123456789abcdef") >= n;
}

/* "0123456789abcdef-" 32 digits and the ending, and what is appended for as long as it is being made. */
static bool is_ours(const ql_cache_kind *kind, const char *name, bool *is_temporary) {
    static const char mark[] = ".tmp-", lock[] = ".lock";
    const char       *end = kind->ending;
    size_t            key = QL_CACHE_PLACE_DIGITS + 1, tail = key + 32;
    if (strlen(name) < tail + strlen(end) || !is_hex(name, QL_CACHE_PLACE_DIGITS) || name[key - 1] != '-') return false;
    if (!is_hex(name + key, 32) || strncmp(name + tail, end, strlen(end)) != 0) return false;
    const char *rest = name + tail + strlen(end);
    *is_temporary = !strncmp(rest, mark, strlen(mark)) || !strcmp(rest, lock);
    return *is_temporary || !*rest;
}

static int last_used_first(const void *a, const void *b) {
    const struct timespec *x = &((const cached *)a)->used, *y = &((const cached *)b)->used;
    if (x->tv_sec != y->tv_sec) return x->tv_sec < y->tv_sec ? 1 : -1;
    return x->tv_nsec < y->tv_nsec ? 1 : x->tv_nsec > y->tv_nsec ? -1 : 0;
}

/* Removes one file if its age allows it; else lists it if it is of this place. */
static void look_at(const ql_cache_kind *kind, const char *folder, const char *entry, const char *name, cached_list *same_place) {
    const double day = 24 * 3600;
    bool         is_temporary;
    struct stat  st;
    if (!is_ours(kind, entry, &is_temporary) || !strcmp(entry, name)) return;
    char  *path = ql_path_join(folder, entry);
    bool   is_file = lstat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid();
    double age = is_file ? ql_wall_seconds() - (double)st.st_mtime : 0;
    if (is_file && age > (is_temporary ? 1 : 30) * day) {
        unlink(path);
    } else if (is_file && !is_temporary && !strncmp(entry, name, QL_CACHE_PLACE_DIGITS)) {
        cached kept = {path, st.st_mtim};
        QL_PUSH(same_place->item, same_place->count, same_place->capacity, kept);
        return;
    }
    free(path);
}

void ql_cache_folder_clean(const ql_cache_kind *kind, const char *folder, const char *name) {
    enum { KEPT = 3 };
    cached_list same_place = {0};
    DIR        *dir = opendir(folder);
    if (!dir) return;
    for (struct dirent *entry; (entry = readdir(dir));) look_at(kind, folder, entry->d_name, name, &same_place);
    closedir(dir);
    if (same_place.count) qsort(same_place.item, same_place.count, sizeof *same_place.item, last_used_first);
    for (size_t i = 0; i < same_place.count; i++) {
        if (i >= KEPT) unlink(same_place.item[i].path);
        free(same_place.item[i].path);
    }
    free(same_place.item);
}
