/* Attention backward with operands rounded to bf16 (ql_attention_grad_args in ops.h). Weights are
 * recomputed from lse, block by block, as in simd/attention_grad.c.
 *
 * Every element of dq is summed over the blocks of 32 keys of its document, ascending; every
 * element of dk and dv over heads, then the blocks of 32 queries of the document, ascending. */
#include "kernels/cpu/bf16/attention_common.h"

enum { BLOCK = QL_BF16_BLOCK, TILE = QL_BF16_TILE };

/* A block of keys. */
typedef struct {
    int64_t key, count;
    uint16_t *keys, *values; /* left [count, head_dim]  */
    uint16_t *keys_as_right; /* right [count, head_dim] */
    float *dk, *dv;          /* [KEYS, padded] */
} key_block;

typedef struct {
    const ql_bf16_unit *unit;
    const ql_attention_job *job;
    unsigned parts;
    int64_t padded;
    key_block block[BLOCKS_AT_ONCE];
    int64_t blocks;
    float *scores, *d_weights;    /* [KEYS, COLS] */
    uint16_t *weights, *d_scores; /* left [keys, queries]   */
    uint16_t *d_scores_pairs;     /* right [keys, queries]  */
    uint16_t *d_scores_by_query;  /* left [queries, keys]   */
    /* of the block of queries */
    int64_t query, count, head;
    visibility see;
    float minus_lse[COLS], delta[COLS];
    uint16_t *q_turned, *d_o_turned; /* right [head_dim, queries] */
    uint16_t *q, *d_o;               /* right [queries, head_dim] */
} backward;

static void begin(backward *b, float *scratch) {
    int64_t keys = KEYS * b->padded, queries = COLS * b->padded;
    for (int64_t i = 0; i < BLOCKS_AT_ONCE; i++) {
        key_block *k = &b->block[i];
        k->keys = take_halves(&scratch, keys);
        k->values = take_halves(&scratch, keys);
        k->keys_as_right = take_halves(&scratch, keys);
        k->dk = take(&scratch, keys);
        k->dv = take(&scratch, keys);
    }
    b->q_turned = take_halves(&scratch, queries);
    b->d_o_turned = take_halves(&scratch, queries);
    b->q = take_halves(&scratch, queries);
    b->d_o = take_halves(&scratch, queries);
    b->scores = take(&scratch, KEYS * COLS);
    b->d_weights = take(&scratch, KEYS * COLS);
    b->weights = take_halves(&scratch, KEYS * COLS);
    b->d_scores = take_halves(&scratch, KEYS * COLS);
    b->d_scores_pairs = take_halves(&scratch, KEYS * COLS);
    b->d_scores_by_query = take_halves(&scratch, KEYS * COLS);
}

static void load_block(const backward *b, key_block *block, int64_t key, int64_t end) {
    const ql_attention_job *j = b->job;
    const ql_bf16_layout *l = &b->unit->layout;
    const ql_bf16_packers *pack = b->unit->pack;
    const float *k = j->k + key * j->kv_stride, *v = j->v + key * j->kv_stride;
    ql_source source = {.data = k, .dtype = QL_F32, .cols = j->kv_stride};
    size_t bytes = (size_t)(KEYS * b->padded) * sizeof(float);
    block->key = key;
    block->count = ql_min(KEYS, end - key);
    pack->pack_left(l, k, j->kv_stride, block->count, j->head_dim, 1.0f, block->keys);
    pack->pack_left(l, v, j->kv_stride, block->count, j->head_dim, 1.0f, block->values);
    if (b->parts & QL_GRAD_Q) pack->pack_right(l, &source, 0, block->count, 0, j->head_dim, block->keys_as_right);
    if (b->parts & QL_GRAD_KV) {
        memset(block->dk, 0, bytes);
        memset(block->dv, 0, bytes);
    }
}

static void load_queries(backward *b, int64_t head, int64_t query, int64_t count) {
    const ql_attention_job *j = b->job;
    const ql_bf16_layout *l = &b->unit->layout;
    const ql_bf16_packers *pack = b->unit->pack;
    int64_t at = query * j->q_stride + head * j->head_dim;
    ql_source q = {.data = j->q + at, .dtype = QL_F32, .cols = j->q_stride}, d_o = q;
    d_o.data = j->d_o + at;
    b->head = head;
    b->query = query;
    b->count = count;
    sees_none(&b->see);
    for (int64_t i = 0; i < COLS; i++) {
        int64_t token = query + i, scalar = token * j->lse_stride + head;
        bool exists = i < count;
        sees(&b->see, i, exists ? visible_keys(j, token) : (key_range){0, 0});
        b->minus_lse[i] = exists ? -j->lse[scalar] : 0.0f;
        b->delta[i] = exists ? j->delta[scalar] : 0.0f;
    }
    pack->pack_right_transposed(l, &q, 0, j->head_dim, 0, count, b->q_turned);
    pack->pack_right_transposed(l, &d_o, 0, j->head_dim, 0, count, b->d_o_turned);
    if (b->parts & QL_GRAD_KV) {
        pack->pack_right(l, &q, 0, count, 0, j->head_dim, b->q);
        pack->pack_right(l, &d_o, 0, count, 0, j->head_dim, b->d_o);
    }
}

