/* The checked front doors of the operations: shapes and element types are compared with ops.h,
 * then the device's table is called. A mismatch is a mistake of ours, hence QL_BUG. */
#include <math.h>

#include "kernels/backend.h"

/* Any element type that weights, tables and biases may have. */
enum { ANY_FLOAT = -1 };

static bool type_fits(ql_dtype have, int want) {
    if (want == ANY_FLOAT) return have == QL_F32 || have == QL_BF16 || have == QL_F16;
    return (int)have == want;
}

/* `name` is "operation: tensor" for the message. */
static ql_err check(const char *name, ql_tensor t, int dtype, int64_t rows, int64_t cols) {
    QL_CHECK(ql_present(t), QL_BUG, "%s is absent", name);
    QL_CHECK(type_fits(t.dtype, dtype), QL_BUG, "%s has elements of type %s", name, ql_dtype_name(t.dtype));
    QL_CHECK(t.rows == rows && t.cols == cols, QL_BUG, "%s is [%lld, %lld], not [%lld, %lld]", name, (long long)t.rows,
             (long long)t.cols, (long long)rows, (long long)cols);
    QL_CHECK(rows >= 0 && cols >= 0 && t.offset <= t.buffer->bytes && ql_bytes(t) <= t.buffer->bytes - t.offset, QL_BUG,
             "%s lies outside its buffer", name);
    QL_CHECK(t.offset % ql_dtype_size(t.dtype) == 0, QL_BUG, "%s begins in the middle of an element", name);
    return ql_ok();
}
#define CHECK(op, t, dtype, rows, cols) QL_TRY(check(op ": " #t, a->t, (dtype), (rows), (cols)))

static ql_err check_quantised(const char *op, const ql_weight *w) {
    int64_t n = w->out * w->in, blocks = ql_ceil_div(n, w->blocksize);
    QL_CHECK(w->blocksize >= 32 && w->blocksize <= 4096 && !(w->blocksize & (w->blocksize - 1)), QL_BUG,
             "%s: blocks of %d elements", op, w->blocksize);
    QL_TRY(check("weight: data", w->data, QL_U8, 1, (n + 1) / 2));
    QL_TRY(check("weight: code", w->code, QL_F32, 1, 16));
    QL_TRY(check("weight: absmax", w->absmax, ql_is_nested(w) ? QL_U8 : QL_F32, 1, blocks));
    if (!ql_is_nested(w)) return ql_ok();
    QL_CHECK(w->nested_blocksize > 0, QL_BUG, "%s: nested blocks of %d elements", op, w->nested_blocksize);
    QL_TRY(check("weight: nested_code", w->nested_code, QL_F32, 1, 256));
    return check("weight: nested_absmax", w->nested_absmax, QL_F32, 1, ql_ceil_div(blocks, w->nested_blocksize));
}

static ql_err check_weight(const char *op, const ql_weight *w, int64_t out, int64_t in) {
    QL_CHECK(w, QL_BUG, "%s: the weight is absent", op);
    QL_CHECK(w->out == out && w->in == in && out > 0 && in > 0, QL_BUG,
             "%s: the weight is [%lld, %lld], not [%lld, %lld]", op, (long long)w->out, (long long)w->in,
             (long long)out, (long long)in);
    if (ql_present(w->decoded)) QL_TRY(check("weight: decoded", w->decoded, ANY_FLOAT, out, in));
    return w->quant ? check_quantised(op, w) : check("weight: data", w->data, ANY_FLOAT, out, in);
}

/* Activations have one type per device and run; on the host it is f32. */
static ql_err check_activation(const ql_device *d, const char *op, ql_dtype t) {
    bool fits = t == QL_F32 || (!d->backend->is_host && (t == QL_BF16 || t == QL_F16));
    QL_CHECK(fits, QL_BUG, "%s: activations cannot be %s on this device", op, ql_dtype_name(t));
    return ql_ok();
}
#define ACTIVATION(op, t) QL_TRY(check_activation(d, op, (t).dtype))

