/* Matrix products by cuBLASLt. Two things are asked of an algorithm beside speed:
 *
 * It must be the same in every run and on every rank. So the library's own order of preference decides, not a
 * clock, and the choice is made once for each shape of the weight, for REFERENCE_ROWS rows.
 *
 * An element's sum must not depend on how many rows are multiplied, nor on which row it is in. Algorithms that
 * split k are left out; what is left is tried: rows of a product made alone must have the same bits as among
 * many, or the next algorithm is taken. */
#include "kernels/cuda/cuda.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "kernels/quant/quant.h"

_Static_assert((int)QL_K_F32 == (int)QL_F32 && (int)QL_K_BF16 == (int)QL_BF16 && (int)QL_K_F16 == (int)QL_F16, "api.h");

enum {
    REFERENCE_ROWS = 2048,
    CANDIDATES = 24,
    PROBED_AT_MOST = 300, /* rows */
    ALONE = 3,            /* rows that are made once more */
};

/* What an algorithm is chosen for. */
typedef struct {
    int64_t  cols, depth, y_align, x_align; /* alignments of strides in bytes: 16, or less */
    ql_dtype type, y_type;
    bool     w_is_depth_first, accumulate;
} shape;

typedef struct {
    shape                  shape;
    cublasLtMatmulDesc_t   what;
    cublasLtMatrixLayout_t w, x, y;
    cublasLtMatmulAlgo_t   algo;
} entry;

struct ql_cuda_products {
    entry *entry;
    size_t count, capacity;
};

static ql_err verdict(cublasStatus_t s, const char *doing, const shape *h) {
    if (s == CUBLAS_STATUS_SUCCESS) return ql_ok();
    ql_code code = s == CUBLAS_STATUS_ALLOC_FAILED || s == CUBLAS_STATUS_EXECUTION_FAILED ? QL_TEMP : QL_BUG;
    return ql_fail(code, "device: cuda: cuBLASLt, %s a product with a weight of %lld x %lld in %s: status %d", doing,
                   (long long)h->cols, (long long)h->depth, ql_dtype_name(h->type), (int)s);
}

static cudaDataType_t cuda_type(ql_dtype t) {
    return t == QL_F32 ? CUDA_R_32F : t == QL_BF16 ? CUDA_R_16BF : CUDA_R_16F;
}

static int64_t alignment_of(int64_t stride, ql_dtype t) {
    int64_t bytes = stride * (int64_t)ql_dtype_size(t), align = 16;
    while (bytes % align) align /= 2;
    return align;
}

static shape shape_of(const ql_cuda_product *p) {
    shape h;
    memset(&h, 0, sizeof h); /* compared as bytes */
    h.cols = p->cols;
    h.depth = p->depth;
    h.y_align = alignment_of(p->y_stride, p->y_type);
    h.x_align = alignment_of(p->x_stride, p->type);
    h.type = p->type;
    h.y_type = p->y_type;
    h.w_is_depth_first = p->w_is_depth_first;
    h.accumulate = p->accumulate;
    return h;
}

/* ---- descriptions: cuBLASLt stores by columns, so y^T = op(w) x^T is what it is told ---- */

static cublasStatus_t set_rows(const entry *e, int64_t rows, int64_t x_stride, int64_t y_stride) {
    uint64_t       n = (uint64_t)rows;
    cublasStatus_t s = cublasLtMatrixLayoutSetAttribute(e->x, CUBLASLT_MATRIX_LAYOUT_COLS, &n, sizeof n);
    if (!s) s = cublasLtMatrixLayoutSetAttribute(e->y, CUBLASLT_MATRIX_LAYOUT_COLS, &n, sizeof n);
    if (!s) s = cublasLtMatrixLayoutSetAttribute(e->x, CUBLASLT_MATRIX_LAYOUT_LD, &x_stride, sizeof x_stride);
    if (!s) s = cublasLtMatrixLayoutSetAttribute(e->y, CUBLASLT_MATRIX_LAYOUT_LD, &y_stride, sizeof y_stride);
    return s;
}

