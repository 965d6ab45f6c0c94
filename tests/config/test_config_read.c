/* What is accepted, and what it means. */
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
// after the above
#include <cmocka.h>

#include "base/config/keys.h"
#include "tests/config/fixture.h"

static void defaults(void **state) {
    (void)state;
    ql_config c = accepted("");
    assert_string_equal(c.model_name_or_path, "m");
    assert_null(c.adapter_name_or_path);
    assert_true(c.load_in_4bit && c.bnb_4bit_use_double_quant && c.packing && c.init_lora_weights && !c.use_rslora);
    assert_string_equal(c.bnb_4bit_quant_type, "nf4");
    assert_int_equal(c.lora_r, 16);
    assert_true(c.lora_alpha == 32 && c.lora_dropout == 0.05 && c.learning_rate == 2e-4 && c.adam_epsilon == 1e-8);
    assert_int_equal(c.target_modules.count, 1);
    assert_string_equal(c.target_modules.item[0], "all-linear");
    assert_false(c.target_modules_is_list);
    assert_int_equal(c.exclude_modules.count, 0);
    assert_int_equal(c.dataset.count, 1);
    assert_string_equal(c.dataset.item[0].path, "d.jsonl");
    assert_null(c.dataset.item[0].field_prompt);
    assert_int_equal(c.completion_only_loss, QL_AUTO);
    assert_int_equal(c.gradient_checkpointing, QL_AUTO);
    assert_int_equal(c.max_length, 1024);
    assert_int_equal(c.max_steps, -1);
    assert_int_equal(c.global_batch_size, 0);
    assert_true(c.warmup_steps == -1 && c.warmup_ratio == 0.03 && c.min_lr == -1 && c.lr_end == 1e-7);
    assert_string_equal(c.eval_strategy, "no");
    assert_int_equal(c.save_steps, 0);
    assert_string_equal(c.resume_from_checkpoint, "auto");
    ql_config_free(&c);
}

static void values(void **state) {
    (void)state;
    ql_config c = accepted("learning_rate: 1e-4\nlora_alpha: '64'\nlora_r: 8.0\npacking: no\ngradient_checkpointing: True\n"
                           "completion_only_loss: auto\nmax_memory: 15GB\nper_device_train_batch_size: auto\nseed: 1_000\n"
                           "max_length: null\nadapter_name_or_path: ~\nlora_dropout:\nbnb_4bit_compute_dtype: bf16\n"
                           "eval_strategy: no\nresume_from_checkpoint: false\ndataset_text_field: \"no\"\n");
    assert_true(c.learning_rate == 1e-4 && c.lora_alpha == 64 && c.lora_r == 8 && !c.packing);
    assert_int_equal(c.gradient_checkpointing, QL_TRUE);
    assert_int_equal(c.completion_only_loss, QL_AUTO);
    assert_true(c.max_memory == 15000000000 && c.per_device_train_batch_size == 0 && c.seed == 1000);
    assert_true(c.max_length == 1024 && c.adapter_name_or_path == NULL && c.lora_dropout == 0.05);
    assert_string_equal(c.bnb_4bit_compute_dtype, "bfloat16");
    assert_string_equal(c.eval_strategy, "no");
    assert_string_equal(c.resume_from_checkpoint, "false");
    assert_string_equal(c.dataset_text_field, "no");
    ql_config_free(&c);
}

static void module_lists(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t      count;
        bool        is_list;
        const char *first;
    } cases[] = {
        {"target_modules: [q_proj, v_proj]\n", 2, true, "q_proj"},
        {"target_modules:\n- o_proj\n", 1, true, "o_proj"},
        {"target_modules: .*\\.(q|v)_proj\n", 1, false, ".*\\.(q|v)_proj"},
        {"target_modules: q_proj,v_proj, o_proj\n", 3, true, "q_proj"},
        {"target_modules: [all-linear]\n", 1, false, "all-linear"},
        {"lora_target: all\n", 1, false, "all-linear"},
        {"lora_target: q_proj,k_proj\n", 2, true, "q_proj"},
        {"lora_target_linear: true\n", 1, false, "all-linear"},
        {"lora_target_linear: false\nlora_target_modules: [up_proj]\n", 1, true, "up_proj"},
    };
    for (size_t i = 0; i < QL_LEN(cases); i++) {
        ql_config c = accepted(cases[i].text);
        assert_int_equal(c.target_modules.count, cases[i].count);
        assert_int_equal(c.target_modules_is_list, cases[i].is_list);
        assert_string_equal(c.target_modules.item[0], cases[i].first);
        ql_config_free(&c);
    }
}

