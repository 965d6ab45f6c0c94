/* Llama 1, 2 and 3 (transformers models/llama). */
#include "worker/model/arch.h"

static ql_err configure(const ql_json *json, ql_model_config *c) {
    c->qkv_bias = c->o_bias = ql_json_bool(ql_json_get(json, "attention_bias"), false);
    c->mlp_bias = ql_json_bool(ql_json_get(json, "mlp_bias"), false);
    return ql_ok();
}

const ql_arch ql_arch_llama = {"LlamaForCausalLM", "Llama", configure, ql_build_decoder};
