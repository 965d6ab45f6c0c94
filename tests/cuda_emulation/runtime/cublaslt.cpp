/* cuBLASLt: descriptions, algorithms to choose from, and products that run on the stream.
 *
 * The algorithms differ in the order of their sums, as those of the library do. The one that comes first
 * is a trap: its sums depend on how large the product is, and nothing that can be asked about it says so. */
#include <cublasLt.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "call.h"
#include "device.h"
#include "memory.h"
#include "product.h"
#include "stream.h"
#include "tests/cuda_emulation/emulation.h"

struct cublasLtContext {
    int device;
};
struct cublasLtMatmulDesc {
    cublasComputeType_t compute;
    cudaDataType scale;
    int32_t pointer_mode, transa, transb;
    uint32_t epilogue;
    const void *bias;
    int32_t bias_type; /* -1: that of d */
};
struct cublasLtMatrixLayout {
    uint32_t type;
    int32_t order;
    uint64_t rows, cols;
    int64_t ld;
    int32_t batch;
    int64_t batch_stride;
};
struct cublasLtMatmulPreference {
    uint32_t search_mode;
    uint64_t workspace;
    uint32_t reduction_schemes;
    uint32_t align[4]; /* a, b, c, d */
};

namespace emulation {
namespace {

enum Id : uint32_t { of_changing_order = 1, splitting, plain, in_halves };
constexpr uint32_t ids[] = {of_changing_order, splitting, plain, in_halves};
constexpr uint32_t strictest_alignment = 16; /* that a kernel makes use of */

/* What cublasLtMatmulAlgo_t holds. */
struct Algorithm {
    uint32_t mark; /* tells it from memory that nobody filled */
    uint32_t id, tile, stages;
    int32_t parts;
    uint32_t scheme, swizzle, custom;
    uint32_t align[4];
};
constexpr uint32_t mark = 0x616c676f;
static_assert(sizeof(Algorithm) <= sizeof(cublasLtMatmulAlgo_t));

cublasLtMatmulAlgo_t pack(const Algorithm &a) {
    cublasLtMatmulAlgo_t packed = {};
    memcpy(&packed, &a, sizeof a);
    return packed;
}

Algorithm unpack(const cublasLtMatmulAlgo_t *packed) {
    Algorithm a;
    memcpy(&a, packed, sizeof a);
    return a;
}

const struct {
    cublasStatus_t status;
    const char *name, *text;
} statuses[] = {
    {CUBLAS_STATUS_SUCCESS, "CUBLAS_STATUS_SUCCESS", "success"},
    {CUBLAS_STATUS_NOT_INITIALIZED, "CUBLAS_STATUS_NOT_INITIALIZED", "the library was not initialized"},
    {CUBLAS_STATUS_ALLOC_FAILED, "CUBLAS_STATUS_ALLOC_FAILED", "the resource allocation failed"},
    {CUBLAS_STATUS_INVALID_VALUE, "CUBLAS_STATUS_INVALID_VALUE", "an unsupported value or parameter was passed"},
    {CUBLAS_STATUS_ARCH_MISMATCH, "CUBLAS_STATUS_ARCH_MISMATCH", "the device lacks a feature"},
    {CUBLAS_STATUS_MAPPING_ERROR, "CUBLAS_STATUS_MAPPING_ERROR", "an access to GPU memory space failed"},
    {CUBLAS_STATUS_EXECUTION_FAILED, "CUBLAS_STATUS_EXECUTION_FAILED", "the function failed to launch on the GPU"},
    {CUBLAS_STATUS_INTERNAL_ERROR, "CUBLAS_STATUS_INTERNAL_ERROR", "an internal operation failed"},
    {CUBLAS_STATUS_NOT_SUPPORTED, "CUBLAS_STATUS_NOT_SUPPORTED", "the functionality is not supported"},
    {CUBLAS_STATUS_LICENSE_ERROR, "CUBLAS_STATUS_LICENSE_ERROR", "the license check failed"},
};

/* What the settings want of this call, or success. */
cublasStatus_t fault(const char *call) {
    const std::string wanted = due_fault(call);
    if (wanted.empty()) return CUBLAS_STATUS_SUCCESS;
    for (const auto &s : statuses)
        if (wanted == s.name) return s.status;
    fail("QL_EMU_FAIL: cuBLASLt has no status '%s'", wanted.c_str());
}

template <typename T> cublasStatus_t set(T *to, const void *value, size_t bytes) {
    if (bytes != sizeof *to) return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(to, value, bytes);
    return CUBLAS_STATUS_SUCCESS;
}

template <typename T> cublasStatus_t get(const T &from, void *value, size_t bytes, size_t *written) {
    if (written) *written = sizeof from;
    if (bytes != sizeof from) return bytes == 0 && written ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
    memcpy(value, &from, bytes);
    return CUBLAS_STATUS_SUCCESS;
}

template <typename T> cublasStatus_t destroy(T *description) {
    delete description;
    return CUBLAS_STATUS_SUCCESS;
}

/* ---- what is to be multiplied ---- */

cudaDataType type_of(const cublasLtMatrixLayout &x) {
    return static_cast<cudaDataType>(x.type);
}

/* Of op(x), as stored at `at`. */
Matrix view(const cublasLtMatrixLayout &x, const void *at, int32_t op) {
    Matrix view = {const_cast<void *>(at), type_of(x), 1, x.ld};
    if (x.order == CUBLASLT_ORDER_ROW) std::swap(view.row, view.column);
    if (op != CUBLAS_OP_N) std::swap(view.row, view.column);
    return view;
}

int64_t rows_of(const cublasLtMatrixLayout &x, int32_t op) {
    return static_cast<int64_t>(op == CUBLAS_OP_N ? x.rows : x.cols);
}

int64_t cols_of(const cublasLtMatrixLayout &x, int32_t op) {
    return static_cast<int64_t>(op == CUBLAS_OP_N ? x.cols : x.rows);
}

size_t extent(const cublasLtMatrixLayout &x) {
    const uint64_t outer = x.order == CUBLASLT_ORDER_COL ? x.cols : x.rows;
    const uint64_t inner = x.order == CUBLASLT_ORDER_COL ? x.rows : x.cols;
    return outer && inner ? ((outer - 1) * static_cast<uint64_t>(x.ld) + inner) * element_size(type_of(x)) : 0;
}

struct Problem {
    const cublasLtMatmulDesc *desc;
    const cublasLtMatrixLayout *a, *b, *c, *d;
};

bool is_layout_sound(const cublasLtMatrixLayout &x) {
    return x.ld >= static_cast<int64_t>(x.order == CUBLASLT_ORDER_COL ? x.rows : x.cols);
}

cublasStatus_t check_types(const Problem &p) {
    const cudaDataType in = type_of(*p.a), out = type_of(*p.d);
    if (element_size(in) == 0 || type_of(*p.b) != in || type_of(*p.c) != out) return CUBLAS_STATUS_NOT_SUPPORTED;
    if (out != CUDA_R_32F && out != in) return CUBLAS_STATUS_NOT_SUPPORTED;
    if (in == CUDA_R_16BF && here().capability < 80) return CUBLAS_STATUS_NOT_SUPPORTED;
    const cublasComputeType_t compute = p.desc->compute;
    if (compute != CUBLAS_COMPUTE_32F && compute != CUBLAS_COMPUTE_32F_PEDANTIC &&
        compute != CUBLAS_COMPUTE_32F_FAST_TF32)
        return CUBLAS_STATUS_NOT_SUPPORTED;
    return p.desc->scale == CUDA_R_32F ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

cublasStatus_t check_problem(const Problem &p) {
    if (!p.desc || !p.a || !p.b || !p.c || !p.d) return CUBLAS_STATUS_INVALID_VALUE;
    for (const cublasLtMatrixLayout *x : {p.a, p.b, p.c, p.d}) {
        if (!is_layout_sound(*x)) return CUBLAS_STATUS_INVALID_VALUE;
        if (x->batch != 1) return CUBLAS_STATUS_NOT_SUPPORTED;
    }
    const int64_t m = rows_of(*p.a, p.desc->transa), k = cols_of(*p.a, p.desc->transa);
    const int64_t n = cols_of(*p.b, p.desc->transb);
    if (rows_of(*p.b, p.desc->transb) != k || rows_of(*p.d, CUBLAS_OP_N) != m || cols_of(*p.d, CUBLAS_OP_N) != n)
        return CUBLAS_STATUS_INVALID_VALUE;
    if (p.c->rows != p.d->rows || p.c->cols != p.d->cols) return CUBLAS_STATUS_INVALID_VALUE;
    if (p.desc->pointer_mode != CUBLASLT_POINTER_MODE_HOST) return CUBLAS_STATUS_NOT_SUPPORTED;
    if (p.desc->epilogue != CUBLASLT_EPILOGUE_DEFAULT && p.desc->epilogue != CUBLASLT_EPILOGUE_BIAS)
        return CUBLAS_STATUS_NOT_SUPPORTED;
    return check_types(p);
}

/* ---- algorithms ---- */

Algorithm algorithm(uint32_t id) {
    Algorithm a = {mark,
                   id,
                   CUBLASLT_MATMUL_TILE_128x128,
                   CUBLASLT_MATMUL_STAGES_64x3,
                   1,
                   CUBLASLT_REDUCTION_SCHEME_NONE,
                   0,
                   0,
                   {strictest_alignment, strictest_alignment, strictest_alignment, strictest_alignment}};
    if (id == splitting) {
        a.parts = 4;
        a.scheme = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    }
    if (id == in_halves) a.tile = CUBLASLT_MATMUL_TILE_64x64;
    return a;
}

int log2_of(int64_t x) {
    int bits = 0;
    while (x >>= 1) bits++;
    return bits;
}

SumOrder order_of(const Algorithm &a, int64_t m, int64_t n) {
    switch (a.id) {
        case of_changing_order: return {1 + (log2_of(m) + log2_of(n)) % 16, true, true};
        case splitting: return {a.parts, false, a.scheme == CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE};
        case in_halves: return {2, false, false};
        default: return {1, false, false};
    }
}

size_t workspace_of(const Algorithm &a, const Problem &p) {
    return a.parts > 1 ? static_cast<size_t>(a.parts) * p.d->rows * p.d->cols * sizeof(float) : 0;
}

uint32_t alignment_of(uint64_t number) {
    uint32_t align = strictest_alignment;
    while (number % align) align /= 2;
    return align;
}

/* What kernels may rely on: the alignment of pointers that is promised, and that of columns. */
void note_alignments(Algorithm &a, const Problem &p, const uint32_t promised[4]) {
    const cublasLtMatrixLayout *layout[] = {p.a, p.b, p.c, p.d};
    for (int i = 0; i < 4; i++) {
        const uint64_t step = static_cast<uint64_t>(layout[i]->ld) * element_size(type_of(*layout[i]));
        a.align[i] = std::min(alignment_of(promised[i]), alignment_of(step));
    }
}

bool keeps_alignments(const Algorithm &a, const Problem &p, const void *const at[4]) {
    const cublasLtMatrixLayout *layout[] = {p.a, p.b, p.c, p.d};
    for (int i = 0; i < 4; i++) {
        const uint64_t step = static_cast<uint64_t>(layout[i]->ld) * element_size(type_of(*layout[i]));
        if (step % a.align[i] || reinterpret_cast<uintptr_t>(at[i]) % a.align[i]) return false;
    }
    return true;
}

cublasStatus_t check_algorithm(const Algorithm &a) {
    const bool known = std::find(std::begin(ids), std::end(ids), a.id) != std::end(ids);
    if (a.mark != mark || !known || a.parts < 1) return CUBLAS_STATUS_INVALID_VALUE;
    const bool splits = a.parts > 1;
    if (splits != (a.scheme != CUBLASLT_REDUCTION_SCHEME_NONE) || (splits && a.id != splitting))
        return CUBLAS_STATUS_NOT_SUPPORTED;
    return CUBLAS_STATUS_SUCCESS;
}

/* ---- products ---- */

/* A product that leaves its matrices would be an illegal access on a device. */
void check_extents(const Problem &p, const void *const at[4], float beta) {
    const cublasLtMatrixLayout *layout[] = {p.a, p.b, p.c, p.d};
    for (int i = 0; i < 4; i++) {
        if (i == 2 && beta == 0) continue;
        if (extent(*layout[i]) && !is_device_memory(at[i], extent(*layout[i])))
            fail("cublasLtMatmul: matrix %c takes %zu bytes that are not all device memory", "abcd"[i],
                 extent(*layout[i]));
    }
}

Product product_of(const Problem &p, const Algorithm &a, const void *const at[4]) {
    Product x = {};
    x.m = rows_of(*p.d, CUBLAS_OP_N);
    x.n = cols_of(*p.d, CUBLAS_OP_N);
    x.k = cols_of(*p.a, p.desc->transa);
    x.a = view(*p.a, at[0], p.desc->transa);
    x.b = view(*p.b, at[1], p.desc->transb);
    x.c = view(*p.c, at[2], CUBLAS_OP_N);
    x.d = view(*p.d, at[3], CUBLAS_OP_N);
    if (p.desc->epilogue == CUBLASLT_EPILOGUE_BIAS) {
        const cudaDataType type = p.desc->bias_type < 0 ? x.d.type : static_cast<cudaDataType>(p.desc->bias_type);
        x.bias = {const_cast<void *>(p.desc->bias), type, 1, 0};
    }
    x.order = order_of(a, x.m, x.n);
    x.short_inputs = p.desc->compute == CUBLAS_COMPUTE_32F_FAST_TF32 && here().capability >= 80;
    return x;
}

cublasStatus_t status_of(cudaError_t error) {
    return error == cudaSuccess                      ? CUBLAS_STATUS_SUCCESS
           : error == cudaErrorMemoryAllocation      ? CUBLAS_STATUS_ALLOC_FAILED
           : error == cudaErrorInvalidResourceHandle ? CUBLAS_STATUS_INVALID_VALUE
                                                     : CUBLAS_STATUS_EXECUTION_FAILED;
}

} // namespace
} // namespace emulation

using namespace emulation;

cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle) {
    const cublasStatus_t wanted = fault("cublasLtCreate");
    if (wanted != CUBLAS_STATUS_SUCCESS) return wanted;
    int device;
    if (cudaGetDevice(&device) != cudaSuccess) return CUBLAS_STATUS_NOT_INITIALIZED;
    *handle = new cublasLtContext{device};
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
    return destroy(handle);
}

