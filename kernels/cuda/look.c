/* What a GPU is, without a context on it. */
#include <stdio.h>

#include "kernels/cuda/cuda.h"

#define ASK(CALL, DOING) QL_TRY(ql_cuda_verdict((CALL), (DOING)))

/* As nvidia-smi and CUDA_VISIBLE_DEVICES write it. */
static void write_id(const struct cudaDeviceProp *p, char id[48]) {
    const unsigned char *b = (const unsigned char *)p->uuid.bytes;
    snprintf(id, 48, "GPU-%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2], b[3], b[4],
             b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

static void write_versions(char text[96]) {
    int    driver = 0, runtime = 0;
    size_t lt = cublasLtGetVersion();
    (void)cudaDriverGetVersion(&driver);
    (void)cudaRuntimeGetVersion(&runtime);
    snprintf(text, 96, "driver for CUDA %d.%d, runtime %d.%d, cuBLASLt %zu", driver / 1000, driver % 1000 / 10,
             runtime / 1000, runtime % 1000 / 10, lt);
}

static ql_err find_peers(int ordinal, uint64_t *peers) {
    int n = 0;
    ASK(cudaGetDeviceCount(&n), "counting GPUs");
    for (int other = 0; other < n && other < 64; other++) {
        int can = 0;
        if (other != ordinal) ASK(cudaDeviceCanAccessPeer(&can, ordinal, other), "asking which GPUs reach each other");
        *peers |= (uint64_t)(can != 0) << other;
    }
    return ql_ok();
}

ql_err ql_cuda_look(int ordinal, ql_device_info *out) {
    struct cudaDeviceProp p;
    ASK(cudaGetDeviceProperties(&p, ordinal), "asking for its properties");
    *out = (ql_device_info){.bytes_total = p.totalGlobalMem, .capability = p.major * 10 + p.minor};
    snprintf(out->name, sizeof out->name, "%.120s", p.name);
    write_id(&p, out->id);
    write_versions(out->driver);
    return find_peers(ordinal, &out->peers);
}
