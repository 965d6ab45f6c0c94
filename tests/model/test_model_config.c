/* config.json in its variants: what transformers 4 and 5 write, what is absent, what is refused. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/quant/scratch.h"
#include "worker/model/arch.h"

typedef struct {
    const char *key, *value; /* JSON; NULL: absent */
} member;

static const member common[] = {
    {"vocab_size", "1000"},     {"hidden_size", "64"},        {"intermediate_size", "96"},
    {"num_hidden_layers", "3"}, {"num_attention_heads", "8"}, {"num_key_value_heads", "2"},
    {"rms_norm_eps", "1e-05"},  {"hidden_act", "\"silu\""},   {"max_position_embeddings", "512"},
};

static const char *override_of(const member *m, const char *key) {
    for (; m->key; m++)
        if (!strcmp(m->key, key)) return m->value ? m->value : "";
    return NULL;
}

static bool is_common(const char *key) {
    for (size_t i = 0; i < QL_LEN(common); i++)
        if (!strcmp(common[i].key, key)) return true;
    return false;
}

/* A folder with a config.json of this architecture: the common members, changed and added to. */
static ql_err read_config(const char *arch, const member *changes, ql_model_config *out) {
    ql_str text = {0};
    ql_str_printf(&text, "{\n\"architectures\": [\"%s\"]", arch);
    for (size_t i = 0; i < QL_LEN(common); i++) {
        const char *changed = override_of(changes, common[i].key), *value = changed ? changed : common[i].value;
        if (*value) ql_str_printf(&text, ",\n\"%s\": %s", common[i].key, value);
    }
    for (; changes->key; changes++)
        if (!is_common(changes->key)) ql_str_printf(&text, ",\n\"%s\": %s", changes->key, changes->value);
    ql_str_puts(&text, "\n}\n");
    scratch_write("config.json", text.data, text.size);
    ql_str_free(&text);
    return ql_model_config_read(scratch("."), out);
}

#define CHANGES(...) ((const member[]){__VA_ARGS__ __VA_OPT__(, ){NULL, NULL}})
#define LLAMA "LlamaForCausalLM"
#define MISTRAL "MistralForCausalLM"
#define QWEN2 "Qwen2ForCausalLM"
#define QWEN3 "Qwen3ForCausalLM"

static void test_defaults(void **state) {
    (void)state;
    ql_model_config c;
    ok(read_config(LLAMA,
                   CHANGES({"num_key_value_heads", NULL}, {"rms_norm_eps", NULL}, {"hidden_act", NULL},
                           {"max_position_embeddings", NULL}),
                   &c));
    assert_ptr_equal(c.arch, ql_arch_find(LLAMA));
    assert_int_equal(c.vocab_size, 1000);
    assert_int_equal(c.heads, 8);
    assert_int_equal(c.kv_heads, 8);
    assert_int_equal(c.head_dim, 8);
    assert_true(c.rms_norm_eps == 1e-6f);
    assert_int_equal(c.rope.kind, QL_ROPE_DEFAULT);
    assert_true(c.rope.theta == 10000);
    assert_false(c.tie_word_embeddings || c.qkv_bias || c.o_bias || c.mlp_bias || c.qk_norm || c.prequantised);
    assert_int_equal(c.eos_token_ids, 0);
    assert_string_equal(c.dtype, "");
    ql_model_config_free(&c);
}

static void test_biases(void **state) {
    (void)state;
    ql_model_config c;
    ok(read_config(LLAMA, CHANGES({"attention_bias", "true"}, {"mlp_bias", "true"}), &c));
    assert_true(c.qkv_bias && c.o_bias && c.mlp_bias);
    ql_model_config_free(&c);
    ok(read_config(QWEN2, CHANGES({"tie_word_embeddings", "true"}), &c));
    assert_true(c.qkv_bias && c.tie_word_embeddings);
    assert_false(c.o_bias || c.mlp_bias || c.qk_norm);
    ql_model_config_free(&c);
    ok(read_config(QWEN3, CHANGES({"head_dim", "16"}), &c));
    assert_true(c.qk_norm);
    assert_false(c.qkv_bias || c.o_bias);
    ql_model_config_free(&c);
}

