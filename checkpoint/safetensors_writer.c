#include "checkpoint/safetensors_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "checkpoint/safetensors_header.h"

typedef struct {
    const ql_tensor_plan *plan;
    const ql_stored_dtype *dtype;
    char *name; /* owned */
    size_t begin, bytes;
    bool written;
} entry;

struct ql_tensor_writer {
    char *path, *temporary;
    int fd;
    entry *entry; /* in file order; by name only within a dtype */
    size_t n, data_at, size;
};

/* ---- layout ---------------------------------------------------------------------------- */

/* The greatest dtype first, so that every tensor is aligned to its elements; then by name. */
static int file_order(const void *a, const void *b) {
    const entry *x = a, *y = b;
    if (x->dtype != y->dtype) return x->dtype > y->dtype ? -1 : 1;
    return strcmp(x->name, y->name);
}

static ql_err take_entry(const ql_tensor_plan *p, entry *out) {
    *out = (entry){.plan = p, .dtype = ql_stored_dtype_find(p->dtype_name)};
    QL_CHECK(out->dtype && p->rank >= 0 && p->rank <= QL_MAX_RANK, QL_BUG, "tensor %s: cannot be written", p->name);
    uint64_t bits = (uint64_t)out->dtype->bits;
    for (int i = 0; i < p->rank; i++)
        QL_CHECK(p->dim[i] >= 0 && !__builtin_mul_overflow(bits, (uint64_t)p->dim[i], &bits), QL_BUG,
                 "tensor %s: has an impossible shape", p->name);
    out->bytes = (size_t)(bits / 8);
    out->name = ql_strdup(p->name);
    return ql_ok();
}

static void put_entry(ql_str *s, const entry *t) {
    ql_json_put_string(s, t->name, strlen(t->name));
    ql_str_printf(s, ":{\"dtype\":\"%s\",\"shape\":[", t->dtype->name);
    for (int i = 0; i < t->plan->rank; i++) ql_str_printf(s, "%s%lld", i ? "," : "", (long long)t->plan->dim[i]);
    ql_str_printf(s, "],\"data_offsets\":[%zu,%zu]}", t->begin, t->begin + t->bytes);
}

