#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/peft_config.h"
#include "kernels/quant/quant.h"

static const char PREFIX[] = "base_model.model.", A_PART[] = ".lora_A.weight", B_PART[] = ".lora_B.weight";

/* The module in "base_model.model.<module><part>", or NULL; the caller frees. */
static char *module_of(const char *tensor, const char *part) {
    size_t n = strlen(tensor), before = sizeof PREFIX - 1, after = strlen(part);
    if (n <= before + after || strncmp(tensor, PREFIX, before) != 0 || strcmp(tensor + n - after, part) != 0)
        return NULL;
    return ql_strndup(tensor + before, n - before - after);
}

static const ql_stored *find(const ql_peft_adapter *a, const char *module, const char *part) {
    char *name = ql_format("%s%s%s", PREFIX, module, part);
    const ql_stored *t = ql_tensor_set_find(a->tensors, name);
    free(name);
    return t;
}

/* ---- opening ---------------------------------------------------------------------------- */

static ql_err unknown_tensor(const ql_stored *t) {
    const char *what = strstr(t->name, "lora_magnitude_vector") ? "belongs to DoRA"
                       : strstr(t->name, "lora_embedding")      ? "adapts an embedding"
                       : strstr(t->name, "lora_")               ? "is not the weight of a lora_A or lora_B"
                                                                : "is a layer that was trained in full";
    return ql_fail(QL_DATA,
                   "%s: tensor %s: %s, which is not supported; only plain LoRA adapters of linear layers can be "
                   "loaded",
                   t->file->path, t->name, what);
}

static ql_err check_matrix(const ql_stored *t, int64_t r, int r_axis) {
    bool readable = t->dtype_known && (t->dtype == QL_F32 || t->dtype == QL_BF16 || t->dtype == QL_F16);
    QL_CHECK(readable, QL_DATA, "%s: tensor %s: has the dtype %s; F32, BF16 or F16 is needed", t->file->path, t->name,
             t->dtype_name);
    QL_CHECK(t->rank == 2 && t->count > 0, QL_DATA, "%s: tensor %s: is not a matrix", t->file->path, t->name);
    QL_CHECK(t->dim[r_axis] == r, QL_DATA, "%s: tensor %s: has rank %lld, but adapter_config.json says r = %lld",
             t->file->path, t->name, (long long)t->dim[r_axis], (long long)r);
    return ql_ok();
}

/* A tensor is one half of a pair; the other half must be there too. */
static ql_err take_tensor(ql_peft_adapter *a, const ql_stored *t) {
    char *of_a = module_of(t->name, A_PART), *of_b = of_a ? NULL : module_of(t->name, B_PART);
    const char *module = of_a ? of_a : of_b;
    ql_err e = ql_ok();
    if (!module) return unknown_tensor(t);
    if (!find(a, module, of_a ? B_PART : A_PART))
        e = ql_fail(QL_DATA, "%s: tensor %s: has no partner %s%s%s; save the adapter again", t->file->path, t->name,
                    PREFIX, module, of_a ? B_PART : A_PART);
    if (!ql_bad(e)) e = check_matrix(t, a->config.r, of_a ? 0 : 1);
    free(of_b);
    if (of_a && !ql_bad(e))
        a->module[a->n_modules++] = of_a;
    else
        free(of_a);
    return e;
}

static int text_order(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static ql_err take_tensors(ql_peft_adapter *a, const char *path) {
    size_t n = ql_tensor_set_size(a->tensors);
    QL_CHECK(n > 0, QL_DATA, "%s: holds no tensors: nothing was saved into this adapter", path);
    a->module = QL_NEW_ARRAY(char *, n);
    for (size_t i = 0; i < n; i++) QL_TRY(take_tensor(a, ql_tensor_set_at(a->tensors, i)));
    qsort(a->module, a->n_modules, sizeof *a->module, text_order);
    return ql_ok();
}

static ql_err open_tensors(const char *folder, ql_peft_adapter *out) {
    char *path = ql_path_join(folder, "adapter_model.safetensors"), *pickle = ql_path_join(folder, "adapter_model.bin");
    ql_err e = ql_ok();
    if (!ql_file_exists(path) && ql_file_exists(pickle))
        e = ql_fail(QL_DATA,
                    "%s: is a Python pickle, which is not loaded; convert it in that folder: python -c \"import "
                    "torch, safetensors.torch as s; s.save_file(torch.load('adapter_model.bin', weights_only=True), "
                    "'adapter_model.safetensors', {'format': 'pt'})\"",
                    pickle);
    if (!ql_bad(e)) e = ql_tensor_file_open(path, &out->tensors);
    if (!ql_bad(e)) e = take_tensors(out, path);
    free(path);
    free(pickle);
    return e;
}

ql_err ql_peft_open(const char *folder, ql_peft_adapter *out) {
    *out = (ql_peft_adapter){0};
    char *path = ql_path_join(folder, "adapter_config.json");
    ql_err e = ql_peft_config_read(path, &out->config);
    free(path);
    if (!ql_bad(e)) e = open_tensors(folder, out);
    if (ql_bad(e)) ql_peft_close(out);
    return e;
}

void ql_peft_close(ql_peft_adapter *a) {
    ql_tensor_set_close(a->tensors);
    for (size_t i = 0; i < a->n_modules; i++) free(a->module[i]);
    free(a->module);
    ql_peft_config_free(&a->config);
    *a = (ql_peft_adapter){0};
}

size_t ql_peft_module_count(const ql_peft_adapter *a) {
    return a->n_modules;
}

const char *ql_peft_module_name(const ql_peft_adapter *a, size_t i) {
    return a->module[i];
}

/* ---- values ----------------------------------------------------------------------------- */

static float element(const ql_stored *t, size_t i) {
    float x;
    uint16_t half;
    if (t->dtype == QL_F32) {
        memcpy(&x, t->data + 4 * i, sizeof x);
        return x;
    }
    memcpy(&half, t->data + 2 * i, sizeof half);
    return t->dtype == QL_BF16 ? ql_bf16_to_f32(half) : ql_f16_to_f32(half);
}

static ql_err copy_matrix(const ql_peft_adapter *a, const char *module, const char *part, int64_t rows, int64_t cols,
                          float *out) {
    const ql_stored *t = find(a, module, part);
    QL_CHECK(t, QL_DATA, "%s: has no adapter for the module %s", ql_tensor_set_at(a->tensors, 0)->file->path, module);
    QL_CHECK(t->dim[0] == rows && t->dim[1] == cols, QL_DATA,
             "%s: tensor %s: has the shape [%lld, %lld], but the model "
             "needs [%lld, %lld]; is the adapter of another model?",
             t->file->path, t->name, (long long)t->dim[0], (long long)t->dim[1], (long long)rows, (long long)cols);
    for (size_t i = 0; i < (size_t)t->count; i++) {
        out[i] = element(t, i);
        QL_CHECK(isfinite(out[i]), QL_DATA, "%s: tensor %s: holds a value that is not finite; the adapter is damaged",
                 t->file->path, t->name);
    }
    ql_stored_release(t);
    return ql_ok();
}

ql_err ql_peft_read(const ql_peft_adapter *a, const char *module, int64_t r, int64_t in, int64_t out, float *lora_a,
                    float *lora_b) {
    QL_TRY(copy_matrix(a, module, A_PART, r, in, lora_a));
    return copy_matrix(a, module, B_PART, out, r, lora_b);
}
