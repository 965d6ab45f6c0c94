/* Attention forward with operands rounded to bf16 (ql_attention_args in ops.h), blocked with a running
 * softmax as simd/attention.c. The output is kept turned, too: its rows are the elements of a head. */
#include "kernels/cpu/bf16/attention_common.h"

enum { CHUNKS = QL_BF16_ATTENTION_ROWS / COLS };

/* Up to COLS queries, of one head or of several. */
typedef struct {
    visibility see;
    int64_t columns, width; /* of queries; whole tiles       */
    int64_t token[COLS], head[COLS];
    const uint16_t *queries; /* right operand [head_dim, width] */
    float *o;                /* [padded, COLS] */
    float largest[COLS], sum[COLS];
} chunk;

typedef struct {
    const ql_bf16_unit *unit;
    const ql_attention_job *job;
    int64_t from, count, columns, padded; /* column = head * count + query - from */
    int64_t chunks;
    chunk chunk[CHUNKS];
    uint16_t *keys[BLOCKS_AT_ONCE], *values[BLOCKS_AT_ONCE]; /* left [keys, head_dim], left [head_dim, keys] */
    uint16_t *weights;                                       /* right [keys, width] */
    float *scores;                                           /* [KEYS, COLS] */
} forward;

static int64_t place_of(const forward *f, const chunk *c, int64_t column) {
    return c->token[column] * f->job->q_stride + c->head[column] * f->job->head_dim;
}

/* Columns that fill up the last tile see what the last query sees, so that they need no masks. */
static void begin_chunk(forward *f, chunk *c, int64_t first, float *copy, float **scratch) {
    const ql_attention_job *j = f->job;
    uint16_t *queries = take_halves(scratch, COLS * f->padded);
    c->columns = ql_min(COLS, f->columns - first);
    c->width = round_up(c->columns, f->unit->layout.tile_cols);
    c->queries = queries;
    c->o = take(scratch, COLS * f->padded);
    memset(c->o, 0, (size_t)(COLS * f->padded) * sizeof *c->o);
    sees_none(&c->see);
    for (int64_t i = 0; i < c->width; i++) {
        int64_t column = ql_min(first + i, f->columns - 1);
        c->token[i] = f->from + column % f->count;
        c->head[i] = column / f->count;
        sees(&c->see, i, visible_keys(j, c->token[i]));
        c->largest[i] = -INFINITY;
        c->sum[i] = 0.0f;
    }
    for (int64_t i = 0; i < c->columns; i++)
        memcpy(copy + i * j->head_dim, j->q + place_of(f, c, i), (size_t)j->head_dim * sizeof *copy);
    ql_source source = {.data = copy, .dtype = QL_F32, .cols = j->head_dim};
    f->unit->pack->pack_right_transposed(&f->unit->layout, &source, 0, j->head_dim, 0, c->columns, queries);
}

static void begin(forward *f, float *scratch) {
    float *copy = take(&scratch, COLS * f->padded);
    f->scores = take(&scratch, KEYS * COLS);
    for (int64_t i = 0; i < BLOCKS_AT_ONCE; i++) {
        f->keys[i] = take_halves(&scratch, KEYS * f->padded);
        f->values[i] = take_halves(&scratch, KEYS * f->padded);
    }
    f->weights = take_halves(&scratch, KEYS * COLS);
    for (int64_t first = 0; first < f->columns; first += COLS)
        begin_chunk(f, &f->chunk[f->chunks++], first, copy, &scratch);
}

static void shrink_output(float *o, int64_t head_dim, v16 by) {
    for (int64_t d = 0; d < head_dim; d++) v_store(o + d * COLS, v_mul(v_load(o + d * COLS), by));
}

/* The largest products with the keys of 16 columns; four at a time, since each maximum waits for the one before. */
QL_INLINE v16 largest_products(const visibility *see, const float *scores, int64_t column, int64_t key, int64_t keys,
                               bool masked) {
    const v16 none = v_all(-INFINITY);
    v16 largest[FOUR] = {none, none, none, none};
    for (int64_t i = 0; i < keys; i += FOUR) QL_UNROLL for (int64_t r = 0; r < FOUR; r++) {
            v16 score = v_load(scores + (i + r) * COLS);
            if (masked) score = v_select(seen_by(see, column, key + i + r), score, none);
            largest[r] = v_max(score, largest[r]);
        }
    return v_max(v_max(largest[0], largest[1]), v_max(largest[2], largest[3]));
}

/* exp(scale * product - largest), 0 where unseen, as right panels; returns the sums, of ascending keys. */
QL_INLINE v16 make_weights(const forward *f, const visibility *see, const float *scores, int64_t column, int64_t key,
                           int64_t keys, v16 largest, bool masked, uint16_t *panel) {
    const v16 scale = v_all(f->job->scale), below = v_sub(v_zero(), largest);
    v16 sum = v_zero();
    for (int64_t i = 0; i < keys; i += FOUR, panel += FOUR * QL_BF16_COLS) {
        v16 weight[FOUR];
        QL_UNROLL for (int64_t r = 0; r < FOUR; r++) {
            weight[r] = v_exp_small(v_fma(v_load(scores + (i + r) * COLS), scale, below));
            if (masked) weight[r] = v_select(seen_by(see, column, key + i + r), weight[r], v_zero());
            sum = v_add(sum, weight[r]);
        }
        store_four(f->unit->layout.order, weight[0], weight[1], weight[2], weight[3], panel);
    }
    return sum;
}