static cublasStatus_t describe(entry *e, const ql_cuda_product *p) {
    cublasOperation_t as_stored = CUBLAS_OP_N, turned = CUBLAS_OP_T;
    uint64_t          cols = (uint64_t)p->cols, depth = (uint64_t)p->depth;
    cublasStatus_t    s = cublasLtMatmulDescCreate(&e->what, CUBLAS_COMPUTE_32F, CUDA_R_32F);
    if (!s)
        s = cublasLtMatmulDescSetAttribute(e->what, CUBLASLT_MATMUL_DESC_TRANSA, p->w_is_depth_first ? &as_stored : &turned,
                                           sizeof as_stored);
    if (!s)
        s = p->w_is_depth_first ? cublasLtMatrixLayoutCreate(&e->w, cuda_type(p->type), cols, depth, p->cols)
                                : cublasLtMatrixLayoutCreate(&e->w, cuda_type(p->type), depth, cols, p->depth);
    if (!s) s = cublasLtMatrixLayoutCreate(&e->x, cuda_type(p->type), depth, REFERENCE_ROWS, p->x_stride);
    if (!s) s = cublasLtMatrixLayoutCreate(&e->y, cuda_type(p->y_type), cols, REFERENCE_ROWS, p->y_stride);
    return s;
}

static void forget(entry *e) {
    if (e->what) (void)cublasLtMatmulDescDestroy(e->what);
    if (e->w) (void)cublasLtMatrixLayoutDestroy(e->w);
    if (e->x) (void)cublasLtMatrixLayoutDestroy(e->x);
    if (e->y) (void)cublasLtMatrixLayoutDestroy(e->y);
}

/* y = alpha * x w + beta * y */
static cublasStatus_t multiply(ql_cuda *c, const entry *e, float alpha, float beta, const void *w, const void *x, void *y) {
    return cublasLtMatmul(c->lt, e->what, &alpha, w, e->w, x, e->x, &beta, y, e->y, y, e->y, &e->algo, c->workspace,
                          QL_CUDA_LT_BYTES, c->work);
}

/* ---- choosing ---- */

static cublasStatus_t list_candidates(ql_cuda *c, const entry *e, cublasLtMatmulHeuristicResult_t found[CANDIDATES], int *n) {
    cublasLtMatmulPreference_t limits;
    uint64_t                   room = QL_CUDA_LT_BYTES;
    uint32_t                   no_split = CUBLASLT_REDUCTION_SCHEME_NONE, y_align = (uint32_t)e->shape.y_align,
             x_align = (uint32_t)e->shape.x_align;
    cublasStatus_t s = cublasLtMatmulPreferenceCreate(&limits);
    if (s) return s;
    s = cublasLtMatmulPreferenceSetAttribute(limits, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &room, sizeof room);
    if (!s)
        s = cublasLtMatmulPreferenceSetAttribute(limits, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &no_split, sizeof no_split);
    if (!s)
        s = cublasLtMatmulPreferenceSetAttribute(limits, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &x_align, sizeof x_align);
    if (!s)
        s = cublasLtMatmulPreferenceSetAttribute(limits, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &y_align, sizeof y_align);
    if (!s)
        s = cublasLtMatmulPreferenceSetAttribute(limits, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &y_align, sizeof y_align);
    if (!s) s = cublasLtMatmulAlgoGetHeuristic(c->lt, e->what, e->w, e->x, e->y, e->y, limits, CANDIDATES, found, n);
    (void)cublasLtMatmulPreferenceDestroy(limits);
    return s;
}

static bool splits_k(const cublasLtMatmulAlgo_t *a) {
    int32_t parts = 1;
    size_t  size;
    cublasStatus_t s = cublasLtMatmulAlgoConfigGetAttribute(a, CUBLASLT_ALGO_CONFIG_SPLITK_NUM, &parts, sizeof parts, &size);
    return s != CUBLAS_STATUS_SUCCESS || parts > 1 || parts < 0;
}

/* Memory of a trial: x [rows, depth], y [rows, cols], and a few rows of y made alone; strides in elements. */
typedef struct {
    char   *x, *y, *alone;
    int64_t rows, x_stride, y_stride;
    size_t  x_row, y_row, alone_bytes; /* bytes */
    void   *told_y, *told_alone;       /* on the host */
} trial;

