#include "worker/model/load.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/pulse.h"
#include "checkpoint/bnb.h"
#include "worker/model/cache.h"

/* ---- layout ---- */

static ql_tensor reserve(ql_model *m, ql_dtype t, int64_t rows, int64_t cols) {
    ql_tensor v = {NULL, m->weight_bytes, t, rows, cols};
    m->weight_bytes += ql_align(ql_bytes(v), 64);
    return v;
}

static void reserve_blocks(ql_model *m, ql_weight *w, bool nested) {
    int64_t n = w->out * w->in, blocks = ql_ceil_div(n, w->blocksize);
    w->data = reserve(m, QL_U8, 1, (n + 1) / 2);
    w->code = reserve(m, QL_F32, 1, 16);
    w->absmax = reserve(m, nested ? QL_U8 : QL_F32, 1, blocks);
    if (nested) {
        w->nested_absmax = reserve(m, QL_F32, 1, ql_ceil_div(blocks, w->nested_blocksize));
        w->nested_code = reserve(m, QL_F32, 1, 256);
    }
    m->quantised++;
}

static ql_err check_shape(const ql_stored *t, const ql_slot *s) {
    bool vector = s->kind == QL_SLOT_NORM || s->kind == QL_SLOT_BIAS;
    bool fits = vector ? t->rank == 1 && t->dim[0] == s->cols
                       : t->rank == 2 && t->dim[0] == s->rows && t->dim[1] == s->cols;
    QL_CHECK(fits, QL_DATA, "%s: tensor %s has not the shape [%lld, %lld] that config.json makes it; is the folder complete?",
             t->file->path, t->name, (long long)s->rows, (long long)s->cols);
    QL_CHECK(t->dtype_known && (t->dtype == QL_F32 || t->dtype == QL_BF16 || t->dtype == QL_F16), QL_DATA,
             "%s: tensor %s is of type %s; supported are F32, BF16 and F16", t->file->path, t->name, t->dtype_name);
    return ql_ok();
}

static ql_err lay_out_prequantised(ql_model *m, const ql_slot *s, ql_weight *w) {
    ql_bnb_weight b;
    QL_TRY(ql_bnb_read(m->tensors, s->name, &b));
    ql_err e = ql_ok();
    if (b.out != s->rows || b.in != s->cols)
        e = ql_fail(QL_DATA, "%s: tensor %s is [%lld, %lld], config.json makes it [%lld, %lld]; is the folder complete?",
                    m->folder, s->name, (long long)b.out, (long long)b.in, (long long)s->rows, (long long)s->cols);
    bool nested = b.view.absmax_q != NULL;
    *w = (ql_weight){.quant = b.quant, .out = b.out, .in = b.in, .source = b.source, .blocksize = b.view.blocksize};
    if (nested) {
        w->nested_blocksize = b.view.nested_blocksize;
        w->nested_offset = b.view.nested_offset;
    }
    ql_bnb_weight_free(&b);
    if (!ql_bad(e)) reserve_blocks(m, w, nested);
    return e;
}

static ql_err lay_out_slot(ql_model *m, int index) {
    const ql_slot *s = &m->graph.slot[index];
    ql_weight     *w = &m->weight[index];
    if (s->optional) { /* a tied head: whatever the file holds, the embedding counts (transformers) */
        *w = m->weight[s->fallback];
        return ql_ok();
    }
    const ql_stored *t = ql_tensor_set_find(m->tensors, s->name);
    QL_CHECK(t, QL_DATA, "%s: tensor %s is missing; is the folder complete?", m->folder, s->name);
    m->parameters += s->rows * s->cols;
    if (s->kind == QL_SLOT_LINEAR && ql_bnb_is_quantised(m->tensors, s->name)) return lay_out_prequantised(m, s, w);
    QL_TRY(check_shape(t, s));
    *w = (ql_weight){.out = s->rows, .in = s->cols, .source = t->dtype};
    if (s->kind == QL_SLOT_LINEAR && m->options.load_in_4bit) {
        w->quant = m->options.quant;
        w->blocksize = QL_BLOCK;
        w->nested_blocksize = m->options.double_quant ? QL_NESTED_BLOCK : 0;
        reserve_blocks(m, w, m->options.double_quant);
    } else {
        w->data = reserve(m, t->dtype, s->rows, s->cols);
    }
    return ql_ok();
}

ql_err ql_load_layout(ql_model *m) {
    for (size_t i = 0; i < m->graph.slots; i++) QL_TRY(lay_out_slot(m, (int)i));
    return ql_ok();
}

