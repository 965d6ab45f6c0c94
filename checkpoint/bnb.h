/* 4-bit weights as bitsandbytes stores them: beside the packed "W" (u8 [(n+1)/2, 1]) lie W.absmax,
 * W.quant_map, with double quantisation W.nested_absmax and W.nested_quant_map, and the JSON text
 * W.quant_state.bitsandbytes__nf4 (or __fp4). */
#pragma once
#include "base/mem.h"
#include "checkpoint/safetensors_writer.h"
#include "kernels/quant/quant.h"

typedef struct {
    const ql_quant *quant;
    int64_t         out, in;
    ql_dtype        source; /* what the weight was before it was quantised */
    ql_quant_view   view;   /* borrowed from the set but for what `owned` holds */
    void           *owned[4];
} ql_bnb_weight;

/* Whether anything of the set makes this weight a quantised one. */
bool ql_bnb_is_quantised(const ql_tensor_set *s, const char *weight_name);
/* Reads and checks everything that belongs to "model.layers.0.self_attn.q_proj.weight". QL_DATA
 * with file and tensor. The view's `packed` may be unaligned; its numbers are aligned and finite. */
QL_RESULT ql_bnb_read(const ql_tensor_set *s, const char *weight_name, ql_bnb_weight *out);
void      ql_bnb_weight_free(ql_bnb_weight *w);
/* Says that the packed bytes were used and their pages may go. */
void ql_bnb_release(const ql_tensor_set *s, const char *weight_name);

/* ---- writing: ql_quantize and ql_quantize_absmax make the numbers, these the names ------- */

typedef struct {
    const char     *weight_name;
    const ql_quant *quant;
    int64_t         out, in;
    ql_dtype        source; /* f32, bf16, f16 */
    bool            nested;
    float           nested_offset;
} ql_bnb_form;

size_t ql_bnb_blocks(const ql_bnb_form *f);        /* of 64 elements          */
size_t ql_bnb_nested_blocks(const ql_bnb_form *f); /* of 256 of those; 0 if not nested */
const char *ql_bnb_source_name(ql_dtype source);    /* "float32", "bfloat16", "float16" */
/* The JSON text, byte for byte as bitsandbytes writes it. */
void ql_bnb_put_state(ql_str *out, const ql_bnb_form *f);

enum { QL_BNB_PACKED, QL_BNB_ABSMAX, QL_BNB_QUANT_MAP, QL_BNB_STATE, QL_BNB_NESTED_ABSMAX, QL_BNB_NESTED_MAP, QL_BNB_PARTS };
/* Fills plan[QL_BNB_...]: 4 tensors, or 6 when nested; returns how many. The names are the
 * caller's to free. */
size_t ql_bnb_plan(const ql_bnb_form *f, ql_tensor_plan plan[QL_BNB_PARTS]);
