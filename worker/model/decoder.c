#include <math.h>
#include <stdio.h>

#include "worker/model/arch.h"

typedef struct {
    const ql_model_config *config;
    ql_graph              *graph;
    int64_t                layer;
} builder;

typedef struct {
    char text[160];
} module_name;

static module_name in_layer(const builder *b, const char *part) {
    module_name m;
    snprintf(m.text, sizeof m.text, "model.layers.%lld.%s", (long long)b->layer, part);
    return m;
}

static ql_value linear(builder *b, ql_value x, const char *part, int64_t out, bool bias) {
    return ql_graph_linear(b->graph, x, in_layer(b, part).text, out, bias);
}

static ql_value norm(builder *b, ql_value x, const char *part, int64_t width) {
    return ql_graph_rmsnorm(b->graph, x, in_layer(b, part).text, width, b->config->rms_norm_eps);
}

static ql_value attention(builder *b, ql_value x) {
    const ql_model_config *c = b->config;
    ql_value               q = linear(b, x, "self_attn.q_proj", c->heads * c->head_dim, c->qkv_bias);
    ql_value               k = linear(b, x, "self_attn.k_proj", c->kv_heads * c->head_dim, c->qkv_bias);
    ql_value               v = linear(b, x, "self_attn.v_proj", c->kv_heads * c->head_dim, c->qkv_bias);
    if (c->qk_norm) {
        q = norm(b, q, "self_attn.q_norm", c->head_dim);
        k = norm(b, k, "self_attn.k_norm", c->head_dim);
    }
    q = ql_graph_rope(b->graph, q, c->head_dim);
    k = ql_graph_rope(b->graph, k, c->head_dim);
    int64_t  window = c->layer_is_windowed[b->layer] ? c->sliding_window : 0;
    float    scale = 1.0f / sqrtf((float)c->head_dim);
    ql_value o = ql_graph_attention(b->graph, q, k, v, c->heads, c->kv_heads, window, scale);
    return linear(b, o, "self_attn.o_proj", c->hidden_size, c->o_bias);
}

static ql_value mlp(builder *b, ql_value x) {
    const ql_model_config *c = b->config;
    ql_value               gate = linear(b, x, "mlp.gate_proj", c->intermediate_size, c->mlp_bias);
    ql_value               up = linear(b, x, "mlp.up_proj", c->intermediate_size, c->mlp_bias);
    return linear(b, ql_graph_swiglu(b->graph, gate, up), "mlp.down_proj", c->hidden_size, c->mlp_bias);
}

void ql_build_decoder(const ql_model_config *c, ql_graph *g) {
    builder  b = {c, g, 0};
    ql_value x = ql_graph_embed(g, "model.embed_tokens", c->vocab_size, c->hidden_size);
    for (b.layer = 0; b.layer < c->layers; b.layer++) {
        ql_graph_next_layer(g);
        x = ql_graph_add(g, x, attention(&b, norm(&b, x, "input_layernorm", c->hidden_size)));
        x = ql_graph_add(g, x, mlp(&b, norm(&b, x, "post_attention_layernorm", c->hidden_size)));
    }
    ql_graph_next_layer(g);
    x = ql_graph_rmsnorm(g, x, "model.norm", c->hidden_size, c->rms_norm_eps);
    ql_graph_head(g, x, "lm_head", c->vocab_size, c->tie_word_embeddings);
}