static void data_sets(void **state) {
    (void)state;
    ql_config c = accepted("eval_dataset:\n- a.jsonl\n- {path: b.json, field_prompt: q, field_completion: a}\n"
                           "- path: c.jsonl\n  ds_type: json\n  type:\n    field_instruction: i\n    field_output: o\n");
    assert_int_equal(c.eval_dataset.count, 3);
    ql_dataset_spec *d = c.eval_dataset.item;
    assert_string_equal(d[0].path, "a.jsonl");
    assert_string_equal(d[1].field_prompt, "q");
    assert_string_equal(d[1].field_completion, "a");
    assert_null(d[1].field_text);
    assert_string_equal(d[2].field_instruction, "i");
    assert_string_equal(d[2].field_output, "o");
    ql_config_free(&c);
    c = accepted("eval_dataset: {path: one.jsonl}\n");
    assert_string_equal(c.eval_dataset.item[0].path, "one.jsonl");
    ql_config_free(&c);
    c = accepted("eval_dataset:\n- {path: a, type: sharegpt}\n- {path: b, formatting: alpaca, instruction_template: '{{ x }}'}\n- {path: c, type: my.loader}\n"
                 "- {path: d, type: completion, field_chosen: y}\n");
    d = c.eval_dataset.item;
    assert_string_equal(d[0].format, "conversations");
    assert_string_equal(d[1].format, "alpaca");
    assert_string_equal(d[1].instruction_template, "{{ x }}");
    assert_null(d[2].format);
    assert_string_equal(d[3].format, "text");
    assert_string_equal(d[3].field_chosen, "y");
    ql_config_free(&c);
    c = accepted("eval_dataset: {path: a, formatting: alpaca, ranking: true, columns: {prompt: a, query: b, response: c, messages: d}}\n");
    d = c.eval_dataset.item;
    assert_string_equal(d->field_instruction, "a");
    assert_string_equal(d->field_input, "b");
    assert_string_equal(d->field_output, "c");
    assert_string_equal(d->field_conversations, "d");
    ql_config_free(&c);
}

/* Each alias of the table leads to a key, is no key itself, and stands there once. */
static void tables_agree(void **state) {
    (void)state;
    for (size_t i = 0; i < ql_n_aliases; i++) {
        const char *name = ql_aliases[i].name;
        if (!ql_key_find(ql_aliases[i].key)) fail_msg("%s leads nowhere", name);
        if (ql_key_find(name) || ql_foreign_find(name) || ql_is_section(name)) fail_msg("%s is in two tables", name);
        if (ql_alias_find(name) != &ql_aliases[i]) fail_msg("%s stands there twice", name);
    }
    for (size_t i = 0; i < ql_n_foreigns; i++) {
        const char *name = ql_foreigns[i].name;
        if (ql_key_find(name) || ql_is_section(name)) fail_msg("%s is in two tables", name);
        if (ql_foreign_find(name) != &ql_foreigns[i]) fail_msg("%s stands there twice", name);
    }
}

