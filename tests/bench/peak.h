/* The fastest rate of fused multiply-adds, as a measure for kernels. */
#pragma once
#include <stdint.h>

/* Runs `rounds` rounds and returns how many operations they were; reads and writes *result. */
double bench_peak_portable(int64_t rounds, float *result);
double bench_peak_avx2(int64_t rounds, float *result);
double bench_peak_avx512(int64_t rounds, float *result);