static void put_header(ql_tensor_writer *w, ql_str *s) {
    uint64_t size = 0;
    ql_str_put(s, &size, sizeof size);
    ql_str_puts(s, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (size_t i = 0; i < w->n; i++) {
        ql_str_puts(s, ",");
        put_entry(s, &w->entry[i]);
    }
    ql_str_puts(s, "}");
    while (s->size % 8) ql_str_puts(s, " ");
    size = s->size - sizeof size;
    memcpy(s->data, &size, sizeof size);
}

static ql_err lay_out(ql_tensor_writer *w, const ql_tensor_plan *tensors, size_t n) {
    w->entry = QL_NEW_ARRAY(entry, n);
    for (; w->n < n; w->n++) QL_TRY(take_entry(&tensors[w->n], &w->entry[w->n]));
    qsort(w->entry, n, sizeof *w->entry, file_order);
    for (size_t i = 0, at = 0; i < n; at += w->entry[i++].bytes) w->entry[i].begin = at;
    return ql_ok();
}

/* ---- the file -------------------------------------------------------------------------- */

static ql_err create(ql_tensor_writer *w) {
    ql_str header = {0};
    put_header(w, &header);
    w->data_at = header.size;
    w->size = header.size + (w->n ? w->entry[w->n - 1].begin + w->entry[w->n - 1].bytes : 0);
    ql_err e = ql_file_temporary(w->path, &w->temporary, &w->fd);
    /* A full disk is better found now; file systems that cannot say so are asked by writing. */
    if (!ql_bad(e) && fallocate(w->fd, 0, 0, (off_t)w->size) != 0 && (errno == ENOSPC || errno == EDQUOT))
        e = ql_fail_errno("%s: has no room for %zu bytes", w->temporary, w->size);
    if (!ql_bad(e)) e = ql_write_all(w->fd, header.data, header.size, w->temporary);
    ql_str_free(&header);
    return e;
}

static void release(ql_tensor_writer *w) {
    if (w->fd >= 0) close(w->fd);
    for (size_t i = 0; i < w->n; i++) free(w->entry[i].name);
    free(w->entry);
    free(w->path);
    free(w->temporary);
    free(w);
}

void ql_tensor_writer_abort(ql_tensor_writer *w) {
    if (!w) return;
    if (w->fd >= 0) unlink(w->temporary);
    release(w);
}

ql_err ql_tensor_writer_open(const char *path, const ql_tensor_plan *tensors, size_t n, ql_tensor_writer **out) {
    ql_tensor_writer *w = QL_NEW(ql_tensor_writer);
    w->fd = -1;
    w->path = ql_strdup(path);
    ql_err e = lay_out(w, tensors, n);
    if (!ql_bad(e)) e = create(w);
    *out = ql_bad(e) ? NULL : w;
    if (ql_bad(e)) ql_tensor_writer_abort(w);
    return e;
}

static entry *find(ql_tensor_writer *w, const char *name) {
    for (size_t i = 0; i < w->n; i++)
        if (!strcmp(w->entry[i].name, name)) return &w->entry[i];
    return NULL;
}

ql_err ql_tensor_writer_put(ql_tensor_writer *w, const char *name, const void *data, size_t bytes) {
    entry *t = find(w, name);
    QL_CHECK(t && !t->written && t->bytes == bytes, QL_BUG, "%s: tensor %s: was not announced so", w->path, name);
    if (lseek(w->fd, (off_t)(w->data_at + t->begin), SEEK_SET) < 0)
        return ql_fail_errno("%s: cannot be written", w->temporary);
    QL_TRY(ql_write_all(w->fd, data, bytes, w->temporary));
    t->written = true;
    return ql_ok();
}

static ql_err publish(ql_tensor_writer *w) {
    for (size_t i = 0; i < w->n; i++)
        QL_CHECK(w->entry[i].written, QL_BUG, "%s: tensor %s: was announced but not written", w->path,
                 w->entry[i].name);
    if (fsync(w->fd) != 0) return ql_fail_errno("%s: cannot be made durable", w->temporary);
    if (rename(w->temporary, w->path) != 0) return ql_fail_errno("%s: cannot be renamed to %s", w->temporary, w->path);
    return ql_ok();
}

static ql_err sync_folder_of(const char *path) {
    const char *slash = strrchr(path, '/');
    char *folder = slash ? ql_strndup(path, slash == path ? 1 : (size_t)(slash - path)) : ql_strdup(".");
    ql_err e = ql_dir_sync(folder);
    free(folder);
    return e;
}

ql_err ql_tensor_writer_finish(ql_tensor_writer *w) {
    ql_err e = publish(w);
    if (ql_bad(e)) {
        ql_tensor_writer_abort(w);
        return e;
    }
    e = sync_folder_of(w->path);
    release(w);
    return e;
}

ql_err ql_tensor_file_write(const char *path, const ql_tensor_to_write *tensors, size_t n) {
    ql_tensor_plan *plan = QL_NEW_ARRAY(ql_tensor_plan, n);
    ql_tensor_writer *w = NULL;
    for (size_t i = 0; i < n; i++) {
        plan[i] = (ql_tensor_plan){tensors[i].name, ql_stored_dtype_of(tensors[i].dtype)->name, tensors[i].rank, {0}};
        memcpy(plan[i].dim, tensors[i].dim, sizeof plan[i].dim);
    }
    ql_err e = ql_tensor_writer_open(path, plan, n, &w);
    for (size_t i = 0; i < n && !ql_bad(e); i++) {
        size_t bytes = (size_t)ql_stored_dtype_of(tensors[i].dtype)->bits / 8;
        for (int d = 0; d < tensors[i].rank; d++) bytes *= (size_t)tensors[i].dim[d];
        e = ql_tensor_writer_put(w, tensors[i].name, tensors[i].data, bytes);
    }
    if (ql_bad(e))
        ql_tensor_writer_abort(w);
    else
        e = ql_tensor_writer_finish(w);
    free(plan);
    return e;
}
