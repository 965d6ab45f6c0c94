#include "checkpoint/checkpoint_folder.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/process.h"
#include "checkpoint/checkpoint.h"

static const char *const ROLE[] = {"new", "old", "gone"};

/* Who made a temporary folder. */
typedef struct {
    int64_t step;
    int role;
    unsigned host;
    long pid;
    uint64_t start; /* clock ticks after boot; tells a process from a later one with its number */
} maker;

char *ql_checkpoint_path(const char *output_dir, int64_t step) {
    char *name = ql_format("checkpoint-%08" PRId64, step);
    char *path = ql_path_join(output_dir, name);
    free(name);
    return path;
}

static unsigned host_tag(void) {
    char name[256] = "";
    if (gethostname(name, sizeof name - 1) != 0) name[0] = 0;
    return (unsigned)ql_hash64(name, strlen(name), 0);
}

char *ql_checkpoint_tmp_path(const char *output_dir, int64_t step, ql_tmp_role role) {
    long pid = getpid();
    char *name = ql_format(".tmp-checkpoint-%08" PRId64 "-%s-%08x-%ld-%" PRIu64, step, ROLE[role], host_tag(), pid,
                           ql_process_start(pid));
    char *path = ql_path_join(output_dir, name);
    free(name);
    return path;
}

int64_t ql_checkpoint_step_of(const char *name) {
    static const char prefix[] = "checkpoint-";
    if (strncmp(name, prefix, strlen(prefix)) != 0) return -1;
    const char *digits = name + strlen(prefix);
    size_t n = strspn(digits, "0123456789");
    if (digits[n] || n < 8 || n > 18 || (n > 8 && digits[0] == '0')) return -1;
    return strtoll(digits, NULL, 10);
}

static bool tmp_maker(const char *name, maker *m) {
    char role[5];
    int end = 0;
    if (sscanf(name, ".tmp-checkpoint-%18" SCNd64 "-%4[a-z]-%8x-%ld-%" SCNu64 "%n", &m->step, role, &m->host, &m->pid,
               &m->start, &end) != 5 ||
        name[end])
        return false;
    for (m->role = 0; m->role < (int)QL_LEN(ROLE); m->role++)
        if (!strcmp(role, ROLE[m->role])) return m->step >= 0 && m->pid > 0;
    return false;
}

static bool is_own_folder(const char *path) {
    struct stat st;
    return lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid();
}

/* Of another host we cannot know; there, what nobody touched for an hour is left over. */
static bool is_alive(const maker *m, const char *path) {
    if (m->host != host_tag()) {
        struct stat st;
        return lstat(path, &st) != 0 || time(NULL) - st.st_mtime < 3600;
    }
    return ql_process_lives(m->pid, m->start);
}

/* A crash between the two renames of a replacement leaves the old one here and none in its place. */
static void clean_one(const char *output_dir, const char *name) {
    maker m;
    if (!tmp_maker(name, &m)) return;
    char *path = ql_path_join(output_dir, name), *final = ql_checkpoint_path(output_dir, m.step);
    if (is_own_folder(path) && !is_alive(&m, path)) {
        bool restored = m.role == QL_TMP_OLD && !ql_file_exists(final) && rename(path, final) == 0;
        ql_err e = restored ? ql_ok() : ql_dir_remove(path);
        if (ql_bad(e)) ql_warn("%s; remove it by hand", ql_err_text());
    }
    free(final);
    free(path);
}

void ql_checkpoint_clean(const char *output_dir) {
    DIR *dir = opendir(output_dir);
    if (!dir) return;
    for (struct dirent *entry; (entry = readdir(dir));)
        if (!strncmp(entry->d_name, ".tmp-checkpoint-", 16)) clean_one(output_dir, entry->d_name);
    closedir(dir);
}

