/* Llama 1, 2 and 3 (transformers models/llama). */
#include "worker/model/arch.h"

static ql_err configure(const ql_json *json, ql_model_config *c) {
    QL_TRY(ql_config_bool(json, "attention_bias", false, &c->qkv_bias));
    c->o_bias = c->qkv_bias;
    return ql_config_bool(json, "mlp_bias", false, &c->mlp_bias);
}

const ql_arch ql_arch_llama = {"LlamaForCausalLM", "Llama", configure, ql_build_decoder};
