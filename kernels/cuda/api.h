/* What the .cu files export: functions that queue one kernel, or a few, on a stream. Shared by C17 host
 * code and CUDA C++. Pointers are device addresses, matrices dense and row-major unless a stride is given;
 * `type` and the like are a ql_dtype. They return what the launch returned. Launching nothing because
 * there is nothing to do is a success. */
#pragma once
#include <cuda_runtime_api.h>
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ql_dtype, for files that cannot include device.h; product.c proves them equal. */
enum { QL_K_F32, QL_K_BF16, QL_K_F16 };

/* Dropout, as ql_drop of ops.h with addresses; `rows` packed rows, row_start[rows + 1]. NULL: none. */
typedef struct {
    const int32_t *row_start, *row_id;
    int32_t        rows;
    uint64_t       key;
    uint32_t       step, site;
    float          p;
} ql_k_drop;

/* ---- decode.cu ---- */

/* ---- rows.cu ---- */

/* ---- flat.cu ---- */

/* ---- softmax.cu ---- */

/* ---- adapter.cu ---- */

/* ---- attention.cu ---- */

#ifdef __cplusplus
}
#endif
