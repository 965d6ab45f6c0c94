/* Attention forward, blocked with a running softmax (Milakov & Gimelshein 2018; Dao 2022).
 *
 * A query's bits depend on its document only: keys are taken in blocks that begin at the
 * document's first key; a block or a key that it does not see changes nothing (its weight is
 * exactly 0, and x + 0 = x); queries that are processed together do not meet. Sums of weights
 * are by lanes of the block. Zeros lose their sign at the end, since adding 0 may or may not
 * have happened. */
#include "kernels/cpu/simd/attention_common.h"
#include "kernels/cpu/simd/exponential.h"

typedef struct {
    const ql_attention_job *job;
    int64_t                 from, count, rows, padded; /* row = head * count + query - from */
    float                  *left;                      /* packed scaled queries             */
    float                  *o;                         /* [rows, padded]                    */
    float                  *largest, *sum;             /* [rows]                            */
    float                  *weights;                   /* [TILE_ROWS, BLOCK]                */
    float                  *keys, *values;             /* of the block, packed; copied      */
} forward;

static forward forward_begin(const ql_attention_job *j, int64_t from, int64_t count, float *scratch) {
    int64_t rows = count * j->group, padded = padded_dim(j->head_dim);
    int64_t panels = ql_ceil_div(rows, TILE_ROWS) * TILE_ROWS;
    forward f = {.job = j, .from = from, .count = count, .rows = rows, .padded = padded};
    f.left = take(&scratch, panels * j->head_dim);
    f.o = take(&scratch, panels * padded);
    f.largest = take(&scratch, panels + LANES);
    f.sum = take(&scratch, panels + LANES);
    f.weights = take(&scratch, TILE_ROWS * BLOCK);
    f.keys = take(&scratch, BLOCK * j->head_dim);
    f.values = take(&scratch, BLOCK * padded);
    memset(f.o, 0, (size_t)(panels * padded) * sizeof *f.o);
    memset(f.sum, 0, (size_t)panels * sizeof *f.sum);
    for (int64_t r = 0; r < panels + LANES; r++) f.largest[r] = -INFINITY;
    return f;
}

/* Rows of all heads, gathered so that a panel may hold the end of one head and the begin of the next. */
static void pack_queries(forward *f) {
    const ql_attention_job *j = f->job;
    for (int64_t r = 0; r < f->rows; r++) {
        const float *q = j->q + (f->from + r % f->count) * j->q_stride + r / f->count * j->head_dim;
        float       *to = f->left + r / TILE_ROWS * TILE_ROWS * j->head_dim + r % TILE_ROWS;
        for (int64_t d = 0; d < j->head_dim; d++) to[d * TILE_ROWS] = q[d] * j->scale;
    }
    for (int64_t r = f->rows; r % TILE_ROWS; r++)
        for (int64_t d = 0; d < j->head_dim; d++)
            f->left[r / TILE_ROWS * TILE_ROWS * j->head_dim + r % TILE_ROWS + d * TILE_ROWS] = 0.0f;
}

/* What a row sees of the block, as columns of it. */
static key_range in_block(const forward *f, int64_t row, int64_t key) {
    key_range see = visible_keys(f->job, f->from + row % f->count);
    return (key_range){ql_max(0, see.first - key), ql_min(BLOCK, see.end - key)};
}

static float largest_score(const float *scores, key_range see) {
    v16 largest = v_all(-INFINITY);
    for (int64_t v = see.first / LANES; v * LANES < see.end; v++)
        largest = v_max(largest, v_select(lanes_between(v, see.first, see.end), v_load(scores + v * LANES),
                                          v_all(-INFINITY)));
    return v_largest(largest);
}

/* Scores become weights, exp(score - largest), 0 where unseen; returns their sum. */
static float make_weights(float *scores, key_range see, float largest) {
    v16 sum = v_zero();
    for (int64_t v = 0; v < BLOCK / LANES; v++) {
        v16 weight = v_zero();
        if (v * LANES < see.end && (v + 1) * LANES > see.first) {
            weight = v_exp(v_sub(v_load(scores + v * LANES), v_all(largest)));
            if (v * LANES < see.first || (v + 1) * LANES > see.end)
                weight = v_select(lanes_between(v, see.first, see.end), weight, v_zero());
        }
        v_store(scores + v * LANES, weight);
        sum = v_add(sum, weight);
    }
    return v_sum(sum);
}

