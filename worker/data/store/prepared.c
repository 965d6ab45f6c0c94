#include "worker/data/store/prepared.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/pulse.h"
#include "worker/data/store/prepared_key.h"

const ql_cache_kind ql_prepared_kind = {"dataset_cache", ".tokens"};

enum { PROGRESS = 200 /* bytes in a lock file */ };

struct ql_prepared {
    const ql_corpus_options *o;
    const ql_dataset_spec *d;
    const ql_file_list *files;
    ql_recipe_of_data made_of;
    char *folder, *path, *lock_path;
    char name[64];
    int lock;       /* a descriptor, -1: none */
    bool has_lock, noted;
    char *why_not;  /* there is none: "the tokenizer changed" */
    double told;
};

/* ---- opening ---- */

/* Less than this is read in no time, and not worth a file unless one is asked for. */
static bool is_worth_it(const ql_prepared *p) {
    enum { LEAST = 1 << 20 };
    uint64_t bytes = 0;
    for (size_t i = 0; i < p->files->count; i++) bytes += ql_file_bytes(p->files->path[i]);
    return p->o->prepares || bytes >= LEAST || strcmp(p->o->config->dataset_cache, "auto") != 0;
}

static void name_it(ql_prepared *p) {
    char      *real = realpath(p->d->path, NULL), key[65], place[65];
    ql_sha256  made_of;
    ql_hasher *h = ql_hasher_open();
    ql_hasher_add_string(h, real ? real : p->d->path);
    ql_hasher_add_string(h, p->o->training ? "training" : "evaluation");
    ql_sha256 digest = ql_hasher_close(h);
    memcpy(made_of.byte, p->made_of.key.byte, sizeof made_of.byte);
    ql_sha256_text(&made_of, key);
    ql_sha256_text(&digest, place);
    snprintf(p->name, sizeof p->name, "%.*s-%.32s%s", QL_CACHE_PLACE_DIGITS, place, key, ql_prepared_kind.ending);
    p->path = ql_path_join(p->folder, p->name);
    p->lock_path = ql_format("%s.lock", p->path);
    free(real);
}

ql_prepared *ql_prepared_open(const ql_corpus_options *o, const ql_dataset_spec *d, const ql_file_list *files) {
    const char *wanted = o->config->dataset_cache;
    if (!wanted || !strcmp(wanted, "false")) return NULL;
    ql_prepared *p = QL_NEW(ql_prepared);
    *p = (ql_prepared){.o = o, .d = d, .files = files, .lock = -1, .folder = ql_cache_folder(wanted)};
    if (!p->folder || !ql_cache_folder_is_safe(&ql_prepared_kind, p->folder) || ql_bad(ql_made_of(o, d, files, p->folder, &p->made_of))) {
        ql_prepared_close(p);
        return NULL;
    }
    name_it(p);
    return p;
}

void ql_prepared_close(ql_prepared *p) {
    if (!p) return;
    if (p->has_lock) unlink(p->lock_path); /* whoever waits for it looks for the file itself then */
    if (p->lock >= 0) close(p->lock);
    ql_made_of_free(&p->made_of);
    free(p->folder);
    free(p->path);
    free(p->lock_path);
    free(p->why_not);
    free(p);
}

/* ---- finding ---- */

/* "26 Nov 14:03" */
static void put_time(ql_str *out, int64_t seconds) {
    char      text[40];
    time_t    then = seconds, now = (time_t)ql_wall_seconds();
    struct tm t, today;
    localtime_r(&then, &t);
    localtime_r(&now, &today);
    strftime(text, sizeof text, t.tm_year == today.tm_year ? "%d %b %H:%M" : "%d %b %Y", &t);
    ql_str_puts(out, text);
}

static ql_store *take_file(ql_prepared *p) {
    ql_store *s;
    ql_json *json;
    ql_err e = ql_store_open(p->path, &p->made_of.key, p->o->vocab_size, &s, &json);
    if (ql_bad(e)) {
        if (e.code == QL_IO && errno == ENOENT) return NULL;
        if (!p->noted) ql_info("note: %s; the data set is prepared anew", ql_err_text());
        p->noted = true;
        return NULL;
    }
    ql_str origin = {0};
    ql_str_printf(&origin, "%s: cached (prepared ", p->d->path);
    put_time(&origin, ql_json_int(ql_json_get(json, "made"), 0));
    ql_str_puts(&origin, ")");
    s->origin = origin.data;
    s->found = true;
    ql_json_free(json);
    (void)utimensat(AT_FDCWD, p->path, NULL, AT_SYMLINK_NOFOLLOW); /* it was used */
    return s;
}