bool ql_is_quantised_here(const ql_model *m, int slot) {
    const ql_slot *s = &m->graph.slot[slot];
    return !s->optional && m->weight[slot].quant && !ql_bnb_is_quantised(m->tensors, s->name);
}

/* ---- loading ---- */

/* Memory in which a tensor of the device is made: its own where the device has the host's memory,
 * else a copy, which goes to the device at the end. */
static void *borrow(ql_model *m, ql_tensor t) {
    void *place = ql_host_address(m->device, t);
    return place ? place : ql_alloc(ql_bytes(t));
}

static ql_err hand_over(ql_model *m, ql_tensor t, void *bytes) {
    if (bytes == ql_host_address(m->device, t)) return ql_ok();
    ql_err e = ql_upload(m->device, t, bytes);
    if (!ql_bad(e)) e = ql_sync(m->device);
    free(bytes);
    return e;
}

static ql_err bad_value(const ql_stored *t) {
    return ql_fail(QL_DATA, "%s: tensor %s holds NaN or infinity; the file is damaged or the training it comes from diverged",
                   t->file->path, t->name);
}

enum { PIECE = 1 << 18 }; /* elements; a multiple of every block size */

/* Waking a thread for nothing takes long on a busy machine. */
static int useful_threads(int64_t pieces, int threads) {
    return (int)ql_max(1, ql_min(pieces, threads));
}

/* Copies in parallel; false when a value is not finite. What was read is let go piece by piece, so that
 * a large tensor is never in memory twice. */
static bool copy_pieces(const ql_stored *t, int threads, uint8_t *to) {
    int64_t pieces = ql_ceil_div(t->count, PIECE);
    size_t  size = ql_dtype_size(t->dtype);
    int     bad = 0;
#pragma omp parallel for num_threads(useful_threads(pieces, threads)) schedule(static) reduction(| : bad)
    for (int64_t p = 0; p < pieces; p++) {
        size_t from = (size_t)p * PIECE * size, n = (size_t)ql_min(PIECE, t->count - p * PIECE);
        bad |= !ql_is_finite(t->data + from, t->dtype, n);
        memcpy(to + from, t->data + from, n * size);
        ql_stored_release_part(t, from, n * size);
        ql_pulse_beat();
    }
    return !bad;
}

static ql_err load_dense(ql_model *m, const ql_stored *t, ql_tensor to, int threads) {
    uint8_t *bytes = borrow(m, to);
    bool     good = copy_pieces(t, threads, bytes);
    QL_TRY(hand_over(m, to, bytes));
    ql_stored_release(t);
    return good ? ql_ok() : bad_value(t);
}

static ql_err upload_codes(ql_model *m, const ql_weight *w, const float *code, const float *nested_code) {
    QL_TRY(ql_upload(m->device, w->code, code));
    return ql_present(w->nested_code) ? ql_upload(m->device, w->nested_code, nested_code) : ql_ok();
}

/* Pieces of whole blocks in parallel; the bits do not depend on how they are cut. */
static bool quantise_pieces(const ql_stored *t, const ql_weight *w, int threads, uint8_t *packed, float *absmax) {
    int64_t pieces = ql_ceil_div(t->count, PIECE);
    size_t  size = ql_dtype_size(t->dtype);
    int     bad = 0;
#pragma omp parallel for num_threads(useful_threads(pieces, threads)) schedule(static) reduction(| : bad)
    for (int64_t p = 0; p < pieces; p++) {
        int64_t from = p * PIECE, n = ql_min(PIECE, t->count - from);
        bad |= !ql_quantize(w->quant, t->data + (size_t)from * size, t->dtype, (size_t)n, w->blocksize,
                            packed + from / 2, absmax + from / w->blocksize);
        ql_stored_release_part(t, (size_t)from * size, (size_t)n * size);
        ql_pulse_beat();
    }
    return !bad;
}

/* The block maxima on their way to the device, as they are or quantised in their turn. */
static ql_err hand_over_maxima(ql_model *m, ql_weight *w, const float *absmax) {
    if (!ql_present(w->nested_absmax)) return ql_upload(m->device, w->absmax, absmax);
    uint8_t *q = borrow(m, w->absmax);
    float   *nested = borrow(m, w->nested_absmax);
    ql_quantize_absmax(absmax, (size_t)w->absmax.cols, q, nested, &w->nested_offset);
    ql_err e = hand_over(m, w->nested_absmax, nested), other = hand_over(m, w->absmax, q);
    return ql_bad(e) ? e : other;
}

