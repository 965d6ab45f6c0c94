/* Every class of mistake, with its sentence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
// after the above
#include <cmocka.h>

#include "base/mem.h"
#include "tests/config/fixture.h"

static void expect_verdict(ql_err e, const char *expected) {
    if (!ql_bad(e)) fail_msg("accepted, but expected: %s", expected);
    assert_int_equal(e.code, QL_USAGE);
    assert_string_equal(ql_err_text(), expected);
}

static void expect(const char *text, const char *expected) {
    ql_config c;
    expect_verdict(read_text(text, &c), expected);
    assert_null(c.model_name_or_path); /* nothing half-read is left */
}

static void expect_file(const char *text, const char *expected) {
    ql_config c;
    expect_verdict(read_bytes(text, strlen(text), &c), expected);
}

static void unknown_keys(void **state) {
    (void)state;
    expect("lora_rr: 8\n", "c.yaml:4: unknown key 'lora_rr'; the nearest known key is lora_r");
    expect("max_seq_lenght: 8\n", "c.yaml:4: unknown key 'max_seq_lenght'; the nearest known key is max_seq_length");
    expect("\n\ncompletely_different: 8\n",
           "c.yaml:6: unknown key 'completely_different'; qlora-worker --help-config lists all keys");
    expect("lr_scheduler_kwargs: {powr: 2}\n",
           "c.yaml:4: unknown key 'lr_scheduler_kwargs.powr'; the nearest known key is lr_scheduler_kwargs.power");
    expect("\"a\\eb\\u009bc\": 1\n", "c.yaml:4: unknown key 'a?b?c'; qlora-worker --help-config lists all keys");
}

static void wrong_types(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"lora_r: many\n", "c.yaml:4: lora_r is 'many'; expected a whole number from 1 to 65536"},
        {"lora_r: 1.5\n", "c.yaml:4: lora_r is '1.5'; expected a whole number from 1 to 65536"},
        {"lora_r: [8]\n", "c.yaml:4: lora_r is a list; expected a whole number from 1 to 65536"},
        {"lora_r: true\n", "c.yaml:4: lora_r is 'true'; expected a whole number from 1 to 65536"},
        {"learning_rate: {a: 1}\n", "c.yaml:4: learning_rate is a mapping; expected a number above 0"},
        {"learning_rate: .inf\n", "c.yaml:4: learning_rate is '.inf'; expected a number above 0"},
        {"learning_rate: nan\n", "c.yaml:4: learning_rate is 'nan'; expected a number above 0"},
        {"packing: 1\n", "c.yaml:4: packing is '1'; expected true or false"},
        {"packing: 'true'\n", "c.yaml:4: packing is 'true'; expected true or false without quotes"},
        {"gradient_checkpointing: maybe\n", "c.yaml:4: gradient_checkpointing is 'maybe'; expected true, false or auto"},
        {"adapter_name_or_path: [x]\n", "c.yaml:4: adapter_name_or_path is a list; expected a text"},
        {"adapter_name_or_path: true\n", "c.yaml:4: adapter_name_or_path is 'true'; expected a text (a text that looks like "
                                         "true or false needs quotes)"},
        {"adapter_name_or_path: ''\n", "c.yaml:4: adapter_name_or_path is ''; expected a text that is not empty"},
        {"max_memory: lots\n", "c.yaml:4: max_memory is 'lots'; expected a size such as 15GiB or 500MiB, or auto"},
        {"max_memory: {0: 15GB}\n", "c.yaml:4: max_memory is a mapping; expected a size such as 15GiB or 500MiB, or auto"},
        {"max_memory: 12\n", "c.yaml:4: max_memory is '12'; expected a size such as 15GiB or 500MiB, or auto, at least 1MiB"},
        {"target_modules: {a: b}\n", "c.yaml:4: target_modules is a mapping; expected a text or a list of texts"},
        {"target_modules: [[a]]\n", "c.yaml:4: target_modules is a list; expected a text or a list of texts"},
        {"target_modules: []\n", "c.yaml:4: target_modules is an empty list; expected a text or a list of texts"},
        {"seed: 010\n", "c.yaml:4: seed is '010'; expected a whole number of at least 0"},
        {"lr_scheduler_kwargs: 3\n", "c.yaml:4: lr_scheduler_kwargs is '3'; expected a mapping"},
    };
    for (size_t i = 0; i < QL_LEN(cases); i++)
        expect(cases[i][0], cases[i][1]);
}

