/* Finding and becoming other programs. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "launcher/launcher.h"

static char *folder_of_this_program(void) {
    char    path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    if (n <= 0) return NULL;
    path[n] = 0;
    char *slash = strrchr(path, '/');
    return slash ? ql_strndup(path, (size_t)(slash - path)) : NULL;
}

static bool is_program(const char *path) {
    return access(path, X_OK) == 0;
}

static char *found_in_path(const char *name) {
    const char *path = getenv("PATH");
    for (const char *p = path ? path : ""; *p; p += *p == ':') {
        size_t n = strcspn(p, ":");
        char  *folder = ql_strndup(p, n), *file = ql_path_join(n ? folder : ".", name);
        free(folder);
        if (is_program(file)) return file;
        free(file);
        p += n;
    }
    return NULL;
}

ql_err ql_worker_find(char **path) {
    char *folder = folder_of_this_program();
    *path = folder ? ql_path_join(folder, "qlora-worker") : NULL;
    free(folder);
    if (*path && is_program(*path)) return ql_ok();
    free(*path);
    *path = found_in_path("qlora-worker");
    QL_CHECK(*path, QL_IO, "qlora-worker lies neither beside qlora nor in PATH; build it with scripts/build.sh");
    return ql_ok();
}

ql_err ql_become(char **argv) {
    execvp(argv[0], argv);
    return ql_fail_errno("%s: cannot be started", argv[0]);
}

ql_err ql_become_worker(const char *const *head, size_t n_head, const ql_arguments *a) {
    char *worker;
    QL_TRY(ql_worker_find(&worker));
    char **argv = QL_NEW_ARRAY(char *, n_head + a->count + 3);
    size_t n = 0;
    argv[n++] = worker;
    for (size_t i = 0; i < n_head; i++) argv[n++] = (char *)(uintptr_t)head[i];
    for (size_t i = 0; i < a->count; i++) {
        /* A text that begins like an option stays a text. */
        if (i == a->first_rest && a->count > i && a->word[a->count - 1][0] == '-') argv[n++] = (char *)(uintptr_t)"--";
        argv[n++] = a->word[i];
    }
    ql_err e = ql_become(argv);
    free(argv);
    free(worker);
    return e;
}
