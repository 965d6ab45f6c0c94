/* Where a run writes: its output folder and the cache. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/cache_folder.h"
#include "base/file.h"
#include "base/private.h"
#include "launcher/doctor/doctor.h"
#include "launcher/doctor/text.h"
#include "launcher/doctor/trial.h"

/* The folder itself, or the nearest one above it that is there. Caller frees. */
static char *nearest_folder(const char *path) {
    char *at = ql_strdup(*path ? path : ".");
    for (struct stat st; stat(at, &st) != 0 && errno != EACCES;) {
        char *slash = strrchr(at, '/');
        if (slash && slash != at) *slash = 0;
        else strcpy(at, slash ? "/" : ".");
        if (!slash) break;
    }
    return at;
}

static char *mounts(void) {
    ql_str text = {0};
    char   piece[4096];
    int    fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
    for (ssize_t n; fd >= 0 && (n = read(fd, piece, sizeof piece)) > 0;) ql_str_put(&text, piece, (size_t)n);
    if (fd >= 0) close(fd);
    return text.data ? text.data : ql_strdup("");
}

/* ---- the file system ---- */

static void check_file_system(const ql_patient *p, const char *folder) {
    char    *real = realpath(folder, NULL), *text = mounts();
    ql_mount m;
    if (real && ql_mount_find(text, real, &m)) {
        const ql_mount_remark *r = ql_mount_remark_of(m.type);
        if (p->hosts.count > 1 && !(r && r->is_shared))
            ql_warning("choose an output_dir on the cluster's file system", "%s lies on %s, which other machines do not share", real, m.type);
        else if (r && r->what) ql_warning(r->cure, "%s %s (%s)", real, r->what, m.type);
        else ql_fine("%s lies on %s%s", real, m.type, r && r->is_shared ? ", which several machines may share" : "");
        ql_mount_free(&m);
    }
    free(real);
    free(text);
}

/* ---- what saves do ---- */

static void check_trial(const char *folder) {
    enum { SLOW = 1 };
    ql_trial t;
    ql_err   e = ql_trial_run(folder, &t);
    if (ql_bad(e)) {
        ql_mistake(QL_TEMP, "make it writable, free some space, or choose another output_dir", "%s: %s", folder, ql_err_text());
        return;
    }
    if (!t.locks) ql_remark("start one run at a time in this folder yourself", "%s knows no locks (flock): two runs in one output_dir are told apart by their number only", folder);
    if (t.sync_seconds > SLOW)
        ql_warning("choose a faster disk, or save less often (save_minutes)", "%s: writing 64 KiB for sure took %.1f s: saves will take long", folder, t.sync_seconds);
    else ql_fine("%s: files are written for sure (%.0f ms), renamed%s", folder, t.sync_seconds * 1e3, t.locks ? " and locked" : "");
}

/* ---- space ---- */

static double part(const ql_json *plan, const char *group, const char *name) {
    return ql_json_number(ql_json_get(ql_json_get(plan, group), name), 0);
}

/* The state, and beside it the adapter as PEFT has it; a fifth more, as a save wants it, for what the files hold beside numbers. */
static uint64_t checkpoint_bytes(const ql_patient *p) {
    double numbers = part(p->plan, "parts", "moments") + part(p->plan, "host_parts", "moments") + 2 * part(p->plan, "parts", "adapter");
    return (uint64_t)(1.2 * numbers);
}

