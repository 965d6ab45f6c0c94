/* Attention backward. Weights are recomputed from lse, block by block.
 *
 * Every element of dq is one chain of fused multiply-adds over the keys of its document,
 * ascending; every element of dk and dv one over heads, then queries, ascending. So any order
 * of blocks gives the same bits; zeros lose their sign at the end as in the forward pass. */
#include "kernels/cpu/simd/attention_common.h"
#include "kernels/cpu/simd/exponential.h"

typedef struct {
    const ql_attention_job *job;
    unsigned                parts;
    int64_t                 padded;
    float                  *keys_panels, *values_panels, *keys_copy; /* of the block of keys    */
    float                  *dk, *dv;                                 /* [BLOCK, padded]         */
    float                  *q_left, *d_o_left, *q_copy, *d_o_copy;   /* of the block of queries */
    float                  *dq;                                      /* [BLOCK, padded]         */
    float                  *weights, *d_scores;                      /* [BLOCK + TILE_ROWS, BLOCK] */
    row_view                keys;
    int64_t                 key, key_count;
} backward;

enum { QUERIES = 64, LEFT_ROOM = QUERIES + TILE_ROWS };

static backward backward_begin(const ql_attention_job *j, unsigned parts, float *scratch) {
    int64_t  padded = padded_dim(j->head_dim);
    backward b = {.job = j, .parts = parts, .padded = padded};
    b.keys_panels = take(&scratch, BLOCK * padded);
    b.values_panels = take(&scratch, BLOCK * padded);
    b.keys_copy = take(&scratch, BLOCK * padded);
    b.dk = take(&scratch, BLOCK * padded);
    b.dv = take(&scratch, BLOCK * padded);
    b.q_left = take(&scratch, LEFT_ROOM * padded);
    b.d_o_left = take(&scratch, LEFT_ROOM * padded);
    b.q_copy = take(&scratch, QUERIES * padded);
    b.d_o_copy = take(&scratch, QUERIES * padded);
    b.dq = take(&scratch, QUERIES * padded);
    b.weights = take(&scratch, LEFT_ROOM * BLOCK);
    b.d_scores = take(&scratch, LEFT_ROOM * BLOCK);
    return b;
}

static void load_keys(backward *b, int64_t key, int64_t end) {
    const ql_attention_job *j = b->job;
    const float            *k = j->k + key * j->kv_stride, *v = j->v + key * j->kv_stride;
    b->key = key;
    b->key_count = ql_min(BLOCK, end - key);
    pack_block(k, j->kv_stride, b->key_count, j->head_dim, b->keys_panels);
    pack_block(v, j->kv_stride, b->key_count, j->head_dim, b->values_panels);
    b->keys = view_rows(k, j->kv_stride, b->key_count, j->head_dim, b->keys_copy);
}

/* Weights and score gradients of one query against the block; unseen keys get zeros. */
static void one_query(float *weights, float *d_scores, key_range see, float lse, float delta, float scale) {
    for (int64_t v = 0; v < BLOCK / LANES; v++) {
        v16 weight = v_zero(), d = v_zero();
        if (v * LANES < see.end && (v + 1) * LANES > see.first) {
            m16 seen = lanes_between(v, see.first, see.end);
            weight = v_exp(v_sub(v_load(weights + v * LANES), v_all(lse)));
            weight = v_select(seen, weight, v_zero());
            d = v_mul(v_mul(weight, v_sub(v_load(d_scores + v * LANES), v_all(delta))), v_all(scale));
            d = v_select(seen, d, v_zero());
        }
        v_store(weights + v * LANES, weight);
        v_store(d_scores + v * LANES, d);
    }
}

static key_range in_block(const backward *b, int64_t query) {
    key_range see = visible_keys(b->job, query);
    see = (key_range){ql_max(0, see.first - b->key), ql_min(b->key_count, see.end - b->key)};
    return see.first < see.end ? see : (key_range){0, 0};
}

