/* Sums through the host: in place where the device's memory is the host's, else piece by piece through a buffer. */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "collective/plane.h"

typedef struct {
    ql_world  *world;
    ql_device *device;
    void      *piece; /* [QL_PLANE_PIECE] that the device reaches; NULL until needed */
    ql_tensor *begun;
    size_t     count, capacity;
} host_plane;

static void host_name(char name[64]) {
    snprintf(name, 64, "host memory");
}

static ql_err host_open(ql_world *w, ql_device *d, void **state) {
    host_plane *p = QL_NEW(host_plane);
    *p = (host_plane){.world = w, .device = d};
    *state = p;
    return ql_ok();
}

static void host_close(void *state) {
    host_plane *p = state;
    ql_host_free(p->device, p->piece, QL_PLANE_PIECE);
    free(p->begun);
    free(p);
}

static ql_err host_begin(void *state, ql_tensor t) {
    host_plane *p = state;
    ql_tensor  *last = p->count > 0 ? &p->begun[p->count - 1] : NULL;
    if (last && last->buffer == t.buffer && t.offset + ql_bytes(t) == last->offset) { /* neighbours are one sum */
        t.cols = ql_count(t) + ql_count(*last);
        t.rows = 1;
        *last = t;
        return ql_ok();
    }
    QL_PUSH(p->begun, p->count, p->capacity, t);
    return ql_ok();
}

static ql_err sum_through_buffer(host_plane *p, ql_tensor t) {
    const int64_t all = ql_count(t), most = QL_PLANE_PIECE / (int64_t)sizeof(int64_t);
    if (!p->piece) QL_TRY(ql_host_new(p->device, QL_PLANE_PIECE, &p->piece));
    for (int64_t done = 0; done < all; done += most) {
        ql_tensor part = {t.buffer, t.offset + (size_t)done * sizeof(int64_t), QL_I64, 1, ql_min(most, all - done)};
        QL_TRY(ql_download(p->device, p->piece, part));
        QL_TRY(ql_sum_i64(p->world, p->piece, (size_t)part.cols));
        QL_TRY(ql_upload(p->device, part, p->piece));
    }
    return ql_sync(p->device);
}

static ql_err host_finish(void *state, double patience) {
    (void)patience;
    host_plane *p = state;
    QL_TRY(ql_sync(p->device));
    for (size_t i = 0; i < p->count; i++) {
        int64_t *in_place = ql_host_address(p->device, p->begun[i]);
        QL_TRY(in_place ? ql_sum_i64(p->world, in_place, (size_t)ql_count(p->begun[i])) : sum_through_buffer(p, p->begun[i]));
    }
    p->count = 0;
    return ql_ok();
}

const ql_plane ql_plane_host = {.name = host_name,
                                .open = host_open,
                                .begin = host_begin,
                                .finish = host_finish,
                                .close = host_close};
