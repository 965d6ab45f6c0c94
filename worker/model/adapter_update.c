/* The update of the trained values. Moments on the host pass through device memory in pieces, two of which have room at
 * a time: while one is updated the next is on its way here, and then the one before on its way back. */
#include "worker/model/adapter.h"

enum {
    UNIT = 16,            /* elements: pieces begin on borders of 64 bytes                            */
    IN_ROOM = 4,          /* two pieces of each moment                                                */
    MOST = 2 << 20,       /* elements of a piece: what a transfer costs beside its bytes is forgotten */
};
_Static_assert((int)QL_UPDATE_ROOM == (int)(IN_ROOM * UNIT * sizeof(float)), "the smallest pieces have room");

typedef struct {
    const ql_adapter *adapter;
    ql_tensor         room;
    int64_t           length; /* of a piece, in elements */
} pager;

static ql_tensor part(ql_tensor run, int64_t from, int64_t n) {
    run.offset += (size_t)from * ql_dtype_size(run.dtype);
    run.cols = n;
    return run;
}

static int64_t piece_at(const pager *p, int64_t at) {
    return ql_min(p->length, p->adapter->shape.length - at);
}

/* Where the piece from element `at` on lies while it is updated; pieces take turns. */
static ql_tensor place(const pager *p, int64_t at, int moment) {
    ql_tensor t = p->room;
    t.dtype = QL_F32;
    return part(t, (at / p->length % 2 * 2 + moment) * p->length, piece_at(p, at));
}

static float *home(const pager *p, int64_t at, int moment) {
    return p->adapter->paged + moment * p->adapter->shape.length + at;
}

static ql_err fetch(const pager *p, int64_t at) {
    for (int m = 0; m < 2; m++) QL_TRY(ql_fetch(p->adapter->device, place(p, at, m), home(p, at, m)));
    return ql_ok();
}

static ql_err send(const pager *p, int64_t at) {
    for (int m = 0; m < 2; m++) QL_TRY(ql_send(p->adapter->device, home(p, at, m), place(p, at, m)));
    return ql_ok();
}

static ql_err update_piece(const pager *p, int64_t at, const ql_adamw_args *how) {
    ql_adamw_args a = *how;
    int64_t       n = piece_at(p, at);
    a.p = part(p->adapter->value, at, n);
    a.g = part(p->adapter->gradient, at, n);
    a.m = place(p, at, 0);
    a.v = place(p, at, 1);
    return ql_adamw(p->adapter->device, &a);
}

/* A fetch is queued before the update that it runs beside, and behind the sending of what lay in its place. */
static ql_err update_paged(const pager *p, const ql_adamw_args *how) {
    ql_device *d = p->adapter->device;
    int64_t    all = p->adapter->shape.length;
    QL_TRY(fetch(p, 0));
    for (int64_t at = 0; at < all; at += p->length) {
        QL_TRY(ql_await_transfers(d));
        if (at + p->length < all) QL_TRY(fetch(p, at + p->length));
        QL_TRY(update_piece(p, at, how));
        QL_TRY(send(p, at));
    }
    return ql_await_transfers(d); /* the room is used again */
}

ql_err ql_adapter_update(ql_adapter *a, ql_tensor room, const ql_adamw_args *how) {
    if (!a->paged) {
        ql_adamw_args all = *how;
        all.p = a->value;
        all.g = a->gradient;
        all.m = a->moment1;
        all.v = a->moment2;
        return ql_adamw(a->device, &all);
    }
    QL_CHECK(ql_bytes(room) >= QL_UPDATE_ROOM, QL_BUG, "update: no room for moments that wait on the host");
    int64_t fits = (int64_t)(ql_bytes(room) / (IN_ROOM * sizeof(float))) / UNIT * UNIT;
    pager   p = {.adapter = a, .room = room, .length = ql_min(fits, MOST)};
    return update_paged(&p, how);
}