/* Key by key: what an alias with a value does to the resolved configuration. */
static void aliases(void **state) {
    (void)state;
    static const struct {
        const char *text, *key, *value;
    } cases[] = {
        {"bits: 4", "load_in_4bit", "true"},
        {"bits: 16", "load_in_4bit", "false"},
        {"quantization_bit: 4", "load_in_4bit", "true"},
        {"adapter: qlora", "load_in_4bit", "true"},
        {"use_bnb_nested_quant: false", "bnb_4bit_use_double_quant", "false"},
        {"double_quant: false", "bnb_4bit_use_double_quant", "false"},
        {"quant_type: fp4", "bnb_4bit_quant_type", "fp4"},
        {"r: 8", "lora_r", "8"},
        {"lora_rank: 64", "lora_r", "64"},
        {"peft_use_rslora: true", "use_rslora", "true"},
        {"max_seq_length: 2048", "max_length", "2048"},
        {"cutoff_len: 2048", "max_length", "2048"},
        {"sequence_len: 2048", "max_length", "2048"},
        {"sample_packing: false", "packing", "false"},
        {"train_on_inputs: true", "train_on", "all"},
        {"train_on_inputs: false", "train_on", "auto"},
        {"assistant_only_loss: true", "train_on", "assistant"},
        {"mask_history: true", "train_on", "last"},
        {"chat_template: tokenizer_default", "chat_template", "auto"},
        {"chat_template_kwargs: {enable_thinking: false, n: 2, s: 'no', l: [x]}", "chat_template_kwargs", "{\"enable_thinking\": false, \"n\": 2, \"s\": \"no\", \"l\": [\"x\"]}"},
        {"chat_template_kwargs: '{\"a\": 1}'", "chat_template_kwargs", "{\"a\": 1}"},
        {"chat_template_kwargs: {}", "chat_template_kwargs", "null"},
        {"train_on_prompt: True", "train_on", "all"},
        {"excess_length_strategy: raise", "excess_length_strategy", "error"},
        {"micro_batch_size: 2", "per_device_train_batch_size", "2"},
        {"num_epochs: 3", "num_train_epochs", "3"},
        {"use_cpu: true", "device", "cpu"},
        {"no_cuda: false", "device", "auto"},
        {"max_memory_MB: 15000", "max_memory", "15000000000"},
        {"optimizer: adamw_torch_fused", "optim", "adamw_torch"},
        {"optim: paged_adamw_32bit", "optim", "adamw_torch"},
        {"lr_scheduler: linear", "lr_scheduler_type", "linear"},
        {"lr_scheduler_type: cosine_with_min_lr\nlr_scheduler_kwargs: {min_lr_rate: 0.1}", "min_lr_rate", "0.1"},
        {"lr_scheduler_type: polynomial\nlr_scheduler_kwargs:\n  power: 2\n  lr_end: 0", "lr_power", "2"},
        {"lr_scheduler_type: inverse_sqrt\nlr_scheduler_kwargs: {timescale: 500}", "lr_timescale", "500"},
        {"lr_scheduler_kwargs: {num_cycles: 0.5}", "lr_scheduler_type", "cosine"},
        {"lr_scheduler_kwargs: {}", "lr_scheduler_type", "cosine"},
        {"evaluation_strategy: epoch\nval_set_size: 0.1", "eval_strategy", "epoch"},
        {"quantization_config: {load_in_4bit: true, bnb_4bit_quant_type: fp4}", "bnb_4bit_quant_type", "fp4"},
        {"special_tokens: {pad_token: <pad>}", "seed", "42"},
        {"clip_grad_norm: 0", "max_grad_norm", "0"},
    };
    for (size_t i = 0; i < QL_LEN(cases); i++) {
        ql_config c = accepted(cases[i].text);
        ql_str    value = {0};
        ql_key_write(ql_key_find(cases[i].key), &c, &value);
        if (strcmp(value.data, cases[i].value) != 0) fail_msg("%s: %s is %s", cases[i].text, cases[i].key, value.data);
        ql_str_free(&value);
        ql_config_free(&c);
    }
}

static void expect_notes(const char *text, const char *expected) {
    ql_config c;
    ql_str    notes = {0};
    if (ql_bad(read_with(text, NULL, &c, &notes))) fail_msg("%s", ql_err_text());
    assert_string_equal(notes.data ? notes.data : "", expected);
    ql_str_free(&notes);
    ql_config_free(&c);
}

