/* Mistral (transformers models/mistral): Llama with a sliding window in every layer. The key
 * absent means 4096; null, as v0.2 and later have it, means none. Key heads absent: 8. */
#include "worker/model/arch.h"

static ql_err configure(const ql_json *json, ql_model_config *c) {
    if (!ql_json_get(json, "num_key_value_heads")) c->kv_heads = 8;
    const ql_json *window = ql_json_get(json, "sliding_window");
    if (window && !ql_json_is(window, QL_JSON_NULL))
        QL_TRY(ql_config_int(json, "sliding_window", -1, 1, INT32_MAX, &c->sliding_window));
    else
        c->sliding_window = window ? 0 : 4096;
    for (int64_t i = 0; i < c->layers; i++) c->layer_is_windowed[i] = c->sliding_window > 0;
    return ql_ok();
}

const ql_arch ql_arch_mistral = {"MistralForCausalLM", "Mistral", configure, ql_build_decoder};