/* The last file of the same data set tells what changed. */
static char *find_why_not(const ql_prepared *p) {
    char *newest = NULL, *why = NULL;
    struct timespec when = {0};
    DIR *dir = opendir(p->folder);
    if (!dir) return NULL;
    for (struct dirent *entry; (entry = readdir(dir));) {
        struct stat st;
        size_t n = strlen(entry->d_name), m = strlen(ql_prepared_kind.ending);
        bool same = n > m && !strcmp(entry->d_name + n - m, ql_prepared_kind.ending) && !strncmp(entry->d_name, p->name, QL_CACHE_PLACE_DIGITS + 1);
        if (!same || !strcmp(entry->d_name, p->name) || fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0) continue;
        if (st.st_mtim.tv_sec < when.tv_sec || (st.st_mtim.tv_sec == when.tv_sec && st.st_mtim.tv_nsec < when.tv_nsec)) continue;
        when = st.st_mtim;
        free(newest);
        newest = ql_path_join(p->folder, entry->d_name);
    }
    closedir(dir);
    ql_json *json = NULL;
    if (newest && !ql_bad(ql_store_describe(newest, &json))) why = ql_made_of_difference(&p->made_of, ql_json_get(json, "made_of"));
    ql_json_free(json);
    free(newest);
    return why;
}

/* ---- one makes it, the others wait ---- */

/* False: somebody else has it. Where there can be no lock, everybody makes a file of his own, and the last one stays. */
static bool take_lock(ql_prepared *p) {
    if (p->lock < 0) p->lock = open(p->lock_path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
    if (p->lock < 0) return true;
    if (flock(p->lock, LOCK_EX | LOCK_NB) == 0) return p->has_lock = true;
    return errno != EWOULDBLOCK && errno != EINTR;
}

/* What the one who makes it says. Progress of his is ours: the watchdog sees to it that he goes on. */
static void show_wait(ql_prepared *p, char shown[PROGRESS], double began) {
    char    text[PROGRESS];
    ssize_t n = pread(p->lock, text, sizeof text - 1, 0);
    text[n < 0 ? 0 : n] = 0;
    ql_hide_controls(text, true);
    if (strcmp(text, shown) != 0) ql_pulse_beat();
    snprintf(shown, PROGRESS, "%s", text);
    if (ql_seconds() - began > 2) ql_progress(false, "waiting for another process that prepares %s: %s", p->d->path, text);
}

ql_store *ql_prepared_find(ql_prepared *p) {
    const struct timespec pause = {0, 50 * 1000 * 1000};
    char shown[PROGRESS] = "";
    double began = ql_seconds();
    ql_store *s = take_file(p);
    if (s) return s;
    p->why_not = find_why_not(p);
    if (!is_worth_it(p) || ql_bad(ql_dir_make_private(p->folder))) return NULL;
    while (!take_lock(p)) {
        show_wait(p, shown, began);
        nanosleep(&pause, NULL);
        if (ql_file_exists(p->path) && (s = take_file(p))) return s;
    }
    return p->has_lock ? take_file(p) : NULL; /* it may have been made a moment ago */
}

void ql_prepared_tell(ql_prepared *p, const char *progress) {
    double now = ql_seconds();
    if (!p || !p->has_lock || now - p->told < 0.5) return;
    char text[PROGRESS] = "";
    snprintf(text, sizeof text, "%s", progress);
    p->told = now;
    if (pwrite(p->lock, text, sizeof text - 1, 0) < 0) p->told = INFINITY; /* a full disk: they wait without */
}

/* ---- making ---- */

bool ql_prepared_is_alone(const ql_prepared *p) {
    return p && p->has_lock;
}

void ql_prepared_begin(ql_prepared *p, ql_store *s) {
    if (!p) return;
    if (p->why_not) s->origin = ql_format("%s: prepared anew: %s", p->d->path, p->why_not);
    if (!is_worth_it(p)) return;
    ql_cache_folder_clean(&ql_prepared_kind, p->folder, p->name);
    ql_err e = ql_store_writer_start(s, p->path);
    if (ql_bad(e)) ql_info("note: the prepared data are not kept: %s", ql_err_text());
}

static void put_notes(const ql_prepared *p, const ql_store *s, ql_str *out) {
    ql_str_printf(out, "{\"made\": %lld, \"made_of\": ", (long long)ql_wall_seconds());
    ql_made_of_write(&p->made_of, out);
    ql_str_puts(out, ", \"facts\": ");
    ql_set_facts_write(&s->facts, out);
    ql_str_puts(out, "}");
}

void ql_prepared_keep(ql_prepared *p, ql_store *s) {
    if (!p || !s->writer) return;
    if (!ql_made_of_unchanged(&p->made_of, p->files)) {
        ql_info("note: %s: was changed while it was being read; the prepared data are not kept", p->d->path);
        ql_store_writer_give_up(s);
        return;
    }
    ql_str notes = {0};
    put_notes(p, s, &notes);
    if (ql_store_writer_finish(s, &p->made_of.key, &notes) && !s->origin) s->origin = ql_format("%s: prepared, and kept for the next start", p->d->path);
    ql_str_free(&notes);
}