static void notes(void **state) {
    (void)state;
    expect_notes("lora_r: 8\nload_in_8bit: false\npush_to_hub: no\nbias: none\nmodules_to_save: []\n", "");
    expect_notes("max_seq_length: 8\nbits: 4\n",
                 "c.yaml:4: max_seq_length is read as max_length\nc.yaml:5: bits is read as load_in_4bit: true");
    expect_notes("report_to: [tensorboard, wandb]\ngradient_checkpointing_kwargs: {use_reentrant: false}\nddp_timeout: 180000000\n",
                 "c.yaml:4: report_to has no effect here: metrics are written to metrics.jsonl and sent nowhere\n"
                 "c.yaml:5: gradient_checkpointing_kwargs has no effect here: there is one way to recompute\n"
                 "c.yaml:6: ddp_timeout has no effect here: ranks wait as long as there is progress; see step_timeout");
    expect_notes("optim: paged_adamw_32bit\n", "c.yaml:4: optim: paged_adamw_32bit is read as adamw_torch, which is the same here");
    expect_notes("eval_steps: 5\n", "c.yaml:4: eval_steps has no effect without eval_strategy: steps");
    expect_notes("report_to: null\n", "");
    expect_notes("group_by_length: true\n", "c.yaml:4: group_by_length has no effect with packing: rows are full");
    expect_notes("packing: false\npacking_strategy: wrapped\n", "c.yaml:5: packing_strategy has no effect without packing: long records are not cut");
    expect_notes("packing: false\ngroup_by_length: true\n", "");
    expect_notes("packing_strategy: bfd_split\nexcess_length_strategy: truncate\n",
                 "c.yaml:5: excess_length_strategy has no effect with packing_strategy: bfd_split, which cuts long records");
    expect_notes("early_stopping_threshold: 0.1\n", "c.yaml:4: early_stopping_threshold has no effect without early_stopping_patience");
    expect_notes("eval_strategy: epoch\nval_set_size: 3\nearly_stopping_patience: 2\n",
                 "c.yaml:6: early stopping without load_best_model_at_end hands out the last adapter, which is not the best");
    expect_notes("eval_strategy: epoch\nval_set_size: 3\nearly_stopping_patience: 2\nearly_stopping_threshold: 0.1\nload_best_model_at_end: true\n"
                 "metric_for_best_model: eval_perplexity\ngreater_is_better: null\nsave_strategy: best\n", "");
    expect_notes("warmup_ratio: 0.1\nwarmup_steps: 5\n", "c.yaml:4: warmup_ratio has no effect beside warmup_steps");
}

static void overrides(void **state) {
    (void)state;
    char *pairs[] = {"lora_r=32", "max_seq_length=64", "learning_rate=3e-5", "target_modules=[q_proj]", "adapter_name_or_path=",
                     "lr_scheduler_type=cosine_with_min_lr", "lr_scheduler_kwargs.min_lr=1e-6", "dataset=[a.jsonl, {path: b=c}]",
                     "lora_r=33", "seed=null", NULL};
    ql_config c;
    ql_err    e = read_with("lora_r: 4\nmax_length: 128\nadapter_name_or_path: x\nseed: 7\n", pairs, &c, NULL);
    if (ql_bad(e)) fail_msg("%s", ql_err_text());
    assert_true(c.lora_r == 33 && c.max_length == 64 && c.learning_rate == 3e-5 && c.min_lr == 1e-6 && c.seed == 42);
    assert_null(c.adapter_name_or_path);
    assert_true(c.target_modules_is_list);
    assert_int_equal(c.dataset.count, 2);
    assert_string_equal(c.dataset.item[1].path, "b=c");
    ql_config_free(&c);

    char *only[] = {"load_in_4bit=false", "model_name_or_path=x"};
    assert_false(ql_bad(ql_config_from_overrides(only, 2, &c)));
    assert_false(c.load_in_4bit);
    assert_int_equal(c.lora_r, 16);
    assert_null(c.output_dir);
    ql_config_free(&c);
    assert_false(ql_bad(ql_config_from_overrides(NULL, 0, &c)));
    ql_config_free(&c);
}

static void keys_together(void **state) {
    (void)state;
    ql_config c = accepted("eval_strategy: steps\nval_set_size: 100\nlogging_steps: 7\n");
    assert_int_equal(c.eval_steps, 7);
    ql_config_free(&c);
    c = accepted("warmup_steps: 0\n");
    assert_true(c.warmup_steps == -1 && c.warmup_ratio == 0);
    ql_config_free(&c);
    c = accepted("warmup_steps: 0\nwarmup_ratio: 0.1\n");
    assert_true(c.warmup_steps == -1 && c.warmup_ratio == 0.1);
    ql_config_free(&c);
    c = accepted("warmup_steps: 0.07\n");
    assert_true(c.warmup_steps == 0.07);
    ql_config_free(&c);
    c = accepted("max_seq_length: 512\nmax_length: 512\n"); /* two names, one value */
    assert_int_equal(c.max_length, 512);
    ql_config_free(&c);
    c = accepted("max_seq_length: null\nmax_length: 512\nsequence_len:\n");
    assert_int_equal(c.max_length, 512);
    ql_config_free(&c);
}

