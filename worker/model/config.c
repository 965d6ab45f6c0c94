#include "worker/model/config.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "worker/model/arch.h"

enum { CONFIG_LIMIT = 16 << 20 };

ql_err ql_config_int(const ql_json *config, const char *key, int64_t otherwise, int64_t low, int64_t high,
                     int64_t *out) {
    const ql_json *v = ql_json_get(config, key);
    if (!v || ql_json_is(v, QL_JSON_NULL)) {
        QL_CHECK(otherwise >= 0, QL_DATA, "%s: is missing; the folder is not complete", key);
        *out = otherwise;
        return ql_ok();
    }
    QL_CHECK(ql_json_is(v, QL_JSON_INT), QL_DATA, "%s: must be an integer, not %s", key, ql_json_kind_name(v));
    int64_t n = ql_json_int(v, 0);
    QL_CHECK(n >= low && n <= high, QL_DATA, "%s: %lld is outside %lld..%lld", key, (long long)n, (long long)low,
             (long long)high);
    *out = n;
    return ql_ok();
}

static bool is_given(const ql_json *v) {
    return v && !ql_json_is(v, QL_JSON_NULL);
}

ql_err ql_config_bool(const ql_json *config, const char *key, bool otherwise, bool *out) {
    const ql_json *v = ql_json_get(config, key);
    QL_CHECK(!is_given(v) || ql_json_is(v, QL_JSON_BOOL), QL_DATA, "%s: must be true or false, not %s", key,
             ql_json_kind_name(v));
    *out = ql_json_bool(v, otherwise);
    return ql_ok();
}

ql_err ql_config_text(const ql_json *config, const char *key, const char **out) {
    const ql_json *v = ql_json_get(config, key);
    QL_CHECK(!is_given(v) || ql_json_is(v, QL_JSON_STRING), QL_DATA, "%s: must be a text, not %s", key, ql_json_kind_name(v));
    *out = ql_json_text(v, NULL);
    return ql_ok();
}

static ql_err number(const ql_json *config, const char *key, double otherwise, double low, double high, double *out) {
    const ql_json *v = ql_json_get(config, key);
    *out = otherwise;
    if (v && !ql_json_is(v, QL_JSON_NULL)) {
        QL_CHECK(ql_json_is(v, QL_JSON_INT) || ql_json_is(v, QL_JSON_REAL), QL_DATA, "%s: must be a number, not %s",
                 key, ql_json_kind_name(v));
        *out = ql_json_number(v, 0);
    }
    QL_CHECK(*out >= low && *out <= high, QL_DATA, "%s: %g is outside %g..%g", key, *out, low, high);
    return ql_ok();
}

static ql_err find_architecture(const ql_json *json, ql_model_config *c) {
    const ql_json *names = ql_json_get(json, "architectures");
    const char    *name = ql_json_text(ql_json_at(names, 0), NULL);
    ql_str         known = {0};
    ql_arch_names(&known);
    ql_err e = ql_ok();
    if (!name)
        e = ql_fail(QL_DATA, "architectures: is missing; supported are %s", known.data);
    else if (!(c->arch = ql_arch_find(name)))
        e = ql_fail(QL_DATA, "architectures: %s is not supported; supported are %s", name, known.data);
    ql_str_free(&known);
    return e;
}

static ql_err read_sizes(const ql_json *json, ql_model_config *c) {
    QL_TRY(ql_config_int(json, "vocab_size", -1, 1, 1 << 24, &c->vocab_size));
    QL_TRY(ql_config_int(json, "hidden_size", -1, 1, 1 << 17, &c->hidden_size));
    QL_TRY(ql_config_int(json, "intermediate_size", -1, 1, 1 << 20, &c->intermediate_size));
    QL_TRY(ql_config_int(json, "num_hidden_layers", -1, 1, 1024, &c->layers));
    QL_TRY(ql_config_int(json, "num_attention_heads", -1, 1, 1024, &c->heads));
    QL_TRY(ql_config_int(json, "num_key_value_heads", c->heads, 1, 1024, &c->kv_heads));
    QL_TRY(ql_config_int(json, "head_dim", c->hidden_size / c->heads, 1, 1024, &c->head_dim));
    QL_TRY(ql_config_int(json, "max_position_embeddings", 2048, 1, 1 << 26, &c->max_positions));
    double eps;
    QL_TRY(number(json, "rms_norm_eps", 1e-6, 0, 1, &eps));
    c->rms_norm_eps = (float)eps;
    return ql_config_bool(json, "tie_word_embeddings", false, &c->tie_word_embeddings);
}

