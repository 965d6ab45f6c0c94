#include "tests/support/random_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/random.h"
#include "checkpoint/safetensors_writer.h"
#include "kernels/quant/quant.h"
#include "worker/model/arch.h"

void must(ql_err e) {
    if (!ql_bad(e)) return;
    fprintf(stderr, "unexpected failure: %s\n", ql_err_text());
    exit(1);
}

static const random_model known[] = {
    {"135m", 576, 30, 9, 3, 1536, 49152, true, 2048},       /* SmolLM-135M    */
    {"1.1b", 2048, 22, 32, 4, 5632, 32000, false, 2048},    /* TinyLlama-1.1B */
    {"7b", 4096, 32, 32, 32, 11008, 32000, false, 4096},    /* Llama-2-7B     */
    {"8b", 4096, 32, 32, 8, 14336, 128256, false, 131072},  /* Llama-3.1-8B   */
    {"70b", 8192, 80, 64, 8, 28672, 128256, false, 131072}, /* Llama-3.1-70B  */
    {"256k", 2048, 18, 8, 1, 16384, 256000, true, 8192},    /* as Gemma-2B    */
};

const random_model *random_model_named(const char *name) {
    for (size_t i = 0; i < QL_LEN(known); i++)
        if (!strcmp(name, known[i].name)) return &known[i];
    return NULL;
}

static void write_config(const random_model *s, const char *folder) {
    char  *path = ql_path_join(folder, "config.json");
    ql_str text = {0};
    ql_str_printf(&text,
                  "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", \"hidden_size\": %d, \"num_hidden_layers\": %d, "
                  "\"num_attention_heads\": %d, \"num_key_value_heads\": %d, \"intermediate_size\": %d, \"vocab_size\": %d, "
                  "\"max_position_embeddings\": %d, \"tie_word_embeddings\": %s}",
                  s->hidden, s->layers, s->heads, s->kv_heads, s->ffn, s->vocab, s->positions,
                  s->tied ? "true" : "false");
    must(ql_file_replace(path, text.data, text.size));
    ql_str_free(&text);
    free(path);
}

/* Eight weights from each random number: uniform in [-0.03, 0.03), in steps finer than bf16's. */
static void fill(uint16_t *x, int64_t n, uint32_t which, int threads) {
    enum { BLOCK = 8 };
    const float step = 0.06f / 65536;
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (int64_t block = 0; block < ql_ceil_div(n, BLOCK); block++) {
        ql_random4 r = ql_philox(7, (uint32_t)block, which, 0, 0);
        uint16_t   half[BLOCK];
        memcpy(half, &r, sizeof half);
        for (int64_t i = 0; i < ql_min(BLOCK, n - block * BLOCK); i++)
            x[block * BLOCK + i] = ql_f32_to_bf16(((float)half[i] - 32768) * step);
    }
}

static void fill_ones(uint16_t *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) x[i] = ql_f32_to_bf16(1);
}

/* Every slot of the graph as a random bf16 tensor. */
static void write_weights(const ql_graph *g, const char *folder, int threads) {
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
        if (s->kind == QL_SLOT_NORM)
            fill_ones(x, s->rows * s->cols);
        else
            fill(x, s->rows * s->cols, (uint32_t)i, threads);
        must(ql_tensor_writer_put(w, s->name, x, (size_t)(s->rows * s->cols) * 2));
        free(x);
    }
    must(ql_tensor_writer_finish(w));
    free(plan);
    free(path);
}

static ql_graph graph_of(const random_model *m, const char *folder) {
    ql_model_config config;
    ql_graph        graph = {0};
    write_config(m, folder);
    must(ql_model_config_read(folder, &config));
    config.arch->build(&config, &graph);
    ql_model_config_free(&config);
    return graph;
}

void random_model_write(const random_model *m, const char *folder, int threads) {
    ql_graph graph = graph_of(m, folder);
    write_weights(&graph, folder, threads);
    ql_graph_free(&graph);
}

static void put_header(const ql_graph *g, ql_str *header, uint64_t *bytes) {
    for (size_t i = 0; i < g->slots; i++) {
        const ql_slot *s = &g->slot[i];
        if (s->optional) continue;
        uint64_t end = *bytes + (uint64_t)(s->rows * s->cols) * 2;
        ql_str_printf(header, "%s\"%s\": {\"dtype\": \"BF16\", \"shape\": [", *bytes ? ", " : "{", s->name);
        if (s->kind != QL_SLOT_NORM) ql_str_printf(header, "%lld, ", (long long)s->rows);
        ql_str_printf(header, "%lld], \"data_offsets\": [%llu, %llu]}", (long long)s->cols, (unsigned long long)*bytes,
                      (unsigned long long)end);
        *bytes = end;
    }
    ql_str_puts(header, "}");
}

void random_model_outline(const random_model *m, const char *folder) {
    ql_graph graph = graph_of(m, folder);
    ql_str   header = {0};
    uint64_t bytes = 0;
    put_header(&graph, &header, &bytes);
    char    *path = ql_path_join(folder, "model.safetensors");
    FILE    *f = fopen(path, "w");
    uint64_t size = header.size;
    bool     good = f && fwrite(&size, sizeof size, 1, f) == 1 && fwrite(header.data, 1, size, f) == size && fflush(f) == 0 &&
                ftruncate(fileno(f), (off_t)(sizeof size + size + bytes)) == 0;
    if (!good) must(ql_fail_errno("%s", path));
    fclose(f);
    free(path);
    ql_str_free(&header);
    ql_graph_free(&graph);
}
