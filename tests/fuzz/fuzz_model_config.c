/* Mutants of config.json, generation_config.json and model.safetensors.index.json of the golden
 * models. What is accepted is built to the end: graph, adapter, plans, rotary tables, all within
 * bounded memory. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/file.h"
#include "tests/fuzz/common.h"
#include "worker/memory.h"
#include "worker/model/model.h"
#include "worker/model/rope.h"

enum { MOST_RSS = 1 << 20 /* KiB, sanitizers included */, POSITIONS = 16 };

static const char *const models[] = {
    "llama3-rope", "llama-linear-bias", "llama-tied-shards", "mistral-window", "qwen2-window", "qwen3", "qwen3-4bit"};
static const char GENERATION[] = "{\"bos_token_id\": 1, \"eos_token_id\": [2, 7], \"do_sample\": true}";

/* A seed begins with a line "MODEL FILE": which file of which folder the rest replaces. */
typedef struct {
    char model[64], file[64];
    const uint8_t *bytes;
    size_t n;
} subject;

static bool split(const uint8_t *bytes, size_t n, subject *out) {
    const uint8_t *end = memchr(bytes, '\n', n);
    char head[128];
    if (!end || (size_t)(end - bytes) >= sizeof head) return false;
    memcpy(head, bytes, (size_t)(end - bytes));
    head[end - bytes] = 0;
    out->bytes = end + 1;
    out->n = n - (size_t)(end + 1 - bytes);
    return sscanf(head, "%63s %63s", out->model, out->file) == 2;
}

static const char *known_model(const char *name) {
    for (size_t i = 0; i < QL_LEN(models); i++)
        if (!strcmp(models[i], name)) return models[i];
    return NULL;
}

static bool is_known_file(const char *name) {
    return !strcmp(name, "config.json") || !strcmp(name, "generation_config.json") ||
           !strcmp(name, "model.safetensors.index.json");
}

/* A copy of a golden file, made when it is first asked for. NULL: there is none. (Symbolic links to shards are refused, and
 * hard ones stay on one disk.) */
static char *copy_of(const char *model, const char *file) {
    char *from = ql_format("%s/models/%s/%s", QL_TEST_DATA, model, file), *folder = ql_format("%s/golden/%s", ql_fuzz_folder(), model);
    char *to = ql_file_exists(from) ? ql_path_join(folder, file) : NULL;
    ql_str bytes = {0};
    if (to && !ql_file_exists(to)) {
        bool good = !ql_bad(ql_dir_make(folder)) && !ql_bad(ql_file_read(from, SIZE_MAX, &bytes)) &&
                    !ql_bad(ql_file_replace(to, bytes.data, bytes.size));
        if (!good) abort();
    }
    ql_str_free(&bytes);
    free(folder);
    free(from);
    return to;
}

/* The golden folder by links, but for the one file. */
static const char *folder_of(const subject *s) {
    static const char *const files[] = {"config.json",
                                        "generation_config.json",
                                        "model.safetensors.index.json",
                                        "model.safetensors",
                                        "model-00001-of-00004.safetensors",
                                        "model-00002-of-00004.safetensors",
                                        "model-00003-of-00004.safetensors",
                                        "model-00004-of-00004.safetensors"};
    for (size_t i = 0; i < QL_LEN(files); i++) {
        char *place = ql_path_join(ql_fuzz_folder(), files[i]), *copy = copy_of(s->model, files[i]);
        unlink(place);
        if (strcmp(files[i], s->file) && copy && link(copy, place) != 0) abort();
        free(place);
        free(copy);
    }
    ql_fuzz_file(s->file, s->bytes, s->n);
    return ql_fuzz_folder();
}

