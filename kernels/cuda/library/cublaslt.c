/* cuBLASLt, loaded when it is first called. Linked in the usual way it would be loaded by every start of the
 * program, on machines without a GPU, too: half a second and 200 MiB (measured), and no start at all where it is
 * missing. So its functions are defined here and hand over to the library's. */
#include <cublasLt.h>
#include <dlfcn.h>
#include <stddef.h>

#define TEXT_OF(X) #X
#define TEXT(X) TEXT_OF(X)
static const char name[] = "libcublasLt.so." TEXT(CUBLAS_VER_MAJOR);

/* Where the loader looks, else where this build found it. One thread calls, as for all of the back end. */
static void *find(const char *function) {
    static void *library;
    if (!library) library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (!library) library = dlopen(QL_CUDA_LIBRARIES "/libcublasLt.so", RTLD_NOW | RTLD_LOCAL);
    return library ? dlsym(library, function) : NULL;
}

/* What follows PARAMETERS is what a caller is told who asks for a library that is not there. */
#define HAND_OVER(RESULT, FUNCTION, PARAMETERS, ARGUMENTS, ABSENT)       \
    RESULT FUNCTION PARAMETERS {                                         \
        static RESULT(*there) PARAMETERS;                                \
        if (!there) *(void **)&there = find(#FUNCTION);                  \
        return there ? there ARGUMENTS : (ABSENT);                       \
    }
#define STATUS(FUNCTION, PARAMETERS, ARGUMENTS) \
    HAND_OVER(cublasStatus_t, FUNCTION, PARAMETERS, ARGUMENTS, CUBLAS_STATUS_NOT_INITIALIZED)

HAND_OVER(size_t, cublasLtGetVersion, (void), (), 0)
STATUS(cublasLtCreate, (cublasLtHandle_t *h), (h))
STATUS(cublasLtDestroy, (cublasLtHandle_t h), (h))
STATUS(cublasLtMatmulDescCreate, (cublasLtMatmulDesc_t *d, cublasComputeType_t compute, cudaDataType_t scale), (d, compute, scale))
STATUS(cublasLtMatmulDescDestroy, (cublasLtMatmulDesc_t d), (d))
STATUS(cublasLtMatmulDescSetAttribute, (cublasLtMatmulDesc_t d, cublasLtMatmulDescAttributes_t a, const void *x, size_t n),
       (d, a, x, n))
STATUS(cublasLtMatrixLayoutCreate, (cublasLtMatrixLayout_t *l, cudaDataType t, uint64_t rows, uint64_t cols, int64_t ld),
       (l, t, rows, cols, ld))
STATUS(cublasLtMatrixLayoutDestroy, (cublasLtMatrixLayout_t l), (l))
STATUS(cublasLtMatrixLayoutSetAttribute, (cublasLtMatrixLayout_t l, cublasLtMatrixLayoutAttribute_t a, const void *x, size_t n),
       (l, a, x, n))
STATUS(cublasLtMatmulPreferenceCreate, (cublasLtMatmulPreference_t *p), (p))
STATUS(cublasLtMatmulPreferenceDestroy, (cublasLtMatmulPreference_t p), (p))
STATUS(cublasLtMatmulPreferenceSetAttribute,
       (cublasLtMatmulPreference_t p, cublasLtMatmulPreferenceAttributes_t a, const void *x, size_t n), (p, a, x, n))
STATUS(cublasLtMatmulAlgoGetHeuristic,
       (cublasLtHandle_t h, cublasLtMatmulDesc_t d, cublasLtMatrixLayout_t la, cublasLtMatrixLayout_t lb, cublasLtMatrixLayout_t lc,
        cublasLtMatrixLayout_t ld, cublasLtMatmulPreference_t p, int wanted, cublasLtMatmulHeuristicResult_t *found, int *n),
       (h, d, la, lb, lc, ld, p, wanted, found, n))
STATUS(cublasLtMatmulAlgoConfigGetAttribute,
       (const cublasLtMatmulAlgo_t *algo, cublasLtMatmulAlgoConfigAttributes_t a, void *x, size_t n, size_t *written),
       (algo, a, x, n, written))
STATUS(cublasLtMatmul,
       (cublasLtHandle_t h, cublasLtMatmulDesc_t d, const void *alpha, const void *a, cublasLtMatrixLayout_t la, const void *b,
        cublasLtMatrixLayout_t lb, const void *beta, const void *c, cublasLtMatrixLayout_t lc, void *y, cublasLtMatrixLayout_t ly,
        const cublasLtMatmulAlgo_t *algo, void *workspace, size_t bytes, cudaStream_t stream),
       (h, d, alpha, a, la, b, lb, beta, c, lc, y, ly, algo, workspace, bytes, stream))
