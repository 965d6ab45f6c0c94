#include "worker/batch.h"

#include <stdlib.h>

size_t ql_host_batch_bytes(int64_t max_tokens, int64_t max_rows) {
    enum { WORDS_PER_TOKEN = 5, WORDS_PER_ROW = 2, COEF_AND_LOGP = 2 };
    int64_t words = WORDS_PER_TOKEN * max_tokens + WORDS_PER_ROW * max_rows + 2 + COEF_AND_LOGP * max_tokens;
    return (size_t)words * sizeof(int32_t) + (size_t)max_tokens * sizeof(int64_t);
}

void ql_host_batch_open(int64_t max_tokens, int64_t max_rows, ql_host_batch *out) {
    size_t t = (size_t)max_tokens;
    *out = (ql_host_batch){.max_tokens = max_tokens, .max_rows = max_rows};
    out->ids = QL_NEW_ARRAY(int32_t, t);
    out->positions = QL_NEW_ARRAY(int32_t, t);
    out->row_start = QL_NEW_ARRAY(int32_t, (size_t)max_rows + 1);
    out->row_id = QL_NEW_ARRAY(int32_t, (size_t)max_rows);
    out->doc_start = QL_NEW_ARRAY(int32_t, t + 1);
    out->predictor = QL_NEW_ARRAY(int32_t, t);
    out->target = QL_NEW_ARRAY(int32_t, t);
    out->target_document = QL_NEW_ARRAY(int64_t, t);
}

void ql_host_batch_close(ql_host_batch *b) {
    free(b->ids);
    free(b->positions);
    free(b->row_start);
    free(b->row_id);
    free(b->doc_start);
    free(b->predictor);
    free(b->target);
    free(b->target_document);
    *b = (ql_host_batch){0};
}

void ql_host_batch_clear(ql_host_batch *b) {
    b->tokens = b->rows = b->documents = b->targets = 0;
}

static void add_document(ql_host_batch *b, const ql_corpus *c, int64_t index) {
    const ql_document *d = &c->document[index];
    for (int32_t i = 0; i < d->length; i++) {
        int64_t at = b->tokens + i;
        b->ids[at] = d->ids[i];
        b->positions[at] = i;
        if (i == 0 || !d->is_target[i]) continue;
        b->predictor[b->targets] = (int32_t)(at - 1); /* the token before it predicts it */
        b->target[b->targets] = d->ids[i];
        b->target_document[b->targets++] = index;
    }
    b->tokens += d->length;
    b->doc_start[++b->documents] = (int32_t)b->tokens;
}

void ql_host_batch_add(ql_host_batch *b, const ql_corpus *c, const int64_t *documents, int64_t n, int64_t row_id) {
    b->doc_start[0] = b->row_start[0] = 0;
    for (int64_t i = 0; i < n; i++) add_document(b, c, documents[i]);
    b->row_id[b->rows] = (int32_t)row_id;
    b->row_start[++b->rows] = (int32_t)b->tokens;
}

enum { IDS, POSITIONS, ROW_START, ROW_ID, DOC_START, PREDICTOR, TARGET, COEF, LOGP };

static size_t lay_out(int64_t max_tokens, int64_t max_rows, ql_tensor room[9]) {
    const int64_t rows[9] = {max_tokens, max_tokens, max_rows + 1, max_rows,  max_tokens + 1,
                             max_tokens, max_tokens, max_tokens,   max_tokens};
    size_t        at = 0;
    for (int i = 0; i < 9; i++) {
        room[i] = (ql_tensor){NULL, at, i < COEF ? QL_I32 : QL_F32, rows[i], 1};
        at += ql_align(ql_bytes(room[i]), 64);
    }
    return at;
}

size_t ql_batch_bytes(int64_t max_tokens, int64_t max_rows) {
    ql_tensor room[9];
    return lay_out(max_tokens, max_rows, room);
}

ql_err ql_batch_open(ql_device *d, int64_t max_tokens, int64_t max_rows, ql_batch_buffers *out) {
    *out = (ql_batch_buffers){.device = d};
    QL_TRY(ql_buffer_new(d, lay_out(max_tokens, max_rows, out->room), &out->buffer));
    for (int i = 0; i < 9; i++) out->room[i].buffer = out->buffer;
    out->logp = QL_NEW_ARRAY(float, (size_t)max_tokens);
    return ql_ok();
}

void ql_batch_close(ql_batch_buffers *b) {
    if (b->device) ql_buffer_free(b->device, b->buffer);
    free(b->logp);
    *b = (ql_batch_buffers){0};
}

static ql_err put(ql_batch_buffers *b, int which, int64_t rows, const void *from, ql_tensor *view) {
    *view = ql_rows(b->room[which], 0, rows);
    return rows > 0 && from ? ql_upload(b->device, *view, from) : ql_ok();
}

ql_err ql_batch_upload(ql_batch_buffers *b, const ql_host_batch *h, const float *coef) {
    ql_device_batch *v = &b->view;
    *v = (ql_device_batch){h->tokens, h->rows, h->documents, h->targets, .ids = {0}};
    QL_TRY(put(b, IDS, h->tokens, h->ids, &v->ids));
    QL_TRY(put(b, POSITIONS, h->tokens, h->positions, &v->positions));
    QL_TRY(put(b, ROW_START, h->rows + 1, h->row_start, &v->row_start));
    QL_TRY(put(b, ROW_ID, h->rows, h->row_id, &v->row_id));
    QL_TRY(put(b, DOC_START, h->documents + 1, h->doc_start, &v->doc_start));
    QL_TRY(put(b, PREDICTOR, h->targets, h->predictor, &v->predictor));
    QL_TRY(put(b, TARGET, h->targets, h->target, &v->target));
    QL_TRY(put(b, COEF, h->targets, coef, &v->coef));
    return put(b, LOGP, h->targets, NULL, &v->logp);
}

ql_err ql_batch_fetch(ql_batch_buffers *b) {
    return b->view.targets > 0 ? ql_download(b->device, b->logp, b->view.logp) : ql_sync(b->device);
}
