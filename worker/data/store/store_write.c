/* Writing a store: under another name until it is complete. What stands in the way of a file never stands in the way of a run:
 * then the tokens come back into memory. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/hook.h"
#include "base/log.h"
#include "base/pulse.h"
#include "worker/data/store/store_file.h"

enum { BUFFER = 4 << 20 };

struct ql_store_writer {
    char    *path, *temporary;
    int      fd;
    uint8_t *buffer;
    size_t   used;    /* of the buffer                        */
    uint64_t flushed; /* bytes of the file that are in it     */
};

void ql_store_writer_abandon(ql_store_writer *w) {
    if (!w) return;
    if (w->temporary) unlink(w->temporary);
    if (w->fd >= 0) close(w->fd);
    free(w->path);
    free(w->temporary);
    free(w->buffer);
    free(w);
}

ql_err ql_store_writer_start(ql_store *s, const char *path) {
    uint64_t unique = 0;
    if (getrandom(&unique, sizeof unique, 0) != sizeof unique) unique = (uint64_t)getpid();
    ql_store_writer *w = QL_NEW(ql_store_writer);
    w->path = ql_strdup(path);
    w->temporary = ql_format("%s.tmp-%016" PRIx64, path, unique);
    w->fd = open(w->temporary, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (w->fd < 0) {
        ql_err e = ql_fail_errno("%s: cannot be created", w->temporary);
        ql_store_writer_abandon(w);
        return e;
    }
    w->buffer = ql_alloc(BUFFER);
    w->used = QL_STORE_PAGE; /* the header's, until it is known */
    s->writer = w;
    return ql_ok();
}

static ql_err write_at(int fd, const void *from, size_t n, uint64_t at, const char *name) {
    for (const uint8_t *p = from; n > 0;) {
        ssize_t done = pwrite(fd, p, n, (off_t)at);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return ql_fail_errno("%s: cannot be written", name);
        p += done;
        n -= (size_t)done;
        at += (uint64_t)done;
        ql_pulse_beat();
    }
    return ql_ok();
}

/* A run must not fill somebody's disk for the sake of seconds. */
static ql_err check_space(const ql_store_writer *w, size_t more) {
    struct statvfs fs;
    if (fstatvfs(w->fd, &fs) != 0) return ql_fail_errno("%s: cannot be looked at", w->path);
    uint64_t free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    QL_CHECK(free_bytes >= w->flushed + 2 * more, QL_IO, "%s: it would take more than half of the space that is free there", w->path);
    return ql_ok();
}

static ql_err flush(ql_store_writer *w) {
    if (w->used == 0) return ql_ok();
    ql_at("prepare", 0, &w->flushed);
    QL_TRY(check_space(w, w->used));
    QL_TRY(write_at(w->fd, w->buffer, w->used, w->flushed, w->path));
    w->flushed += w->used;
    w->used = 0;
    return ql_ok();
}

static ql_err put(ql_store_writer *w, const void *bytes, size_t n) {
    for (const uint8_t *p = bytes; n > 0;) {
        size_t piece = n < BUFFER - w->used ? n : BUFFER - w->used;
        memcpy(w->buffer + w->used, p, piece);
        w->used += piece;
        p += piece;
        n -= piece;
        if (w->used == BUFFER) QL_TRY(flush(w));
    }
    return ql_ok();
}

static uint64_t end_of(const ql_store_writer *w) {
    return w->flushed + w->used;
}

/* What was put, wherever it is by now. */
static bool read_back(const ql_store_writer *w, void *to, size_t n, uint64_t from) {
    uint8_t *p = to;
    for (; n > 0 && from < w->flushed;) {
        size_t  piece = n < w->flushed - from ? n : (size_t)(w->flushed - from);
        ssize_t done = pread(w->fd, p, piece, (off_t)from);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return false;
        p += done;
        n -= (size_t)done;
        from += (uint64_t)done;
    }
    memcpy(p, w->buffer + (from - w->flushed), n);
    return true;
}

static bool take_back(ql_store *s, ql_document *d, uint64_t from) {
    size_t          n = (size_t)d->length;
    ql_store_block *b = ql_store_room(s, n);
    d->ids = b->ids + b->used;
    d->is_target = b->is_target + b->used;
    bool good = read_back(s->writer, b->ids + b->used, n * sizeof *d->ids, from) &&
                read_back(s->writer, b->is_target + b->used, n, from + n * sizeof *d->ids);
    b->used += n;
    return good;
}

void ql_store_writer_give_up(ql_store *s) {
    uint64_t at = QL_STORE_PAGE;
    if (!s->writer) return;
    for (size_t i = 0; i < s->documents; i++) {
        if (!take_back(s, &s->document[i], at)) {
            ql_error("%s: cannot be read back; start again with dataset_cache: false", s->writer->temporary);
            exit(QL_IO);
        }
        at += ql_store_block_bytes((size_t)s->document[i].length);
    }
    ql_store_writer_abandon(s->writer);
    s->writer = NULL;
}

static bool go_on_without(ql_store *s) {
    ql_warn("the prepared data are not kept: %s; the run goes on without", ql_err_text());
    ql_store_writer_give_up(s);
    return false;
}

static ql_err put_document(ql_store_writer *w, const int32_t *ids, const uint8_t *is_target, size_t n) {
    static const uint8_t zero[sizeof(int32_t)];
    QL_TRY(put(w, ids, n * sizeof *ids));
    QL_TRY(put(w, is_target, n));
    return put(w, zero, ql_store_block_bytes(n) - n * (sizeof *ids + 1));
}

bool ql_store_writer_put(ql_store *s, const int32_t *ids, const uint8_t *is_target, size_t n) {
    return ql_bad(put_document(s->writer, ids, is_target, n)) ? go_on_without(s) : true;
}

/* ---- the end ---- */

/* The list as it is written: without pointers, which mean nothing elsewhere. */
static ql_err put_list(ql_store *s, ql_store_header *h) {
    static const uint8_t zero[16];
    h->token_bytes = end_of(s->writer) - QL_STORE_PAGE;
    QL_TRY(put(s->writer, zero, ql_align(h->token_bytes, 16) - h->token_bytes));
    h->list_at = end_of(s->writer);
    h->documents = s->documents;
    h->document_bytes = sizeof *s->document;
    h->tokens = s->count;
    h->list_digest = ql_hash128(s->document, s->documents * sizeof *s->document);
    return put(s->writer, s->document, s->documents * sizeof *s->document);
}

static ql_err write_rest(ql_store *s, ql_store_header *h, const ql_str *json) {
    ql_store_writer *w = s->writer;
    QL_CHECK(json->size <= QL_STORE_JSON, QL_IO, "%s: there is too much to note", w->path);
    QL_TRY(put_list(s, h));
    h->json_bytes = json->size;
    h->json_digest = ql_hash128(json->data, json->size);
    QL_TRY(put(w, json->data, json->size));
    QL_TRY(flush(w));
    h->file_bytes = w->flushed;
    h->digest = ql_hash128(h, offsetof(ql_store_header, digest));
    return write_at(w->fd, h, sizeof *h, 0, w->path);
}

/* Mapped before it gets its name, so that it is certainly ours. */
static ql_err publish(ql_store *s) {
    ql_store_writer *w = s->writer;
    ql_at("prepare", 1, &w->flushed);
    if (fsync(w->fd) != 0) return ql_fail_errno("%s: cannot be made durable", w->path);
    QL_TRY(ql_map_open_own(w->temporary, &s->map));
    if (rename(w->temporary, w->path) == 0) return ql_ok();
    ql_err e = ql_fail_errno("%s: cannot be renamed", w->temporary);
    ql_map_close(&s->map);
    return e;
}

bool ql_store_writer_finish(ql_store *s, const ql_store_key *key, const ql_str *json) {
    if (!s->writer) return false;
    ql_store_header h = {.version = QL_STORE_VERSION, .byte_order = QL_STORE_BYTE_ORDER, .key = *key};
    memcpy(h.magic, QL_STORE_MAGIC, sizeof h.magic);
    ql_err e = write_rest(s, &h, json);
    if (!ql_bad(e)) e = publish(s);
    if (ql_bad(e)) return go_on_without(s);
    free(s->map.path);
    s->map.path = ql_strdup(s->writer->path);
    free(s->writer->temporary);
    s->writer->temporary = NULL;
    ql_store_writer_abandon(s->writer);
    s->writer = NULL;
    ql_store_point(s);
    return true;
}