/* `keys`: whole blocks. */
QL_INLINE void softmax(const forward *f, chunk *c, int64_t key, int64_t keys, bool masked) {
    const v16 one = v_all(1.0f), scale = v_all(f->job->scale);
    for (int64_t column = 0; column < c->width; column += LANES) {
        const float *scores = f->scores + column;
        v16 old = v_load(c->largest + column);
        v16 largest = v_mul(largest_products(&c->see, scores, column, key, keys, masked), scale);
        largest = v_max(largest, old);
        v16 shrink = v_select(v_less(old, largest), v_exp(v_sub(old, largest)), one);
        v16 sum = make_weights(f, &c->see, scores, column, key, keys, largest, masked, f->weights + column * keys);
        v_store(c->largest + column, largest);
        v_store(c->sum + column, v_fma(v_load(c->sum + column), shrink, sum));
        if (v_largest(v_sub(one, shrink)) > 0.0f) shrink_output(c->o + column, f->job->head_dim, shrink);
    }
}

/* One chunk and the block of keys at `key`, loaded as number `block`. */
static void attend_block(const forward *f, chunk *c, int64_t key, int64_t block) {
    int64_t count = ql_min(KEYS, f->job->keys - key);
    const ql_bf16_layout *l = &f->unit->layout;
    if (sees_nothing_of(&c->see, key)) return;
    ql_bf16_product_begun(f->unit, &(ql_bf16_block){.left = f->keys[block],
                                                    .right = c->queries,
                                                    .rows = round_up(count, l->tile_rows),
                                                    .cols = c->width,
                                                    .depth = f->job->head_dim,
                                                    .y = f->scores,
                                                    .y_stride = COLS});
    if (sees_all_of(&c->see, key))
        softmax(f, c, key, KEYS, false);
    else
        softmax(f, c, key, ql_bf16_depth(count), true);
    ql_bf16_product_begun(f->unit, &(ql_bf16_block){.left = f->values[block],
                                                    .right = f->weights,
                                                    .rows = round_up(f->job->head_dim, l->tile_rows),
                                                    .cols = c->width,
                                                    .depth = count,
                                                    .start = c->o,
                                                    .start_stride = COLS,
                                                    .y = c->o,
                                                    .y_stride = COLS});
}

static void load_block(const forward *f, int64_t key, int64_t block) {
    const ql_attention_job *j = f->job;
    const ql_bf16_unit *unit = f->unit;
    const float *k = j->k + key * j->kv_stride, *v = j->v + key * j->kv_stride;
    int64_t count = ql_min(KEYS, j->keys - key);
    unit->pack->pack_left(&unit->layout, k, j->kv_stride, count, j->head_dim, 1.0f, f->keys[block]);
    unit->pack->pack_left_columns(&unit->layout, v, j->kv_stride, j->head_dim, count, f->values[block]);
}

/* Blocks of keys from `key` on, as many as are loaded at once; a chunk goes through all of them, since more
 * belongs to it than to a block. */
static void attend_blocks(forward *f, int64_t key, int64_t end) {
    int64_t blocks = ql_min(BLOCKS_AT_ONCE, ql_ceil_div(end - key, KEYS));
    for (int64_t i = 0; i < blocks; i++) load_block(f, key + i * KEYS, i);
    for (int64_t c = 0; c < f->chunks; c++)
        for (int64_t i = 0; i < blocks; i++) attend_block(f, &f->chunk[c], key + i * KEYS, i);
}

/* Divides by the sum of the weights and turns; zeros become +0. */
static void store_output(const forward *f, const chunk *c, int64_t column, int64_t columns) {
    const ql_attention_job *j = f->job;
    float rows[LANES * QL_HEAD_DIM_MAX]; /* of 16 queries */
    for (int64_t d = 0; d < j->head_dim; d += LANES)
        v_transpose(c->o + d * COLS + column, COLS, LANES, rows + d, QL_HEAD_DIM_MAX);
    for (int64_t i = 0; i < columns; i++) {
        v16 inverse = v_all(1.0f / c->sum[column + i]);
        float *to = j->o + place_of(f, c, column + i), *from = rows + i * QL_HEAD_DIM_MAX;
        FOR_LANES(d, lanes, j->head_dim) v_put(to + d, v_add(v_mul(v_load(from + d), inverse), v_zero()), lanes);
    }
}

static void end_chunk(const forward *f, const chunk *c) {
    const ql_attention_job *j = f->job;
    for (int64_t column = 0; column < c->columns; column += LANES)
        store_output(f, c, column, ql_min(LANES, c->columns - column));
    for (int64_t i = 0; i < c->columns; i++)
        j->lse[c->token[i] * j->lse_stride + c->head[i]] =
            (float)((double)c->largest[i] + ql_cpu_log((double)c->sum[i]));
}

void ISA(ql_bf16_attention)(const ql_bf16_unit *unit, const ql_attention_job *job, int64_t from, int64_t count,
                            float *scratch) {
    forward f = {.unit = unit, .job = job, .from = from, .count = count, .columns = count * job->group};
    f.padded = ql_bf16_depth(job->head_dim);
    begin(&f, scratch);
    int64_t first = visible_keys(job, from).first, end = visible_keys(job, from + count - 1).end;
    ql_bf16_begin(unit);
    for (int64_t key = first / KEYS * KEYS; key < end; key += QL_BF16_KEYS_AT_ONCE) attend_blocks(&f, key, end);
    ql_bf16_end(unit);
    for (int64_t i = 0; i < f.chunks; i++) end_chunk(&f, &f.chunk[i]);
}