static void out_of_range(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"lora_r: 0\n", "c.yaml:4: lora_r is '0'; expected a whole number from 1 to 65536"},
        {"lora_dropout: 1\n", "c.yaml:4: lora_dropout is '1'; expected a number from 0 to below 1"},
        {"lora_dropout: -0.1\n", "c.yaml:4: lora_dropout is '-0.1'; expected a number from 0 to below 1"},
        {"lora_alpha: 0\n", "c.yaml:4: lora_alpha is '0'; expected a number above 0"},
        {"learning_rate: 0\n", "c.yaml:4: learning_rate is '0'; expected a number above 0"},
        {"adam_beta1: 1.0\n", "c.yaml:4: adam_beta1 is '1.0'; expected a number from 0 to below 1"},
        {"max_length: 1\n", "c.yaml:4: max_length is '1'; expected a whole number from 2 to 16777216"},
        {"warmup_ratio: 1.5\n", "c.yaml:4: warmup_ratio is '1.5'; expected a number from 0 to 1"},
        {"num_train_epochs: 0\n", "c.yaml:4: num_train_epochs is '0'; expected a number above 0"},
        {"max_steps: -2\n", "c.yaml:4: max_steps is '-2'; expected a whole number of at least -1"},
        {"max_steps: 0\n", "c.yaml:4: max_steps is '0'; expected a whole number of at least 1, or -1 to go by num_train_epochs"},
        {"global_batch_size: 0\n", "c.yaml:4: global_batch_size is '0'; expected a whole number of at least 1"},
        {"gradient_accumulation_steps: 0\n",
         "c.yaml:4: gradient_accumulation_steps is '0'; expected a whole number from 1 to 1048576, or auto"},
        {"per_device_train_batch_size: 4611686018427387904\n", /* products of it would overflow */
         "c.yaml:4: per_device_train_batch_size is '4611686018427387904'; expected a whole number from 1 to 1048576, or auto"},
        {"seed: 99999999999999999999\n", "c.yaml:4: seed is '99999999999999999999'; expected a whole number of at least 0"},
        {"warmup_steps: 2.5\n", "c.yaml:4: warmup_steps is 2.5; expected a whole number, or a fraction below 1"},
        {"val_set_size: 2.5\n", "c.yaml:4: val_set_size is 2.5; expected a whole number of records, or a fraction below 1"},
        {"bnb_4bit_quant_type: nf3\n", "c.yaml:4: bnb_4bit_quant_type is 'nf3'; expected nf4 or fp4"},
        {"device: tpu\n", "c.yaml:4: device is 'tpu'; expected auto, cpu or cuda"},
        {"eval_strategy: always\n", "c.yaml:4: eval_strategy is 'always'; expected no, steps or epoch"},
        {"optim: adamw_8bit\n", "c.yaml:4: optim is 'adamw_8bit'; expected adamw_torch or one of its other names (adamw_torch_fused, "
                                "adamw, adamw_hf, adamw_apex_fused, paged_adamw, paged_adamw_32bit)"},
        {"lr_scheduler_type: cosine_with_restarts\n",
         "c.yaml:4: lr_scheduler_type is 'cosine_with_restarts'; expected linear, cosine, constant, constant_with_warmup, "
         "cosine_with_min_lr, polynomial or inverse_sqrt"},
    };
    for (size_t i = 0; i < QL_LEN(cases); i++) expect(cases[i][0], cases[i][1]);
}

static void refused_politely(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"push_to_hub: true\n", "c.yaml:4: push_to_hub is 'true', which is not supported: nothing is ever uploaded; set it to false "
                                "and upload output_dir yourself"},
        {"use_dora: yes\n", "c.yaml:4: use_dora is 'yes', which is not supported: DoRA is not supported; set it to false"},
        {"load_in_8bit: true\n",
         "c.yaml:4: load_in_8bit is 'true', which is not supported: 8-bit bases are not supported yet; use load_in_4bit"},
        {"bits: 8\n", "c.yaml:4: bits is '8'; expected 4 or 16 or 32 (it is another name of load_in_4bit)"},
        {"neftune_noise_alpha: 5\n",
         "c.yaml:4: neftune_noise_alpha is '5', which is not supported: NEFTune is not supported; remove the key"},
        {"modules_to_save: [lm_head]\n",
         "c.yaml:4: modules_to_save is a list, which is not supported: no layer is trained whole; remove the key"},
        {"lr_scheduler_kwargs: {num_cycles: 2}\n", "c.yaml:4: lr_scheduler_kwargs.num_cycles is '2', which is not supported: the "
                                                   "cosine is half a wave; use 0.5 or remove the key"},
    };
    for (size_t i = 0; i < QL_LEN(cases); i++) expect(cases[i][0], cases[i][1]);
}