static void rows_per_step(void **state) {
    (void)state;
    ql_config c = accepted("");
    assert_int_equal(ql_config_rows_per_step(&c, 3), 16);
    c.per_device_train_batch_size = 4; /* speed and memory only */
    assert_int_equal(ql_config_rows_per_step(&c, 3), 16);
    c.per_device_train_batch_size = 0;
    c.gradient_accumulation_steps = 4;
    assert_int_equal(ql_config_rows_per_step(&c, 3), 12);
    c.per_device_train_batch_size = 2;
    assert_int_equal(ql_config_rows_per_step(&c, 3), 24);
    c.global_batch_size = 5;
    assert_int_equal(ql_config_rows_per_step(&c, 3), 5);
    ql_config_free(&c);
}

static void odd_files(void **state) {
    (void)state;
    static const char *const texts[] = {
        "\xef\xbb\xbf" REQUIRED,                               /* byte order mark */
        "model_name_or_path: m\r\ndataset: d\r\noutput_dir: o\r\n", /* Windows */
        "---\n" REQUIRED "...\n",
        "{model_name_or_path: m, dataset: d, output_dir: o}",
        "# \xc3\xa4\n\n" REQUIRED "\n# end",
        "\"model_name_or_path\": m\ndataset: 'd'\noutput_dir: >-\n  o\n",
    };
    for (size_t i = 0; i < QL_LEN(texts); i++) {
        ql_config c;
        if (ql_bad(read_bytes(texts[i], strlen(texts[i]), &c))) fail_msg("%zu: %s", i, ql_err_text());
        assert_string_equal(c.output_dir, "o");
        ql_config_free(&c);
    }
}

static size_t read_folder(const char *folder) {
    char  *pattern = ql_format("%s/%s/*.yaml", QL_SOURCE, folder);
    glob_t found;
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        ql_config c;
        if (ql_bad(ql_config_read(found.gl_pathv[i], NULL, 0, &c, NULL))) fail_msg("%s", ql_err_text());
        ql_config_free(&c);
    }
    size_t n = found.gl_pathc;
    globfree(&found);
    free(pattern);
    return n;
}

/* What we hand out is what we accept. */
static void shipped_files(void **state) {
    (void)state;
    assert_true(read_folder("configs") >= 3);
    assert_true(read_folder("examples") >= 1);
}

static const char *fact(const ql_config_fact *facts, size_t n, const char *key) {
    for (size_t i = 0; i < n; i++)
        if (!strcmp(facts[i].key, key)) return facts[i].value;
    return NULL;
}

static void facts(void **state) {
    (void)state;
    ql_config       c = accepted("learning_rate: 0.1\nlogging_steps: 3\neval_dataset: e\n");
    ql_config_fact *list;
    size_t          n = ql_config_facts(&c, &list);
    assert_string_equal(fact(list, n, "learning_rate"), "0.1");
    assert_string_equal(fact(list, n, "dataset"), "{}");
    static const char *const absent[] = {"logging_steps", "output_dir", "model_name_or_path", "eval_dataset", "device", "save_steps",
                                         "per_device_train_batch_size", "gradient_checkpointing", "max_memory"};
    for (size_t i = 0; i < QL_LEN(absent); i++) assert_null(fact(list, n, absent[i]));
    static const char *const present[] = {"seed", "global_batch_size", "max_length", "optim", "target_modules", "packing"};
    for (size_t i = 0; i < QL_LEN(present); i++) assert_non_null(fact(list, n, present[i]));
    for (size_t i = 0; i < n; i++) free(list[i].value);
    free(list);
    ql_config_free(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),      cmocka_unit_test(values),        cmocka_unit_test(module_lists),
        cmocka_unit_test(data_sets),     cmocka_unit_test(tables_agree),  cmocka_unit_test(aliases),
        cmocka_unit_test(notes),         cmocka_unit_test(overrides),     cmocka_unit_test(keys_together),
        cmocka_unit_test(rows_per_step), cmocka_unit_test(odd_files),     cmocka_unit_test(facts),
        cmocka_unit_test(shipped_files),
    };
    return cmocka_run_group_tests(tests, fixture_start, fixture_end);
}