/* One row of a left panel: 32 columns of one row. */
QL_INLINE void store_row(ql_bf16_order order, v16 first, v16 second, uint16_t *to) {
    h32 row = halves_round(first, second);
    halves_store(to, order == QL_BF16_CROSSED ? halves_cross(row) : row);
}

/* Weights and gradients of scores of four keys and 32 queries from their products with keys and values. */
QL_INLINE void four_keys(const backward *b, const key_block *k, int64_t row, int64_t column, int64_t query_blocks,
                         int tile_rows_log2, bool masked) {
    const v16 scale = v_all(b->job->scale);
    ql_bf16_order order = b->unit->layout.order;
    v16 weight[2][FOUR], d[2][FOUR];
    QL_UNROLL for (int64_t h = 0; h < 2; h++) QL_UNROLL for (int64_t r = 0; r < FOUR; r++) {
        int64_t c = column + h * LANES, at = (row + r) * COLS + c;
        v16 w = v_exp(v_fma(v_load(b->scores + at), scale, v_load(b->minus_lse + c)));
        v16 g = v_mul(v_mul(w, v_sub(v_load(b->d_weights + at), v_load(b->delta + c))), scale);
        if (masked) {
            m16 seen = seen_by(&b->see, c, k->key + row + r);
            w = v_select(seen, w, v_zero());
            g = v_select(seen, g, v_zero());
        }
        weight[h][r] = w;
        d[h][r] = g;
    }
    QL_UNROLL for (int64_t r = 0; r < FOUR; r++) {
        int64_t i = row + r, panel = i >> tile_rows_log2, in_panel = i - (panel << tile_rows_log2);
        int64_t at = (((panel * query_blocks + column / BLOCK) << tile_rows_log2) + in_panel) * BLOCK;
        store_row(order, weight[0][r], weight[1][r], b->weights + at);
        store_row(order, d[0][r], d[1][r], b->d_scores + at);
    }
    QL_UNROLL for (int64_t h = 0; h < 2; h++) {
        int64_t panel = (column / LANES + h) * ql_bf16_depth(k->count);
        store_four(order, d[h][0], d[h][1], d[h][2], d[h][3], b->d_scores_pairs + (panel + row) * QL_BF16_COLS);
    }
}

QL_INLINE void make_weights(const backward *b, const key_block *k, bool masked) {
    int64_t rows = ql_bf16_depth(k->count), columns = ql_bf16_depth(b->count);
    int tile_rows_log2 = __builtin_ctzll((unsigned long long)b->unit->layout.tile_rows);
    for (int64_t column = 0; column < columns; column += BLOCK)
        for (int64_t row = 0; row < rows; row += FOUR)
            four_keys(b, k, row, column, columns / BLOCK, tile_rows_log2, masked);
}

/* The right operand d_scores [keys, queries] becomes the left one [queries, keys]. */
static void turn_d_scores(const backward *b, const key_block *k) {
    int64_t blocks = ql_ceil_div(k->count, BLOCK), tile_rows = b->unit->layout.tile_rows;
    uint16_t rows[TILE];
    for (int64_t query = 0; query < b->count; query += LANES)
        for (int64_t block = 0; block < blocks; block++) {
            pairs_transpose(b->d_scores_pairs + (query / LANES * blocks + block) * TILE, BLOCK, LANES, rows);
            for (int64_t r = 0; r < LANES; r++) {
                int64_t panel = (query + r) / tile_rows, in_panel = (query + r) % tile_rows;
                halves_store(b->d_scores_by_query + ((panel * blocks + block) * tile_rows + in_panel) * BLOCK,
                             halves_load(rows + r * BLOCK));
            }
        }
}