/* On the host f32 activations may be rounded to bf16 on their way into a product; elsewhere they are what they are. */
static ql_err check_operands(const ql_device *d, const char *op, ql_dtype t, ql_dtype activation) {
    bool fits = d->backend->is_host ? t == QL_F32 || t == QL_BF16 : t == activation;
    QL_CHECK(fits, QL_BUG, "%s: operands cannot be %s", op, ql_dtype_name(t));
    return check_activation(d, op, activation);
}

#define RUN(NAME) return d->backend->ops.NAME(d, a)

ql_err ql_embed(ql_device *d, const ql_embed_args *a) {
    CHECK("embed", table, ANY_FLOAT, a->table.rows, a->y.cols);
    CHECK("embed", ids, QL_I32, a->y.rows, 1);
    ACTIVATION("embed", a->y);
    CHECK("embed", y, a->y.dtype, a->ids.rows, a->table.cols);
    RUN(embed);
}

/* Shared by both directions; x is checked by the caller. */
static ql_err check_norm(const char *op, ql_tensor x, ql_tensor rstd, ql_tensor weight) {
    QL_CHECK(weight.cols > 0 && x.cols % weight.cols == 0, QL_BUG, "%s: %lld columns in groups of %lld", op,
             (long long)x.cols, (long long)weight.cols);
    QL_TRY(check("norm: weight", weight, ANY_FLOAT, 1, weight.cols));
    return check("norm: rstd", rstd, QL_F32, x.rows, x.cols / weight.cols);
}

ql_err ql_rmsnorm(ql_device *d, const ql_rmsnorm_args *a) {
    ACTIVATION("rmsnorm", a->x);
    CHECK("rmsnorm", x, a->x.dtype, a->y.rows, a->y.cols);
    CHECK("rmsnorm", y, a->x.dtype, a->x.rows, a->x.cols);
    QL_TRY(check_norm("rmsnorm", a->x, a->rstd, a->weight));
    RUN(rmsnorm);
}

ql_err ql_rmsnorm_grad(ql_device *d, const ql_rmsnorm_grad_args *a) {
    ACTIVATION("rmsnorm_grad", a->x);
    CHECK("rmsnorm_grad", x, a->x.dtype, a->dy.rows, a->dy.cols);
    CHECK("rmsnorm_grad", dy, a->x.dtype, a->x.rows, a->x.cols);
    CHECK("rmsnorm_grad", dx, a->x.dtype, a->x.rows, a->x.cols);
    QL_TRY(check_norm("rmsnorm_grad", a->x, a->rstd, a->weight));
    RUN(rmsnorm_grad);
}

static ql_err check_drop(const char *op, const ql_drop *drop, int64_t tokens) {
    QL_TRY(check("drop: row_id", drop->row_id, QL_I32, drop->row_start.rows - 1, 1));
    QL_TRY(check("drop: row_start", drop->row_start, QL_I32, drop->row_id.rows + 1, 1));
    QL_CHECK(drop->p >= 0.0f && drop->p < 1.0f, QL_BUG, "%s: p of dropout is %g", op, (double)drop->p);
    QL_CHECK(tokens == 0 || drop->row_id.rows > 0, QL_BUG, "%s: dropout of %lld tokens in no row", op, (long long)tokens);
    return ql_ok();
}

/* Logits keep the full sum. */
static int y_type(const ql_matmul_args *a) {
    return a->y.dtype == QL_F32 && !a->accumulate ? QL_F32 : (int)a->x.dtype;
}

