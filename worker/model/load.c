#include "worker/model/load.h"

#include <stdlib.h>
#include <string.h>

#include "checkpoint/bnb.h"

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

/* ---- loading ---- */

static bool finite16(const uint8_t *data, int64_t n, uint16_t exponent) {
    unsigned bad = 0;
    for (int64_t i = 0; i < n; i++) {
        uint16_t x;
        memcpy(&x, data + 2 * i, 2);
        bad |= (x & exponent) == exponent;
    }
    return !bad;
}

static bool finite32(const uint8_t *data, int64_t n) {
    unsigned bad = 0;
    for (int64_t i = 0; i < n; i++) {
        uint32_t x;
        memcpy(&x, data + 4 * i, 4);
        bad |= (x & 0x7f800000u) == 0x7f800000u;
    }
    return !bad;
}

static bool is_finite(const uint8_t *data, ql_dtype t, int64_t n) {
    if (t == QL_F32) return finite32(data, n);
    return finite16(data, n, t == QL_BF16 ? 0x7f80 : 0x7c00);
}

static ql_err bad_value(const ql_stored *t) {
    return ql_fail(QL_DATA, "%s: tensor %s holds NaN or infinity; the file is damaged or the training it comes from diverged",
                   t->file->path, t->name);
}

static ql_err load_dense(ql_model *m, const ql_stored *t, ql_weight *w) {
    if (!is_finite(t->data, t->dtype, t->count)) return bad_value(t);
    w->data.buffer = m->buffer;
    QL_TRY(ql_upload(m->device, w->data, t->data));
    ql_stored_release(t);
    return ql_ok();
}

/* Host copies of one matrix while it is quantised. */
typedef struct {
    uint8_t *packed, *absmax_q;
    float   *absmax, *nested_absmax;
} quantised;

static ql_err upload_blocks(ql_model *m, ql_weight *w, const quantised *q, const float *code, const float *nested_code) {
    w->data.buffer = w->code.buffer = w->absmax.buffer = m->buffer;
    QL_TRY(ql_upload(m->device, w->data, q->packed));
    QL_TRY(ql_upload(m->device, w->code, code));
    bool nested = w->nested_blocksize > 0;
    QL_TRY(ql_upload(m->device, w->absmax, nested ? (const void *)q->absmax_q : q->absmax));
    if (!nested) return ql_ok();
    w->nested_absmax.buffer = w->nested_code.buffer = m->buffer;
    QL_TRY(ql_upload(m->device, w->nested_absmax, q->nested_absmax));
    return ql_upload(m->device, w->nested_code, nested_code);
}

enum { QUANTISE_PIECE = 1 << 18 }; /* elements; a multiple of every block size */

/* Pieces of whole blocks in parallel; the bits do not depend on how they are cut. */
static bool quantise_pieces(const ql_stored *t, const ql_weight *w, quantised *q) {
    int64_t pieces = ql_ceil_div(t->count, QUANTISE_PIECE);
    size_t  size = ql_dtype_size(t->dtype);
    int     bad = 0;
#pragma omp parallel for schedule(static) reduction(| : bad)
    for (int64_t p = 0; p < pieces; p++) {
        int64_t        from = p * QUANTISE_PIECE, n = ql_min(QUANTISE_PIECE, t->count - from);
        const uint8_t *x = t->data + (size_t)from * size;
        bad |= !is_finite(x, t->dtype, n);
        ql_quantize(w->quant, x, t->dtype, (size_t)n, w->blocksize, q->packed + from / 2, q->absmax + from / w->blocksize);
    }
    return !bad;
}

static ql_err quantise(ql_model *m, const ql_stored *t, ql_weight *w) {
    size_t    blocks = (size_t)w->absmax.cols, groups = (size_t)ql_ceil_div(w->absmax.cols, QL_NESTED_BLOCK);
    quantised q = {.packed = QL_NEW_ARRAY(uint8_t, (size_t)w->data.cols), .absmax = QL_NEW_ARRAY(float, blocks)};
    q.absmax_q = QL_NEW_ARRAY(uint8_t, blocks);
    q.nested_absmax = QL_NEW_ARRAY(float, groups);
    ql_err e = quantise_pieces(t, w, &q) ? ql_ok() : bad_value(t);
    if (!ql_bad(e) && w->nested_blocksize > 0)
        ql_quantize_absmax(q.absmax, blocks, q.absmax_q, q.nested_absmax, &w->nested_offset);
    if (!ql_bad(e)) e = upload_blocks(m, w, &q, w->quant->code, ql_dynamic_map());
    free(q.packed);
    free(q.absmax);
    free(q.absmax_q);
    free(q.nested_absmax);
    ql_stored_release(t);
    return e;
}

static ql_err load_prequantised(ql_model *m, const ql_slot *s, ql_weight *w) {
    ql_bnb_weight b;
    QL_TRY(ql_bnb_read(m->tensors, s->name, &b));
    quantised q = {.packed = (uint8_t *)(uintptr_t)b.view.packed,
                   .absmax = (float *)(uintptr_t)b.view.absmax,
                   .absmax_q = (uint8_t *)(uintptr_t)b.view.absmax_q,
                   .nested_absmax = (float *)(uintptr_t)b.view.nested_absmax};
    ql_err e = upload_blocks(m, w, &q, b.view.code, b.view.nested_code);
    ql_bnb_weight_free(&b);
    ql_bnb_release(m->tensors, s->name);
    return e;
}

static ql_err load_slot(ql_model *m, int index) {
    const ql_slot *s = &m->graph.slot[index];
    ql_weight     *w = &m->weight[index];
    if (s->optional) {
        *w = m->weight[s->fallback];
        return ql_ok();
    }
    if (w->quant && ql_bnb_is_quantised(m->tensors, s->name)) return load_prequantised(m, s, w);
    const ql_stored *t = ql_tensor_set_find(m->tensors, s->name);
    return w->quant ? quantise(m, t, w) : load_dense(m, t, w);
}

ql_err ql_load_weights(ql_model *m) {
    for (size_t i = 0; i < m->graph.slots; i++) QL_TRY(load_slot(m, (int)i));
    return ql_ok();
}
