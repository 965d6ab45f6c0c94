/* The state of an adapter on the host: values, then first, then second moments, each laid out like the device's run. */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "worker/model/adapter.h"

enum { RUNS = 3 };

static void add_tensor(ql_adapter_copy *c, const ql_adapter_shape *s, const ql_adapter_module *m, bool is_b) {
    float          *at = c->memory + (is_b ? m->b_at : m->a_at);
    ql_state_tensor t = {.rows = is_b ? m->out : s->r, .cols = is_b ? s->r : m->in};
    t.name = ql_format("%s.lora_%c", m->module, is_b ? 'B' : 'A');
    t.value = at;
    t.moment1 = at + s->length;
    t.moment2 = at + 2 * s->length;
    c->tensor[c->tensors++] = t;
}

size_t ql_adapter_copy_bytes(const ql_adapter_shape *s) {
    return RUNS * (size_t)s->length * sizeof(float);
}

void ql_adapter_copy_open_in(const ql_adapter *a, void *memory, ql_adapter_copy *out) {
    const ql_adapter_shape *s = &a->shape;
    *out = (ql_adapter_copy){.memory = memory, .borrowed = true};
    out->tensor = QL_NEW_ARRAY(ql_state_tensor, 2 * s->modules);
    out->module = QL_NEW_ARRAY(ql_peft_module, s->modules);
    for (size_t i = 0; i < s->modules; i++) {
        const ql_adapter_module *m = &s->module[i];
        add_tensor(out, s, m, false);
        add_tensor(out, s, m, true);
        out->module[i] = (ql_peft_module){m->module, m->in, m->out, out->memory + m->a_at, out->memory + m->b_at};
    }
}

void ql_adapter_copy_open(const ql_adapter *a, ql_adapter_copy *out) {
    ql_adapter_copy_open_in(a, QL_NEW_ARRAY(float, RUNS * (size_t)a->shape.length), out);
    out->borrowed = false;
}

void ql_adapter_copy_close(ql_adapter_copy *c) {
    for (size_t i = 0; i < c->tensors; i++) free((char *)(uintptr_t)c->tensor[i].name);
    free(c->tensor);
    free(c->module);
    if (!c->borrowed) free(c->memory);
    *c = (ql_adapter_copy){0};
}

/* ---- from the adapter into a copy ---- */

/* Where a run can be read by the host: in place, or (NULL) only after it has been brought over. */
static const float *in_place(const ql_adapter *a, int run) {
    if (run > 0 && a->paged) return a->paged + (run - 1) * a->shape.length;
    return ql_host_address(a->device, run == 0 ? a->value : run == 1 ? a->moment1 : a->moment2);
}

static ql_err bring_over(const ql_adapter *a, int run, float *to) {
    return ql_download(a->device, to, run == 0 ? a->value : run == 1 ? a->moment1 : a->moment2);
}

/* A piece is copied and digested while it is in a processor's cache: memory is read once. Pieces have a fixed size and
 * are combined in their order, so that the digest depends neither on threads nor on the device. */
enum { PIECE = 1 << 16 }; /* floats */

static uint64_t take_piece(const float *from, float *to, size_t n) {
    if (to && to != from) memcpy(to, from, n * sizeof *from);
    return ql_hash64(to ? to : from, n * sizeof *from, 0);
}

static void take_run(const float *from, float *to, size_t n, int threads, uint64_t *digest) {
    size_t pieces = (n + PIECE - 1) / PIECE;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (size_t i = 0; i < pieces; i++) {
        size_t at = i * PIECE, length = n - at < PIECE ? n - at : PIECE;
        digest[i] = take_piece(from + at, to ? to + at : NULL, length);
    }
}

static ql_err take_runs(const ql_adapter *a, ql_adapter_copy *c, bool keep, int threads, uint64_t *digest) {
    size_t n = (size_t)a->shape.length, pieces = (n + PIECE - 1) / PIECE;
    QL_TRY(ql_sync(a->device));
    for (int run = 0; run < RUNS; run++) {
        float       *to = c->memory + (size_t)run * n;
        const float *from = in_place(a, run);
        if (!from) QL_TRY(bring_over(a, run, to));
        take_run(from ? from : to, keep ? to : NULL, n, threads, digest + (size_t)run * pieces);
    }
    return ql_ok();
}

ql_err ql_adapter_snapshot(const ql_adapter *a, ql_adapter_copy *c, bool keep, int threads, uint64_t *digest) {
    size_t    pieces = RUNS * (((size_t)a->shape.length + PIECE - 1) / PIECE);
    uint64_t *of_piece = QL_NEW_ARRAY(uint64_t, pieces);
    ql_err    e = take_runs(a, c, keep, threads, of_piece);
    *digest = ql_hash64(of_piece, pieces * sizeof *of_piece, (uint64_t)a->shape.length);
    free(of_piece);
    return e;
}

ql_err ql_adapter_fetch(const ql_adapter *a, ql_adapter_copy *c) {
    uint64_t unused;
    return ql_adapter_snapshot(a, c, true, 1, &unused);
}

ql_err ql_adapter_store(ql_adapter *a, const ql_adapter_copy *c) {
    QL_TRY(ql_upload(a->device, a->value, c->memory));
    if (a->paged) {
        QL_TRY(ql_sync(a->device));
        memcpy(a->paged, c->memory + a->shape.length, ql_adapter_moment_bytes(&a->shape));
        return ql_ok();
    }
    QL_TRY(ql_upload(a->device, a->moment1, c->memory + a->shape.length));
    return ql_upload(a->device, a->moment2, c->memory + 2 * a->shape.length);
}
