/* Keeping a quantised base: complete under another name first, so that readers see all or nothing.
 * Any number of processes may write at once; all write the same bytes. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/pulse.h"
#include "worker/model/cache_internal.h"

static bool write_at(int fd, const void *from, size_t n, uint64_t at) {
    for (const uint8_t *p = from; n > 0;) {
        ssize_t done = pwrite(fd, p, n, (off_t)at);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return false;
        p += done;
        n -= (size_t)done;
        at += (uint64_t)done;
        ql_pulse_beat();
    }
    return true;
}

/* 0, or the errno of what failed. */
static int write_chunk(const ql_base_cache *c, int fd, size_t i, ql_hash128_value *digest) {
    ql_device *d = c->model->device;
    ql_tensor  at = c->chunk[i].at;
    size_t     n = ql_bytes(at);
    void      *place = ql_host_address(d, at), *own = place ? NULL : ql_alloc(n), *from = place ? place : own;
    int        fault = own && ql_bad(ql_download(d, own, at)) ? EIO : 0;
    *digest = ql_hash128(from, n);
    if (!fault && !write_at(fd, from, n, c->chunk[i].from)) fault = errno;
    free(own);
    return fault;
}

static int write_chunks(const ql_base_cache *c, int fd, ql_hash128_value *digest) {
    atomic_int fault = 0; /* the last one; all stop at the first */
#pragma omp parallel for num_threads(ql_cache_threads(c)) schedule(dynamic)
    for (size_t i = 0; i < c->header.chunks; i++) {
        int here = atomic_load(&fault) ? 0 : write_chunk(c, fd, i, &digest[i]);
        if (here) atomic_store(&fault, here);
    }
    return fault;
}

static int write_all(const ql_base_cache *c, int fd) {
    ql_cache_table  t = ql_cache_table_new(c);
    ql_cache_header h = c->header;
    for (size_t i = 0; i < h.matrices; i++) t.offset[i] = c->model->weight[c->slot[i]].nested_offset;
    int fault = write_chunks(c, fd, t.digest);
    h.table_digest = ql_hash128(t.bytes, h.table_bytes);
    if (!fault && !write_at(fd, t.bytes, h.table_bytes, QL_CACHE_PAGE)) fault = errno;
    if (!fault && !write_at(fd, &h, sizeof h, 0)) fault = errno;
    if (!fault && fsync(fd) != 0) fault = errno;
    free(t.bytes);
    return fault;
}

/* A run must not fill somebody's disk for the sake of seconds. */
static ql_err check_space(const ql_base_cache *c) {
    struct statvfs fs;
    if (statvfs(c->folder, &fs) != 0) return ql_fail_errno("%s: cannot be looked at", c->folder);
    uint64_t free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    char     needs[32], has[32];
    QL_CHECK(free_bytes / 2 >= c->header.file_bytes, QL_IO, "%s: it needs %s and must not take more than half of the %s that are free",
             c->folder, ql_text_bytes(needs, c->header.file_bytes), ql_text_bytes(has, free_bytes));
    return ql_ok();
}

/* Nobody else, on any machine that shares the folder, has this name. */
static char *temporary_path(const ql_base_cache *c) {
    uint64_t unique = 0;
    if (getrandom(&unique, sizeof unique, 0) != sizeof unique) unique = (uint64_t)getpid();
    return ql_format("%s.tmp-%016" PRIx64, c->path, unique);
}

static ql_err publish(const ql_base_cache *c, const char *temporary) {
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) return ql_fail_errno("%s: cannot be created", temporary);
    int fault = write_all(c, fd);
    if (close(fd) != 0 && !fault) fault = errno;
    if (!fault && rename(temporary, c->path) != 0) fault = errno;
    if (!fault) return ql_ok();
    unlink(temporary);
    errno = fault;
    return ql_fail_errno("%s: cannot be written", c->path);
}

static ql_err keep(const ql_base_cache *c) {
    QL_TRY(ql_dir_make_private(c->folder));
    ql_cache_folder_clean(&ql_base_cache_kind, c->folder, c->name);
    QL_TRY(check_space(c));
    char  *temporary = temporary_path(c);
    ql_err e = publish(c, temporary);
    free(temporary);
    return e;
}

bool ql_base_cache_write(ql_base_cache *c) {
    if (!c->model->options.keeps_cache || !ql_cache_model_is_settled(c)) return false;
    ql_err e = keep(c);
    if (ql_bad(e)) ql_info("note: the quantised base is not kept: %s", ql_err_text());
    return !ql_bad(e);
}
