/* The transaction. Everything is written, made durable and read back under a temporary name; the
 * rename publishes it, and only then does anything older go. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "checkpoint/checkpoint_folder.h"
#include "checkpoint/h5.h"

static const char *const FILES[] = {QL_STATE_NAME, "adapter_model.safetensors", "adapter_config.json"};

/* One save under way. */
typedef struct {
    const ql_save_order *order;
    const ql_state *state; /* the order's */
    const char *output_dir;
    int64_t step;
    char *temporary, *final;
    ql_manifest manifest;
} save;

static uint64_t bytes_needed(const save *s) {
    uint64_t n = ql_h5_size_bound(s->state) + (1u << 20);
    for (size_t i = 0; i < s->state->n_tensors; i++)
        n += (uint64_t)s->state->tensor[i].rows * (uint64_t)s->state->tensor[i].cols * sizeof(float);
    return n + n / 5;
}

static ql_err check_space(const save *s) {
    struct statvfs fs;
    uint64_t needed = bytes_needed(s);
    if (statvfs(s->output_dir, &fs) != 0) return ql_fail_errno("%s: cannot be looked at", s->output_dir);
    uint64_t free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    char has[32], needs[32];
    QL_CHECK(
        fs.f_blocks == 0 || free_bytes >= needed, QL_IO,
        "%s: a checkpoint needs %s, only %s are free: No space left on device; free some or lower save_total_limit",
        s->output_dir, ql_text_bytes(needs, needed), ql_text_bytes(has, free_bytes));
    return ql_ok();
}

/* Makes a file durable, and lets go of the cached pages: what is read next comes from the disk. */
static ql_err sync_file(const char *folder, const char *name) {
    char *path = ql_path_join(folder, name);
    ql_err e = ql_ok();
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0) e = ql_fail_errno("%s: cannot be made durable", path);
    if (fd >= 0) {
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        if (close(fd) != 0 && !ql_bad(e)) e = ql_fail_errno("%s: cannot be closed", path);
    }
    free(path);
    return e;
}

static void discard(const char *folder) {
    ql_err e = ql_dir_remove(folder);
    if (ql_bad(e)) ql_warn("%s; remove it by hand", ql_err_text());
}

static ql_err write_files(save *s) {
    char *state = ql_path_join(s->temporary, QL_STATE_NAME);
    ql_err e = ql_h5_write(state, s->state);
    free(state);
    QL_TRY(e);
    return ql_peft_write(s->temporary, s->order->peft, s->order->modules, s->order->n_modules);
}

/* ---- what was written is what was meant ---- */

static bool is_finite(const float *x, size_t n) {
    const float beyond = HUGE_VALF;
    bool good = true;
    for (size_t i = 0; i < n; i++) good &= fabsf(x[i]) < beyond; /* no branch: many at a time */
    return good;
}

/* A state that cannot be loaded again must not take the place of one that can. */
static ql_err check_finite(const ql_state *s) {
    static const char *const what[] = {"value", "first moment", "second moment"};
    for (size_t i = 0; i < s->n_tensors; i++) {
        const ql_state_tensor *t = &s->tensor[i];
        const float *array[] = {t->value, t->moment1, t->moment2};
        for (size_t a = 0; a < QL_LEN(array); a++)
            QL_CHECK(is_finite(array[a], (size_t)t->rows * (size_t)t->cols), QL_DATA,
                     "%s: its %s is not finite, so the state is not saved; lower learning_rate and go on from the last "
                     "checkpoint",
                     t->name, what[a]);
    }
    return ql_ok();
}

typedef struct {
    const ql_state *state;
    size_t array; /* value, moment1, moment2 of tensor 0, 1, ... */
} comparison;

static ql_err same_origin(void *self, const char *computed_on) {
    const comparison *c = self;
    return strcmp(computed_on, c->state->computed_on) == 0 ? ql_ok() : ql_fail(QL_IO, "another device");
}

static ql_err same_counters(void *self, const int64_t counter[QL_COUNTERS]) {
    const comparison *c = self;
    return memcmp(counter, c->state->counter, sizeof c->state->counter) == 0 ? ql_ok() : ql_fail(QL_IO, "other counters");
}

static ql_err same_array(void *self, const float *data, size_t n) {
    comparison *c = self;
    const ql_state_tensor *t = &c->state->tensor[c->array / 3];
    const float *array[] = {t->value, t->moment1, t->moment2};
    return memcmp(data, array[c->array++ % 3], n * sizeof *data) == 0 ? ql_ok() : ql_fail(QL_IO, "%s", t->name);
}

/* libhdf5 has reported success for what it did not write. The file is our own and has its digest, so that it may be read
 * in this process. */
static ql_err compare_state(const save *s) {
    comparison c = {.state = s->state};
    ql_h5_sink sink = {.self = &c, .computed_on = same_origin, .counters = same_counters, .array = same_array};
    char *path = ql_path_join(s->temporary, QL_STATE_NAME);
    ql_err e = ql_h5_read(path, s->state, &sink);
    free(path);
    return e;
}

static ql_err read_back(const save *s) {
    ql_err e = ql_checkpoint_verify(s->temporary);
    if (!ql_bad(e)) e = compare_state(s);
    return ql_err_as(ql_err_prefix(e, "what was written reads back differently"), QL_IO);
}