static void scale_row(float *o, int64_t padded, float by) {
    for (int64_t d = 0; d < padded; d += LANES) v_store(o + d, v_mul(v_load(o + d), v_all(by)));
}

/* Softmax of one panel of rows against the block; returns the columns that any row sees. */
static void softmax_panel(forward *f, int64_t row, int64_t rows, int64_t key) {
    float   fresh[LANES], shrink[LANES];
    v16     old = v_load(f->largest + row);
    v_store(fresh, old);
    for (int64_t i = 0; i < rows; i++) {
        key_range see = in_block(f, row + i, key);
        if (see.first >= see.end) continue;
        float here = largest_score(f->weights + i * BLOCK, see);
        fresh[i] = fresh[i] > here ? fresh[i] : here;
    }
    v_store(shrink, v_exp(v_sub(old, v_load(fresh))));
    for (int64_t i = 0; i < rows; i++) {
        key_range see = in_block(f, row + i, key);
        float    *weights = f->weights + i * BLOCK;
        if (see.first >= see.end) {
            memset(weights, 0, BLOCK * sizeof *weights);
            continue;
        }
        f->sum[row + i] = fmaf(f->sum[row + i], shrink[i], make_weights(weights, see, fresh[i]));
        f->largest[row + i] = fresh[i];
        if (shrink[i] != 1.0f) scale_row(f->o + (row + i) * f->padded, f->padded, shrink[i]);
    }
}

static void attend_block(forward *f, int64_t key) {
    const ql_attention_job *j = f->job;
    int64_t                 count = ql_min(BLOCK, j->keys - key);
    pack_block(j->k + key * j->kv_stride, j->kv_stride, count, j->head_dim, f->keys);
    row_view values = view_rows(j->v + key * j->kv_stride, j->kv_stride, count, j->head_dim, f->values);
    for (int64_t row = 0; row < f->rows; row += TILE_ROWS) {
        int64_t rows = ql_min(TILE_ROWS, f->rows - row), first = BLOCK, end = 0;
        for (int64_t i = 0; i < rows; i++) {
            key_range see = in_block(f, row + i, key);
            if (see.first >= see.end) continue;
            first = ql_min(first, see.first);
            end = ql_max(end, see.end);
        }
        if (first >= end) continue;
        packed_rows(f->left + row * j->head_dim, f->keys, rows, end, j->head_dim, f->weights);
        softmax_panel(f, row, rows, key);
        row_view seen = {values.rows + first * values.stride, values.stride};
        add_product(LEFT_ROWS, rows, f->weights + first, seen, end - first, f->padded, f->o + row * f->padded);
    }
}

static void forward_end(const forward *f) {
    const ql_attention_job *j = f->job;
    for (int64_t r = 0; r < f->rows; r++) {
        int64_t token = f->from + r % f->count, head = r / f->count;
        float  *to = j->o + token * j->q_stride + head * j->head_dim;
        v16     inverse = v_all(1.0f / f->sum[r]);
        FOR_LANES(d, lanes, j->head_dim)
            v_put(to + d, v_add(v_mul(v_load(f->o + r * f->padded + d), inverse), v_zero()), lanes);
        j->lse[token * j->lse_stride + head] = (float)((double)f->largest[r] + ql_cpu_log((double)f->sum[r]));
    }
}

void ISA(ql_simd_attention)(const ql_attention_job *j, int64_t from, int64_t count, float *scratch) {
    forward f = forward_begin(j, from, count, scratch);
    pack_queries(&f);
    int64_t first = visible_keys(j, from).first, end = visible_keys(j, from + count - 1).end;
    for (int64_t key = first / BLOCK * BLOCK; key < end; key += BLOCK) attend_block(&f, key);
    forward_end(&f);
}
