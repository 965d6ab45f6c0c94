/* Qwen 3 (transformers models/qwen3): no biases by default, RMSNorm of each query and key head
 * before the rotation, head_dim of its own (128 where the file is silent). */
#include "worker/model/arch.h"
#include "worker/model/window.h"

static ql_err configure(const ql_json *json, ql_model_config *c) {
    c->qk_norm = true;
    c->qkv_bias = c->o_bias = ql_json_bool(ql_json_get(json, "attention_bias"), false);
    if (ql_json_is(ql_json_get(json, "head_dim"), QL_JSON_NULL) || !ql_json_get(json, "head_dim")) c->head_dim = 128;
    return ql_configure_qwen_window(json, c);
}

const ql_arch ql_arch_qwen3 = {"Qwen3ForCausalLM", "Qwen3", configure, ql_build_decoder};
