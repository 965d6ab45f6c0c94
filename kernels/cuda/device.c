/* A CUDA device: opening, memory, the two streams, and the back end's table. */
#include "kernels/cuda/cuda.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define ASK(CALL, DOING) QL_TRY(ql_cuda_verdict((CALL), (DOING)))

enum { LEAST_CAPABILITY = 75, SCRATCH_UNIT = 256, BEFORE_SCRATCH = QL_CUDA_LT_BYTES + QL_CUDA_TRIAL_BYTES };

/* ---- which there are ---- */

static void cuda_library(char name[64]) {
    snprintf(name, 64, "CUDA %d.%d", CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10);
}

static void tell_driver(char why[256]) {
    int known = 0;
    (void)cudaDriverGetVersion(&known);
    if (known == 0) snprintf(why, 256, "there is no NVIDIA driver");
    else
        snprintf(why, 256, "the NVIDIA driver knows CUDA %d.%d, and this build needs CUDA %d.%d", known / 1000, known % 1000 / 10,
                 CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10);
}

static int cuda_count(char why[256]) {
    int         n = 0;
    cudaError_t e = cudaGetDeviceCount(&n);
    (void)cudaGetLastError();
    if (e == cudaSuccess && n > 0) return n;
    const char *seen = getenv("CUDA_VISIBLE_DEVICES");
    if (e == cudaErrorInsufficientDriver) tell_driver(why);
    else if (e != cudaErrorNoDevice && e != cudaSuccess)
        snprintf(why, 256, "the NVIDIA driver answers: %s", cudaGetErrorString(e));
    else if (seen)
        snprintf(why, 256, "no GPU is visible: CUDA_VISIBLE_DEVICES is \"%.100s\"", seen);
    else snprintf(why, 256, "there is no NVIDIA GPU");
    return 0;
}

static ql_err cuda_describe(void *state, ql_device_info *out) {
    const ql_cuda *c = state;
    size_t         available = 0, total = 0;
    QL_TRY(ql_cuda_look(c->ordinal, out));
    ASK(cudaMemGetInfo(&available, &total), "asking for its memory");
    out->bytes_total = total;
    out->bytes_free = available;
    return ql_ok();
}

/* ---- opening ---- */

static ql_err open_streams(ql_cuda *c) {
    ASK(cudaStreamCreateWithFlags(&c->work, cudaStreamNonBlocking), "making a stream");
    ASK(cudaStreamCreateWithFlags(&c->transfer, cudaStreamNonBlocking), "making a stream");
    ASK(cudaEventCreateWithFlags(&c->order, cudaEventDisableTiming), "making an event");
    for (int i = 0; i < QL_MARKS; i++) ASK(cudaEventCreateWithFlags(&c->mark[i], cudaEventDefault), "making an event");
    QL_CHECK(cublasLtCreate(&c->lt) == CUBLAS_STATUS_SUCCESS, QL_TEMP,
             "device: cuda: cuBLASLt cannot be started; does its version fit the driver?");
    return ql_ok();
}

static void cuda_close(void *state) {
    ql_cuda *c = state;
    (void)cudaDeviceSynchronize();
    ql_cuda_products_free(c->products);
    if (c->lt) (void)cublasLtDestroy(c->lt);
    for (int i = 0; i < QL_MARKS; i++)
        if (c->mark[i]) (void)cudaEventDestroy(c->mark[i]);
    if (c->order) (void)cudaEventDestroy(c->order);
    if (c->transfer) (void)cudaStreamDestroy(c->transfer);
    if (c->work) (void)cudaStreamDestroy(c->work);
    if (c->workspace) (void)cudaFree(c->workspace);
    free(c);
}