static ql_err check_sizes(const ql_model_config *c) {
    QL_CHECK(c->heads % c->kv_heads == 0, QL_DATA, "num_attention_heads: %lld is not a multiple of num_key_value_heads %lld",
             (long long)c->heads, (long long)c->kv_heads);
    QL_CHECK(c->head_dim >= 2 && c->head_dim % 2 == 0, QL_DATA, "head_dim: %lld is not even; rotary embedding needs pairs",
             (long long)c->head_dim);
    return ql_ok();
}

static ql_err check_activation(const ql_json *json) {
    const char *act = NULL;
    QL_TRY(ql_config_text(json, "hidden_act", &act));
    QL_CHECK(!act || !strcmp(act, "silu") || !strcmp(act, "swish"), QL_DATA,
             "hidden_act: \"%s\" is not supported; supported is silu", act);
    return ql_ok();
}

static ql_err read_llama3(const ql_json *r, ql_rope_config *rope) {
    QL_TRY(number(r, "low_freq_factor", 1, 1e-6, 1e6, &rope->low_freq_factor));
    QL_TRY(number(r, "high_freq_factor", 4, 1e-6, 1e6, &rope->high_freq_factor));
    QL_CHECK(rope->high_freq_factor > rope->low_freq_factor, QL_DATA,
             "rope_scaling: high_freq_factor must be above low_freq_factor");
    return ql_ok();
}

static ql_err read_yarn(const ql_json *r, ql_rope_config *rope) {
    QL_TRY(number(r, "beta_fast", 32, 1e-6, 1e6, &rope->beta_fast));
    QL_TRY(number(r, "beta_slow", 1, 1e-6, 1e6, &rope->beta_slow));
    QL_TRY(number(r, "attention_factor", 0, 0, 1e3, &rope->attention_factor));
    QL_CHECK(!is_given(ql_json_get(r, "mscale")), QL_DATA, "rope_scaling: mscale is not supported");
    return ql_config_bool(r, "truncate", true, &rope->truncate);
}

static ql_err read_scaling(const ql_json *r, const char *type, ql_model_config *c) {
    static const char *const names[] = {
        [QL_ROPE_DEFAULT] = "default", [QL_ROPE_LINEAR] = "linear", [QL_ROPE_LLAMA3] = "llama3", [QL_ROPE_YARN] = "yarn"};
    ql_rope_config *rope = &c->rope;
    size_t          kind = 0;
    while (kind < QL_LEN(names) && strcmp(names[kind], type)) kind++;
    QL_CHECK(kind < QL_LEN(names), QL_DATA,
             "rope_scaling: type \"%s\" is not supported; supported are default, linear, llama3, yarn", type);
    rope->kind = (ql_rope_kind)kind;
    if (kind == QL_ROPE_DEFAULT) return ql_ok();
    QL_TRY(ql_config_int(r, "original_max_position_embeddings", c->max_positions, 1, 1 << 26, &rope->original_positions));
    QL_CHECK(kind == QL_ROPE_YARN || is_given(ql_json_get(r, "factor")), QL_DATA,
             "rope_scaling: factor: is missing for type \"%s\"", type);
    QL_TRY(number(r, "factor", (double)c->max_positions / (double)rope->original_positions, 1, 1e6, &rope->factor));
    if (kind == QL_ROPE_LLAMA3) return read_llama3(r, rope);
    return kind == QL_ROPE_YARN ? read_yarn(r, rope) : ql_ok();
}

/* transformers 4 has rope_theta and rope_scaling {type|rope_type}; 5 has rope_parameters. */
static ql_err read_rope(const ql_json *json, ql_model_config *c) {
    const ql_json *parameters = ql_json_get(json, "rope_parameters"), *scaling = ql_json_get(json, "rope_scaling");
    const ql_json *r = is_given(parameters) ? parameters : scaling;
    QL_CHECK(!is_given(r) || ql_json_is(r, QL_JSON_OBJECT), QL_DATA, "rope_scaling: must be an object, not %s",
             ql_json_kind_name(r));
    double outer, partial;
    QL_TRY(number(json, "rope_theta", 10000, 1, 1e12, &outer));
    QL_TRY(number(r, "rope_theta", outer, 1, 1e12, &c->rope.theta));
    QL_TRY(number(json, "partial_rotary_factor", 1, 0, 1, &partial));
    QL_TRY(number(r, "partial_rotary_factor", partial, 0, 1, &partial));
    QL_CHECK(partial == 1, QL_DATA, "partial_rotary_factor: %g is not supported for this architecture", partial);
    const char *type = NULL;
    QL_TRY(ql_config_text(r, "rope_type", &type));
    if (!type) QL_TRY(ql_config_text(r, "type", &type));
    return type ? read_scaling(r, type, c) : ql_ok();
}

