/* The adapters' products without matrix instructions, for any shape and type: 32 x 32 results a block, four a thread,
 * each one chain of fused multiply-adds in ascending order. What runs in f32, and what the others are compared with. */
#include "kernels/cuda/adapter.h"

enum { SIDE = 32, THREADS = 256, DOWN = THREADS / SIDE, EACH = SIDE / DOWN };

/* Operands of 32 steps: [row][step] and [step][column]. */
struct operands {
    float left[SIDE][SIDE + 1], right[SIDE][SIDE + 1];
};

/* A thread's results are those of one column and of rows y, y + DOWN, ... */
static __device__ __forceinline__ void multiply_steps(float sum[EACH], const operands &o, int x, int y) {
    for (int k = 0; k < SIDE; k++)
#pragma unroll
        for (int i = 0; i < EACH; i++) sum[i] = fmaf(o.left[y + i * DOWN][k], o.right[k][x], sum[i]);
}

/* x of a token as it is multiplied. */
template <typename T>
static __device__ __forceinline__ float dropped(const dropout &d, bool drops, int64_t token, int64_t cols, int64_t c,
                                                float x) {
    if (!drops) return x;
    return to_float(from_float<T>(drop_one(d, drop_row_of(d, token), token, cols, c, x)));
}

template <typename T>
static __global__ void __launch_bounds__(THREADS) plain(product<T> p, unsigned across) {
    __shared__ operands shared;
    const int           x = static_cast<int>(threadIdx.x % SIDE), y = static_cast<int>(threadIdx.x / SIDE);
    const int64_t       token = static_cast<int64_t>(blockIdx.x / across) * SIDE;
    const int64_t       col = static_cast<int64_t>(blockIdx.x % across) * SIDE;
    float               sum[EACH] = {};
    for (int64_t k = 0; k < p.depth; k += SIDE) {
        __syncthreads();
        for (int i = y; i < SIDE; i += DOWN) {
            bool is_x = token + i < p.tokens && k + x < p.depth, is_w = k + i < p.depth && col + x < p.cols;
            shared.left[i][x] = is_x ? dropped<T>(p.drop, p.drops_x, token + i, p.depth, k + x,
                                                  to_float(p.x[(token + i) * p.depth + k + x])) : 0.0f;
            float w = is_w ? p.w[(k + i) * p.depth_stride + (col + x) * p.col_stride] : 0.0f;
            shared.right[i][x] = to_float(from_float<T>(w));
        }
        __syncthreads();
        multiply_steps(sum, shared, x, y);
    }
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        int64_t t = token + y + i * DOWN, c = col + x;
        if (t >= p.tokens || c >= p.cols) continue;
        float value = p.alpha * sum[i];
        if (p.drops_y) value = drop_one(p.drop, drop_row_of(p.drop, t), t, p.cols, c, value);
        T *to = p.y + t * p.cols + c;
        *to = from_float<T>(p.accumulate ? to_float(*to) + value : value);
    }
}

/* Rows of the block are columns of dy, its columns those of x. */
static __global__ void __launch_bounds__(THREADS) plain_grad(ql_k_adapter_grad g, dropout drop, float row_limit,
                                                             unsigned across, unsigned tiles) {
    __shared__ operands shared;
    const int           x = static_cast<int>(threadIdx.x % SIDE), y = static_cast<int>(threadIdx.x / SIDE);
    const piece         tokens = piece_of(g.row_start, g.rows, blockIdx.x / tiles);
    const int64_t       out = static_cast<int64_t>(blockIdx.x % tiles / across) * SIDE;
    const int64_t       in = static_cast<int64_t>(blockIdx.x % across) * SIDE;
    float               sum[EACH] = {};
    if (tokens.begin >= tokens.end) return;
    for (int64_t t = tokens.begin; t < tokens.end; t += SIDE) {
        __syncthreads();
        for (int i = y; i < SIDE; i += DOWN) {
            bool is_dy = t + i < tokens.end && out + x < g.outs, is_x = t + i < tokens.end && in + x < g.ins;
            shared.left[x][i] = is_dy ? static_cast<const float *>(g.dy)[(t + i) * g.outs + out + x] : 0.0f;
            shared.right[i][x] = is_x ? dropped<float>(drop, g.drop_x != nullptr, t + i, g.ins, in + x,
                                                   static_cast<const float *>(g.x)[(t + i) * g.ins + in + x]) : 0.0f;
        }
        __syncthreads();
        multiply_steps(sum, shared, x, y);
    }
    const float scale = scale_of(g.shift), limit = limit_of_piece(tokens, row_limit);
    int         flaws = 0;
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        int64_t o = out + y + i * DOWN;
        if (o < g.outs && in + x < g.ins) flaws |= add_fixed(g.sum + o * g.ins + in + x, sum[i], scale, limit);
    }
    if (flaws) atomicOr(g.flaws, flaws);
}

template <typename T>
static cudaError_t launch(const ql_k_adapter &p, cudaStream_t stream) {
    unsigned across = blocks_for(p.cols, SIDE);
    return QL_LAUNCH((plain<T>), blocks_for(p.tokens, SIDE) * across, THREADS, 0, stream, product_of<T>(p), across);
}

cudaError_t ql_k_adapter_plain(const ql_k_adapter *p, cudaStream_t stream) {
    if (p->tokens == 0 || p->cols == 0) return cudaSuccess;
    if (p->type == QL_K_F32) return launch<float>(*p, stream);
    return p->type == QL_K_BF16 ? launch<__nv_bfloat16>(*p, stream) : launch<__half>(*p, stream);
}

cudaError_t ql_k_adapter_grad_plain(const ql_k_adapter_grad *g, cudaStream_t stream) {
    if (g->tokens == 0 || g->outs == 0 || g->ins == 0) return cudaSuccess;
    unsigned across = blocks_for(g->ins, SIDE), tiles = across * blocks_for(g->outs, SIDE);
    unsigned blocks = static_cast<unsigned>(slots_for(g->tokens, g->rows)) * tiles;
    return QL_LAUNCH(plain_grad, blocks, THREADS, 0, stream, *g, dropout_of(g->drop_x), limit_of(*g), across, tiles);
}