static void names_that_disagree(void **state) {
    (void)state;
    expect("max_seq_length: 512\nseed: 1\nmax_length: 1024\n",
           "c.yaml:6: max_length is another name of max_seq_length, which was set to 512 (c.yaml:4), and not to 1024; keep one of them");
    expect("cutoff_len: 512\nsequence_len: 256\n",
           "c.yaml:5: sequence_len is another name of cutoff_len, which was set to 512 (c.yaml:4), and not to 256; keep one of them");
    expect("seed: 1\nseed: 1\n", "c.yaml:5: the key 'seed' stands here a second time, first in line 4; keep one");
}

static void keys_together(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"lr_scheduler_type: cosine_with_min_lr\n", "c.yaml:4: cosine_with_min_lr needs min_lr or min_lr_rate; add one"},
        {"lr_scheduler_type: cosine_with_min_lr\nmin_lr: 1e-6\nmin_lr_rate: 0.1\n",
         "c.yaml:5: min_lr and min_lr_rate say the same; keep one"},
        {"lr_scheduler_type: cosine_with_min_lr\nmin_lr: 1\n", "c.yaml:5: min_lr 1 is above learning_rate 0.0002"},
        {"min_lr: 1e-6\n", "c.yaml:4: min_lr needs lr_scheduler_type: cosine_with_min_lr, which is cosine"},
        {"lr_scheduler_kwargs: {power: 2}\n", "c.yaml:4: lr_power needs lr_scheduler_type: polynomial, which is cosine"},
        {"lr_scheduler_type: polynomial\nlearning_rate: 1e-8\n", "c.yaml: lr_end 1e-07 must be below learning_rate 1e-08"},
        {"eval_strategy: steps\n",
         "c.yaml:4: eval_strategy is steps, but there are no evaluation data; add eval_dataset or val_set_size"},
        {"val_set_size: 0.1\neval_dataset: e\n", "c.yaml:4: val_set_size and eval_dataset both name evaluation data; keep one, or set val_set_size to 0"},
        {"load_best_model_at_end: true\nval_set_size: 3\n",
         "c.yaml:4: load_best_model_at_end needs evaluations during training; set eval_strategy to steps or epoch"},
        {"early_stopping_patience: 2\n",
         "c.yaml:4: early_stopping_patience needs evaluations during training; set eval_strategy to steps or epoch"},
        {"save_strategy: best\n", "c.yaml:4: save_strategy: best needs evaluations during training; set eval_strategy to steps or epoch"},
        {"eval_strategy: epoch\nval_set_size: 3\nsave_strategy: no\nload_best_model_at_end: true\n",
         "c.yaml:7: load_best_model_at_end needs checkpoints; set save_strategy to best, steps or epoch"},
        {"greater_is_better: true\n", "c.yaml:4: greater_is_better is true, but of loss and perplexity less is better; set it to false"},
        /* a mistake in one key silences what it says together with others */
        {"lr_scheduler_type: no\nmin_lr: 1e-6\n",
         "c.yaml:4: lr_scheduler_type is 'no'; expected linear, cosine, constant, constant_with_warmup, cosine_with_min_lr, polynomial "
         "or inverse_sqrt"},
    };
    for (size_t i = 0; i < QL_LEN(cases); i++) expect(cases[i][0], cases[i][1]);
}

static void data_sets(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"eval_dataset: []\n", "c.yaml:4: eval_dataset is an empty list; expected at least one path"},
        {"eval_dataset: [{field_text: x}]\n", "c.yaml:4: eval_dataset has an entry without path; expected {path: FILE}"},
        {"eval_dataset:\n- a\n- {path: b, field_promt: x}\n",
         "c.yaml:6: unknown key 'field_promt' in a data set; expected path, format or field_NAME; the nearest is field_prompt"},
        {"eval_dataset: [[a]]\n",
         "c.yaml:4: eval_dataset is a list; expected a path, or a list of paths or of mappings with path"},
        {"eval_dataset: true\n",
         "c.yaml:4: eval_dataset is 'true'; expected a path, or a list of paths or of mappings with path"},
        {"eval_dataset: {path: [a]}\n", "c.yaml:4: path of a data set is a list; expected a text"},
        {"eval_dataset: {path: a, max_records: 0}\n", "c.yaml:4: max_records of a data set is '0'; expected a whole number, at least 1"},
        {"eval_dataset: {path: a, max_records: 1.5}\n", "c.yaml:4: max_records of a data set is '1.5'; expected a whole number, at least 1"},
        {"eval_dataset: {path: a, weight: -1}\n", "c.yaml:4: weight of a data set is '-1'; expected a number above 0, at most 1000"},
        {"eval_dataset: {path: a, weight: often}\n", "c.yaml:4: weight of a data set is 'often'; expected a number above 0, at most 1000"},
        {"eval_dataset: {path: a, format: tree}\n",
         "c.yaml:4: format of a data set is 'tree'; expected auto, messages, conversations, prompt, alpaca, alpaca_chat, question, preference or text"},
        {"eval_dataset: {path: a, columns: {promt: x}}\n",
         "c.yaml:4: unknown column 'promt'; expected prompt, query, response, history, messages, system, chosen or rejected"},
        {"eval_dataset: {path: a, format: dpo, type: alpaca}\n", "c.yaml:4: format of a data set is given twice, as 'preference' and 'alpaca'; keep one"},
        {"eval_dataset: {path: a, weight: 2}\n", "c.yaml:4: eval_dataset has an entry with weight; evaluation takes each record once: remove it"},
        {"eval_dataset: {path: a, split: test}\n",
         "c.yaml:4: split of a data set is 'test'; a data set is a local file: name the file of the split"},
        {"eval_dataset:\n  path: a\n  path: b\n", "c.yaml:6: the key 'path' stands here a second time, first in line 5; keep one"},
    };
    for (size_t i = 0; i < QL_LEN(cases); i++) expect(cases[i][0], cases[i][1]);
}