static ql_err read_quantisation(const ql_json *json, ql_model_config *c) {
    const ql_json *q = ql_json_get(json, "quantization_config");
    if (!is_given(q)) return ql_ok();
    const char *method = ql_json_text(ql_json_get(q, "quant_method"), NULL);
    QL_CHECK(method && !strcmp(method, "bitsandbytes") && ql_json_bool(ql_json_get(q, "load_in_4bit"), false), QL_DATA,
             "quantization_config: %s is not supported; supported are folders in bf16, fp16 or fp32, and bitsandbytes with 4 bits",
             method && strcmp(method, "bitsandbytes") ? method : "anything but 4 bits");
    c->prequantised = true;
    return ql_ok();
}

static void read_eos(const ql_json *json, ql_model_config *c) {
    const ql_json *v = ql_json_get(json, "eos_token_id");
    if (!v || c->eos_token_ids > 0) return;
    size_t n = ql_json_is(v, QL_JSON_ARRAY) ? ql_json_size(v) : 1;
    for (size_t i = 0; i < n && c->eos_token_ids < (int)QL_LEN(c->eos_token_id); i++) {
        int64_t id = ql_json_int(ql_json_is(v, QL_JSON_ARRAY) ? ql_json_at(v, i) : v, -1);
        if (id >= 0 && id < c->vocab_size) c->eos_token_id[c->eos_token_ids++] = (int32_t)id;
    }
}

static void read_dtype(const ql_json *json, ql_model_config *c) {
    const char *dtype = ql_json_text(ql_json_get(json, "dtype"), NULL);
    if (!dtype) dtype = ql_json_text(ql_json_get(json, "torch_dtype"), NULL);
    snprintf(c->dtype, sizeof c->dtype, "%s", dtype ? dtype : "");
}

static ql_err interpret(const ql_json *json, ql_model_config *c) {
    QL_CHECK(ql_json_is(json, QL_JSON_OBJECT), QL_DATA, "is not an object");
    QL_TRY(find_architecture(json, c));
    QL_TRY(read_sizes(json, c));
    c->layer_is_windowed = QL_NEW_ARRAY(bool, (size_t)c->layers);
    QL_TRY(check_activation(json));
    QL_TRY(read_rope(json, c));
    QL_TRY(read_quantisation(json, c));
    QL_TRY(c->arch->configure(json, c));
    read_dtype(json, c);
    return check_sizes(c);
}

static ql_err read_generation_config(const char *folder, ql_model_config *c) {
    char    *path = ql_path_join(folder, "generation_config.json");
    ql_json *json = NULL;
    ql_err   e = ql_file_exists(path) ? ql_json_read(path, CONFIG_LIMIT, &json) : ql_ok();
    if (!ql_bad(e)) read_eos(json, c);
    ql_json_free(json);
    free(path);
    return e;
}

ql_err ql_model_config_read(const char *folder, ql_model_config *out) {
    *out = (ql_model_config){0};
    char    *path = ql_path_join(folder, "config.json");
    ql_json *json = NULL;
    ql_err   e;
    if (!ql_file_exists(folder))
        e = ql_fail(QL_DATA, "%s: no such folder; model_name_or_path must be a local Hugging Face folder", folder);
    else
        e = ql_json_read(path, CONFIG_LIMIT, &json);
    if (!ql_bad(e)) e = ql_err_prefix(interpret(json, out), "%s", path);
    if (!ql_bad(e)) e = read_generation_config(folder, out);
    if (!ql_bad(e)) read_eos(json, out);
    ql_json_free(json);
    free(path);
    if (ql_bad(e)) ql_model_config_free(out);
    return e;
}

void ql_model_config_free(ql_model_config *c) {
    free(c->layer_is_windowed);
    *c = (ql_model_config){0};
}
