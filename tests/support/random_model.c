#include "tests/support/random_model.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/random.h"
#include "checkpoint/safetensors_writer.h"
#include "kernels/quant/quant.h"
#include "worker/model/arch.h"

void must(ql_err e) {
    if (!ql_bad(e)) return;
    fprintf(stderr, "unexpected failure: %s\n", ql_err_text());
    exit(1);
}

static void write_config(const random_model *s, const char *folder) {
    char  *path = ql_path_join(folder, "config.json");
    ql_str text = {0};
    ql_str_printf(&text,
                  "{\"architectures\": [\"LlamaForCausalLM\"], \"hidden_size\": %d, \"num_hidden_layers\": %d, "
                  "\"num_attention_heads\": %d, \"num_key_value_heads\": %d, \"intermediate_size\": %d, \"vocab_size\": %d, "
                  "\"max_position_embeddings\": 2048, \"tie_word_embeddings\": %s}",
                  s->hidden, s->layers, s->heads, s->kv_heads, s->ffn, s->vocab, s->tied ? "true" : "false");
    must(ql_file_replace(path, text.data, text.size));
    ql_str_free(&text);
    free(path);
}

static void fill(uint16_t *x, int64_t n, uint32_t which, bool is_norm) {
    for (int64_t i = 0; i < n; i++) {
        ql_random4 r = ql_philox(7, (uint32_t)i, which, 0, 0);
        x[i] = ql_f32_to_bf16(is_norm ? 1 : (ql_uniform(r.word[0]) - 0.5f) * 0.06f);
    }
}

/* Every slot of the graph as a random bf16 tensor. */
static void write_weights(const ql_graph *g, const char *folder) {
    ql_tensor_plan *plan = QL_NEW_ARRAY(ql_tensor_plan, g->slots);
    size_t          n = 0;
    for (size_t i = 0; i < g->slots; i++) {
        const ql_slot *s = &g->slot[i];
        if (s->optional) continue;
        bool vector = s->kind == QL_SLOT_NORM;
        plan[n++] = (ql_tensor_plan){s->name, "BF16", vector ? 1 : 2, {vector ? s->cols : s->rows, s->cols}};
    }
    char             *path = ql_path_join(folder, "model.safetensors");
    ql_tensor_writer *w;
    must(ql_tensor_writer_open(path, plan, n, &w));
    for (size_t i = 0; i < g->slots; i++) {
        const ql_slot *s = &g->slot[i];
        if (s->optional) continue;
        uint16_t *x = QL_NEW_ARRAY(uint16_t, (size_t)(s->rows * s->cols));
        fill(x, s->rows * s->cols, (uint32_t)i, s->kind == QL_SLOT_NORM);
        must(ql_tensor_writer_put(w, s->name, x, (size_t)(s->rows * s->cols) * 2));
        free(x);
    }
    must(ql_tensor_writer_finish(w));
    free(plan);
    free(path);
}

void random_model_write(const random_model *m, const char *folder) {
    ql_model_config config;
    ql_graph        graph = {0};
    write_config(m, folder);
    must(ql_model_config_read(folder, &config));
    config.arch->build(&config, &graph);
    write_weights(&graph, folder);
    ql_graph_free(&graph);
    ql_model_config_free(&config);
}