static void all_at_once(void **state) {
    (void)state;
    char     *overrides[] = {"lora_alpha=x", "foo", "=3", "max_lenght=3", "dataset=[a", "seed=*x", "lora_dropout: 3=1", NULL};
    ql_config c;
    expect_verdict(read_with("lora_rr: 5\nlora_r: abc\n", overrides, &c, NULL),
                   "c.yaml:4: unknown key 'lora_rr'; the nearest known key is lora_r\n"
                   "c.yaml:5: lora_r is 'abc'; expected a whole number from 1 to 65536\n"
                   "command line: lora_alpha=x: lora_alpha is 'x'; expected a number above 0\n"
                   "command line: foo: expected KEY=VALUE\n"
                   "command line: =3: expected KEY=VALUE\n"
                   "command line: max_lenght=3: unknown key 'max_lenght'; the nearest known key is max_length\n"
                   "command line: dataset=[a: this is not YAML: did not find expected ',' or ']' while parsing a flow sequence\n"
                   "command line: seed=*x: anchors and aliases (& and *) are not read; write the value out, or put it in quotes\n"
                   "command line: lora_dropout: 3=1: unknown key 'lora_dropout: 3'; the nearest known key is lora_dropout");
}

static void many_mistakes(void **state) {
    (void)state;
    ql_str text = {0};
    for (int i = 0; i < 900; i++) ql_str_printf(&text, "key_number_%d: 1\n", i);
    ql_config c;
    ql_err    e = read_text(text.data, &c);
    assert_int_equal(e.code, QL_USAGE);
    const char *said = ql_err_text();
    assert_non_null(strstr(said, "c.yaml:4: unknown key 'key_number_0'"));
    assert_non_null(strstr(said, "more mistakes"));
    for (const char *p = said; (p = strchr(p, '\n'));) assert_true(!strncmp(++p, "c.yaml:", 7) || !strncmp(p, "and ", 4));
    ql_str_free(&text);
}

static void missing_keys(void **state) {
    (void)state;
    expect_file("seed: 1\n", "c.yaml: model_name_or_path is missing; add model_name_or_path: FOLDER\n"
                             "c.yaml: dataset is missing; add dataset: FILE.jsonl\n"
                             "c.yaml: output_dir is missing; add output_dir: FOLDER");
    expect_file("model_name_or_path: null\ndataset: d\noutput_dir: ~\n",
                "c.yaml: model_name_or_path is missing; add model_name_or_path: FOLDER\nc.yaml: output_dir is missing; add output_dir: FOLDER");
}