ql_err ql_matmul(ql_device *d, const ql_matmul_args *a) {
    QL_TRY(check_operands(d, "matmul", a->operands, a->x.dtype));
    int64_t left = a->x.cols, right = a->y.cols;
    QL_TRY(check_weight("matmul", a->weight, a->transposed ? left : right, a->transposed ? right : left));
    CHECK("matmul", x, a->x.dtype, a->y.rows, left);
    CHECK("matmul", y, y_type(a), a->x.rows, right);
    QL_CHECK(!ql_present(a->bias) || (!a->transposed && !a->accumulate), QL_BUG,
             "matmul: a bias goes with neither a transposed nor an accumulated product");
    if (ql_present(a->bias)) CHECK("matmul", bias, ANY_FLOAT, 1, right);
    QL_CHECK(!a->drop_x || !a->transposed, QL_BUG, "matmul: only a forward product drops its x");
    QL_CHECK(!a->drop_y || (a->transposed && a->accumulate), QL_BUG, "matmul: only a backward product that is added drops its y");
    if (a->drop_x) QL_TRY(check_drop("matmul", a->drop_x, a->x.rows));
    if (a->drop_y) QL_TRY(check_drop("matmul", a->drop_y, a->y.rows));
    RUN(matmul);
}

ql_err ql_decode_weight(ql_device *d, const ql_decode_weight_args *a) {
    ACTIVATION("decode_weight", a->y);
    QL_CHECK(a->weight && a->weight->quant, QL_BUG, "decode_weight: the weight is absent, or dense");
    QL_TRY(check_weight("decode_weight", a->weight, a->y.rows, a->y.cols));
    CHECK("decode_weight", y, a->y.dtype, a->weight->out, a->weight->in);
    RUN(decode_weight);
}

float ql_weight_grad_limit(const ql_weight_grad_args *a) {
    int64_t rows = a->rows_in_all > 0 ? a->rows_in_all : ql_max(1, a->row_start.rows - 1);
    return (float)(ldexp(1, 62 - QL_GRAD_BITS) / (double)rows);
}

ql_err ql_weight_grad(ql_device *d, const ql_weight_grad_args *a) {
    QL_TRY(check_operands(d, "weight_grad", a->operands, a->x.dtype));
    CHECK("weight_grad", sum, QL_I64, a->dy.cols, a->x.cols);
    CHECK("weight_grad", dy, a->x.dtype, a->x.rows, a->sum.rows);
    CHECK("weight_grad", x, a->x.dtype, a->dy.rows, a->sum.cols);
    CHECK("weight_grad", row_start, QL_I32, ql_max(1, a->row_start.rows), 1);
    CHECK("weight_grad", flaws, QL_I32, 1, 1);
    QL_CHECK(a->rows_in_all >= 0, QL_BUG, "weight_grad: %lld rows in all", (long long)a->rows_in_all);
    QL_CHECK(a->shift >= 0 && a->shift < (d->backend->is_host ? 1 : QL_GRAD_BITS), QL_BUG,
             "weight_grad: a shift of %d bits", a->shift);
    if (a->drop_x) QL_TRY(check_drop("weight_grad", a->drop_x, a->x.rows));
    RUN(weight_grad);
}

ql_err ql_dropout(ql_device *d, const ql_dropout_args *a) {
    ACTIVATION("dropout", a->x);
    CHECK("dropout", x, a->x.dtype, a->y.rows, a->y.cols);
    CHECK("dropout", y, a->x.dtype, a->x.rows, a->x.cols);
    QL_TRY(check_drop("dropout", &a->drop, a->x.rows));
    RUN(dropout);
}

ql_err ql_rope(ql_device *d, const ql_rope_args *a) {
    ACTIVATION("rope", a->x);
    CHECK("rope", x, a->x.dtype, a->y.rows, a->y.cols);
    CHECK("rope", y, a->x.dtype, a->x.rows, a->x.cols);
    CHECK("rope", positions, QL_I32, a->x.rows, 1);
    CHECK("rope", cos, QL_F32, a->sin.rows, a->sin.cols);
    CHECK("rope", sin, QL_F32, a->cos.rows, a->cos.cols);
    QL_CHECK(a->head_dim > 0 && a->x.cols % a->head_dim == 0 && 2 * a->cos.cols <= a->head_dim, QL_BUG,
             "rope: %lld columns, heads of %lld, %lld angles", (long long)a->x.cols, (long long)a->head_dim,
             (long long)a->cos.cols);
    RUN(rope);
}

enum { HEAD_DIM_MAX = 256 };

