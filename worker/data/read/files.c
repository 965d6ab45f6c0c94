#include "worker/data/read/files.h"

#include <dirent.h>
#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/log.h"

/* A folder that is being looked through, and those above it. */
typedef struct folder folder;
struct folder {
    const folder *above;
    dev_t         device;
    ino_t         inode;
};

typedef struct {
    ql_file_list *files;
    char         *left_out; /* the first file that is not named as data; owned */
    size_t        n_left_out;
} search;

static ql_err add_path(search *s, const folder *above, char *path);

static bool ends_in(const char *name, size_t n, const char *ending) {
    size_t m = strlen(ending);
    return n > m && strncasecmp(name + n - m, ending, m) == 0;
}

static const char *const compression[] = {".gz", ".zst", ".zstd"};

static bool is_compressed(const char *name) {
    for (size_t i = 0; i < QL_LEN(compression); i++)
        if (ends_in(name, strlen(name), compression[i])) return true;
    return false;
}

static bool is_named_as_data(const char *name) {
    static const char *const data[] = {".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".txt", ".text"};
    size_t n = is_compressed(name) ? (size_t)(strrchr(name, '.') - name) : strlen(name);
    for (size_t i = 0; i < QL_LEN(data); i++)
        if (ends_in(name, n, data[i])) return true;
    return false;
}

static int by_bytes(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static ql_err look_through(search *s, const folder *here, const char *path) {
    DIR *d = opendir(path);
    QL_CHECK(d, QL_DATA, "%s: the folder cannot be read: %s", path, strerror(errno));
    ql_err e = ql_ok();
    for (struct dirent *entry; !ql_bad(e) && (entry = readdir(d));)
        if (entry->d_name[0] != '.') e = add_path(s, here, ql_path_join(path, entry->d_name));
    closedir(d);
    return e;
}

static ql_err add_folder(search *s, const folder *above, const char *path, const struct stat *st) {
    for (const folder *f = above; f; f = f->above)
        QL_CHECK(f->device != st->st_dev || f->inode != st->st_ino, QL_DATA,
                 "%s: is a symbolic link to a folder above it, so that the folder has no end; remove the link", path);
    return look_through(s, &(folder){above, st->st_dev, st->st_ino}, path);
}

/* Takes the path over. */
static ql_err add_path(search *s, const folder *above, char *path) {
    struct stat st;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
        ql_err e = add_folder(s, above, path, &st);
        free(path);
        return e;
    }
    if (!above || is_named_as_data(path)) QL_PUSH(s->files->path, s->files->count, s->files->capacity, path);
    else if (s->n_left_out++ == 0) s->left_out = path;
    else free(path);
    return ql_ok();
}

static ql_err match(search *s, const char *pattern) {
    glob_t g = {0};
    int    said = glob(pattern, GLOB_NOSORT, NULL, &g);
    ql_err e = said == 0 || said == GLOB_NOMATCH ? ql_ok() : ql_fail(QL_DATA, "%s: the pattern cannot be followed", pattern);
    for (size_t i = 0; i < g.gl_pathc && !ql_bad(e); i++) e = add_path(s, NULL, ql_strdup(g.gl_pathv[i]));
    globfree(&g);
    return e;
}

static ql_err check_found(const search *s, const char *path, bool is_folder) {
    QL_CHECK(s->files->count > 0 || !is_folder, QL_DATA,
             "%s: no file in this folder is named as data (%zu are not%s%s); expected names that end in .jsonl, .json, .csv, .tsv or .txt, or these "
             "with .gz or .zst",
             path, s->n_left_out, s->left_out ? ", the first is " : "", s->left_out ? s->left_out : "");
    QL_CHECK(s->files->count > 0, QL_DATA, "%s: no file matches this pattern; look at it with ls, and mind that hidden files are left out", path);
    if (s->n_left_out > 0)
        ql_info("%s: left out for their names: %zu, the first is %s", path, s->n_left_out, s->left_out);
    return ql_ok();
}

static ql_err find(search *s, const char *path) {
    struct stat st;
    bool exists = stat(path, &st) == 0, is_folder = exists && S_ISDIR(st.st_mode);
    if (exists || !strpbrk(path, "*?[")) QL_TRY(add_path(s, NULL, ql_strdup(path)));
    else QL_TRY(match(s, path));
    QL_TRY(check_found(s, path, is_folder));
    qsort(s->files->path, s->files->count, sizeof *s->files->path, by_bytes);
    return ql_ok();
}

ql_err ql_files_of(const char *path, ql_file_list *out) {
    *out = (ql_file_list){0};
    search s = {.files = out};
    ql_err e = find(&s, path);
    if (ql_bad(e)) ql_file_list_free(out);
    free(s.left_out);
    return e;
}

void ql_file_list_free(ql_file_list *l) {
    for (size_t i = 0; i < l->count; i++) free(l->path[i]);
    free(l->path);
    *l = (ql_file_list){0};
}

uint64_t ql_files_text_bytes(const ql_datasets *sets) {
    enum { TYPICAL_RATIO = 6 };
    uint64_t bytes = 0;
    for (size_t i = 0; i < sets->count; i++) {
        ql_file_list l;
        if (ql_bad(ql_files_of(sets->item[i].path, &l))) continue;
        for (size_t k = 0; k < l.count; k++) bytes += ql_file_bytes(l.path[k]) * (is_compressed(l.path[k]) ? TYPICAL_RATIO : 1);
        ql_file_list_free(&l);
    }
    return bytes;
}