static void check_head_dim(const char *arch, const char *value, int64_t expected) {
    ql_model_config c;
    ok(value ? read_config(arch, CHANGES({"head_dim", value}), &c) : read_config(arch, CHANGES(), &c));
    assert_int_equal(c.head_dim, expected);
    ql_model_config_free(&c);
}

static void test_head_dim(void **state) {
    (void)state;
    check_head_dim(LLAMA, NULL, 8);
    check_head_dim(LLAMA, "null", 8);
    check_head_dim(LLAMA, "32", 32);
    check_head_dim(MISTRAL, "null", 8);
    check_head_dim(QWEN2, NULL, 8);
    check_head_dim(QWEN3, NULL, 128);
    check_head_dim(QWEN3, "24", 24);
}

/* ---- rotary embedding: two spellings of the same ---- */

static void check_rope(const member *changes, ql_rope_config expected) {
    ql_model_config c;
    ok(read_config(LLAMA, changes, &c));
    const ql_rope_config *r = &c.rope;
    assert_int_equal(r->kind, expected.kind);
    assert_true(r->theta == expected.theta);
    assert_true(r->kind == QL_ROPE_DEFAULT || r->factor == expected.factor);
    if (r->kind == QL_ROPE_LLAMA3) {
        assert_true(r->low_freq_factor == expected.low_freq_factor && r->high_freq_factor == expected.high_freq_factor);
        assert_int_equal(r->original_positions, expected.original_positions);
    }
    if (r->kind == QL_ROPE_YARN) {
        assert_true(r->beta_fast == expected.beta_fast && r->beta_slow == expected.beta_slow);
        assert_true(r->attention_factor == expected.attention_factor && r->truncate == expected.truncate);
        assert_int_equal(r->original_positions, expected.original_positions);
    }
    ql_model_config_free(&c);
}

static void test_rope_of_transformers_4(void **state) {
    (void)state;
    check_rope(CHANGES({"rope_theta", "500.0"}, {"rope_scaling", "null"}), (ql_rope_config){.theta = 500});
    check_rope(CHANGES({"rope_theta", "500"}, {"rope_scaling", "{\"type\": \"linear\", \"factor\": 2.5}"}),
               (ql_rope_config){.kind = QL_ROPE_LINEAR, .theta = 500, .factor = 2.5});
    check_rope(CHANGES({"rope_scaling", "{\"rope_type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 2, "
                                        "\"high_freq_factor\": 3, \"original_max_position_embeddings\": 77}"}),
               (ql_rope_config){.kind = QL_ROPE_LLAMA3,
                                .theta = 10000,
                                .factor = 8,
                                .low_freq_factor = 2,
                                .high_freq_factor = 3,
                                .original_positions = 77});
}

static void test_rope_of_transformers_5(void **state) {
    (void)state;
    check_rope(CHANGES({"rope_parameters", "{\"rope_type\": \"default\", \"rope_theta\": 1e6}"}),
               (ql_rope_config){.theta = 1e6});
    check_rope(CHANGES({"rope_theta", "3"}, {"rope_parameters", "{\"rope_type\": \"default\", \"rope_theta\": 1e6}"}),
               (ql_rope_config){.theta = 1e6});
    check_rope(CHANGES({"rope_parameters", "{\"rope_type\": \"yarn\", \"factor\": 4.0, \"rope_theta\": 7, "
                                           "\"original_max_position_embeddings\": 64}"}),
               (ql_rope_config){.kind = QL_ROPE_YARN,
                                .theta = 7,
                                .factor = 4,
                                .beta_fast = 32,
                                .beta_slow = 1,
                                .truncate = true,
                                .original_positions = 64});
    check_rope(
        CHANGES({"rope_parameters", "{\"rope_type\": \"yarn\", \"factor\": 4.0, \"rope_theta\": 7, \"beta_fast\": 9, "
                                    "\"beta_slow\": 2, \"attention_factor\": 1.5, \"truncate\": false, "
                                    "\"original_max_position_embeddings\": 64}"}),
        (ql_rope_config){.kind = QL_ROPE_YARN,
                         .theta = 7,
                         .factor = 4,
                         .beta_fast = 9,
                         .beta_slow = 2,
                         .attention_factor = 1.5,
                         .original_positions = 64});
}

/* ---- sliding windows ---- */