static void multiply(const backward *b, const uint16_t *keys_or_values, const uint16_t *turned, int64_t count,
                     float *y) {
    const ql_bf16_layout *l = &b->unit->layout;
    ql_bf16_product_begun(b->unit, &(ql_bf16_block){.left = keys_or_values,
                                                    .right = turned,
                                                    .rows = round_up(count, l->tile_rows),
                                                    .cols = round_up(b->count, l->tile_cols),
                                                    .depth = b->job->head_dim,
                                                    .y = y,
                                                    .y_stride = COLS});
}

static void add_to_keys(const backward *b, const uint16_t *left, const uint16_t *right, int64_t keys, float *y) {
    const ql_bf16_layout *l = &b->unit->layout;
    ql_bf16_product_begun(b->unit, &(ql_bf16_block){.left = left,
                                                    .right = right,
                                                    .rows = round_up(keys, l->tile_rows),
                                                    .cols = round_up(b->job->head_dim, l->tile_cols),
                                                    .depth = b->count,
                                                    .start = y,
                                                    .start_stride = b->padded,
                                                    .y = y,
                                                    .y_stride = b->padded});
}

static void add_to_dq(const backward *b, const key_block *k) {
    const ql_attention_job *j = b->job;
    float *dq = j->dq + b->query * j->q_stride + b->head * j->head_dim;
    turn_d_scores(b, k);
    ql_bf16_product_begun(b->unit, &(ql_bf16_block){.left = b->d_scores_by_query,
                                                    .right = k->keys_as_right,
                                                    .rows = b->count,
                                                    .cols = j->head_dim,
                                                    .depth = k->count,
                                                    .start = dq,
                                                    .start_stride = j->q_stride,
                                                    .y = dq,
                                                    .y_stride = j->q_stride});
}

static void one_block(const backward *b, const key_block *k) {
    if (sees_nothing_of(&b->see, k->key)) return;
    multiply(b, k->keys, b->q_turned, k->count, b->scores);
    multiply(b, k->values, b->d_o_turned, k->count, b->d_weights);
    if (sees_all_of(&b->see, k->key) && k->count == KEYS)
        make_weights(b, k, false);
    else
        make_weights(b, k, true);
    if (b->parts & QL_GRAD_Q) add_to_dq(b, k);
    if (b->parts & QL_GRAD_KV) {
        add_to_keys(b, b->weights, b->d_o, k->count, k->dv);
        add_to_keys(b, b->d_scores, b->q, k->count, k->dk);
    }
}

/* The queries [from, to) against the loaded blocks. They are cut at multiples of COLS from the document's
 * first one, so that sums over queries have the same blocks wherever they begin. */
static void all_queries(backward *b, int64_t from, int64_t to) {
    for (int64_t head = 0; head < b->job->group; head++)
        for (int64_t query = from / COLS * COLS; query < to; query += COLS) {
            load_queries(b, head, query, ql_min(COLS, to - query));
            for (int64_t i = 0; i < b->blocks; i++) one_block(b, &b->block[i]);
        }
}

static void store_block(const backward *b, const key_block *k) {
    const ql_attention_job *j = b->job;
    int64_t at = k->key * j->kv_stride;
    store_rows(k->dk, b->padded, k->count, j->head_dim, j->dk + at, j->kv_stride);
    store_rows(k->dv, b->padded, k->count, j->head_dim, j->dv + at, j->kv_stride);
}

void ISA(ql_bf16_attention_grad)(const ql_bf16_unit *unit, const ql_attention_job *job, unsigned parts,
                                 int64_t query_from, int64_t query_to, int64_t key_from, int64_t key_to,
                                 float *scratch) {
    backward b = {.unit = unit, .job = job, .parts = parts, .padded = ql_bf16_depth(job->head_dim)};
    int64_t offset = job->keys - job->queries;
    begin(&b, scratch);
    if (parts & QL_GRAD_Q) touch_dq(job, query_from, query_to, true);
    ql_bf16_begin(unit);
    for (int64_t key = key_from; key < key_to; key += QL_BF16_KEYS_AT_ONCE) {
        int64_t count = ql_min(QL_BF16_KEYS_AT_ONCE, key_to - key), from = ql_max(query_from, key - offset),
                to = query_to;
        if (job->window > 0) to = ql_min(to, key + count - 1 + job->window - offset);
        b.blocks = ql_ceil_div(count, KEYS);
        for (int64_t i = 0; i < b.blocks; i++) load_block(&b, &b.block[i], key + i * KEYS, key_to);
        all_queries(&b, from, to);
        if (parts & QL_GRAD_KV)
            for (int64_t i = 0; i < b.blocks; i++) store_block(&b, &b.block[i]);
    }
    ql_bf16_end(unit);
    if (parts & QL_GRAD_Q) touch_dq(job, query_from, query_to, false);
}