/* The shortest rows that are aligned as the shape says: an algorithm need not do with less. */
static int64_t aligned_stride(int64_t n, int64_t align, ql_dtype t) {
    return (int64_t)ql_align((size_t)n * ql_dtype_size(t), (size_t)align) / (int64_t)ql_dtype_size(t);
}

static float small_number(uint64_t *state) {
    *state = *state * 6364136223846793005ull + 1442695040888963407ull;
    return (float)(int32_t)(*state >> 32) * 0x1p-31f;
}

/* Numbers of full precision, the same in every trial of this shape. */
static ql_err fill_x(ql_cuda *c, const shape *h, const trial *t) {
    size_t   n = (size_t)(t->rows * t->x_stride);
    uint64_t state = 1;
    void    *x = ql_alloc(n * ql_dtype_size(h->type));
    for (size_t i = 0; i < n; i++) {
        float v = small_number(&state);
        if (h->type == QL_F32) ((float *)x)[i] = v;
        else ((uint16_t *)x)[i] = h->type == QL_BF16 ? ql_f32_to_bf16(v) : ql_f32_to_f16(v);
    }
    cudaError_t e = cudaMemcpyAsync(t->x, x, n * ql_dtype_size(h->type), cudaMemcpyHostToDevice, c->work);
    if (!e) e = cudaStreamSynchronize(c->work);
    free(x);
    return ql_cuda_verdict(e, "trying a product");
}

static ql_err open_trial(ql_cuda *c, const shape *h, trial *t) {
    t->x_stride = aligned_stride(h->depth, h->x_align, h->type);
    t->y_stride = aligned_stride(h->cols, h->y_align, h->y_type);
    t->x_row = (size_t)t->x_stride * ql_dtype_size(h->type);
    t->y_row = (size_t)t->y_stride * ql_dtype_size(h->y_type);
    t->alone_bytes = ql_align(ALONE * t->y_row, 256);
    int64_t fit = (QL_CUDA_TRIAL_BYTES - (int64_t)t->alone_bytes - 512) / (int64_t)(t->x_row + t->y_row);
    t->rows = ql_min(fit, PROBED_AT_MOST);
    if (t->rows < 2 * ALONE) return ql_ok();
    t->x = (char *)c->workspace + QL_CUDA_LT_BYTES;
    t->y = t->x + ql_align((size_t)t->rows * t->x_row, 256);
    t->alone = t->y + ql_align((size_t)t->rows * t->y_row, 256);
    t->told_y = ql_alloc(2 * ALONE * t->y_row);
    t->told_alone = (char *)t->told_y + ALONE * t->y_row;
    return fill_x(c, h, t);
}

/* A product to compare. What is left of a sum when its rounded value is taken away shows the bits that rounding to
 * 16 bits hides, and with them the order of the sum. */
static cublasStatus_t multiply_to_compare(ql_cuda *c, const entry *e, const void *w, const void *x, void *y) {
    cublasStatus_t s = multiply(c, e, 1, 0, w, x, y);
    return s || e->shape.y_type == QL_F32 ? s : multiply(c, e, 1, -1, w, x, y);
}

/* Rows [from, from + ALONE) made alone: are they those of the full product, which lies in t->y? */
static ql_err rows_agree(ql_cuda *c, entry *e, const trial *t, const void *w, int64_t from, bool *same) {
    size_t bytes = ALONE * t->y_row;
    *same = false;
    if (set_rows(e, ALONE, t->x_stride, t->y_stride)) return ql_ok();
    cudaError_t a = cudaMemsetAsync(t->alone, 0, bytes, c->work);
    if (!a && multiply_to_compare(c, e, w, t->x + (size_t)from * t->x_row, t->alone)) return ql_ok();
    if (!a) a = cudaMemcpyAsync(t->told_alone, t->alone, bytes, cudaMemcpyDeviceToHost, c->work);
    if (!a) a = cudaMemcpyAsync(t->told_y, t->y + (size_t)from * t->y_row, bytes, cudaMemcpyDeviceToHost, c->work);
    if (!a) a = cudaStreamSynchronize(c->work);
    *same = !a && !memcmp(t->told_y, t->told_alone, bytes);
    return ql_cuda_verdict(a, "trying a product");
}