size_t cublasLtGetVersion(void) {
    return CUBLAS_VERSION;
}

const char *cublasLtGetStatusName(cublasStatus_t status) {
    for (const auto &s : statuses)
        if (s.status == status) return s.name;
    return "CUBLAS_STATUS_UNKNOWN";
}

const char *cublasLtGetStatusString(cublasStatus_t status) {
    for (const auto &s : statuses)
        if (s.status == status) return s.text;
    return "unknown";
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *layout, cudaDataType type, uint64_t rows,
                                          uint64_t cols, int64_t ld) {
    *layout = new cublasLtMatrixLayout{static_cast<uint32_t>(type), CUBLASLT_ORDER_COL, rows, cols, ld, 1, 0};
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t x, cublasLtMatrixLayoutAttribute_t attribute,
                                                const void *value, size_t bytes) {
    switch (attribute) {
        case CUBLASLT_MATRIX_LAYOUT_TYPE: return set(&x->type, value, bytes);
        case CUBLASLT_MATRIX_LAYOUT_ORDER: return set(&x->order, value, bytes);
        case CUBLASLT_MATRIX_LAYOUT_ROWS: return set(&x->rows, value, bytes);
        case CUBLASLT_MATRIX_LAYOUT_COLS: return set(&x->cols, value, bytes);
        case CUBLASLT_MATRIX_LAYOUT_LD: return set(&x->ld, value, bytes);
        case CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT: return set(&x->batch, value, bytes);
        case CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET: return set(&x->batch_stride, value, bytes);
    }
    return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
    return destroy(layout);
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *desc, cublasComputeType_t compute, cudaDataType_t scale) {
    *desc = new cublasLtMatmulDesc{
        compute, scale, CUBLASLT_POINTER_MODE_HOST, CUBLAS_OP_N, CUBLAS_OP_N, CUBLASLT_EPILOGUE_DEFAULT, nullptr, -1};
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t attribute,
                                              const void *value, size_t bytes) {
    switch (attribute) {
        case CUBLASLT_MATMUL_DESC_COMPUTE_TYPE: return set(&desc->compute, value, bytes);
        case CUBLASLT_MATMUL_DESC_SCALE_TYPE: return set(&desc->scale, value, bytes);
        case CUBLASLT_MATMUL_DESC_POINTER_MODE: return set(&desc->pointer_mode, value, bytes);
        case CUBLASLT_MATMUL_DESC_TRANSA: return set(&desc->transa, value, bytes);
        case CUBLASLT_MATMUL_DESC_TRANSB: return set(&desc->transb, value, bytes);
        case CUBLASLT_MATMUL_DESC_EPILOGUE: return set(&desc->epilogue, value, bytes);
        case CUBLASLT_MATMUL_DESC_BIAS_POINTER: return set(&desc->bias, value, bytes);
        case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE: return set(&desc->bias_type, value, bytes);
    }
    return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc) {
    return destroy(desc);
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *preference) {
    *preference = new cublasLtMatmulPreference{0, 0, CUBLASLT_REDUCTION_SCHEME_MASK, {256, 256, 256, 256}};
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute, const void *value,
                                                    size_t bytes) {
    switch (attribute) {
        case CUBLASLT_MATMUL_PREF_SEARCH_MODE: return set(&preference->search_mode, value, bytes);
        case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES: return set(&preference->workspace, value, bytes);
        case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK: return set(&preference->reduction_schemes, value, bytes);
        case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES: return set(&preference->align[0], value, bytes);
        case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES: return set(&preference->align[1], value, bytes);
        case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES: return set(&preference->align[2], value, bytes);
        case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES: return set(&preference->align[3], value, bytes);
    }
    return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
    return destroy(preference);
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t a,
                                              cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c,
                                              cublasLtMatrixLayout_t d, cublasLtMatmulPreference_t preference,
                                              int wanted, cublasLtMatmulHeuristicResult_t results[], int *found) {
    *found = 0;
    const cublasStatus_t wrong = fault("cublasLtMatmulAlgoGetHeuristic");
    if (wrong != CUBLAS_STATUS_SUCCESS) return wrong;
    const Problem p = {desc, a, b, c, d};
    const cublasStatus_t mistake = check_problem(p);
    if (mistake != CUBLAS_STATUS_SUCCESS) return mistake;
    if (!preference || wanted < 1) return CUBLAS_STATUS_INVALID_VALUE;
    for (uint32_t id : ids) {
        Algorithm x = algorithm(id);
        if (*found == wanted || (x.scheme & preference->reduction_schemes) != x.scheme) continue;
        if (workspace_of(x, p) > preference->workspace) continue;
        note_alignments(x, p, preference->align);
        results[(*found)++] = {pack(x), workspace_of(x, p), CUBLAS_STATUS_SUCCESS, 1, {}};
    }
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoGetIds(cublasLtHandle_t, cublasComputeType_t, cudaDataType_t, cudaDataType_t,
                                        cudaDataType_t, cudaDataType_t, cudaDataType_t, int wanted, int out[],
                                        int *found) {
    *found = 0;
    for (uint32_t id : ids)
        if (*found < wanted) out[(*found)++] = static_cast<int>(id);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoInit(cublasLtHandle_t, cublasComputeType_t, cudaDataType_t, cudaDataType_t,
                                      cudaDataType_t, cudaDataType_t, cudaDataType_t, int id,
                                      cublasLtMatmulAlgo_t *algo) {
    const Algorithm a = algorithm(static_cast<uint32_t>(id));
    if (check_algorithm(a) != CUBLAS_STATUS_SUCCESS) return CUBLAS_STATUS_INVALID_VALUE;
    *algo = pack(a);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoConfigGetAttribute(const cublasLtMatmulAlgo_t *algo,
                                                    cublasLtMatmulAlgoConfigAttributes_t attribute, void *value,
                                                    size_t bytes, size_t *written) {
    const Algorithm a = unpack(algo);
    if (a.mark != mark) return CUBLAS_STATUS_INVALID_VALUE;
    switch (attribute) {
        case CUBLASLT_ALGO_CONFIG_ID: return get(a.id, value, bytes, written);
        case CUBLASLT_ALGO_CONFIG_TILE_ID: return get(a.tile, value, bytes, written);
        case CUBLASLT_ALGO_CONFIG_SPLITK_NUM: return get(a.parts, value, bytes, written);
        case CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME: return get(a.scheme, value, bytes, written);
        case CUBLASLT_ALGO_CONFIG_CTA_SWIZZLING: return get(a.swizzle, value, bytes, written);
        case CUBLASLT_ALGO_CONFIG_CUSTOM_OPTION: return get(a.custom, value, bytes, written);
        case CUBLASLT_ALGO_CONFIG_STAGES_ID: return get(a.stages, value, bytes, written);
        case CUBLASLT_ALGO_CONFIG_INNER_SHAPE_ID:
        case CUBLASLT_ALGO_CONFIG_CLUSTER_SHAPE_ID: return get(static_cast<uint16_t>(0), value, bytes, written);
    }
    return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmulAlgoConfigSetAttribute(cublasLtMatmulAlgo_t *algo,
                                                    cublasLtMatmulAlgoConfigAttributes_t attribute, const void *value,
                                                    size_t bytes) {
    Algorithm a = unpack(algo);
    cublasStatus_t status = CUBLAS_STATUS_INVALID_VALUE;
    if (a.mark != mark) return status;
    if (attribute == CUBLASLT_ALGO_CONFIG_TILE_ID) status = set(&a.tile, value, bytes);
    if (attribute == CUBLASLT_ALGO_CONFIG_SPLITK_NUM) status = set(&a.parts, value, bytes);
    if (attribute == CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME) status = set(&a.scheme, value, bytes);
    if (attribute == CUBLASLT_ALGO_CONFIG_CTA_SWIZZLING) status = set(&a.swizzle, value, bytes);
    if (attribute == CUBLASLT_ALGO_CONFIG_CUSTOM_OPTION) status = set(&a.custom, value, bytes);
    if (attribute == CUBLASLT_ALGO_CONFIG_STAGES_ID) status = set(&a.stages, value, bytes);
    *algo = pack(a);
    return status;
}

cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t, cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t a,
                                       cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                       const cublasLtMatmulAlgo_t *algo, cublasLtMatmulHeuristicResult_t *result) {
    const Problem p = {desc, a, b, c, d};
    cublasStatus_t status = check_problem(p);
    if (status == CUBLAS_STATUS_SUCCESS) status = check_algorithm(unpack(algo));
    *result = {*algo, status == CUBLAS_STATUS_SUCCESS ? workspace_of(unpack(algo), p) : 0, status, 1, {}};
    return status;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, const void *alpha, const void *a_at,
                              cublasLtMatrixLayout_t a, const void *b_at, cublasLtMatrixLayout_t b, const void *beta,
                              const void *c_at, cublasLtMatrixLayout_t c, void *d_at, cublasLtMatrixLayout_t d,
                              const cublasLtMatmulAlgo_t *algo, void *workspace, size_t workspace_bytes,
                              cudaStream_t stream) {
    std::lock_guard<std::recursive_mutex> lock(runtime_mutex());
    if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
    const cublasStatus_t wrong = fault("cublasLtMatmul");
    if (wrong != CUBLAS_STATUS_SUCCESS) return wrong;
    const Problem p = {desc, a, b, c, d};
    const Algorithm x = algo ? unpack(algo) : algorithm(of_changing_order);
    cublasStatus_t mistake = check_problem(p);
    if (mistake == CUBLAS_STATUS_SUCCESS) mistake = check_algorithm(x);
    if (mistake != CUBLAS_STATUS_SUCCESS) return mistake;
    const void *at[] = {a_at, b_at, c_at, d_at};
    const size_t needed = workspace_of(x, p);
    if (needed > workspace_bytes) return CUBLAS_STATUS_INVALID_VALUE;
    if (algo && !keeps_alignments(x, p, at)) return CUBLAS_STATUS_NOT_SUPPORTED;
    if (here().broken != cudaSuccess) return CUBLAS_STATUS_EXECUTION_FAILED;
    Product product = product_of(p, x, at);
    product.alpha = *static_cast<const float *>(alpha);
    product.beta = *static_cast<const float *>(beta);
    check_extents(p, at, product.beta);
    if (needed && !is_device_memory(workspace, needed)) fail("cublasLtMatmul: the workspace is not all device memory");
    if (needed) product.workspace = static_cast<float *>(workspace);
    return status_of(enqueue(stream, "cublasLtMatmul", [product] {
        multiply(product);
        return true;
    }));
}
