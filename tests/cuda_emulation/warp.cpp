#include "tests/cuda_emulation/block.h"
#include "tests/cuda_emulation/shared_memory.h"
#include "tests/cuda_emulation/source_line.h"
#include <string.h>

namespace emulation {

static constexpr unsigned all_lanes = 0xffffffffu;

int lane() {
    return running % warp_threads;
}

void require_full(unsigned mask, place at) {
    if (mask != all_lanes) fail_at(at, "a warp operation with the mask %08x: it is not full", mask);
}

static void join(warp &w, warp_work *work, place at) {
    if (w.exist != all_lanes) fail_at(at, "a warp operation in a warp that lacks lanes (there are %08x)", w.exist);
    for (int i = 0; i < warp_threads; i++)
        if (block.threads[running / warp_threads * warp_threads + i].is == state::left)
            fail_at(at, "a warp operation that not all lanes reach: lane %d left the kernel", i);
    w.work = work;
    w.at = at;
}
void warp_operation(warp_work *work, void *operand, place at) {
    int mine = lane(), first = running - mine;
    warp &w = block.warps[running / warp_threads];
    if (!w.arrived)
        join(w, work, at);
    else if (w.work != work || !same_line(w.at, at))
        fail_at(at, "a warp operation that not all lanes reach: others wait in %s", source_line(site_of(w.at)).c_str());
    w.operand[mine] = operand;
    w.arrived |= 1u << mine;
    if (w.arrived != all_lanes) {
        wait_as(state::at_warp_operation, at);
        return;
    }
    work(w.operand);
    w.arrived = 0;
    wake_warp(first);
}

static void pass(void *const[warp_threads]) {
    block.warps[running / warp_threads].barriers++;
}
void warp_barrier(unsigned mask, place at) {
    require_full(mask, at);
    warp_operation(pass, nullptr, at);
}

void exchange(void *const operand[warp_threads]) {
    for (int i = 0; i < warp_threads; i++) {
        shuffle *to = static_cast<shuffle *>(operand[i]);
        to->received = static_cast<const shuffle *>(operand[to->source & (warp_threads - 1)])->given;
    }
}
void collect_votes(void *const operand[warp_threads]) {
    unsigned votes = 0;
    for (int i = 0; i < warp_threads; i++)
        votes |= static_cast<unsigned>(static_cast<const ballot *>(operand[i])->given) << i;
    for (int i = 0; i < warp_threads; i++) static_cast<ballot *>(operand[i])->received = votes;
}

/* ---- matrices ---- */

/* Copies are noted for the lane that names the row; ldmatrix orders no other lane's writes. */
void check_matrix_row(const void *row, place at) {
    if (reinterpret_cast<uintptr_t>(row) % 16)
        fail_at(at, "a row of a matrix at %p, which is not a multiple of 16", row);
    if (!is_shared(row, 16)) fail_at(at, "a row of a matrix at %p, which is not shared memory", row);
    note(access::read, row, 16, at);
}

/* Element (r, c) of matrix i. */
static uint32_t element(void *const operand[warp_threads], int i, int r, int c) {
    uint16_t value;
    const void *row = static_cast<const matrix_load *>(operand[8 * i + r])->row;
    memcpy(&value, static_cast<const char *>(row) + 2 * c, sizeof value);
    return value;
}
void distribute_matrices(void *const operand[warp_threads]) {
    for (int l = 0; l < warp_threads; l++)
        for (int i = 0; i < 4; i++) {
            int r = l / 4, c = 2 * (l % 4);
            static_cast<matrix_load *>(operand[l])->registers[i] =
                element(operand, i, r, c) | element(operand, i, r, c + 1) << 16;
        }
}
void distribute_matrices_transposed(void *const operand[warp_threads]) {
    for (int l = 0; l < warp_threads; l++)
        for (int i = 0; i < 4; i++) {
            int r = 2 * (l % 4), c = l / 4;
            static_cast<matrix_load *>(operand[l])->registers[i] =
                element(operand, i, r, c) | element(operand, i, r + 1, c) << 16;
        }
}

template <typename T> static float value_of(uint32_t two, int half) {
    T x;
    x.__x = static_cast<unsigned short>(two >> 16 * half);
    return x;
}
/* d[16 x 8] += a[16 x 16] b[16 x 8]; where each lane's registers belong is said in language.h. */
template <typename T> static void multiply(void *const operand[warp_threads]) {
    float a[16][16], b[16][8], d[16][8];
    for (int l = 0; l < warp_threads; l++) {
        const matrix_product &p = *static_cast<const matrix_product *>(operand[l]);
        int g = l / 4, t = l % 4;
        for (int half = 0; half < 2; half++) {
            for (int i = 0; i < 4; i++) a[g + 8 * (i % 2)][2 * t + 8 * (i / 2) + half] = value_of<T>(p.a[i], half);
            for (int i = 0; i < 2; i++) b[2 * t + 8 * i + half][g] = value_of<T>(p.b[i], half);
            for (int i = 0; i < 2; i++) d[g + 8 * i][2 * t + half] = p.d[2 * i + half];
        }
    }
    for (int i = 0; i < 16; i++)
        for (int k = 0; k < 16; k++)
            for (int j = 0; j < 8; j++) d[i][j] += a[i][k] * b[k][j];
    for (int l = 0; l < warp_threads; l++) {
        float *to = static_cast<const matrix_product *>(operand[l])->d;
        int g = l / 4, t = l % 4;
        for (int i = 0; i < 4; i++) to[i] = d[g + 8 * (i / 2)][2 * t + i % 2];
    }
}
void multiply_bf16(void *const operand[warp_threads]) {
    if (block.capability < 80)
        fail_at(block.warps[running / warp_threads].at,
                "a product of bf16, which a device of capability %d does not have", block.capability);
    multiply<__nv_bfloat16>(operand);
}
void multiply_f16(void *const operand[warp_threads]) {
    multiply<__half>(operand);
}

} // namespace emulation