static void check_windows(const char *arch, const member *changes, int64_t window, const char *layers) {
    ql_model_config c;
    ok(read_config(arch, changes, &c));
    for (int64_t i = 0; i < c.layers; i++) assert_int_equal(c.layer_is_windowed[i], layers[i] == 'w');
    if (strchr(layers, 'w')) assert_int_equal(c.sliding_window, window);
    ql_model_config_free(&c);
}

static void test_windows(void **state) {
    (void)state;
    check_windows(MISTRAL, CHANGES({"sliding_window", "7"}), 7, "www");
    check_windows(MISTRAL, CHANGES({"sliding_window", "null"}), 0, "...");
    check_windows(MISTRAL, CHANGES(), 4096, "www");
    check_windows(LLAMA, CHANGES({"sliding_window", "7"}), 0, "...");
    check_windows(QWEN2, CHANGES({"sliding_window", "7"}), 0, "...");
    check_windows(QWEN2, CHANGES({"sliding_window", "7"}, {"use_sliding_window", "false"}), 0, "...");
    check_windows(QWEN2, CHANGES({"sliding_window", "7"}, {"use_sliding_window", "true"}, {"max_window_layers", "1"}),
                  7, ".ww");
    check_windows(QWEN2, CHANGES({"sliding_window", "7"}, {"use_sliding_window", "true"}), 7, "...");
    check_windows(QWEN2,
                  CHANGES({"sliding_window", "null"}, {"use_sliding_window", "true"}, {"max_window_layers", "1"}), 0,
                  "...");
    check_windows(QWEN3, CHANGES({"use_sliding_window", "true"}, {"max_window_layers", "1"}), 4096, ".ww");
    check_windows(QWEN3,
                  CHANGES({"sliding_window", "9"}, {"use_sliding_window", "true"}, {"max_window_layers", "0"},
                          {"layer_types", "[\"sliding_attention\", \"full_attention\", \"sliding_attention\"]"}),
                  9, "w.w");
    check_windows(QWEN3,
                  CHANGES({"use_sliding_window", "false"},
                          {"layer_types", "[\"full_attention\", \"full_attention\", \"full_attention\"]"}),
                  0, "...");
}

/* ---- the end of a text ---- */

static void check_eos(const char *in_config, const char *generation_config, const char *expected) {
    ql_model_config c;
    if (generation_config) scratch_text("generation_config.json", generation_config);
    ok(in_config ? read_config(LLAMA, CHANGES({"eos_token_id", in_config}), &c) : read_config(LLAMA, CHANGES(), &c));
    if (generation_config) remove(scratch("generation_config.json"));
    char text[100] = "";
    for (int i = 0; i < c.eos_token_ids; i++) {
        size_t n = strlen(text);
        snprintf(text + n, sizeof text - n, "%d ", c.eos_token_id[i]);
    }
    assert_string_equal(text, expected);
    ql_model_config_free(&c);
}

static void test_end_of_text(void **state) {
    (void)state;
    check_eos("2", NULL, "2 ");
    check_eos("[5, 6]", NULL, "5 6 ");
    check_eos("null", NULL, "");
    check_eos("2", "{\"eos_token_id\": [7, 8]}", "7 8 ");
    check_eos("2", "{\"eos_token_id\": null}", "2 ");
    check_eos("2", "{}", "2 ");
    check_eos("1000", NULL, ""); /* beyond the vocabulary */
    check_eos("[-1, 1, 99999999999]", NULL, "1 ");
    check_eos("[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]", NULL, "1 2 3 4 5 6 7 8 ");
}

static void test_dtype(void **state) {
    (void)state;
    static const char *const keys[] = {"dtype", "torch_dtype"};
    for (size_t i = 0; i < QL_LEN(keys); i++) {
        ql_model_config c;
        ok(read_config(LLAMA, CHANGES({keys[i], "\"bfloat16\""}), &c));
        assert_string_equal(c.dtype, "bfloat16");
        ql_model_config_free(&c);
    }
    ql_model_config c;
    ok(read_config(LLAMA, CHANGES({"dtype", "\"a_name_that_is_far_too_long_for_a_type\""}), &c));
    ql_model_config_free(&c);
}

/* ---- refusals ---- */

