#include "checkpoint/peft_config.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

enum { MAX_CONFIG = 1 << 20, MAX_R = 1 << 16 };

/* What to do with a key of LoraConfig. A key that is not listed counts as UNSUPPORTED: it may
 * be a feature that changes what the matrices mean. */
typedef enum {
    READ,        /* we do what it says                                            */
    HARMLESS,    /* notes, defaults of unused features, how training had begun    */
    UNSUPPORTED, /* must be null, false or empty                                  */
} treatment;
static const struct {
    const char *key;
    treatment treatment;
} keys[] = {
    {"r", READ},
    {"lora_alpha", READ},
    {"lora_dropout", READ},
    {"use_rslora", READ},
    {"bias", READ},
    {"peft_type", READ},
    {"target_modules", READ},
    {"init_lora_weights", READ},
    {"base_model_name_or_path", READ},
    {"auto_mapping", HARMLESS},
    {"inference_mode", HARMLESS},
    {"peft_version", HARMLESS},
    {"revision", HARMLESS},
    {"task_type", HARMLESS},
    {"runtime_config", HARMLESS},
    {"megatron_core", HARMLESS},
    {"qalora_group_size", HARMLESS},
    {"ensure_weight_tying", HARMLESS},
    /* which modules these chose can be seen from the tensors */
    {"exclude_modules", HARMLESS},
    {"layers_pattern", HARMLESS},
    {"layers_to_transform", HARMLESS},
    /* these have worked before the first step; init_lora_weights says whether they matter now */
    {"corda_config", HARMLESS},
    {"eva_config", HARMLESS},
    {"loftq_config", HARMLESS},
    {"lora_ga_config", HARMLESS},
    {"alora_invocation_tokens", UNSUPPORTED},
    {"alpha_pattern", UNSUPPORTED},
    {"arrow_config", UNSUPPORTED},
    {"fan_in_fan_out", UNSUPPORTED},
    {"kasa_config", UNSUPPORTED},
    {"layer_replication", UNSUPPORTED},
    {"lora_bias", UNSUPPORTED},
    {"megatron_config", UNSUPPORTED},
    {"modules_to_save", UNSUPPORTED},
    {"monteclora_config", UNSUPPORTED},
    {"rank_pattern", UNSUPPORTED},
    {"target_parameters", UNSUPPORTED},
    {"trainable_token_indices", UNSUPPORTED},
    {"use_bdlora", UNSUPPORTED},
    {"use_dora", UNSUPPORTED},
    {"use_qalora", UNSUPPORTED},
    {"velora_config", UNSUPPORTED},
};

static bool is_unset(const ql_json *v) {
    switch (ql_json_kind(v)) {
        case QL_JSON_NULL: return true;
        case QL_JSON_BOOL: return !ql_json_bool(v, true);
        case QL_JSON_ARRAY:
        case QL_JSON_OBJECT: return ql_json_size(v) == 0;
        default: return false;
    }
}

static ql_err check_key(const char *path, const char *key, const ql_json *v) {
    size_t i = 0;
    while (i < QL_LEN(keys) && strcmp(keys[i].key, key) != 0) i++;
    if (is_unset(v) || (i < QL_LEN(keys) && keys[i].treatment != UNSUPPORTED)) return ql_ok();
    QL_CHECK(i < QL_LEN(keys), QL_DATA,
             "%s: has the setting \"%s\", which is not known here and may change what the "
             "adapter means; if it does not, remove it from the file",
             path, key);
    return ql_fail(QL_DATA,
                   "%s: uses \"%s\", which is not supported; only plain LoRA adapters of linear layers can be "
                   "loaded",
                   path, key);
}

/* These change the base weights when training begins; the adapter alone does not say how. */
static ql_err check_start(const char *path, const ql_json *start) {
    const char *name = ql_json_text(start, NULL);
    if (!name || !strcmp(name, "gaussian") || !strcmp(name, "orthogonal") || !strcmp(name, "eva")) return ql_ok();
    return ql_fail(QL_DATA,
                   "%s: init_lora_weights is \"%s\", which goes with changed base weights; convert the adapter to "
                   "plain LoRA with PEFT (save_pretrained with path_initial_model_for_weight_conversion)",
                   path, name);
}

