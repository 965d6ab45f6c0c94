/* Tables of cos and sin for rotary embedding: [positions, head_dim / 2], f32, with the scaling
 * that config.json asks for (transformers modeling_rope_utils.py) and, for yarn, the attention
 * factor folded in. Host memory; the caller frees both. */
#pragma once
#include "worker/model/config.h"

void ql_rope_tables(const ql_rope_config *c, int64_t head_dim, int64_t positions, float **cos_table, float **sin_table);
