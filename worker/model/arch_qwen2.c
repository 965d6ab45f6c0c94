/* Qwen 2 and 2.5 (transformers models/qwen2): biases on q, k and v. */
#include "worker/model/arch.h"
#include "worker/model/window.h"

static ql_err configure(const ql_json *json, ql_model_config *c) {
    c->qkv_bias = true;
    if (!ql_json_get(json, "num_key_value_heads")) c->kv_heads = 32;
    return ql_configure_qwen_window(json, c);
}

const ql_arch ql_arch_qwen2 = {"Qwen2ForCausalLM", "Qwen2", configure, ql_build_decoder};
