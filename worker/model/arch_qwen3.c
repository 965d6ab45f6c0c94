/* Qwen 3 (transformers models/qwen3): no biases by default, RMSNorm of each query and key head
 * before the rotation, head_dim of its own (128 where the file is silent). */
#include "worker/model/arch.h"
#include "worker/model/window.h"

static ql_err configure(const ql_json *json, ql_model_config *c) {
    c->qk_norm = true;
    QL_TRY(ql_config_bool(json, "attention_bias", false, &c->qkv_bias));
    c->o_bias = c->qkv_bias;
    if (!ql_json_get(json, "num_key_value_heads")) c->kv_heads = 32;
    if (ql_json_is(ql_json_get(json, "head_dim"), QL_JSON_NULL) || !ql_json_get(json, "head_dim")) c->head_dim = 128;
    return ql_configure_qwen_window(json, c);
}

const ql_arch ql_arch_qwen3 = {"Qwen3ForCausalLM", "Qwen3", configure, ql_build_decoder};
