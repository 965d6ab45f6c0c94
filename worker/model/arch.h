/* Architectures: one file and one row each.
 *
 * A row says under which name Hugging Face knows the architecture, how its config.json differs
 * from what all decoders share, and builds the graph with the names of its tensors. */
#pragma once
#include "worker/graph/graph.h"
#include "worker/model/config.h"

struct ql_arch {
    const char *hf_class; /* "LlamaForCausalLM": an entry of config.json "architectures" */
    const char *title;    /* "Llama", for people                                          */
    /* Reads the keys in which the family differs; the shared ones are there already. */
    ql_err (*configure)(const ql_json *json, ql_model_config *c);
    void (*build)(const ql_model_config *c, ql_graph *g);
};

const ql_arch *ql_arch_find(const char *hf_class); /* NULL: not supported */
void           ql_arch_names(ql_str *out);         /* "LlamaForCausalLM, ..." */

/* The decoder that Llama, Mistral and Qwen share: pre-norm attention with rotary embedding and
 * grouped heads, then a gated MLP; biases, q/k norms and windows as the configuration says. */
void ql_build_decoder(const ql_model_config *c, ql_graph *g);