static const struct {
    const char *arch;
    member change;
    const char *part;
} refusals[] = {
    {LLAMA, {"vocab_size", NULL}, "vocab_size: is missing"},
    {LLAMA, {"vocab_size", "0"}, "vocab_size: 0 is outside"},
    {LLAMA, {"vocab_size", "\"many\""}, "vocab_size: must be an integer, not a string"},
    {LLAMA, {"vocab_size", "3.5"}, "vocab_size: must be an integer, not a number"},
    {LLAMA, {"vocab_size", "99999999999999999999"}, "vocab_size: "},
    {LLAMA, {"hidden_size", "null"}, "hidden_size: is missing"},
    {LLAMA, {"hidden_size", "-64"}, "hidden_size: -64 is outside"},
    {LLAMA, {"hidden_size", "1000000"}, "hidden_size: "},
    {LLAMA, {"intermediate_size", "[96]"}, "intermediate_size: must be an integer, not a list"},
    {LLAMA, {"num_hidden_layers", "0"}, "num_hidden_layers: 0 is outside"},
    {LLAMA, {"num_hidden_layers", "2000000000"}, "num_hidden_layers: "},
    {LLAMA, {"num_attention_heads", "true"}, "num_attention_heads: must be an integer, not a boolean"},
    {LLAMA, {"num_attention_heads", "0"}, "num_attention_heads: 0 is outside"},
    {LLAMA, {"num_key_value_heads", "3"}, "num_attention_heads: 8 is not a multiple of num_key_value_heads 3"},
    {LLAMA, {"num_key_value_heads", "0"}, "num_key_value_heads: 0 is outside"},
    {LLAMA, {"num_key_value_heads", "16"}, "num_key_value_heads 16"},
    {LLAMA, {"head_dim", "7"}, "head_dim: 7 is not even"},
    {LLAMA, {"head_dim", "0"}, "head_dim: 0 is outside"},
    {LLAMA, {"head_dim", "4096"}, "head_dim: 4096 is outside"},
    {LLAMA, {"hidden_size", "4"}, "head_dim: 0 is not even"},
    {LLAMA, {"max_position_embeddings", "0"}, "max_position_embeddings: 0 is outside"},
    {LLAMA, {"rms_norm_eps", "\"small\""}, "rms_norm_eps: must be a number, not a string"},
    {LLAMA, {"rms_norm_eps", "-1"}, "rms_norm_eps: -1 is outside"},
    {LLAMA, {"hidden_act", "\"gelu\""}, "hidden_act: \"gelu\" is not supported"},
    {LLAMA, {"rope_theta", "0"}, "rope_theta: 0 is outside"},
    {LLAMA, {"rope_theta", "\"x\""}, "rope_theta: must be a number"},
    {LLAMA, {"partial_rotary_factor", "0.5"}, "partial_rotary_factor: 0.5 is not supported"},
    {LLAMA,
     {"rope_scaling", "{\"type\": \"dynamic\", \"factor\": 2}"},
     "rope_scaling: type \"dynamic\" is not supported"},
    {LLAMA, {"rope_scaling", "{\"type\": \"linear\", \"factor\": 0}"}, "factor: 0 is outside"},
    {LLAMA, {"rope_scaling", "{\"type\": \"linear\", \"factor\": \"2\"}"}, "factor: must be a number"},
    {LLAMA, {"rope_scaling", "{\"type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 4}"}, "high_freq_factor must be above"},
    {LLAMA, {"rope_scaling", "{\"type\": \"llama3\"}"}, "rope_scaling: factor: is missing for type \"llama3\""},
    {LLAMA, {"rope_scaling", "{\"type\": \"linear\"}"}, "rope_scaling: factor: is missing"},
    {LLAMA, {"rope_scaling", "\"linear\""}, "rope_scaling: must be an object, not a string"},
    {LLAMA, {"rope_scaling", "{\"type\": 5}"}, "type: must be a text, not an integer"},
    {LLAMA, {"tie_word_embeddings", "\"yes\""}, "tie_word_embeddings: must be true or false, not a string"},
    {LLAMA, {"attention_bias", "1"}, "attention_bias: must be true or false, not an integer"},
    {LLAMA, {"hidden_act", "5"}, "hidden_act: must be a text, not an integer"},
    {LLAMA, {"quantization_config", "\"x\""}, "quantization_config: "},
    {LLAMA,
     {"rope_scaling", "{\"type\": \"llama3\", \"original_max_position_embeddings\": -1}"},
     "original_max_position_embeddings: -1 is outside"},
    {LLAMA, {"rope_scaling", "{\"type\": \"yarn\", \"beta_fast\": 0}"}, "beta_fast: 0 is outside"},
    {LLAMA, {"rope_scaling", "{\"type\": \"yarn\", \"mscale\": 1}"}, "rope_scaling: mscale is not supported"},
    {LLAMA, {"quantization_config", "{\"quant_method\": \"gptq\"}"}, "quantization_config: gptq is not supported"},
    {LLAMA,
     {"quantization_config", "{\"quant_method\": \"bitsandbytes\", \"load_in_8bit\": true}"},
     "quantization_config: anything but 4 bits is not supported"},
    {MISTRAL, {"sliding_window", "0"}, "sliding_window: 0 is outside"},
    {MISTRAL, {"sliding_window", "\"7\""}, "sliding_window: must be an integer"},
};

