/* {"instruction": ..., "input": ... or nothing, "output": ...} in Stanford Alpaca's wording. Theirs
 * ends in "### Response:" and lets the output follow directly; most who came later put a line
 * break there (LLaMA-Factory, Alpaca-LoRA), and so do we. */
#include "worker/data/record.h"

#define WITH_INPUT                                                                                                     \
    "Below is an instruction that describes a task, paired with an input that provides further context. "              \
    "Write a response that appropriately completes the request.\n\n### Instruction:\n"
#define WITHOUT_INPUT                                                                                                  \
    "Below is an instruction that describes a task. "                                                                  \
    "Write a response that appropriately completes the request.\n\n### Instruction:\n"

static const char name[] = "instruction+output";

static bool claims(const ql_json *record, const ql_field_names *f) {
    return ql_record_has(record, f->instruction) && ql_record_has(record, f->output);
}

static bool has_input(const ql_json *record, const ql_field_names *f) {
    size_t n = 1;
    const char *text = ql_json_text(ql_json_get(record, f->input), &n);
    return ql_record_has(record, f->input) && (!text || n > 0);
}

static ql_err read(const ql_json *record, const ql_field_names *f, ql_record *out) {
    bool with_input = has_input(record, f);
    out->has_prompt = true;
    ql_str_puts(&out->prompt, with_input ? WITH_INPUT : WITHOUT_INPUT);
    QL_TRY(ql_record_text(record, f->instruction, name, &out->prompt));
    if (with_input) {
        ql_str_puts(&out->prompt, "\n\n### Input:\n");
        QL_TRY(ql_record_text(record, f->input, name, &out->prompt));
    }
    ql_str_puts(&out->prompt, "\n\n### Response:\n");
    return ql_record_text(record, f->output, name, &out->completion);
}

const ql_record_format ql_format_alpaca = {"alpaca", name, true, claims, read, NULL};
