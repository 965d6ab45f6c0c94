/* NCCL, loaded when it is first called: kernels/cuda/library/cublaslt.c says why. */
#include <dlfcn.h>
#include <nccl.h>
#include <stddef.h>

/* Where the loader looks, else where this build found it. */
static void *find(const char *function) {
    static void *library;
    if (!library) library = dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
    if (!library) library = dlopen(QL_NCCL_LIBRARY, RTLD_NOW | RTLD_LOCAL);
    return library ? dlsym(library, function) : NULL;
}

/* ABSENT: what a caller is told who asks for a library that is not there. */
#define HAND_OVER(RESULT, FUNCTION, PARAMETERS, ARGUMENTS, ABSENT)       \
    RESULT FUNCTION PARAMETERS {                                         \
        static RESULT(*there) PARAMETERS;                                \
        if (!there) *(void **)&there = find(#FUNCTION);                  \
        return there ? there ARGUMENTS : (ABSENT);                       \
    }
#define STATUS(FUNCTION, PARAMETERS, ARGUMENTS) HAND_OVER(ncclResult_t, FUNCTION, PARAMETERS, ARGUMENTS, ncclSystemError)
static const char absent[] = "libnccl.so.2 is not where the loader looks (LD_LIBRARY_PATH)";

HAND_OVER(const char *, ncclGetErrorString, (ncclResult_t r), (r), absent)
HAND_OVER(const char *, ncclGetLastError, (ncclComm_t c), (c), absent)
STATUS(ncclGetVersion, (int *version), (version))
STATUS(ncclGetUniqueId, (ncclUniqueId * id), (id))
STATUS(ncclCommInitRankConfig, (ncclComm_t *c, int ranks, ncclUniqueId id, int rank, ncclConfig_t *config),
       (c, ranks, id, rank, config))
STATUS(ncclCommGetAsyncError, (ncclComm_t c, ncclResult_t *error), (c, error))
STATUS(ncclCommFinalize, (ncclComm_t c), (c))
STATUS(ncclCommDestroy, (ncclComm_t c), (c))
STATUS(ncclAllReduce,
       (const void *from, void *to, size_t n, ncclDataType_t type, ncclRedOp_t op, ncclComm_t c, cudaStream_t stream),
       (from, to, n, type, op, c, stream))