static ql_err check_heads(const char *op, ql_tensor q, ql_tensor k, int64_t heads, int64_t kv_heads, int64_t window) {
    QL_CHECK(heads > 0 && kv_heads > 0 && heads % kv_heads == 0 && window >= 0, QL_BUG,
             "%s: %lld heads, %lld key heads, window %lld", op, (long long)heads, (long long)kv_heads,
             (long long)window);
    int64_t head_dim = q.cols / heads;
    QL_CHECK(head_dim > 0 && head_dim <= HEAD_DIM_MAX && q.cols == heads * head_dim && k.cols == kv_heads * head_dim,
             QL_BUG, "%s: q has %lld columns and k %lld, for %lld and %lld heads of 1 to %d", op, (long long)q.cols,
             (long long)k.cols, (long long)heads, (long long)kv_heads, HEAD_DIM_MAX);
    return ql_ok();
}

static ql_err check_rounding(const ql_device *d, const char *op, ql_dtype operands, ql_dtype activation, float scale) {
    QL_TRY(check_operands(d, op, operands, activation));
    QL_CHECK(operands == QL_F32 || scale > 0.0f, QL_BUG, "%s: scale %g is not positive", op, (double)scale);
    return ql_ok();
}

ql_err ql_attention(ql_device *d, const ql_attention_args *a) {
    QL_TRY(check_rounding(d, "attention", a->operands, a->q.dtype, a->scale));
    CHECK("attention", q, a->q.dtype, a->o.rows, a->o.cols);
    CHECK("attention", o, a->q.dtype, a->q.rows, a->q.cols);
    CHECK("attention", lse, QL_F32, a->q.rows, a->heads);
    CHECK("attention", k, a->q.dtype, a->v.rows, a->v.cols);
    CHECK("attention", v, a->q.dtype, a->k.rows, a->k.cols);
    CHECK("attention", q_start, QL_I32, ql_max(1, a->k_start.rows), 1);
    CHECK("attention", k_start, QL_I32, ql_max(1, a->q_start.rows), 1);
    QL_TRY(check_heads("attention", a->q, a->k, a->heads, a->kv_heads, a->window));
    RUN(attention);
}

ql_err ql_attention_grad(ql_device *d, const ql_attention_grad_args *a) {
    QL_TRY(check_rounding(d, "attention_grad", a->operands, a->q.dtype, a->scale));
    CHECK("attention_grad", q, a->q.dtype, a->o.rows, a->o.cols);
    CHECK("attention_grad", o, a->q.dtype, a->q.rows, a->q.cols);
    CHECK("attention_grad", d_o, a->q.dtype, a->q.rows, a->q.cols);
    CHECK("attention_grad", dq, a->q.dtype, a->q.rows, a->q.cols);
    CHECK("attention_grad", lse, QL_F32, a->q.rows, a->heads);
    CHECK("attention_grad", delta, QL_F32, a->q.rows, a->heads);
    CHECK("attention_grad", k, a->q.dtype, a->v.rows, a->v.cols);
    CHECK("attention_grad", v, a->q.dtype, a->k.rows, a->k.cols);
    CHECK("attention_grad", dk, a->q.dtype, a->k.rows, a->k.cols);
    CHECK("attention_grad", dv, a->q.dtype, a->k.rows, a->k.cols);
    CHECK("attention_grad", q_start, QL_I32, ql_max(1, a->k_start.rows), 1);
    CHECK("attention_grad", k_start, QL_I32, ql_max(1, a->q_start.rows), 1);
    QL_TRY(check_heads("attention_grad", a->q, a->k, a->heads, a->kv_heads, a->window));
    RUN(attention_grad);
}

ql_err ql_swiglu(ql_device *d, const ql_swiglu_args *a) {
    ACTIVATION("swiglu", a->gate);
    CHECK("swiglu", y, a->gate.dtype, a->gate.rows, a->gate.cols);
    CHECK("swiglu", gate, a->gate.dtype, a->y.rows, a->y.cols);
    CHECK("swiglu", up, a->gate.dtype, a->y.rows, a->y.cols);
    RUN(swiglu);
}

