/* The most that multiplication and addition in fp32 can give on this machine: fused multiply-adds
 * that never leave the registers, with the instruction set that the CPU back end chooses (so
 * QLORA_CPU counts here, too). What a kernel reaches of it says how good the kernel is, whatever the
 * machine. Products of bf16 operands may pass it. */
#pragma once
#include <time.h>

/* GFLOP/s of `threads` threads at once, the best of a few tries of some milliseconds, by `clock`. */
double fma_peak(int threads, clockid_t clock);

/* Compiled once per instruction set (fma_loop.c). Returns FLOP done, 0 only if `rounds` is. */
typedef double fma_loop(long rounds);
fma_loop fma_loop_portable, fma_loop_avx2, fma_loop_avx512;
