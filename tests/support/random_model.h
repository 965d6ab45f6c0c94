/* Model folders of any size with random bf16 weights, written tensor by tensor. For tests and
 * benchmarks; a failure ends the program with its sentence. */
#pragma once
#include "base/err.h"

typedef struct {
    const char *name;
    int         hidden, layers, heads, kv_heads, ffn, vocab;
    bool        tied;
    int         positions; /* that it was made for */
} random_model;

/* "135m" (SmolLM-135M), "1.1b" (TinyLlama-1.1B), "7b" (Llama-2-7B), "8b" and "70b" (Llama-3.1) and "256k" (the vocabulary of
 * Gemma); others are NULL. */
const random_model *random_model_named(const char *name);
/* config.json and model.safetensors (Llama) into an existing folder. With one thread the caller may fork
 * afterwards: OpenMP's threads do not follow. */
void random_model_write(const random_model *m, const char *folder, int threads);
/* The same with a hole for its weights: enough for plans, and no room taken on the disk. */
void random_model_outline(const random_model *m, const char *folder);
void must(ql_err e);
