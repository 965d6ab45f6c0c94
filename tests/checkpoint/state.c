#include "state.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "checkpoint/manifest.h"

enum { RANK = 4, IN = 24, OUT = 40, KEYS = 12 };

static float value_of(size_t tensor, int array, size_t i, int64_t step) {
    uint32_t x = (uint32_t)(tensor * 7919 + (size_t)array * 104729 + i * 31 + (size_t)step * 65537) * 2654435761u;
    return (float)(x >> 8) * 0x1p-24f - 0.5f;
}

/* Some states have what others lack. */
static int64_t count_of(ql_counter which, int64_t step) {
    if (which == QL_COUNT_STEP) return step;
    return (int)which < QL_COUNTERS_ALWAYS || (step + which / 2) % 2 == 0 ? step * (16 + (int64_t)which) + 1 : QL_NO_COUNT;
}

static void fill(ql_state *s, int64_t step) {
    for (size_t k = 0; k < s->n_tensors; k++) {
        ql_state_tensor *t = &s->tensor[k];
        float *array[3] = {t->value, t->moment1, t->moment2};
        for (int a = 0; a < 3; a++)
            for (size_t i = 0; i < (size_t)(t->rows * t->cols); i++) array[a][i] = value_of(k, a, i, step);
    }
    for (int c = 0; c < QL_COUNTERS; c++) s->counter[c] = count_of((ql_counter)c, step);
}

static bool counters_are(const ql_state *s, int64_t step) {
    for (int c = 0; c < QL_COUNTERS; c++)
        if (s->counter[c] != count_of((ql_counter)c, step)) return false;
    return true;
}

static ql_state_tensor make_tensor(size_t module, char which, int64_t rows, int64_t cols) {
    size_t n = (size_t)(rows * cols);
    return (ql_state_tensor){.name = ql_format("model.layers.%zu.self_attn.q_proj.lora_%c", module, which),
                             .rows = rows,
                             .cols = cols,
                             .value = QL_NEW_ARRAY(float, n),
                             .moment1 = QL_NEW_ARRAY(float, n),
                             .moment2 = QL_NEW_ARRAY(float, n)};
}

test_state *state_empty(size_t modules) {
    test_state *t = QL_NEW(test_state);
    t->s.tensor = QL_NEW_ARRAY(ql_state_tensor, 2 * modules);
    t->s.n_tensors = 2 * modules;
    t->modules = QL_NEW_ARRAY(ql_peft_module, modules);
    t->n_modules = modules;
    for (size_t m = 0; m < modules; m++) {
        t->s.tensor[2 * m] = make_tensor(m, 'A', RANK, IN);
        t->s.tensor[2 * m + 1] = make_tensor(m, 'B', OUT, RANK);
        t->modules[m] = (ql_peft_module){.module = ql_format("model.layers.%zu.self_attn.q_proj", m),
                                         .in = IN,
                                         .out = OUT,
                                         .a = t->s.tensor[2 * m].value,
                                         .b = t->s.tensor[2 * m + 1].value};
    }
    t->s.identity = QL_NEW_ARRAY(ql_identity, KEYS);
    t->s.n_identity = KEYS;
    for (int k = 0; k < KEYS; k++)
        t->s.identity[k] = (ql_identity){ql_format("key_%d", k), ql_format("%s%d", k == 3 ? "" : "value ", k * k)};
    t->peft = (ql_peft_config){.r = RANK, .lora_alpha = 8, .base_model_name_or_path = ql_strdup("models/tiny")};
    return t;
}

test_state *state_make(size_t modules, int64_t step) {
    test_state *t = state_empty(modules);
    fill(&t->s, step);
    return t;
}

void state_free(test_state *t) {
    for (size_t i = 0; i < t->s.n_tensors; i++) {
        free((char *)(uintptr_t)t->s.tensor[i].name);
        free(t->s.tensor[i].value);
        free(t->s.tensor[i].moment1);
        free(t->s.tensor[i].moment2);
    }
    for (size_t m = 0; m < t->n_modules; m++) free((char *)(uintptr_t)t->modules[m].module);
    for (size_t k = 0; k < KEYS; k++) {
        free((char *)(uintptr_t)t->s.identity[k].key);
        free((char *)(uintptr_t)t->s.identity[k].value);
    }
    free(t->s.tensor);
    free(t->modules);
    free(t->s.identity);
    free(t->peft.base_model_name_or_path);
    free(t);
}

bool state_is(const test_state *t, int64_t step) {
    const ql_state *s = &t->s;
    for (size_t k = 0; k < s->n_tensors; k++) {
        const ql_state_tensor *x = &s->tensor[k];
        const float *array[3] = {x->value, x->moment1, x->moment2};
        for (int a = 0; a < 3; a++)
            for (size_t i = 0; i < (size_t)(x->rows * x->cols); i++)
                if (array[a][i] != value_of(k, a, i, step)) return false;
    }
    return counters_are(s, step);
}

ql_save_order state_order(const char *folder, const test_state *t, int keep) {
    return (ql_save_order){.output_dir = folder,
                           .state = &t->s,
                           .peft = &t->peft,
                           .modules = t->modules,
                           .n_modules = t->n_modules,
                           .keep = keep,
                           .best = -1};
}

ql_err state_save(const char *folder, const test_state *t, int keep) {
    QL_TRY(ql_dir_make(folder));
    ql_save_order order = state_order(folder, t, keep);
    return ql_checkpoint_save(&order, NULL);
}

ql_err state_save_new(const char *folder, size_t modules, int64_t step, int keep) {
    test_state *t = state_make(modules, step);
    ql_err e = state_save(folder, t, keep);
    state_free(t);
    return e;
}

bool state_loads_as(const char *path, size_t modules, int64_t step) {
    test_state *t = state_empty(modules);
    ql_err e = ql_checkpoint_load(path, &t->s);
    bool same = !ql_bad(e) && state_is(t, step);
    state_free(t);
    return same;
}

char *make_folder(void) {
    /* Memory first: these tests make thousands of files durable. */
    const char *base = getenv("TMPDIR");
    if (!base) base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    char *folder = ql_format("%s/qlora-checkpoint-XXXXXX", base);
    if (!mkdtemp(folder)) {
        perror(folder);
        exit(2);
    }
    return folder;
}

void drop_folder(char *folder) {
    if (ql_bad(ql_dir_remove(folder))) fprintf(stderr, "%s\n", ql_err_text());
    free(folder);
}

size_t count_entries(const char *folder, const char *prefix) {
    size_t n = 0;
    DIR *dir = opendir(folder);
    if (!dir) return 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        n += !strncmp(entry->d_name, prefix, strlen(prefix));
    }
    closedir(dir);
    return n;
}

ql_err renew_manifest(const char *folder, int64_t step) {
    ql_manifest m = {.step = step};
    QL_TRY(ql_manifest_add(&m, folder, "state.h5"));
    QL_TRY(ql_manifest_add(&m, folder, "adapter_model.safetensors"));
    QL_TRY(ql_manifest_add(&m, folder, "adapter_config.json"));
    ql_err e = ql_manifest_write(&m, folder);
    ql_manifest_free(&m);
    return e;
}