static ql_err cuda_open(int ordinal, int threads, void **state) {
    (void)threads;
    int  n;
    char why[256] = "";
    QL_CHECK((n = cuda_count(why)) > 0, QL_USAGE, "device: cuda: %s; use device: cpu or auto", why);
    QL_CHECK(ordinal >= 0 && ordinal < n, QL_USAGE, "device: cuda: there is no GPU %d; this process sees %d", ordinal, n);
    ASK(cudaSetDevice(ordinal), "opening the GPU");
    struct cudaDeviceProp p;
    ASK(cudaGetDeviceProperties(&p, ordinal), "asking for its properties");
    int capability = p.major * 10 + p.minor;
    QL_CHECK(capability >= LEAST_CAPABILITY, QL_USAGE,
             "device: cuda: GPU %d (%.80s) has compute capability %d.%d; 7.5 (Turing) or later is needed", ordinal, p.name,
             p.major, p.minor);
    ql_cuda *c = QL_NEW(ql_cuda);
    c->ordinal = ordinal;
    c->capability = capability;
    c->processors = p.multiProcessorCount;
    ql_err e = open_streams(c);
    if (ql_bad(e)) {
        cuda_close(c);
        return e;
    }
    *state = c;
    return ql_ok();
}

/* ---- workspace ---- */

static uint64_t cuda_workspace(const void *state) {
    return ((const ql_cuda *)state)->workspace_bytes;
}

static ql_err take_workspace(ql_cuda *c, uint64_t bytes) {
    if (c->workspace) {
        ASK(cudaStreamSynchronize(c->work), "waiting for work");
        ASK(cudaFree(c->workspace), "giving back workspace");
    }
    c->workspace = NULL;
    c->workspace_bytes = 0;
    ASK(cudaMalloc(&c->workspace, bytes), "taking workspace");
    c->workspace_bytes = bytes;
    return ql_ok();
}

static ql_err cuda_prepare(void *state, uint64_t workspace) {
    ql_cuda *c = state;
    QL_TRY(take_workspace(c, workspace));
    c->workspace_fixed = true;
    return ql_ok();
}

ql_err ql_cuda_scratch(ql_cuda *c, size_t bytes, void **out) {
    uint64_t wanted = BEFORE_SCRATCH + ql_align(bytes, SCRATCH_UNIT);
    if (wanted > c->workspace_bytes) {
        QL_CHECK(!c->workspace_fixed, QL_BUG, "device: cuda: an operation needs %zu bytes of scratch, %llu are planned", bytes,
                 (unsigned long long)(c->workspace_bytes - BEFORE_SCRATCH));
        QL_TRY(take_workspace(c, wanted));
    }
    *out = (char *)c->workspace + BEFORE_SCRATCH;
    return ql_ok();
}

/* ---- memory ---- */

static ql_err cuda_allocate(void *state, size_t bytes, void **memory) {
    ql_cuda *c = state;
    char     doing[64];
    snprintf(doing, sizeof doing, "taking %.0f MiB", (double)bytes / (1 << 20));
    ASK(cudaMalloc(memory, bytes ? bytes : 1), doing);
    return ql_cuda_verdict(cudaMemsetAsync(*memory, 0, bytes, c->work), "clearing memory");
}

static void cuda_release(void *state, void *memory, size_t bytes) {
    const ql_cuda *c = state;
    (void)bytes;
    (void)cudaStreamSynchronize(c->work);
    (void)cudaStreamSynchronize(c->transfer);
    (void)cudaFree(memory);
}

/* From pageable memory the runtime has taken its copy when the call returns. */
static ql_err cuda_upload(void *state, void *to, const void *from, size_t bytes) {
    ql_cuda *c = state;
    if (bytes == 0) return ql_ok();
    return ql_cuda_verdict(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, c->work), "copying to the GPU");
}

static ql_err cuda_download(void *state, void *to, const void *from, size_t bytes) {
    ql_cuda *c = state;
    if (bytes) ASK(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, c->work), "copying from the GPU");
    return ql_cuda_verdict(cudaStreamSynchronize(c->work), "waiting for the GPU");
}

static ql_err cuda_copy(void *state, void *to, const void *from, size_t bytes) {
    ql_cuda *c = state;
    if (bytes == 0) return ql_ok();
    return ql_cuda_verdict(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, c->work), "copying on the GPU");
}

static ql_err cuda_zero(void *state, void *memory, size_t bytes) {
    ql_cuda *c = state;
    if (bytes == 0) return ql_ok();
    return ql_cuda_verdict(cudaMemsetAsync(memory, 0, bytes, c->work), "clearing memory");
}

