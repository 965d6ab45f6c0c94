#include "worker/exchange.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"

/* ---- buckets ---- */

static int64_t end_of(const ql_adapter_shape *s, size_t module) {
    return module + 1 < s->modules ? s->module[module + 1].a_at : s->length;
}

size_t ql_buckets_cut(const ql_adapter_shape *s, ql_bucket **out) {
    const int64_t most = QL_BUCKET_BYTES / (int64_t)sizeof(int64_t);
    size_t        n = 0;
    *out = QL_NEW_ARRAY(ql_bucket, s->modules);
    for (size_t m = 0; m < s->modules; m++) {
        int64_t at = s->module[m].a_at, length = end_of(s, m) - at;
        if (n == 0 || (*out)[n - 1].length + length > most) (*out)[n++] = (ql_bucket){.first = m, .at = at};
        (*out)[n - 1].modules++;
        (*out)[n - 1].length += length;
    }
    return n;
}

static ql_tensor sums_of(const ql_exchange *x, size_t bucket) {
    const ql_bucket *b = &x->bucket[bucket];
    ql_tensor        t = x->sum;
    t.offset += (size_t)b->at * sizeof(int64_t);
    t.cols = b->length;
    return t;
}

/* ---- a step ---- */

void ql_exchange_begin_step(ql_exchange *x) {
    for (size_t b = 0; b < x->buckets; b++) x->missing[b] = x->bucket[b].modules;
    x->to_begin = x->buckets;
    x->listens = false;
}

void ql_exchange_listen(ql_exchange *x) {
    x->listens = ql_data_plane_hides(x->plane);
}

static ql_err begin_next(ql_exchange *x) {
    x->to_begin--;
    return ql_data_plane_begin(x->plane, sums_of(x, x->to_begin));
}

ql_err ql_exchange_module_done(void *exchange, int module) {
    ql_exchange *x = exchange;
    if (!x->listens) return ql_ok();
    x->missing[x->bucket_of[module]]--;
    while (x->to_begin > 0 && x->missing[x->to_begin - 1] == 0) QL_TRY(begin_next(x));
    return ql_ok();
}

/* Ranks that are at work on their last rows, or in their first step, are waited for. */
static double patience(const ql_exchange *x) {
    enum { LEAST = 60, FIRST = 360, STEPS = 10 };
    return x->step_seconds > 0 ? fmax(LEAST, STEPS * x->step_seconds) : FIRST;
}

ql_err ql_exchange_finish(ql_exchange *x) {
    x->listens = false;
    while (x->to_begin > 0) QL_TRY(begin_next(x));
    return ql_data_plane_finish(x->plane, patience(x));
}

/* ---- opening ---- */

/* Every rank brings its number, counted from one, in the first element: what arrives shows that all are there. */
static ql_err try_out(ql_exchange *x, ql_device *d, ql_place place) {
    ql_tensor first = x->sum;
    first.cols = 1;
    int64_t mine = place.rank + 1, all = 0, expected = (int64_t)place.size * (place.size + 1) / 2;
    QL_TRY(ql_upload(d, first, &mine));
    ql_exchange_begin_step(x);
    QL_TRY(ql_exchange_finish(x));
    QL_TRY(ql_download(d, &all, first));
    QL_CHECK(all == expected, QL_TEMP, "%s: a sum over %d ranks came out as %lld instead of %lld; the exchange between the devices does not work here",
             ql_data_plane_name(x->plane), place.size, (long long)all, (long long)expected);
    return ql_zero(d, first);
}

ql_err ql_exchange_open(ql_world *w, ql_device *d, const char *kind, ql_adapter *a, ql_exchange *out) {
    const ql_adapter_shape *s = &a->shape;
    *out = (ql_exchange){.sum = a->sum};
    out->buckets = ql_buckets_cut(s, &out->bucket);
    out->bucket_of = QL_NEW_ARRAY(size_t, s->modules);
    out->missing = QL_NEW_ARRAY(size_t, out->buckets);
    for (size_t b = 0; b < out->buckets; b++)
        for (size_t i = 0; i < out->bucket[b].modules; i++) out->bucket_of[out->bucket[b].first + i] = b;
    QL_TRY(ql_data_plane_open(w, d, kind, &out->plane));
    return ql_data_plane_hides(out->plane) ? try_out(out, d, ql_world_place(w)) : ql_ok();
}

void ql_exchange_close(ql_exchange *x) {
    ql_data_plane_close(x->plane);
    free(x->bucket);
    free(x->bucket_of);
    free(x->missing);
    *x = (ql_exchange){0};
}
