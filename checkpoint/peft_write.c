#include "checkpoint/peft.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/peft_targets.h"
#include "checkpoint/python_json.h"

/* ---- adapter_config.json: sorted keys, those of PEFT 0.21 with their defaults ----------- */

static void put_number(ql_str *out, double v) {
    if (v == rint(v) && fabs(v) < 1e15)
        ql_str_printf(out, "%lld", (long long)v);
    else
        ql_python_put_float(out, v);
}

static void put_targets(ql_str *out, const ql_peft_config *c, const ql_peft_module *modules, size_t n) {
    const char **name = QL_NEW_ARRAY(const char *, n);
    for (size_t i = 0; i < n; i++) name[i] = modules[i].module;
    n = ql_peft_condense(name, n, c->other_modules, c->n_other_modules);
    ql_str_puts(out, "  \"target_modules\": [\n");
    for (size_t i = 0; i < n; i++) {
        ql_str_puts(out, "    ");
        ql_python_put_string(out, name[i]);
        ql_str_puts(out, i + 1 < n ? ",\n" : "\n");
    }
    ql_str_puts(out, "  ],\n");
    free(name);
}

static void put_config(ql_str *out, const ql_peft_config *c, const ql_peft_module *modules, size_t n) {
    ql_str_puts(out, "{\n  \"alora_invocation_tokens\": null,\n  \"alpha_pattern\": {},\n  \"arrow_config\": null,\n"
                     "  \"auto_mapping\": null,\n  \"base_model_name_or_path\": ");
    if (c->base_model_name_or_path)
        ql_python_put_string(out, c->base_model_name_or_path);
    else
        ql_str_puts(out, "null");
    ql_str_puts(out, ",\n  \"bias\": \"none\",\n  \"corda_config\": null,\n  \"ensure_weight_tying\": false,\n"
                     "  \"eva_config\": null,\n  \"exclude_modules\": null,\n  \"fan_in_fan_out\": false,\n"
                     "  \"inference_mode\": true,\n  \"init_lora_weights\": true,\n  \"kasa_config\": null,\n"
                     "  \"layer_replication\": null,\n  \"layers_pattern\": null,\n  \"layers_to_transform\": null,\n"
                     "  \"loftq_config\": {},\n  \"lora_alpha\": ");
    put_number(out, c->lora_alpha);
    ql_str_puts(out, ",\n  \"lora_bias\": false,\n  \"lora_dropout\": ");
    ql_python_put_float(out, c->lora_dropout);
    ql_str_puts(out, ",\n  \"lora_ga_config\": null,\n  \"megatron_config\": null,\n"
                     "  \"megatron_core\": \"megatron.core\",\n  \"modules_to_save\": null,\n"
                     "  \"monteclora_config\": null,\n  \"peft_type\": \"LORA\",\n  \"qalora_group_size\": 16,\n");
    ql_str_printf(out, "  \"r\": %d,\n  \"rank_pattern\": {},\n  \"revision\": null,\n", c->r);
    put_targets(out, c, modules, n);
    ql_str_puts(out, "  \"target_parameters\": null,\n  \"task_type\": \"CAUSAL_LM\",\n"
                     "  \"trainable_token_indices\": null,\n  \"use_bdlora\": null,\n  \"use_dora\": false,\n"
                     "  \"use_qalora\": false,\n");
    ql_str_printf(out, "  \"use_rslora\": %s,\n  \"velora_config\": null\n}", c->use_rslora ? "true" : "false");
}

static ql_err write_config(const char *folder, const ql_peft_config *c, const ql_peft_module *modules, size_t n) {
    ql_str text = {0};
    put_config(&text, c, modules, n);
    char *path = ql_path_join(folder, "adapter_config.json");
    ql_err e = ql_file_replace(path, text.data, text.size);
    free(path);
    ql_str_free(&text);
    return e;
}

/* ---- adapter_model.safetensors ---------------------------------------------------------- */

static ql_tensor_to_write matrix(const char *module, const char *part, int64_t rows, int64_t cols, const float *data) {
    return (ql_tensor_to_write){.name = ql_format("base_model.model.%s.%s.weight", module, part),
                                .dtype = QL_F32,
                                .rank = 2,
                                .dim = {rows, cols},
                                .data = data};
}

static ql_err write_tensors(const char *folder, int r, const ql_peft_module *modules, size_t n) {
    ql_tensor_to_write *t = QL_NEW_ARRAY(ql_tensor_to_write, 2 * n);
    for (size_t i = 0; i < n; i++) {
        t[2 * i] = matrix(modules[i].module, "lora_A", r, modules[i].in, modules[i].a);
        t[2 * i + 1] = matrix(modules[i].module, "lora_B", modules[i].out, r, modules[i].b);
    }
    char *path = ql_path_join(folder, "adapter_model.safetensors");
    ql_err e = ql_tensor_file_write(path, t, 2 * n);
    free(path);
    for (size_t i = 0; i < 2 * n; i++) free((void *)(uintptr_t)t[i].name);
    free(t);
    return e;
}

static ql_err check_values(const char *module, const char *part, const float *v, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        QL_CHECK(isfinite(v[i]), QL_DATA,
                 "%s.%s: holds a value that is not finite, so the adapter is not saved; lower "
                 "learning_rate and go on from the last checkpoint",
                 module, part);
    return ql_ok();
}

/* Runs have ended with adapters that held nothing (P19 in our list of pains): what was written is
 * opened again, and must be what was asked for. */
static ql_err read_back(const char *folder, int r, const ql_peft_module *modules, size_t n) {
    ql_peft_adapter a;
    QL_TRY(ql_peft_open(folder, &a));
    ql_err e = ql_ok();
    if (a.n_modules != n) e = ql_fail(QL_IO, "%s: holds %zu modules instead of %zu", folder, a.n_modules, n);
    for (size_t i = 0; i < n && !ql_bad(e); i++) {
        size_t na = (size_t)(r * modules[i].in), nb = (size_t)(modules[i].out * r);
        float *back = QL_NEW_ARRAY(float, na + nb);
        e = ql_peft_read(&a, modules[i].module, r, modules[i].in, modules[i].out, back, back + na);
        bool same =
            !memcmp(back, modules[i].a, na * sizeof *back) && !memcmp(back + na, modules[i].b, nb * sizeof *back);
        if (!ql_bad(e) && !same) e = ql_fail(QL_IO, "%s: %s reads back other than written", folder, modules[i].module);
        free(back);
    }
    ql_peft_close(&a);
    return e;
}

ql_err ql_peft_write(const char *folder, const ql_peft_config *c, const ql_peft_module *modules, size_t n) {
    QL_CHECK(n > 0 && c->r > 0, QL_BUG, "%s: an adapter without modules cannot be saved", folder);
    for (size_t i = 0; i < n; i++) {
        QL_TRY(check_values(modules[i].module, "lora_A", modules[i].a, modules[i].in * c->r));
        QL_TRY(check_values(modules[i].module, "lora_B", modules[i].b, modules[i].out * c->r));
    }
    QL_TRY(write_tensors(folder, c->r, modules, n));
    QL_TRY(write_config(folder, c, modules, n));
    return read_back(folder, c->r, modules, n);
}