/* Whether rows of this algorithm's products depend on nothing but themselves. */
static ql_err is_steady(ql_cuda *c, entry *e, const trial *t, const void *w, bool *steady) {
    *steady = false;
    if (set_rows(e, t->rows, t->x_stride, t->y_stride)) return ql_ok();
    QL_TRY(ql_cuda_verdict(cudaMemsetAsync(t->y, 0, (size_t)t->rows * t->y_row, c->work), "trying a product"));
    if (multiply_to_compare(c, e, w, t->x, t->y)) return ql_ok();
    QL_TRY(rows_agree(c, e, t, w, 0, steady));
    if (*steady) QL_TRY(rows_agree(c, e, t, w, t->rows - ALONE, steady));
    if (*steady) QL_TRY(rows_agree(c, e, t, w, t->rows / 2 - 1, steady));
    return ql_ok();
}

static ql_err choose_among(ql_cuda *c, entry *e, const void *w, const cublasLtMatmulHeuristicResult_t *found, int n) {
    trial t = {0};
    QL_TRY(open_trial(c, &e->shape, &t));
    ql_err err = ql_fail(QL_BUG, "device: cuda: cuBLASLt has no algorithm for a weight of %lld x %lld in %s whose rows do not "
                                 "depend on each other", (long long)e->shape.cols, (long long)e->shape.depth,
                         ql_dtype_name(e->shape.type));
    for (int i = 0; i < n; i++) {
        if (found[i].state != CUBLAS_STATUS_SUCCESS || splits_k(&found[i].algo)) continue;
        e->algo = found[i].algo;
        bool   steady = t.told_y == NULL; /* rows too long for a trial: the order of k that no split leaves is all there is */
        ql_err tried = steady ? ql_ok() : is_steady(c, e, &t, w, &steady);
        if (ql_bad(tried)) err = tried;
        if (!steady && !ql_bad(tried)) continue;
        if (steady) err = ql_ok();
        break;
    }
    free(t.told_y);
    return err;
}

static ql_err choose(ql_cuda *c, entry *e, const ql_cuda_product *p) {
    cublasLtMatmulHeuristicResult_t found[CANDIDATES];
    int                             n = 0;
    QL_TRY(verdict(describe(e, p), "describing", &e->shape));
    QL_TRY(verdict(list_candidates(c, e, found, &n), "choosing an algorithm for", &e->shape));
    return choose_among(c, e, p->w, found, n);
}

static ql_err add_entry(ql_cuda *c, const ql_cuda_product *p, const shape *h, entry **out) {
    ql_cuda_products *all = c->products;
    entry             fresh = {.shape = *h};
    ql_err            err = choose(c, &fresh, p);
    if (ql_bad(err)) {
        forget(&fresh);
        return err;
    }
    if (all->count == all->capacity) {
        all->capacity = all->capacity ? 2 * all->capacity : 32;
        all->entry = ql_realloc(all->entry, all->capacity * sizeof *all->entry);
    }
    all->entry[all->count] = fresh;
    *out = &all->entry[all->count++];
    return ql_ok();
}

static ql_err find_entry(ql_cuda *c, const ql_cuda_product *p, entry **out) {
    if (!c->products) c->products = QL_NEW(ql_cuda_products);
    shape h = shape_of(p);
    for (size_t i = 0; i < c->products->count; i++)
        if (!memcmp(&c->products->entry[i].shape, &h, sizeof h)) {
            *out = &c->products->entry[i];
            return ql_ok();
        }
    return add_entry(c, p, &h, out);
}

ql_err ql_cuda_multiply(ql_cuda *c, const ql_cuda_product *p) {
    if (p->rows == 0 || p->cols == 0) return ql_ok();
    void  *unused;
    entry *e = NULL;
    QL_TRY(ql_cuda_scratch(c, 0, &unused));
    QL_TRY(find_entry(c, p, &e));
    QL_TRY(verdict(set_rows(e, p->rows, p->x_stride, p->y_stride), "describing", &e->shape));
    return verdict(multiply(c, e, p->alpha, p->accumulate ? 1 : 0, p->w, p->x, p->y), "starting", &e->shape);
}

void ql_cuda_products_free(ql_cuda_products *p) {
    if (!p) return;
    for (size_t i = 0; i < p->count; i++) forget(&p->entry[i]);
    free(p->entry);
    free(p);
}
