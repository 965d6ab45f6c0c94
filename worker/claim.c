#include "worker/claim.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/private.h"
#include "checkpoint/checkpoint.h"

/* ---- what is in the file ---- */

enum { TEXT_LIMIT = 512 };
static const int64_t highest = 1000000000000; /* a number beyond is no count of starts */

static char *path_of(const char *output_dir) {
    return ql_path_join(output_dir, "run/generation");
}

static char *outcome_path(const char *output_dir) {
    return ql_path_join(output_dir, "run/outcome");
}

/* Reads and never maps: a file system that fails must not end the process. */
static ql_err read_text(const char *path, char text[TEXT_LIMIT]) {
    memset(text, 0, TEXT_LIMIT);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    if (fd < 0) return ql_fail_errno("%s: cannot be opened", path);
    size_t  n = 0;
    ssize_t got = 0;
    do {
        n += (size_t)got;
        got = read(fd, text + n, TEXT_LIMIT - 1 - n);
    } while (got > 0 || (got < 0 && errno == EINTR && (got = 0) == 0));
    ql_err e = got < 0 ? ql_fail_errno("%s: cannot be read", path) : ql_ok();
    close(fd);
    return e;
}

/* 0: there is no number. */
static int64_t number_in(const char *text) {
    char     *end;
    long long n = strtoll(text, &end, 10);
    return end > text && (*end == '\n' || *end == 0) && n > 0 && n <= highest ? n : 0;
}

/* The second line, of which only what is fit to print is shown. */
static void owner_in(const char *text, char owner[TEXT_LIMIT]) {
    const char *line = strchr(text, '\n');
    size_t      n = 0;
    for (line = line ? line + 1 : ""; *line && *line != '\n'; line++)
        if (*line >= ' ' && *line < 0x7f) owner[n++] = *line;
    owner[n] = 0;
}

static char *text_for(int64_t generation) {
    char host[256] = "";
    if (gethostname(host, sizeof host - 1) != 0 || !host[0]) snprintf(host, sizeof host, "unknown");
    return ql_format("%" PRId64 "\nhost %s, process %ld\n", generation, host, (long)getpid());
}

/* ---- taking it ---- */

static ql_err lock(const char *output_dir, int *out) {
    char  *path = ql_path_join(output_dir, "run/lock");
    int    fd = -1;
    ql_err e = ql_private_open(path, O_RDWR | O_CREAT, &fd);
    bool   held = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0, taken = fd >= 0 && !held && errno == EWOULDBLOCK;
    free(path);
    QL_TRY(e);
    if (!held) close(fd);
    *out = held ? fd : -1;
    QL_CHECK(!taken, QL_TEMP, "%s: another run is at work in this output_dir; wait for it, or choose another", output_dir);
    return ql_ok();
}

static ql_err take_next(const char *output_dir, ql_claim *out) {
    char  *path = path_of(output_dir), text[TEXT_LIMIT];
    bool   first = !ql_file_exists(path);
    ql_err e = first ? ql_ok() : read_text(path, text);
    if (!ql_bad(e)) {
        out->generation = first ? 1 : number_in(text) + 1;
        out->text = text_for(out->generation);
        e = ql_file_replace(path, out->text, strlen(out->text));
    }
    free(path);
    return e;
}

/* ---- what dead processes left ---- */

/* NAME.tmp-PID, as base/file.h and the writer of safetensors call what is not complete. */
static bool is_unfinished(const char *entry) {
    static const char *const names[] = {"adapter_model.safetensors", "adapter_config.json", "config.yaml", "metrics.jsonl",
                                        "generation", "outcome"};
    const char *mark = strstr(entry, ".tmp-");
    if (!mark) return false;
    const char *digits = mark + strlen(".tmp-");
    size_t      n = strspn(digits, "0123456789");
    if (n == 0 || n > 9 || digits[n]) return false;
    bool known = !strncmp(entry, "DONE-", strlen("DONE-")) || !strncmp(entry, "meeting-", strlen("meeting-"));
    for (size_t i = 0; i < QL_LEN(names); i++)
        known |= (size_t)(mark - entry) == strlen(names[i]) && !strncmp(entry, names[i], strlen(names[i]));
    return known && kill((pid_t)atol(digits), 0) != 0 && errno == ESRCH;
}

static void sweep(const char *folder) {
    DIR *dir = opendir(folder);
    if (!dir) return;
    for (struct dirent *entry; (entry = readdir(dir));) {
        struct stat st;
        if (!is_unfinished(entry->d_name) || fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0) continue;
        if (S_ISREG(st.st_mode) && st.st_uid == geteuid()) (void)unlinkat(dirfd(dir), entry->d_name, 0);
    }
    closedir(dir);
}

static void clean(const char *output_dir) {
    char *run = ql_path_join(output_dir, "run"), *outcome = outcome_path(output_dir);
    (void)unlink(outcome);
    free(outcome);
    ql_checkpoint_clean(output_dir);
    sweep(output_dir);
    sweep(run);
    free(run);
}

ql_err ql_claim_take(const char *output_dir, ql_claim *out) {
    *out = (ql_claim){.lock = -1};
    QL_TRY(lock(output_dir, &out->lock));
    QL_TRY(take_next(output_dir, out));
    out->output_dir = ql_strdup(output_dir);
    clean(output_dir);
    return ql_ok();
}

/* ---- keeping it ---- */

static ql_err compare(const ql_claim *c, const char *path) {
    char text[TEXT_LIMIT], owner[TEXT_LIMIT];
    if (!ql_file_exists(path) && errno == ENOENT)
        return ql_fail(QL_IO, "%s: No such file or directory; %s was moved, removed or unmounted while this run was at work; put it back", path,
                       c->output_dir);
    QL_TRY(read_text(path, text));
    if (!strcmp(text, c->text)) return ql_ok();
    owner_in(text, owner);
    return ql_fail(QL_TEMP, "another start (generation %" PRId64 "%s%s) has taken over %s; this one is generation %" PRId64 " and ends",
                   number_in(text), owner[0] ? ", " : "", owner, c->output_dir, c->generation);
}

ql_err ql_claim_check(const ql_claim *c) {
    QL_CHECK(c->output_dir, QL_BUG, "an output folder is written to that was not claimed");
    char  *path = path_of(c->output_dir);
    ql_err e = compare(c, path);
    free(path);
    return e;
}

ql_err ql_claim_note_end(const ql_claim *c, const char *how, int64_t step) {
    QL_TRY(ql_claim_check(c));
    char  *path = outcome_path(c->output_dir), *text = ql_format("%s %" PRId64 "\n", how, step);
    ql_err e = ql_file_replace(path, text, strlen(text));
    free(text);
    free(path);
    return e;
}

void ql_claim_close(ql_claim *c) {
    if (c->output_dir && c->lock >= 0) close(c->lock);
    free(c->output_dir);
    free(c->text);
    *c = (ql_claim){0};
}
