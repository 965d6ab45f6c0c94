/* Micro-batches: whole packed rows, laid one after another, first on the host, then in buffers
 * on the device that are taken once for the largest micro-batch. All local. */
#pragma once
#include "worker/data/dataset.h"
#include "worker/graph/run.h"

typedef struct {
    int64_t max_tokens, max_rows;
    int64_t tokens, rows, documents, targets;
    int32_t *ids, *positions, *row_start, *row_id, *doc_start, *predictor, *target; /* as ql_device_batch */
    int64_t *target_document; /* per target: index of its document in the corpus            */
} ql_host_batch;

/* Bytes of a host batch and of the host's side of the buffers below. */
size_t ql_host_batch_bytes(int64_t max_tokens, int64_t max_rows);
void ql_host_batch_open(int64_t max_tokens, int64_t max_rows, ql_host_batch *out);
void ql_host_batch_close(ql_host_batch *b);
void ql_host_batch_clear(ql_host_batch *b);
/* Appends a row of documents; `row_id` is its index within the step. The caller has seen to it
 * that it fits. */
void ql_host_batch_add(ql_host_batch *b, const ql_corpus *c, const int64_t *documents, int64_t n, int64_t row_id);

typedef struct {
    ql_device      *device;
    ql_buffer      *buffer;
    ql_device_batch view;  /* of the last upload */
    ql_tensor       room[9];
    float          *logp;  /* host: log-probabilities of the last batch, after ql_batch_fetch */
} ql_batch_buffers;

size_t    ql_batch_bytes(int64_t max_tokens, int64_t max_rows);
QL_RESULT ql_batch_open(ql_device *d, int64_t max_tokens, int64_t max_rows, ql_batch_buffers *out);
void      ql_batch_close(ql_batch_buffers *b);
/* Copies to the device and sets b->view. `coef`: one per target, or NULL. */
QL_RESULT ql_batch_upload(ql_batch_buffers *b, const ql_host_batch *h, const float *coef);
/* Waits for what was queued; then b->logp is there. */
QL_RESULT ql_batch_fetch(ql_batch_buffers *b);