static void test_refusals(void **state) {
    (void)state;
    for (size_t i = 0; i < QL_LEN(refusals); i++) {
        ql_model_config c;
        ql_err e = read_config(refusals[i].arch, CHANGES(refusals[i].change), &c);
        refused(e, QL_DATA, refusals[i].part);
        refused(e, QL_DATA, "/config.json: "); /* the file is named as well */
        assert_null(c.layer_is_windowed);
    }
}

static void refused_window(const char *key, const char *value, const char *part) {
    ql_model_config c;
    refused(read_config(QWEN2, CHANGES({"use_sliding_window", "true"}, {key, value}), &c), QL_DATA, part);
}

static void test_refused_windows(void **state) {
    (void)state;
    refused_window("layer_types", "[\"full_attention\"]", "layer_types: has 1 entries for 3 layers");
    refused_window("layer_types", "[\"full_attention\", \"linear_attention\", \"full_attention\"]",
                   "layer_types: \"linear_attention\" is not supported");
    refused_window("layer_types", "[\"full_attention\", 3, \"full_attention\"]", "layer_types: ");
    refused_window("sliding_window", "-1", "sliding_window: -1 is outside");
    refused_window("max_window_layers", "\"x\"", "max_window_layers: must be an integer");
}

static void test_refused_files(void **state) {
    (void)state;
    ql_model_config c;
    refused(read_config("GPT2LMHeadModel", CHANGES(), &c), QL_DATA, "architectures: GPT2LMHeadModel is not supported");
    refused(read_config("GPT2LMHeadModel", CHANGES(), &c), QL_DATA, LLAMA ", " MISTRAL ", " QWEN2 ", " QWEN3);
    scratch_text("config.json", "[]");
    refused(ql_model_config_read(scratch("."), &c), QL_DATA, "config.json: is not an object");
    scratch_text("config.json", "{}");
    refused(ql_model_config_read(scratch("."), &c), QL_DATA, "architectures: is missing");
    scratch_text("config.json", "{\"architectures\": \"LlamaForCausalLM\"}");
    refused(ql_model_config_read(scratch("."), &c), QL_DATA, "architectures: ");
    scratch_text("config.json", "{\n\"architectures\": [\n");
    refused(ql_model_config_read(scratch("."), &c), QL_DATA, "config.json:3: is not valid JSON");
    remove(scratch("config.json"));
    refused(ql_model_config_read(scratch("."), &c), QL_DATA, "config.json: cannot be opened");
    refused(ql_model_config_read(scratch("none"), &c), QL_DATA, "none: no such folder");
}

/* A second file that is bad, too, must not hide what is wrong with the first. */
static void test_the_first_mistake_is_told(void **state) {
    (void)state;
    ql_model_config c;
    scratch_text("generation_config.json", "{");
    refused(read_config(LLAMA, CHANGES({"vocab_size", "0"}), &c), QL_DATA, "vocab_size: 0 is outside");
    remove(scratch("generation_config.json"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_biases),
        cmocka_unit_test(test_head_dim),
        cmocka_unit_test(test_rope_of_transformers_4),
        cmocka_unit_test(test_rope_of_transformers_5),
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_end_of_text),
        cmocka_unit_test(test_dtype),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_refused_windows),
        cmocka_unit_test(test_refused_files),
        cmocka_unit_test(test_the_first_mistake_is_told),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