static void broken_files(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"", "c.yaml: holds no keys; write KEY: VALUE lines"},
        {"# only a comment\n", "c.yaml: holds no keys; write KEY: VALUE lines"},
        {"- a\n- b\n", "c.yaml:1: is a list, not KEY: VALUE lines"},
        {"just words\n", "c.yaml:1: is 'just words', not KEY: VALUE lines"},
        {"a: 1\nb: &x 2\nc: *x\n",
         "c.yaml:2: anchors and aliases (& and *) are not read; write the value out, or put it in quotes"},
        {"a: 1\nb: *.jsonl\n", "c.yaml:2: this is not YAML: * begins an alias; put a text that begins with it in quotes of its own: \"*...\""},
        {"a: !!python/object:os.system x\n", "c.yaml:1: tags (!) are not read; remove the tag, or put the value in quotes"},
        {"a: 1\n\tb: 2\n",
         "c.yaml:2: this is not YAML: found a tab character that violates indentation; indent with spaces"},
        {"a:\n\tb: 2\n", "c.yaml:2: this is not YAML: found character that cannot start any token; indent with spaces, and put quotes "
                           "around special characters"},
        {"a: 1\nb: \xff\n", "c.yaml:2: this is not UTF-8 text: invalid leading UTF-8 octet"},
        {"a: \"\\0\"\n", "c.yaml:1: a value holds a NUL character"},
        {"a: b: c\n", "c.yaml:1: this is not YAML: mapping values are not allowed in this context"},
        {"? [a]\n: b\n", "c.yaml:1: a key must be a single word"},
        {"a: 1\n---\nb: 2\n", "c.yaml:2: a second document begins here; only one is read"},
        {"a: [[[[[[[[[1]]]]]]]]]\n", "c.yaml:1: more than 8 levels of nesting"},
    };
    for (size_t i = 0; i < QL_LEN(cases); i++) expect_file(cases[i][0], cases[i][1]);
    ql_config c;
    expect_verdict(read_bytes("a: \0b\n", 6, &c), "c.yaml:1: this is not UTF-8 text: control characters are not allowed");
}

static void bombs(void **state) {
    (void)state;
    ql_str    text = {0};
    ql_config c;
    for (int i = 0; i < 3000; i++) ql_str_printf(&text, "k%d: 1\n", i);
    expect_verdict(read_bytes(text.data, text.size, &c), "c.yaml:1025: more than 1024 keys in one mapping");
    text.size = 0;
    ql_str_puts(&text, "dataset: [");
    for (int i = 0; i < 70000; i++) ql_str_puts(&text, "a,");
    ql_str_puts(&text, "]\n");
    expect_verdict(read_bytes(text.data, text.size, &c), "c.yaml:1: more than 65536 values");
    text.size = 0;
    while (text.size <= 1 << 20) ql_str_puts(&text, "# nothing at all in this line, and in a million others\n");
    ql_err e = read_bytes(text.data, text.size, &c);
    assert_int_equal(e.code, QL_USAGE);
    assert_non_null(strstr(ql_err_text(), "c.yaml: has "));
    text.size = 0;
    for (int i = 0; i < 500000; i++) ql_str_puts(&text, "[");
    expect_verdict(read_bytes(text.data, text.size, &c), "c.yaml:1: more than 8 levels of nesting");
    ql_str_free(&text);
}

/* What is said goes into logs that others may read. */
static void passwords_are_not_shown(void **state) {
    (void)state;
    char     *overrides[] = {"hub_token=hf_abc", "WANDB_API_KEY=abc", "my_secret=abc", "db.password=abc", "max_tokens=7", NULL};
    ql_config c;
    ql_str    notes = {0};
    ql_err    e = read_with("hf_token: hf_abc\n", overrides, &c, &notes);
    assert_int_equal(e.code, QL_USAGE);
    assert_null(strstr(ql_err_text(), "abc"));
    assert_non_null(strstr(ql_err_text(), "command line: WANDB_API_KEY=...: unknown key"));
    assert_non_null(strstr(ql_err_text(), "command line: max_tokens=7: unknown key"));
    assert_null(strstr(notes.data, "abc"));
    assert_non_null(strstr(notes.data, "command line: hub_token=...: hub_token has no effect here"));
    ql_str_free(&notes);
}

static void no_file(void **state) {
    (void)state;
    ql_config c;
    expect_verdict(ql_config_read("none.yaml", NULL, 0, &c, NULL), "none.yaml: cannot be opened: No such file or directory");
    expect_verdict(ql_config_read("/tmp", NULL, 0, &c, NULL), "/tmp: is not a regular file");
    expect_verdict(ql_config_read("/dev/null", NULL, 0, &c, NULL), "/dev/null: is not a regular file");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unknown_keys),        cmocka_unit_test(wrong_types),   cmocka_unit_test(out_of_range),
        cmocka_unit_test(refused_politely),    cmocka_unit_test(all_at_once),   cmocka_unit_test(many_mistakes),
        cmocka_unit_test(names_that_disagree), cmocka_unit_test(keys_together), cmocka_unit_test(data_sets),
        cmocka_unit_test(missing_keys),        cmocka_unit_test(broken_files),  cmocka_unit_test(bombs),
        cmocka_unit_test(no_file),             cmocka_unit_test(passwords_are_not_shown),
    };
    return cmocka_run_group_tests(tests, fixture_start, fixture_end);
}