static ql_err quantise(ql_model *m, const ql_stored *t, ql_weight *w, int threads) {
    uint8_t *packed = borrow(m, w->data);
    float   *absmax = QL_NEW_ARRAY(float, (size_t)w->absmax.cols);
    bool     good = quantise_pieces(t, w, threads, packed, absmax);
    ql_err   e = hand_over(m, w->data, packed);
    if (!ql_bad(e) && !good) e = bad_value(t);
    if (!ql_bad(e)) e = hand_over_maxima(m, w, absmax);
    if (!ql_bad(e)) e = ql_sync(m->device);
    free(absmax);
    ql_stored_release(t);
    return e;
}

static ql_err load_prequantised(ql_model *m, const ql_slot *s, ql_weight *w) {
    ql_bnb_weight b;
    QL_TRY(ql_bnb_read(m->tensors, s->name, &b));
    ql_err e = upload_codes(m, w, b.view.code, b.view.nested_code);
    if (!ql_bad(e)) e = ql_upload(m->device, w->data, b.view.packed);
    if (!ql_bad(e)) e = ql_upload(m->device, w->absmax, b.view.absmax_q ? (const void *)b.view.absmax_q : b.view.absmax);
    if (!ql_bad(e) && ql_present(w->nested_absmax)) e = ql_upload(m->device, w->nested_absmax, b.view.nested_absmax);
    if (!ql_bad(e)) e = ql_sync(m->device);
    ql_bnb_weight_free(&b);
    ql_bnb_release(m->tensors, s->name);
    return e;
}

/* `cached`: what is quantised here is on the device already. */
static ql_err load_slot(ql_model *m, int index, bool cached, int threads) {
    const ql_slot *s = &m->graph.slot[index];
    ql_weight     *w = &m->weight[index];
    if (s->optional) {
        *w = m->weight[s->fallback];
        return ql_ok();
    }
    if (w->quant && !ql_is_quantised_here(m, index)) return load_prequantised(m, s, w);
    const ql_stored *t = ql_tensor_set_find(m->tensors, s->name);
    if (!w->quant) return load_dense(m, t, w->data, threads);
    QL_TRY(upload_codes(m, w, w->quant->code, ql_dynamic_map()));
    return cached ? ql_ok() : quantise(m, t, w, threads);
}

/* The disk works on the next tensor while this one is quantised. */
static void expect_slot(const ql_model *m, size_t index, bool cached) {
    if (index >= m->graph.slots || (cached && ql_is_quantised_here(m, (int)index))) return;
    const ql_stored *t = ql_tensor_set_find(m->tensors, m->graph.slot[index].name);
    if (t && !m->graph.slot[index].optional) ql_stored_expect(t);
}

static void attach(ql_weight *w, ql_buffer *buffer) {
    w->data.buffer = buffer;
    if (!w->quant) return;
    w->code.buffer = w->absmax.buffer = buffer;
    if (w->nested_blocksize > 0) w->nested_absmax.buffer = w->nested_code.buffer = buffer;
}

static ql_err load_slots(ql_model *m, ql_base_cache *cache, int threads) {
    double start = ql_seconds();
    bool   found = cache && ql_base_cache_read(cache);
    double read = ql_seconds() - start;
    expect_slot(m, 0, found);
    for (size_t i = 0; i < m->graph.slots; i++) {
        expect_slot(m, i + 1, found);
        QL_TRY(load_slot(m, (int)i, found, threads));
        ql_pulse_beat();
    }
    double all = ql_seconds() - start;
    bool   kept = cache && !found && ql_base_cache_write(cache);
    char   size[32];
    if (found)
        m->origin = ql_format("from the cache %s (%s in %.2f s)", ql_base_cache_path(cache),
                              ql_text_bytes(size, ql_base_cache_bytes(cache)), read);
    else
        m->origin = ql_format("%s in %.2f s%s%s", m->quantised ? "quantised" : "loaded", all, kept ? ", kept in " : "",
                              kept ? ql_base_cache_path(cache) : "");
    return ql_ok();
}

ql_err ql_load_weights(ql_model *m) {
    ql_device_info info;
    QL_TRY(ql_device_describe(m->device, &info));
    int threads = info.threads > 0 ? info.threads : omp_get_max_threads();
    for (size_t i = 0; i < m->graph.slots; i++) attach(&m->weight[i], m->buffer);
    ql_base_cache *cache = ql_base_cache_open(m, threads);
    ql_err         e = load_slots(m, cache, threads);
    ql_base_cache_close(cache);
    return e;
}
