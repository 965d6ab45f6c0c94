#include "worker/model/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/pulse.h"
#include "worker/model/cache_internal.h"
#include "worker/model/load.h"

const ql_cache_kind ql_base_cache_kind = {"quantized_cache", ".base"};

/* ---- what lies where ---- */

static void add_tensor(ql_base_cache *c, ql_tensor t) {
    size_t bytes = ql_bytes(t);
    for (size_t at = 0; at < bytes; at += QL_CACHE_CHUNK) {
        int64_t        n = ql_min(QL_CACHE_CHUNK, (int64_t)(bytes - at));
        ql_cache_chunk chunk = {{t.buffer, t.offset + at, QL_U8, 1, n}, c->header.file_bytes};
        QL_PUSH(c->chunk, c->header.chunks, c->chunk_capacity, chunk);
        c->header.file_bytes += (uint64_t)n;
    }
}

/* Chunks follow one another behind the first page and the table, whose size is known last. */
static void lay_out(ql_base_cache *c) {
    const ql_model *m = c->model;
    for (size_t i = 0; i < m->graph.slots; i++) {
        if (!ql_is_quantised_here(m, (int)i)) continue;
        QL_PUSH(c->slot, c->header.matrices, c->slot_capacity, (int)i);
        add_tensor(c, m->weight[i].data);
        add_tensor(c, m->weight[i].absmax);
        add_tensor(c, m->weight[i].nested_absmax);
    }
    size_t offsets = ql_align(c->header.matrices * sizeof(float), 16);
    c->header.table_bytes = ql_align(offsets + c->header.chunks * sizeof(ql_hash128_value), QL_CACHE_PAGE);
    uint64_t image = QL_CACHE_PAGE + c->header.table_bytes;
    for (size_t i = 0; i < c->header.chunks; i++) c->chunk[i].from += image;
    c->header.file_bytes += image;
}

ql_cache_table ql_cache_table_new(const ql_base_cache *c) {
    ql_cache_table t = {.bytes = ql_alloc(c->header.table_bytes)};
    t.offset = (float *)(void *)t.bytes;
    t.digest = (ql_hash128_value *)(void *)(t.bytes + ql_align(c->header.matrices * sizeof(float), 16));
    return t;
}

/* Quantising less than this takes no time worth a file. */
static bool is_worth_it(const ql_base_cache *c) {
    enum { LEAST = 32 << 20 };
    return c->header.matrices > 0 && (strcmp(c->model->options.cache, "auto") || c->header.file_bytes >= LEAST);
}

ql_base_cache *ql_base_cache_open(ql_model *m, int threads) {
    if (!m->options.cache) return NULL;
    ql_base_cache *c = QL_NEW(ql_base_cache);
    *c = (ql_base_cache){.model = m, .threads = threads, .opened = ql_wall_seconds()};
    memcpy(c->header.magic, QL_CACHE_MAGIC, sizeof c->header.magic);
    c->header.version = QL_CACHE_VERSION;
    c->header.byte_order = QL_CACHE_BYTE_ORDER;
    c->header.chunk_bytes = QL_CACHE_CHUNK;
    lay_out(c);
    if (is_worth_it(c)) c->folder = ql_cache_folder(m->options.cache);
    if (!c->folder || !ql_cache_folder_is_safe(&ql_base_cache_kind, c->folder)) {
        ql_base_cache_close(c);
        return NULL;
    }
    ql_cache_identify(c);
    c->path = ql_path_join(c->folder, c->name);
    return c;
}

void ql_base_cache_close(ql_base_cache *c) {
    if (!c) return;
    free(c->folder);
    free(c->path);
    free(c->slot);
    free(c->chunk);
    free(c);
}

const char *ql_base_cache_path(const ql_base_cache *c) {
    return c->path;
}

uint64_t ql_base_cache_bytes(const ql_base_cache *c) {
    return c->header.file_bytes;
}

/* ---- reading ---- */

static bool read_at(int fd, void *to, size_t n, uint64_t from) {
    for (uint8_t *p = to; n > 0;) {
        ssize_t done = pread(fd, p, n, (off_t)from);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return false;
        p += done;
        n -= (size_t)done;
        from += (uint64_t)done;
        ql_pulse_beat();
    }
    return true;
}

static bool is_same(ql_hash128_value a, ql_hash128_value b) {
    return a.low == b.low && a.high == b.high;
}

/* Straight to its place where the device has the host's memory. */
static bool read_chunk(const ql_base_cache *c, int fd, size_t i, ql_hash128_value digest) {
    ql_device *d = c->model->device;
    ql_tensor  at = c->chunk[i].at;
    size_t     n = ql_bytes(at);
    void      *place = ql_host_address(d, at), *own = place ? NULL : ql_alloc(n), *to = place ? place : own;
    bool       good = read_at(fd, to, n, c->chunk[i].from) && is_same(ql_hash128(to, n), digest);
    if (good && own) good = !ql_bad(ql_upload(d, at, own)) && !ql_bad(ql_sync(d));
    free(own);
    return good;
}

/* Only the CPU's memory may be written by several threads. */
int ql_cache_threads(const ql_base_cache *c) {
    return ql_host_address(c->model->device, c->chunk[0].at) ? c->threads : 1;
}

static bool read_chunks(const ql_base_cache *c, int fd, const ql_hash128_value *digest) {
    int bad = 0;
#pragma omp parallel for num_threads(ql_cache_threads(c)) schedule(dynamic) reduction(| : bad)
    for (size_t i = 0; i < c->header.chunks; i++)
        if (!bad) bad = !read_chunk(c, fd, i, digest[i]);
    return !bad;
}

static const char *read_table(const ql_base_cache *c, int fd, ql_cache_table *t) {
    ql_cache_header h;
    if (!read_at(fd, &h, sizeof h, 0)) return "cannot be read";
    if (memcmp(&h, &c->header, offsetof(ql_cache_header, table_digest)) != 0) return "has another header";
    if (!read_at(fd, t->bytes, c->header.table_bytes, QL_CACHE_PAGE)) return "cannot be read";
    return is_same(ql_hash128(t->bytes, c->header.table_bytes), h.table_digest) ? NULL : "is damaged";
}

/* NULL when all is well, else what is wrong. */
static const char *read_file(const ql_base_cache *c, int fd) {
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) return "is not a regular file";
    if (st.st_uid != geteuid() || (st.st_mode & 022) != 0) return "could be written by others";
    if ((uint64_t)st.st_size != c->header.file_bytes) return "has another size";
    ql_cache_table t = ql_cache_table_new(c);
    const char    *fault = read_table(c, fd, &t);
    if (!fault && !read_chunks(c, fd, t.digest)) fault = "is damaged";
    for (size_t i = 0; !fault && i < c->header.matrices; i++) c->model->weight[c->slot[i]].nested_offset = t.offset[i];
    free(t.bytes);
    return fault;
}

bool ql_base_cache_read(ql_base_cache *c) {
    int fd = open(c->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT) return false;
    const char *fault = fd < 0 ? strerror(errno) : read_file(c, fd);
    if (fault) ql_info("note: %s: %s; the base is quantised anew", c->path, fault);
    else (void)futimens(fd, NULL); /* it was used */
    if (fd >= 0) close(fd);
    return !fault;
}