ql_err ql_swiglu_grad(ql_device *d, const ql_swiglu_grad_args *a) {
    ACTIVATION("swiglu_grad", a->gate);
    CHECK("swiglu_grad", dy, a->gate.dtype, a->gate.rows, a->gate.cols);
    CHECK("swiglu_grad", gate, a->gate.dtype, a->dy.rows, a->dy.cols);
    CHECK("swiglu_grad", up, a->gate.dtype, a->dy.rows, a->dy.cols);
    CHECK("swiglu_grad", dgate, a->gate.dtype, a->dy.rows, a->dy.cols);
    CHECK("swiglu_grad", dup, a->gate.dtype, a->dy.rows, a->dy.cols);
    RUN(swiglu_grad);
}

ql_err ql_add(ql_device *d, const ql_add_args *a) {
    ACTIVATION("add", a->a);
    CHECK("add", y, a->a.dtype, a->a.rows, a->a.cols);
    CHECK("add", a, a->a.dtype, a->y.rows, a->y.cols);
    CHECK("add", b, a->a.dtype, a->y.rows, a->y.cols);
    RUN(add);
}

ql_err ql_gather(ql_device *d, const ql_gather_args *a) {
    ACTIVATION("gather", a->x);
    CHECK("gather", y, a->x.dtype, a->index.rows, a->x.cols);
    CHECK("gather", x, a->x.dtype, a->x.rows, a->y.cols);
    CHECK("gather", index, QL_I32, a->y.rows, 1);
    RUN(gather);
}

ql_err ql_scatter(ql_device *d, const ql_scatter_args *a) {
    ACTIVATION("scatter", a->x);
    CHECK("scatter", y, a->x.dtype, a->index.rows, a->x.cols);
    CHECK("scatter", x, a->x.dtype, a->x.rows, a->y.cols);
    CHECK("scatter", index, QL_I32, a->y.rows, 1);
    RUN(scatter);
}

ql_err ql_logprob(ql_device *d, const ql_logprob_args *a) {
    QL_TRY(check_operands(d, "logprob", a->operands, a->h.dtype));
    QL_CHECK(a->head, QL_BUG, "logprob: the head is absent");
    QL_TRY(check_weight("logprob", a->head, a->logits.cols, a->h.cols));
    CHECK("logprob", h, a->h.dtype, a->targets.rows, a->head->in);
    CHECK("logprob", targets, QL_I32, a->h.rows, 1);
    CHECK("logprob", logp, QL_F32, a->h.rows, 1);
    CHECK("logprob", logits, QL_F32, ql_max(1, a->logits.rows), a->head->out);
    if (ql_present(a->dh)) {
        CHECK("logprob", dh, a->h.dtype, a->h.rows, a->h.cols);
        CHECK("logprob", coef, QL_F32, a->h.rows, 1);
    }
    RUN(logprob);
}

ql_err ql_grad_mean(ql_device *d, const ql_grad_mean_args *a) {
    CHECK("grad_mean", g, QL_F32, 1, a->sum.cols);
    CHECK("grad_mean", sum, QL_I64, 1, a->g.cols);
    QL_CHECK(a->count > 0.0, QL_BUG, "grad_mean: the count is %g", a->count);
    RUN(grad_mean);
}

ql_err ql_sum_squares(ql_device *d, const ql_sum_squares_args *a) {
    CHECK("sum_squares", x, QL_F32, 1, a->x.cols);
    CHECK("sum_squares", partial, QL_F64, 1, ql_ceil_div(a->x.cols, QL_NORM_BLOCK));
    RUN(sum_squares);
}

ql_err ql_adamw(ql_device *d, const ql_adamw_args *a) {
    CHECK("adamw", p, QL_F32, 1, a->g.cols);
    CHECK("adamw", m, QL_F32, 1, a->p.cols);
    CHECK("adamw", v, QL_F32, 1, a->p.cols);
    CHECK("adamw", g, QL_F32, 1, a->p.cols);
    QL_CHECK(a->step >= 1, QL_BUG, "adamw: step %lld", (long long)a->step);
    RUN(adamw);
}