/* ---- the steps ---- */

/* Digests are taken before anything is dropped from the cache, so that the check at the end
 * compares what was meant with what the disk gives back. */
static ql_err fill(save *s) {
    if (mkdir(s->temporary, 0700) != 0) return ql_fail_errno("%s: cannot be created", s->temporary);
    QL_TRY(write_files(s));
    s->manifest.step = s->step;
    for (size_t i = 0; i < QL_LEN(FILES); i++) QL_TRY(ql_manifest_add(&s->manifest, s->temporary, FILES[i]));
    for (size_t i = 0; i < QL_LEN(FILES); i++) QL_TRY(sync_file(s->temporary, FILES[i]));
    QL_TRY(ql_manifest_write(&s->manifest, s->temporary));
    QL_TRY(ql_dir_sync(s->temporary));
    return read_back(s);
}

/* What is in the way and is no good checkpoint of ours may be somebody's only copy of something. */
static ql_err set_aside(const char *final) {
    char *aside = ql_checkpoint_aside_path(final);
    ql_err e = ql_ok();
    if (rename(final, aside) != 0)
        e = ql_fail_errno("%s: is in the way of a new checkpoint and cannot be moved", final);
    else
        ql_warn("%s: was in the way of a new checkpoint and is no good one; moved to %s", final, aside);
    free(aside);
    return e;
}

/* For file systems that cannot exchange two names. ql_checkpoint_clean mends a crash in between. */
static ql_err replace_in_two_steps(const save *s) {
    char *old = ql_checkpoint_tmp_path(s->output_dir, s->step, QL_TMP_OLD);
    ql_err e = ql_ok();
    if (rename(s->final, old) != 0) {
        e = ql_fail_errno("%s: cannot be replaced", s->final);
    } else if (rename(s->temporary, s->final) != 0) {
        e = ql_fail_errno("%s: cannot be published", s->final);
        if (rename(old, s->final) != 0) ql_warn("%s: could not be moved back; it is in %s", s->final, old);
    } else {
        discard(old);
    }
    free(old);
    return e;
}

/* Afterwards `temporary` names the old one, or nothing. */
static ql_err exchange(const save *s) {
    if (renameat2(AT_FDCWD, s->temporary, AT_FDCWD, s->final, RENAME_EXCHANGE) == 0) return ql_ok();
    if (errno == EINVAL || errno == ENOSYS || errno == EXDEV) return replace_in_two_steps(s);
    return ql_fail_errno("%s: cannot be replaced", s->final);
}

/* The step was saved before: by this run, when the same bytes are there; or by an earlier one. */
static ql_err replace(const save *s) {
    ql_manifest old = {0};
    bool good = !ql_bad(ql_checkpoint_manifest(s->output_dir, s->step, &old)) &&
                !ql_bad(ql_manifest_check(&old, s->final, NULL));
    bool same = good && ql_manifest_equal(&old, &s->manifest);
    ql_manifest_free(&old);
    if (same) return ql_ok();
    if (good) return exchange(s);
    QL_TRY(set_aside(s->final));
    return rename(s->temporary, s->final) == 0 ? ql_ok() : ql_fail_errno("%s: cannot be published", s->final);
}

static ql_err ask(const save *s) {
    return s->order->may_publish ? s->order->may_publish(s->order->self) : ql_ok();
}

static ql_err publish(const save *s) {
    QL_TRY(ask(s));
    if (rename(s->temporary, s->final) != 0) {
        bool in_the_way = errno == ENOTEMPTY || errno == EEXIST || errno == ENOTDIR;
        QL_TRY(in_the_way ? replace(s) : ql_fail_errno("%s: cannot be published", s->final));
    }
    return ql_dir_sync(s->output_dir);
}

static ql_err run(save *s) {
    QL_TRY(ask(s)); /* early, too: nothing is written into what is not ours any more */
    QL_TRY(check_finite(s->state));
    QL_TRY(check_space(s));
    QL_TRY(fill(s));
    return publish(s);
}

/* Old ones that cannot be removed are no reason to doubt the new one. */
static void prune(const save *s) {
    ql_err e = ql_checkpoint_prune(s->output_dir, s->step, s->order->keep, s->order->best);
    if (ql_bad(e)) ql_warn("%s; older checkpoints stay", ql_err_text());
}

ql_err ql_checkpoint_save(const ql_save_order *order, char **path) {
    save s = {.order = order,
              .state = order->state,
              .output_dir = order->output_dir,
              .step = order->state->counter[QL_COUNT_STEP]};
    s.temporary = ql_checkpoint_tmp_path(s.output_dir, s.step, QL_TMP_NEW);
    s.final = ql_checkpoint_path(s.output_dir, s.step);
    ql_err e = run(&s);
    char *sentence = ql_strdup(ql_err_text()); /* discarding may fail in its own words */
    discard(s.temporary);
    if (ql_bad(e))
        e = ql_fail(e.code, "%s", sentence);
    else
        prune(&s);
    if (path) *path = ql_bad(e) ? NULL : ql_strdup(s.final);
    free(sentence);
    ql_manifest_free(&s.manifest);
    free(s.temporary);
    free(s.final);
    return e;
}