static void plan_memory(ql_model *m, const ql_adapter_shape *shape, const char *device, uint64_t limit) {
    ql_memory_plan plan;
    ql_memory_question q = {.graph = &m->graph,
                            .weights = m->weight,
                            .adapter = shape,
                            .device = device,
                            .weight_bytes = m->weight_bytes,
                            .table_bytes = ql_model_table_bytes(m, POSITIONS),
                            .vocab = m->config.vocab_size,
                            .longest_row = POSITIONS,
                            .rows_at_most = 2,
                            .ranks = 2,
                            .recompute = QL_AUTO,
                            .training = true,
                            .limit = limit,
                            .host_limit = UINT64_MAX};
    if (ql_bad(ql_device_needs_of(device, 1, QL_BF16, 1 << 20, &q.needs))) abort();
    if (!ql_bad(ql_memory_plan_make(&q, &plan))) ql_memory_plan_free(&plan);
}

static void plan_memories(ql_model *m, const ql_adapter_shape *shape) {
    plan_memory(m, shape, "cpu", 1 << 20);
    plan_memory(m, shape, "cuda", 1 << 20);
    plan_memory(m, shape, "cuda", (uint64_t)1 << 50);
}

static void build_the_rest(ql_model *m, const ql_config *c) {
    ql_adapter_shape shape;
    ql_str title = {0};
    float *cosines, *sines;
    ql_model_title(m, &title);
    ql_rope_tables(&m->config.rope, m->config.head_dim, POSITIONS, &cosines, &sines);
    if (!ql_bad(ql_adapter_plan(&m->graph, c, &shape))) plan_memories(m, &shape);
    ql_adapter_shape_free(&shape);
    ql_str_free(&title);
    free(cosines);
    free(sines);
}

static void check_refusal(void) {
    const char *text = ql_err_text();
    if (!*text || strchr(text, '\n')) {
        fprintf(stderr, "the refusal is no line: \"%s\"\n", text);
        abort();
    }
}

static bool target(void *ctx, const uint8_t *bytes, size_t n) {
    subject s;
    ql_model m;
    if (!split(bytes, n, &s) || !known_model(s.model) || !is_known_file(s.file)) return false;
    ql_load_options o = {.load_in_4bit = n % 2, .quant = ql_quant_find("nf4"), .double_quant = n % 3 != 0};
    if (ql_bad(ql_model_describe(folder_of(&s), &o, &m))) {
        check_refusal();
        return false;
    }
    build_the_rest(&m, ctx);
    ql_model_close(&m);
    return true;
}

static bool add_seed(const char *model, const char *file, ql_str *out) {
    char *path = ql_format("%s/models/%s/%s", QL_TEST_DATA, model, file);
    ql_str text = {0};
    *out = (ql_str){0};
    ql_str_printf(out, "%s %s\n", model, file);
    bool good = !ql_bad(ql_file_read(path, 1 << 20, &text));
    if (good)
        ql_str_put(out, text.data, text.size);
    else
        fprintf(stderr, "%s\n", ql_err_text());
    ql_str_free(&text);
    free(path);
    return good;
}

static int check_memory(void) {
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    if (use.ru_maxrss <= MOST_RSS) return 0;
    fprintf(stderr, "fuzz_model_config: %ld KiB were in use at once\n", use.ru_maxrss);
    return 1;
}

int main(int argc, char **argv) {
    ql_str seeds[QL_LEN(models) + 3] = {0};
    size_t n = 0;
    ql_config config;
    for (; n < QL_LEN(models); n++)
        if (!add_seed(models[n], "config.json", &seeds[n])) return 2;
    if (!add_seed("llama-tied-shards", "model.safetensors.index.json", &seeds[n++])) return 2;
    ql_str_printf(&seeds[n++], "qwen2-window generation_config.json\n%s", GENERATION);
    ql_str_printf(&seeds[n++], "llama3-rope generation_config.json\n%s", GENERATION);
    if (ql_bad(ql_config_from_overrides(NULL, 0, &config))) return 2;
    int rc = ql_fuzz_main(argc, argv, seeds, n, target, &config);
    ql_config_free(&config);
    for (size_t i = 0; i < n; i++) ql_str_free(&seeds[i]);
    return rc ? rc : check_memory();
}
