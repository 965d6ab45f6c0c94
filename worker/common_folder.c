#include "worker/common_folder.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/private.h"
#include "base/pulse.h"

/* A file server's clients look again only after a while. */
static const double patience = 5;

/* A name that no machine can have looked for before, so that none remembers that it is not there. What a killed start leaves, the
 * next one removes (claim.c). */
typedef struct {
    char name[64];
} meeting;

static ql_err leave_mark(const char *run, meeting *m) {
    uint64_t number = 0;
    if (getrandom(&number, sizeof number, 0) != (ssize_t)sizeof number) return ql_fail_errno("no random number");
    snprintf(m->name, sizeof m->name, "meeting-%016llx.tmp-%ld", (unsigned long long)number, (long)getpid());
    char  *path = ql_path_join(run, m->name);
    int    fd = -1;
    ql_err e = ql_private_open(path, O_WRONLY | O_CREAT | O_EXCL, &fd);
    if (fd >= 0 && (fsync(fd) | close(fd)) != 0) e = ql_fail_errno("%s: cannot be written", path);
    free(path);
    return e;
}

static void take_mark_away(const char *run, const meeting *m) {
    char *path = ql_path_join(run, m->name);
    unlink(path);
    free(path);
}

/* Opening the folder makes a client of a file server ask again. */
static bool sees(const char *run, const meeting *m) {
    struct stat st;
    int         folder = open(run, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool        there = folder >= 0 && fstatat(folder, m->name, &st, AT_SYMLINK_NOFOLLOW) == 0;
    if (folder >= 0) close(folder);
    return there;
}

static ql_err look_for(const char *output_dir, const char *run, const ql_machines *m, const meeting *mark) {
    double end = ql_seconds() + patience;
    while (!sees(run, mark)) {
        if (ql_seconds() > end)
            return ql_fail(QL_USAGE, "output_dir %s is not on %s what it is on %s, where rank 0 writes; choose a folder that all hosts share", output_dir,
                           m->name[m->mine], m->name[0]);
        nanosleep(&(struct timespec){0, 100000000}, NULL);
        ql_pulse_beat();
    }
    return ql_ok();
}

ql_err ql_common_folder(ql_world *w, const ql_machines *m, const char *output_dir) {
    static const char doing[] = "looking for output_dir on all hosts";
    bool              is_first = ql_world_place(w).rank == 0;
    meeting           mark = {{0}};
    if (m->count == 1) return ql_ok();
    char  *run = ql_path_join(output_dir, "run");
    ql_err e = ql_agree(w, is_first ? leave_mark(run, &mark) : ql_ok(), doing);
    if (!ql_bad(e)) e = ql_broadcast(w, &mark, sizeof mark, 0);
    if (!ql_bad(e)) e = ql_agree(w, m->mine > 0 ? look_for(output_dir, run, m, &mark) : ql_ok(), doing);
    if (is_first) take_mark_away(run, &mark);
    free(run);
    return e;
}