static ql_err cuda_sync(void *state) {
    ql_cuda *c = state;
    ASK(cudaStreamSynchronize(c->transfer), "waiting for transfers");
    return ql_cuda_verdict(cudaStreamSynchronize(c->work), "waiting for the GPU");
}

/* ---- what waits on the host ---- */

static ql_err cuda_host_allocate(void *state, size_t bytes, void **memory) {
    (void)state;
    cudaError_t e = cudaHostAlloc(memory, bytes ? bytes : 1, cudaHostAllocDefault);
    (void)cudaGetLastError();
    QL_CHECK(e == cudaSuccess, QL_TEMP,
             "device: cuda: %.0f MiB of page-locked host memory are not to be had (%s); free host memory, or raise max_memory "
             "so that less waits on the host",
             (double)bytes / (1 << 20), cudaGetErrorString(e));
    memset(*memory, 0, bytes);
    return ql_ok();
}

static void cuda_host_release(void *state, void *memory, size_t bytes) {
    const ql_cuda *c = state;
    (void)bytes;
    (void)cudaStreamSynchronize(c->transfer);
    (void)cudaFreeHost(memory);
}

static ql_err wait_for(ql_cuda *c, cudaStream_t waits, cudaStream_t other) {
    ASK(cudaEventRecord(c->order, other), "ordering streams");
    return ql_cuda_verdict(cudaStreamWaitEvent(waits, c->order, 0), "ordering streams");
}

static ql_err cuda_send(void *state, void *host, const void *from, size_t bytes) {
    ql_cuda *c = state;
    QL_TRY(wait_for(c, c->transfer, c->work));
    if (bytes == 0) return ql_ok();
    return ql_cuda_verdict(cudaMemcpyAsync(host, from, bytes, cudaMemcpyDeviceToHost, c->transfer), "sending to the host");
}

static ql_err cuda_fetch(void *state, void *to, const void *host, size_t bytes) {
    ql_cuda *c = state;
    QL_TRY(wait_for(c, c->transfer, c->work));
    if (bytes == 0) return ql_ok();
    return ql_cuda_verdict(cudaMemcpyAsync(to, host, bytes, cudaMemcpyHostToDevice, c->transfer), "fetching from the host");
}

static ql_err cuda_await_transfers(void *state) {
    ql_cuda *c = state;
    return wait_for(c, c->work, c->transfer);
}

/* ---- time ---- */

static ql_err cuda_mark(void *state, int mark) {
    ql_cuda *c = state;
    return ql_cuda_verdict(cudaEventRecord(c->mark[mark], c->work), "marking a time");
}

static ql_err cuda_seconds_between(void *state, int from, int to, double *seconds) {
    const ql_cuda *c = state;
    float          ms = 0;
    ASK(cudaEventElapsedTime(&ms, c->mark[from], c->mark[to]), "reading a time");
    *seconds = (double)ms * 1e-3;
    return ql_ok();
}

#define ENTRY(NAME) .NAME = ql_cuda_##NAME,
extern const ql_backend ql_backend_cuda;
const ql_backend        ql_backend_cuda = {.kind = "cuda",
                                           .memory = {.count = cuda_count,
                                                      .look = ql_cuda_look,
                                                      .library = cuda_library,
                                                      .open = cuda_open,
                                                      .close = cuda_close,
                                                      .describe = cuda_describe,
                                                      .workspace = cuda_workspace,
                                                      .prepare = cuda_prepare,
                                                      .allocate = cuda_allocate,
                                                      .release = cuda_release,
                                                      .upload = cuda_upload,
                                                      .download = cuda_download,
                                                      .copy = cuda_copy,
                                                      .zero = cuda_zero,
                                                      .sync = cuda_sync,
                                                      .host_allocate = cuda_host_allocate,
                                                      .host_release = cuda_host_release,
                                                      .send = cuda_send,
                                                      .fetch = cuda_fetch,
                                                      .await_transfers = cuda_await_transfers,
                                                      .mark = cuda_mark,
                                                      .seconds_between = cuda_seconds_between,
                                                      .range = ql_cuda_range},
                                           .ops = {QL_OPS(ENTRY)}};
