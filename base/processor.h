/* The instruction sets that inner loops are compiled for, and which of them is used here. */
#pragma once
#include "base/err.h"

/* Ascending: a processor that has one has those before it. */
typedef enum { QL_PORTABLE, QL_AVX2, QL_AVX512, QL_INSTRUCTION_SETS } ql_instructions;

const char *ql_instructions_name(ql_instructions s); /* "portable", "avx2", "avx512" */
bool        ql_processor_has(ql_instructions s);
/* The best that this processor has, or what the environment's QLORA_CPU asks for. QL_USAGE when
 * that is unknown or not there. */
QL_RESULT ql_processor_choose(ql_instructions *out);