static void check_space(const ql_patient *p, const char *folder) {
    enum { LEAST = 1 << 20, OF_LOGS = 16 << 20 };
    struct statvfs s;
    char           a[32], b[32], c[32];
    if (statvfs(folder, &s) != 0) return;
    uint64_t available = (uint64_t)s.f_bavail * s.f_frsize, one = checkpoint_bytes(p);
    int64_t  kept = p->config.save_total_limit + 1 + p->config.load_best_model_at_end;
    uint64_t need = one * (uint64_t)kept + OF_LOGS;
    static const char cure[] = "free some space, choose another output_dir, or keep fewer checkpoints (save_total_limit)";
    ql_text_bytes(a, available), ql_text_bytes(b, need), ql_text_bytes(c, one);
    if (available < 2 * one + LEAST)
        ql_mistake(QL_TEMP, cure, "%s has %s free, and two checkpoints of %s each have to fit (the new one is written before an old one goes)", folder, a, c);
    else if (available < need) ql_warning(cure, "%s has %s free, and %lld checkpoints of %s each and logs take %s", folder, a, (long long)kept, c, b);
    else ql_fine("%s has %s free; %lld checkpoints and logs take %s", folder, a, (long long)kept, b);
    if (s.f_files > 0 && s.f_favail < 1000) ql_warning("remove files there", "%s has room for only %llu more files (inodes)", folder, (unsigned long long)s.f_favail);
}

/* ---- whose it is ---- */

/* By the list of locks, so that nobody who starts this moment meets a lock of ours. */
static void check_other_run(const char *output_dir) {
    char       *path = ql_path_join(output_dir, "run/lock"), line[256];
    struct stat st;
    FILE       *locks = stat(path, &st) == 0 ? fopen("/proc/locks", "re") : NULL;
    while (locks && fgets(line, sizeof line, locks)) {
        unsigned           major_number, minor_number;
        unsigned long long inode;
        long               pid;
        if (sscanf(line, "%*s FLOCK %*s WRITE %ld %x:%x:%llu", &pid, &major_number, &minor_number, &inode) == 4 && inode == st.st_ino &&
            minor_number == minor(st.st_dev) && major_number == major(st.st_dev))
            ql_warning("wait for it, or choose another output_dir", "%s: another run is at work in this output_dir (process %ld)", output_dir, pid);
    }
    if (locks) fclose(locks);
    free(path);
}

/* Only where it is there: looking at one that is not would make it. False: refused. */
static bool check_owner(const char *output_dir) {
    struct stat st;
    if (lstat(output_dir, &st) != 0) return true;
    ql_err e = ql_private_folder(output_dir);
    if (ql_bad(e)) ql_mistake(e.code == QL_DENIED ? QL_DENIED : QL_TEMP, NULL, "%s", ql_err_text());
    return !ql_bad(e);
}

void ql_check_output(const ql_patient *p) {
    if (!p->has_config) return;
    const char *output_dir = p->config.output_dir;
    ql_asking("%s", output_dir);
    char *folder = nearest_folder(output_dir);
    if (check_owner(output_dir)) {
        check_file_system(p, folder);
        check_trial(folder);
        if (p->plan) check_space(p, folder);
        check_other_run(output_dir);
    }
    free(folder);
}

/* ---- the cache of quantised bases ---- */

static char *cache_folder(const ql_patient *p) {
    const char *wanted = p->has_config ? p->config.quantized_cache : "auto";
    return strcmp(wanted, "false") ? ql_cache_folder(wanted) : NULL;
}

void ql_check_cache(const ql_patient *p) {
    char *wanted = cache_folder(p);
    if (!wanted) {
        ql_fine("none: every start quantises anew");
        return;
    }
    ql_asking("%s", wanted);
    char       *folder = nearest_folder(wanted);
    struct stat st;
    static const char cure[] = "quantized_cache: FOLDER names another, or false none";
    if (stat(folder, &st) != 0 || access(folder, W_OK | X_OK) != 0) ql_warning(cure, "%s cannot be written (%s: %s): every start quantises anew", wanted, folder, strerror(errno));
    else if (!strcmp(folder, wanted) && (st.st_uid != geteuid() || st.st_mode & 022))
        ql_warning("chmod go-w, or quantized_cache: FOLDER names another", "%s belongs to another user, or others can write there: it is not used, and every start quantises anew", folder);
    else ql_fine("%s keeps quantised bases", wanted);
    free(folder);
    free(wanted);
}