static int newest_first(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

ql_err ql_checkpoint_list(const char *output_dir, int64_t **steps, size_t *n) {
    size_t capacity = 0;
    *steps = NULL;
    *n = 0;
    DIR *dir = opendir(output_dir);
    if (!dir && errno == ENOENT) return ql_ok();
    if (!dir) return ql_fail_errno("%s: cannot be listed", output_dir);
    errno = 0;
    for (struct dirent *entry; (entry = readdir(dir)); errno = 0) {
        int64_t step = ql_checkpoint_step_of(entry->d_name);
        if (step >= 0) QL_PUSH(*steps, *n, capacity, step);
    }
    ql_err e = errno ? ql_fail_errno("%s: cannot be listed", output_dir) : ql_ok();
    closedir(dir);
    if (*n) qsort(*steps, *n, sizeof **steps, newest_first);
    return e;
}

static ql_err read_manifest(const char *path, int64_t step, ql_manifest *out) {
    struct stat st;
    if (lstat(path, &st) != 0) return ql_fail_errno("%s: cannot be looked at", path);
    QL_CHECK(S_ISDIR(st.st_mode), QL_DATA, "%s: is %s, not a folder", path,
             S_ISLNK(st.st_mode) ? "a symbolic link" : "a file");
    QL_TRY(ql_manifest_read(path, out));
    if (out->step == step) return ql_ok();
    ql_err e = ql_fail(QL_DATA, "%s: holds step %" PRId64, path, out->step);
    ql_manifest_free(out);
    return e;
}

ql_err ql_checkpoint_manifest(const char *output_dir, int64_t step, ql_manifest *out) {
    char *path = ql_checkpoint_path(output_dir, step);
    *out = (ql_manifest){0};
    ql_err e = read_manifest(path, step, out);
    free(path);
    return e;
}

/* Under its own name a half-removed one would look like a damaged checkpoint. */
static ql_err remove_checkpoint(const char *output_dir, int64_t step) {
    char *path = ql_checkpoint_path(output_dir, step), *gone = ql_checkpoint_tmp_path(output_dir, step, QL_TMP_GONE);
    ql_err e = rename(path, gone) == 0 ? ql_dir_remove(gone) : ql_fail_errno("%s: cannot be removed", path);
    free(gone);
    free(path);
    return e;
}

static bool is_complete(const char *output_dir, int64_t step) {
    ql_manifest m;
    if (ql_bad(ql_checkpoint_manifest(output_dir, step, &m))) return false;
    char *path = ql_checkpoint_path(output_dir, step);
    bool complete = is_own_folder(path) && !ql_bad(ql_manifest_check_sizes(&m, path));
    free(path);
    ql_manifest_free(&m);
    return complete;
}

ql_err ql_checkpoint_prune(const char *output_dir, int64_t newest, int keep, int64_t best) {
    int64_t *steps = NULL;
    size_t n;
    if (keep == 0) return ql_ok();
    bool keeps_best = best >= 0 && best < newest && is_complete(output_dir, best);
    int others = keep - 1 - keeps_best; /* that stay, the newest of them */
    ql_err e = ql_checkpoint_list(output_dir, &steps, &n);
    for (size_t i = 0; i < n && !ql_bad(e); i++) {
        if (steps[i] >= newest || (keeps_best && steps[i] == best) || !is_complete(output_dir, steps[i])) continue;
        if (--others < 0) e = remove_checkpoint(output_dir, steps[i]);
    }
    free(steps);
    return e;
}

char *ql_checkpoint_aside_path(const char *path) {
    char *aside = NULL;
    struct stat st;
    for (int i = 1; !aside || lstat(aside, &st) == 0; i++) {
        free(aside);
        aside = ql_format("%s.set-aside-%d", path, i);
    }
    return aside;
}

ql_err ql_checkpoint_set_aside(const char *output_dir, size_t *moved) {
    int64_t *steps;
    *moved = 0;
    size_t n;
    QL_TRY(ql_checkpoint_list(output_dir, &steps, &n));
    ql_err e = ql_ok();
    for (size_t i = 0; i < n && !ql_bad(e); i++) {
        char *path = ql_checkpoint_path(output_dir, steps[i]), *aside = ql_checkpoint_aside_path(path);
        if (rename(path, aside) == 0) ++*moved;
        else e = ql_fail_errno("%s: cannot be moved to %s", path, aside);
        free(path);
        free(aside);
    }
    free(steps);
    return e;
}
