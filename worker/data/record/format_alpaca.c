/* {"instruction": ..., "input": ... or nothing, "output": ...} in Stanford Alpaca's wording. Theirs
 * ends in "### Response:" and lets the output follow directly; most who came later put a line
 * break there (LLaMA-Factory, Alpaca-LoRA), and so do we. instruction_template takes the place of the wording. */
#include "worker/data/record/wording.h"

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

static ql_err put_usual_prompt(const ql_json *record, const ql_field_names *f, ql_str *out) {
    bool with_input = has_input(record, f);
    ql_str_puts(out, with_input ? WITH_INPUT : WITHOUT_INPUT);
    QL_TRY(ql_record_text(record, f->instruction, name, out));
    if (with_input) {
        ql_str_puts(out, "\n\n### Input:\n");
        QL_TRY(ql_record_text(record, f->input, name, out));
    }
    ql_str_puts(out, "\n\n### Response:\n");
    return ql_ok();
}

ql_err ql_alpaca_prompt(const ql_json *record, const ql_field_names *f, ql_str *out) {
    static const char cure[] = "set format to alpaca_chat, so that it becomes a conversation for the chat template, write it into instruction_template";
    if (!f->wording) QL_TRY(ql_record_spare(record, f->system, name, cure));
    if (!f->wording) QL_TRY(ql_record_spare(record, f->history, name, cure));
    QL_TRY(put_usual_prompt(record, f, out)); /* which also checks the fields */
    return f->wording ? ql_wording_prompt(record, f, out) : ql_ok();
}

static ql_err read(const ql_json *record, const ql_field_names *f, ql_record *out) {
    out->has_prompt = true;
    QL_TRY(ql_alpaca_prompt(record, f, &out->prompt));
    return ql_record_text(record, f->output, name, &out->completion);
}

const ql_record_format ql_format_alpaca = {"alpaca", name, true, claims, read, NULL};
