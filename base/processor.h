/* The instruction sets that inner loops are compiled for, and which of them is used here. */
#pragma once
#include "base/err.h"

/* Ascending: a processor that has one has those before it. The last two only add instructions for
 * matrix products of bf16 numbers; their vectors are those of QL_AVX512. */
typedef enum { QL_PORTABLE, QL_AVX2, QL_AVX512, QL_AVX512_BF16, QL_AMX, QL_INSTRUCTION_SETS } ql_instructions;
enum { QL_VECTOR_SETS = QL_AVX512 + 1 };
static inline ql_instructions ql_vectors_of(ql_instructions s) {
    return s > QL_AVX512 ? QL_AVX512 : s;
}

const char *ql_instructions_name(ql_instructions s); /* "portable", "avx2", "avx512", "avx512_bf16", "amx" */
bool        ql_processor_has(ql_instructions s);
/* The best that this processor has, or what the environment's QLORA_CPU asks for. QL_USAGE when
 * that is unknown or not there. */
QL_RESULT ql_processor_choose(ql_instructions *out);