/* Weights and score gradients of `count` queries, from their products with keys and values. */
static void make_scores(backward *b, int64_t head, int64_t query, int64_t count) {
    const ql_attention_job *j = b->job;
    for (int64_t row = 0; row < count; row += TILE_ROWS) {
        int64_t rows = ql_min(TILE_ROWS, count - row), end = in_block(b, query + row + rows - 1).end;
        for (int64_t i = 0; i < rows; i++) end = ql_max(end, in_block(b, query + row + i).end);
        float *weights = b->weights + row * BLOCK, *d_scores = b->d_scores + row * BLOCK;
        packed_rows(b->q_left + row * j->head_dim, b->keys_panels, rows, end, j->head_dim, weights);
        packed_rows(b->d_o_left + row * j->head_dim, b->values_panels, rows, end, j->head_dim, d_scores);
        for (int64_t i = 0; i < rows; i++) {
            int64_t at = (query + row + i) * j->lse_stride + head;
            one_query(weights + i * BLOCK, d_scores + i * BLOCK, in_block(b, query + row + i), j->lse[at],
                      j->delta[at], j->scale);
        }
    }
}

static void add_to_dq(backward *b, float *dq, int64_t count) {
    const ql_attention_job *j = b->job;
    size_t                  bytes = (size_t)j->head_dim * sizeof(float);
    for (int64_t i = 0; i < count; i++) memcpy(b->dq + i * b->padded, dq + i * j->q_stride, bytes);
    for (int64_t row = 0; row < count; row += TILE_ROWS)
        add_product(LEFT_ROWS, ql_min(TILE_ROWS, count - row), b->d_scores + row * BLOCK, b->keys, b->key_count,
                    b->padded, b->dq + row * b->padded);
    for (int64_t i = 0; i < count; i++) memcpy(dq + i * j->q_stride, b->dq + i * b->padded, bytes);
}

static void add_to_keys(backward *b, row_view q, row_view d_o, int64_t count) {
    for (int64_t k = 0; k < b->key_count; k += TILE_ROWS) {
        int64_t rows = ql_min(TILE_ROWS, b->key_count - k);
        add_product(LEFT_COLUMNS, rows, b->weights + k, d_o, count, b->padded, b->dv + k * b->padded);
        add_product(LEFT_COLUMNS, rows, b->d_scores + k, q, count, b->padded, b->dk + k * b->padded);
    }
}

static void one_block(backward *b, int64_t head, int64_t query, int64_t count) {
    const ql_attention_job *j = b->job;
    int64_t                 at = query * j->q_stride + head * j->head_dim;
    ISA(ql_simd_pack_left)(j->q + at, j->q_stride, count, j->head_dim, j->scale, b->q_left);
    ISA(ql_simd_pack_left)(j->d_o + at, j->q_stride, count, j->head_dim, 1.0f, b->d_o_left);
    make_scores(b, head, query, count);
    if (b->parts & QL_GRAD_Q) add_to_dq(b, j->dq + at, count);
    if (b->parts & QL_GRAD_KV) {
        row_view q = view_rows(j->q + at, j->q_stride, count, j->head_dim, b->q_copy);
        row_view d_o = view_rows(j->d_o + at, j->q_stride, count, j->head_dim, b->d_o_copy);
        add_to_keys(b, q, d_o, count);
    }
}

void ISA(ql_simd_attention_grad)(const ql_attention_job *j, unsigned parts, int64_t query_from, int64_t query_to,
                                 int64_t key_from, int64_t key_to, float *scratch) {
    backward b = backward_begin(j, parts, scratch);
    int64_t  offset = j->keys - j->queries;
    if (parts & QL_GRAD_Q) touch_dq(j, query_from, query_to, true);
    for (int64_t key = key_from; key < key_to; key += BLOCK) {
        load_keys(&b, key, key_to);
        memset(b.dk, 0, (size_t)(BLOCK * b.padded) * sizeof *b.dk);
        memset(b.dv, 0, (size_t)(BLOCK * b.padded) * sizeof *b.dv);
        /* Queries that see anything of the block. */
        int64_t first = ql_max(query_from, key - offset), end = query_to;
        if (j->window > 0) end = ql_min(end, key + b.key_count - 1 + j->window - offset);
        for (int64_t head = 0; head < j->group; head++)
            for (int64_t query = first; query < end; query += QUERIES)
                one_block(&b, head, query, ql_min(QUERIES, end - query));
        if (parts & QL_GRAD_KV) {
            store_rows(b.dk, b.padded, b.key_count, j->head_dim, j->dk + key * j->kv_stride, j->kv_stride);
            store_rows(b.dv, b.padded, b.key_count, j->head_dim, j->dv + key * j->kv_stride, j->kv_stride);
        }
    }
    if (parts & QL_GRAD_Q) touch_dq(j, query_from, query_to, false);
}
