/* Configurations, damaged: refused in lines that name the file, or read, written and read again
 * with the same result. The same bytes also serve as an override. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/config/config.h"
#include "tests/fuzz/common.h"

static const char *const seed[] = {
    "model_name_or_path: m\ndataset: d.jsonl\noutput_dir: o\n",
    "base_model: ./llama # a comment\ndatasets:\n  - path: a.jsonl\n    type: alpaca\n  - {path: \"b c\", field_prompt: q, field_text: 'x'}\n"
    "output_dir: \"o\\u00e9\\n\"\nadapter: qlora\nsequence_len: 2048\nmicro_batch_size: 4\ngradient_accumulation_steps: 2\n"
    "num_epochs: 3\noptimizer: paged_adamw_32bit\nlearning_rate: 2e-4\ntrain_on_inputs: false\nlora_target_linear: true\nbf16: auto\n",
    "{model_name_or_path: m, dataset: [a, b], output_dir: o, target_modules: [q_proj, v_proj], max_memory: 15.5GiB, warmup_steps: 0.1}",
    "---\nmodel_name_or_path: >-\n  m\n  n\ndataset: |\n  d\noutput_dir: o\nlr_scheduler_type: cosine_with_min_lr\n"
    "lr_scheduler_kwargs: {min_lr: 1e-6}\nquantization_config:\n  load_in_4bit: true\neval_strategy: steps\nval_set_size: 0.1\n"
    "target_modules: .*\\.(q|v)_proj\nseed: 1_000\npush_to_hub: false\nreport_to: [a, b]\n...\n",
};

static void insist(bool fact, const char *what) {
    if (fact) return;
    fprintf(stderr, "fuzz_config: %s: %s\n", what, ql_err_text());
    abort();
}

/* Every line of a refusal begins with its place, or says that there are more. */
static void check_refusal(ql_err e, const char *place) {
    insist(e.code == QL_USAGE, "a refusal that is not QL_USAGE");
    insist(*ql_err_text() != 0, "a refusal without a word");
    for (const char *line = ql_err_text(); line; line = strchr(line, '\n')) {
        line += *line == '\n';
        insist(!strncmp(line, place, strlen(place)) || !strncmp(line, "and ", 4), "a line without its place");
        for (const char *p = line; *p && *p != '\n'; p++) insist((unsigned char)*p >= ' ', "a control character");
    }
}

static void check_round_trip(const ql_config *c) {
    ql_str    once = {0}, twice = {0};
    ql_config again;
    ql_config_write(c, &once);
    ql_err e = ql_config_read(ql_fuzz_file("again.yaml", once.data, once.size), NULL, 0, &again, NULL);
    insist(!ql_bad(e), "what was written is refused");
    ql_config_write(&again, &twice);
    insist(!strcmp(once.data, twice.data), "what was written reads back differently");
    ql_config_free(&again);
    ql_str_free(&once);
    ql_str_free(&twice);
}

static bool read_file(const uint8_t *bytes, size_t n) {
    const char *path = ql_fuzz_file("c.yaml", bytes, n);
    char       *place = ql_strdup(path);
    ql_config   c;
    ql_str      notes = {0};
    ql_err      e = ql_config_read(place, NULL, 0, &c, &notes);
    if (ql_bad(e)) check_refusal(e, place);
    else check_round_trip(&c);
    if (!ql_bad(e)) ql_config_free(&c);
    ql_str_free(&notes);
    free(place);
    return !ql_bad(e);
}

static void read_override(const char *text) {
    ql_config c;
    char     *override = ql_strdup(text);
    ql_err    e = ql_config_from_overrides(&override, 1, &c);
    if (ql_bad(e)) check_refusal(e, "command line");
    else ql_config_free(&c);
    free(override);
}

static bool read_config(void *ctx, const uint8_t *bytes, size_t n) {
    (void)ctx;
    char *text = ql_strndup((const char *)bytes, n);
    char *pair = ql_format("%s=%s", n % 2 ? "target_modules" : "dataset", text);
    read_override(text);
    read_override(pair);
    free(text);
    free(pair);
    return read_file(bytes, n);
}

int main(int argc, char **argv) {
    ql_str seeds[QL_LEN(seed)] = {0};
    for (size_t i = 0; i < QL_LEN(seed); i++) ql_str_puts(&seeds[i], seed[i]);
    int status = ql_fuzz_main(argc, argv, seeds, QL_LEN(seed), read_config, NULL);
    for (size_t i = 0; i < QL_LEN(seed); i++) ql_str_free(&seeds[i]);
    return status;
}