static ql_err read_numbers(const char *path, const ql_json *v, ql_peft_config *out) {
    int64_t r = ql_json_int(ql_json_get(v, "r"), -1);
    QL_CHECK(r >= 1 && r <= MAX_R, QL_DATA, "%s: \"r\" must be a whole number from 1 to %d", path, MAX_R);
    out->r = (int)r;
    out->lora_alpha = ql_json_number(ql_json_get(v, "lora_alpha"), NAN);
    QL_CHECK(isfinite(out->lora_alpha), QL_DATA, "%s: \"lora_alpha\" must be a number", path);
    const ql_json *dropout = ql_json_get(v, "lora_dropout"), *rslora = ql_json_get(v, "use_rslora");
    out->lora_dropout = is_unset(dropout) ? 0.0 : ql_json_number(dropout, NAN);
    QL_CHECK(out->lora_dropout >= 0 && out->lora_dropout < 1, QL_DATA,
             "%s: \"lora_dropout\" must be a number from 0 to "
             "below 1",
             path);
    QL_CHECK(is_unset(rslora) || ql_json_is(rslora, QL_JSON_BOOL), QL_DATA, "%s: \"use_rslora\" must be true or false",
             path);
    out->use_rslora = ql_json_bool(rslora, false);
    return ql_ok();
}

static ql_err read_targets(const char *path, const ql_json *v, ql_peft_config *out) {
    const ql_json *list = ql_json_get(v, "target_modules");
    const char *pattern = ql_json_text(list, NULL);
    if (pattern) out->target_pattern = ql_strdup(pattern);
    if (pattern || is_unset(list)) return ql_ok();
    QL_CHECK(ql_json_is(list, QL_JSON_ARRAY), QL_DATA, "%s: \"target_modules\" must be a list of names", path);
    out->target_modules = QL_NEW_ARRAY(char *, ql_json_size(list));
    for (size_t i = 0; i < ql_json_size(list); i++) {
        const char *name = ql_json_text(ql_json_at(list, i), NULL);
        QL_CHECK(name, QL_DATA, "%s: \"target_modules\" must be a list of names", path);
        out->target_modules[out->n_target_modules++] = ql_strdup(name);
    }
    return ql_ok();
}

static ql_err read_config(const char *path, const ql_json *v, ql_peft_config *out) {
    QL_CHECK(ql_json_is(v, QL_JSON_OBJECT), QL_DATA, "%s: must hold an object, not %s", path, ql_json_kind_name(v));
    const char *type = ql_json_text(ql_json_get(v, "peft_type"), NULL),
               *bias = ql_json_text(ql_json_get(v, "bias"), NULL);
    const char *base = ql_json_text(ql_json_get(v, "base_model_name_or_path"), NULL);
    QL_CHECK(type, QL_DATA, "%s: has no \"peft_type\"; is this a PEFT adapter?", path);
    QL_CHECK(!strcmp(type, "LORA"), QL_DATA, "%s: \"peft_type\" is %s; only LORA adapters can be loaded", path, type);
    for (void *it = ql_json_first(v); it; it = ql_json_next(v, it))
        QL_TRY(check_key(path, ql_json_key(it), ql_json_value(it)));
    QL_CHECK(!bias || !strcmp(bias, "none"), QL_DATA,
             "%s: \"bias\" is \"%s\", which is not supported; only \"none\" is", path, bias);
    QL_TRY(check_start(path, ql_json_get(v, "init_lora_weights")));
    if (base) out->base_model_name_or_path = ql_strdup(base);
    QL_TRY(read_numbers(path, v, out));
    return read_targets(path, v, out);
}

ql_err ql_peft_config_read(const char *path, ql_peft_config *out) {
    ql_json *v;
    *out = (ql_peft_config){0};
    QL_TRY(ql_json_read(path, MAX_CONFIG, &v));
    ql_err e = read_config(path, v, out);
    ql_json_free(v);
    if (ql_bad(e)) ql_peft_config_free(out);
    return e;
}

void ql_peft_config_free(ql_peft_config *c) {
    for (size_t i = 0; i < c->n_target_modules; i++) free(c->target_modules[i]);
    for (size_t i = 0; i < c->n_other_modules; i++) free(c->other_modules[i]);
    free(c->target_modules);
    free(c->other_modules);
    free(c->target_pattern);
    free(c->base_model_name_or_path);
    *c = (ql_peft_config){0};
}
