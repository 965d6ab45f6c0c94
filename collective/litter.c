#include "collective/litter.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/process.h"

/* A run: its number at Open MPI, as in the names of its segments, the first rank of this machine and who started that. Numbers of
 * processes mean something in their name space only. */
typedef struct {
    uint32_t job;
    long     pid[2];
    uint64_t start[2];
    uint64_t name_space;
} owner;

static const char mark_name[] = "qlora-run", mark_form[] = "%" PRIx32 " %ld %" PRIu64 " %ld %" PRIu64 " %" PRIu64 "\n";

static uint64_t name_space(void) {
    struct stat st;
    return stat("/proc/self/ns/pid", &st) == 0 ? st.st_ino : 0;
}

static owner this_run(const char *job) {
    owner o = {.job = (uint32_t)strtoull(job, NULL, 10), .pid = {getpid(), getppid()}, .name_space = name_space()};
    for (int i = 0; i < 2; i++) o.start[i] = ql_process_start(o.pid[i]);
    return o;
}

static void leave_mark(const char *folder, const owner *o) {
    char  *path = ql_path_join(folder, mark_name);
    int    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    ql_str text = {0};
    ql_str_printf(&text, mark_form, o->job, o->pid[0], o->start[0], o->pid[1], o->start[1], o->name_space);
    /* Half a mark is none. */
    if (fd >= 0 && ql_bad(ql_write_all(fd, text.data, text.size, path))) unlink(path);
    if (fd >= 0) close(fd);
    ql_str_free(&text);
    free(path);
}

static bool is_own(int fd, mode_t kind) {
    struct stat st;
    return fd >= 0 && fstat(fd, &st) == 0 && st.st_uid == geteuid() && (st.st_mode & S_IFMT) == kind;
}

/* Of a folder of this user; links lead nowhere. */
static bool read_mark(const char *folder, owner *o) {
    char text[256] = "";
    int  dir = open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int  fd = is_own(dir, S_IFDIR) ? openat(dir, mark_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC) : -1;
    bool there = is_own(fd, S_IFREG) && read(fd, text, sizeof text - 1) > 0;
    if (fd >= 0) close(fd);
    if (dir >= 0) close(dir);
    return there && sscanf(text, "%" SCNx32 " %ld %" SCNu64 " %ld %" SCNu64 " %" SCNu64, &o->job, &o->pid[0], &o->start[0], &o->pid[1],
                           &o->start[1], &o->name_space) == 6;
}

static bool is_dead(const owner *o) {
    return o->name_space == name_space() && !ql_process_lives(o->pid[0], o->start[0]) && !ql_process_lives(o->pid[1], o->start[1]);
}

/* vader_segment.HOST.USER.JOB.RANK */
static void remove_segments(const owner *o) {
    const char *folder = getenv("OMPI_MCA_btl_vader_backing_directory");
    DIR        *dir = opendir(folder ? folder : "/dev/shm");
    char        host[256] = "";
    if (gethostname(host, sizeof host - 1) != 0) host[0] = 0;
    char  *start = ql_format("vader_segment.%s.%ld.%" PRIx32 ".", host, (long)geteuid(), o->job);
    size_t n = strlen(start);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        struct stat st;
        bool ours = !strncmp(entry->d_name, start, n) && fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
                    S_ISREG(st.st_mode) && st.st_uid == geteuid();
        if (ours) unlinkat(dirfd(dir), entry->d_name, 0);
    }
    if (dir) closedir(dir);
    free(start);
}

static void remove_if_left(const char *folder) {
    owner o;
    if (!read_mark(folder, &o) || !is_dead(&o)) return;
    remove_segments(&o);
    ql_err ignored = ql_dir_remove(folder);
    (void)ignored;
}

/* Only the first rank of a machine has to do with it. NULL: this one has not, or was not started by mpirun. */
static const char *if_first(const char *variable) {
    const char *rank = getenv("OMPI_COMM_WORLD_LOCAL_RANK");
    return rank && !strcmp(rank, "0") ? getenv(variable) : NULL;
}

void ql_litter_mark(void) {
    const char *job = if_first("PMIX_NAMESPACE"), *folder = if_first("OMPI_MCA_orte_jobfam_session_dir");
    if (!job || !folder) return;
    owner o = this_run(job);
    leave_mark(folder, &o);
}

void ql_litter_clean(void) {
    const char *runs = if_first("OMPI_MCA_orte_top_session_dir");
    DIR        *dir = runs ? opendir(runs) : NULL;
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        if (entry->d_name[0] == '.') continue;
        char *folder = ql_path_join(runs, entry->d_name);
        remove_if_left(folder);
        free(folder);
    }
    if (dir) closedir(dir);
}
