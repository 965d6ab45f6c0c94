/* The one table of keys. A new key is one field in config.h and one row here. */
#include "base/config/keys.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/config/nearest.h"

#define AT(field) .offset = offsetof(ql_config, field)

const ql_key ql_keys[] = {
    /* model */
    {"model", "model_name_or_path", QL_KEY_TEXT, AT(model_name_or_path), .required = true,
     .meaning = "Folder of the base model in Hugging Face form; nothing is downloaded."},
    {"model", "adapter_name_or_path", QL_KEY_TEXT, AT(adapter_name_or_path),
     .meaning = "Folder of a PEFT LoRA adapter to continue from."},
    {"model", "load_in_4bit", QL_KEY_BOOL, AT(load_in_4bit), .initial = "true", .decides = true,
     .meaning = "Hold the base in 4 bits (QLoRA); false keeps the weights as the folder has them (plain LoRA)."},
    {"model", "bnb_4bit_quant_type", QL_KEY_CHOICE, AT(bnb_4bit_quant_type), .initial = "nf4", .choices = "nf4 fp4",
     .decides = true, .meaning = "The 4-bit code."},
    {"model", "bnb_4bit_use_double_quant", QL_KEY_BOOL, AT(bnb_4bit_use_double_quant), .initial = "true",
     .decides = true, .meaning = "Quantise the scales of the 4-bit blocks, too."},
    {"model", "bnb_4bit_compute_dtype", QL_KEY_CHOICE, AT(bnb_4bit_compute_dtype), .initial = "auto", .decides = true,
     .choices = "auto bfloat16|bf16|torch.bfloat16 float16|fp16|torch.float16 float32|fp32|torch.float32",
     .meaning = "Type of the arithmetic, with load_in_4bit: false, too; auto: float32 on a CPU. bfloat16 there: factors of "
                "all products, attention's too, are rounded, sums are float32; fast with AMX, same results without."},
    {"model", "quantized_cache", QL_KEY_TEXT, AT(quantized_cache), .initial = "auto", .choices = "auto|true false|no",
     .meaning = "Where a base that was quantised here is kept for the next start: a folder; auto: the user's cache "
                "folder (XDG_CACHE_HOME or ~/.cache), for bases of 32 MiB and more; false: nowhere. Changes no result."},
    /* LoRA */
    {"LoRA", "lora_r", QL_KEY_INT, AT(lora_r), .initial = "16", .low = 1, .high = 65536, .decides = true,
     .meaning = "Rank of the adapter matrices."},
    {"LoRA", "lora_alpha", QL_KEY_REAL, AT(lora_alpha), .initial = "32", .open = QL_LOW_OPEN, .decides = true,
     .meaning = "The adapter's output is scaled by lora_alpha / lora_r."},
    {"LoRA", "lora_dropout", QL_KEY_REAL, AT(lora_dropout), .initial = "0.05", .high = 1, .open = QL_HIGH_OPEN,
     .decides = true, .meaning = "Dropout on the adapter's input while training."},
    {"LoRA", "target_modules", QL_KEY_TEXTS, AT(target_modules), offsetof(ql_config, target_modules_is_list),
     .initial = "all-linear", .decides = true,
     .meaning = "Layers that get an adapter: all-linear, a list of names, or a regular expression for whole names."},
    {"LoRA", "exclude_modules", QL_KEY_TEXTS, AT(exclude_modules), offsetof(ql_config, exclude_modules_is_list),
     .decides = true, .meaning = "Layers that get none after all: a list of names, or a regular expression."},
    {"LoRA", "use_rslora", QL_KEY_BOOL, AT(use_rslora), .initial = "false", .decides = true,
     .meaning = "Scale by lora_alpha / sqrt(lora_r) instead."},
    {"LoRA", "init_lora_weights", QL_KEY_BOOL, AT(init_lora_weights), .initial = "true", .decides = true,
     .meaning = "Start with B = 0, so that the first step starts from the base model; false: B is random, too."},
    /* data */
    {"data", "dataset", QL_KEY_DATASETS, AT(dataset), .required = true, .decides = true,
     .meaning = "Training data: a file, folder or pattern (JSONL, JSON, CSV, TSV, text; also .gz or .zst), or a list of these or of {path, field_...} mappings."},
    {"data", "eval_dataset", QL_KEY_DATASETS, AT(eval_dataset), .meaning = "Data for evaluation, written like dataset."},
    {"data", "val_set_size", QL_KEY_REAL, AT(val_set_size), .initial = "0", .decides = true,
     .meaning = "Hold out that many records of dataset for evaluation; below 1: that fraction. Chosen by the seed and by what is in a record."},
    {"data", "max_length", QL_KEY_INT, AT(max_length), .initial = "1024", .low = 2, .high = 1 << 24, .decides = true,
     .meaning = "Tokens in a row."},
    {"data", "packing", QL_KEY_BOOL, AT(packing), .initial = "true", .decides = true,
     .meaning = "Put several records into a row; they never see one another."},
    {"data", "dataset_cache", QL_KEY_TEXT, AT(dataset_cache), .initial = "auto", .choices = "auto|true false|no",
     .meaning = "Where prepared data sets are kept for the next start: a folder; auto: the user's cache folder (XDG_CACHE_HOME or ~/.cache), for data of 1 MiB and more; false: nowhere. Changes no result."},
    {"data", "packing_strategy", QL_KEY_CHOICE, AT(packing_strategy), .initial = "bfd", .choices = "bfd bfd_split wrapped", .decides = true,
     .quiet = true,
     .meaning = "bfd: best fit, records stay whole; bfd_split: longer ones are cut into pieces of max_length; wrapped, for plain text: "
                "one after the other, cut where rows end. Pieces never see one another."},
    {"data", "group_by_length", QL_KEY_BOOL, AT(group_by_length), .initial = "false", .decides = true, .quiet = true,
     .meaning = "With packing: false: put records of similar length into a step."},
    {"data", "deduplicate", QL_KEY_BOOL, AT(deduplicate), .initial = "false", .decides = true,
     .meaning = "Train once on records that come to the same tokens, the first of them, over all files of dataset."},
    {"data", "completion_only_loss", QL_KEY_TRISTATE, AT(completion_only_loss), .none = QL_AUTO, .automatic = true,
     .decides = true,
     .meaning = "Train on answers only; auto: wherever prompt and answer can be told apart."},
    {"data", "train_on", QL_KEY_CHOICE, AT(train_on), .initial = "auto", .choices = "auto assistant last completion all", .decides = true, .quiet = true,
     .meaning = "What is trained on. assistant: all turns of the assistant in conversations; last: its last one; completion: completions; all: every token. "
                "auto: answers wherever they can be told apart. With the token that ends each."},
    {"data", "chat_template", QL_KEY_TEXT, AT(chat_template), .initial = "auto", .choices = "auto|tokenizer_default", .decides = true, .quiet = true,
     .meaning = "What renders conversations. auto: the model's own; or a file (with a / or ending in .jinja), a named template of the model, or one that is "
                "built in: chatml, llama-2, llama-3, mistral, zephyr, gemma, alpaca."},
    {"data", "chat_template_kwargs", QL_KEY_MAPPING, AT(chat_template_kwargs), .decides = true, .quiet = true,
     .meaning = "Further variables of the chat template, such as {enable_thinking: false}; those of a record, in a field of this name, win."},
    {"data", "excess_length_strategy", QL_KEY_CHOICE, AT(excess_length_strategy), .initial = "drop", .decides = true,
     .choices = "drop truncate error|raise", .meaning = "What happens to records longer than max_length."},
    {"data", "sample_by", QL_KEY_CHOICE, AT(sample_by), .initial = "line", .decides = true, .choices = "line paragraph document",
     .meaning = "What makes a record in a .txt file: a line, a paragraph (blank lines part them), or the whole file."},
    {"data", "audit", QL_KEY_CHOICE, AT(audit), .initial = "error", .choices = "error warn",
     .meaning = "What errors in the data come to (docs/audit.md): error stops before the first step, warn goes on. Changes no result."},
    {"data", "audit_max_untargeted", QL_KEY_REAL, AT(audit_max_untargeted), .initial = "0.01", .high = 1,
     .meaning = "Records without a token to train on, or with an answer that does not end, are an error if they are more than this part of all; else a warning."},
    {"data", "audit_max_lost", QL_KEY_REAL, AT(audit_max_lost), .initial = "0.1", .high = 1,
     .meaning = "Records that are dropped or truncated for their length are an error if they are more than this part of all."},
    {"data", "seed", QL_KEY_INT, AT(seed), .initial = "42", .decides = true,
     .meaning = "Decides order, initial adapter and dropout."},
    {"data", "format", QL_KEY_CHOICE, AT(format), .initial = "auto", .decides = true, .quiet = true,
     .choices = "auto messages|openai|chat|chat_template|chat_template.default conversations|sharegpt prompt|prompt_completion|prompt-completion "
                "alpaca|instruction alpaca_chat question|qa preference|dpo|rm|pairwise|ranking text|completion|pretrain|pt",
     .meaning = "What a record is made of; auto: its fields tell. The formats are in data.md."},
    {"data", "instruction_template", QL_KEY_TEXT, AT(instruction_template), .initial = "auto", .decides = true, .quiet = true, .choices = "auto|null",
     .meaning = "Jinja text, or a file of it, that makes the prompt from the fields of an alpaca or question record; auto: the usual wording."},
    {"data", "dataset_text_field", QL_KEY_TEXT, AT(dataset_text_field), .initial = "text", .decides = true,
     .meaning = "Name of the field that holds plain text."},
    {"data", "field_prompt", QL_KEY_TEXT, AT(field_prompt), .initial = "prompt", .decides = true,
     .meaning = "Name of the prompt's field, beside field_completion."},
    {"data", "field_completion", QL_KEY_TEXT, AT(field_completion), .initial = "completion", .decides = true,
     .meaning = "Name of the completion's field."},
    {"data", "field_instruction", QL_KEY_TEXT, AT(field_instruction), .initial = "instruction", .decides = true,
     .meaning = "Name of the instruction's field, beside field_input and field_output."},
    {"data", "field_input", QL_KEY_TEXT, AT(field_input), .initial = "input", .decides = true,
     .meaning = "Name of the optional field with the instruction's input."},
    {"data", "field_output", QL_KEY_TEXT, AT(field_output), .initial = "output", .decides = true,
     .meaning = "Name of the output's field."},
    {"data", "field_question", QL_KEY_TEXT, AT(field_question), .initial = "question", .decides = true,
     .meaning = "Name of the question's field, beside field_answer."},
    {"data", "field_answer", QL_KEY_TEXT, AT(field_answer), .initial = "answer", .decides = true,
     .meaning = "Name of the answer's field."},
    {"data", "field_messages", QL_KEY_TEXT, AT(field_messages), .initial = "messages", .decides = true,
     .meaning = "Name of the field with a conversation."},
    {"data", "field_conversations", QL_KEY_TEXT, AT(field_conversations), .initial = "conversations", .decides = true, .quiet = true,
     .meaning = "Name of the field with a conversation in ShareGPT's form."},
    {"data", "field_system", QL_KEY_TEXT, AT(field_system), .initial = "system", .decides = true, .quiet = true,
     .meaning = "Name of the optional field with the system text, beside field_conversations or field_instruction."},
    {"data", "field_history", QL_KEY_TEXT, AT(field_history), .initial = "history", .decides = true, .quiet = true,
     .meaning = "Name of the optional field with the turns before the instruction, a list of [question, answer]."},
    {"data", "field_chosen", QL_KEY_TEXT, AT(field_chosen), .initial = "chosen", .decides = true, .quiet = true,
     .meaning = "Name of the field with the better answer, beside field_rejected."},
    {"data", "field_rejected", QL_KEY_TEXT, AT(field_rejected), .initial = "rejected", .decides = true, .quiet = true,
     .meaning = "Name of the field with the worse answer."},
    /* run */
    {"run", "output_dir", QL_KEY_TEXT, AT(output_dir), .required = true,
     .meaning = "Folder for adapter, checkpoints, metrics and log."},
    {"run", "num_train_epochs", QL_KEY_REAL, AT(num_train_epochs), .initial = "1", .open = QL_LOW_OPEN,
     .decides = true, .meaning = "How often the data are gone through; max_steps wins."},
    {"run", "max_steps", QL_KEY_INT, AT(max_steps), .initial = "-1", .low = -1, .decides = true,
     .meaning = "Number of optimiser steps; -1: as many as num_train_epochs needs."},
    {"run", "global_batch_size", QL_KEY_INT, AT(global_batch_size), .low = 1, .decides = true, .shown = "16",
     .meaning = "Rows in one optimiser step over all ranks. Alone decides what a step computes."},
    {"run", "per_device_train_batch_size", QL_KEY_INT, AT(per_device_train_batch_size), .low = 1, .high = 1 << 20, .automatic = true,
     .meaning = "Rows that a rank holds at a time: speed and memory, never results. Without global_batch_size: its "
                "product with gradient_accumulation_steps and the number of ranks is the global batch."},
    {"run", "gradient_accumulation_steps", QL_KEY_INT, AT(gradient_accumulation_steps), .low = 1, .high = 1 << 20, .automatic = true,
     .meaning = "See per_device_train_batch_size."},
    {"run", "device", QL_KEY_CHOICE, AT(device), .initial = "auto", .choices = "auto cpu cuda|gpu",
     .meaning = "Where to compute; auto: a GPU if there is one."},
    {"run", "gradient_checkpointing", QL_KEY_TRISTATE, AT(gradient_checkpointing), .none = QL_AUTO, .automatic = true,
     .meaning = "Recompute activations instead of keeping them; auto: if memory is short. Changes no result."},
    {"run", "max_memory", QL_KEY_SIZE, AT(max_memory), .low = 1 << 20, .automatic = true,
     .meaning = "Memory that a rank may use on its device; auto: on a GPU what is free there less 512 MiB and 2 % of "
                "the card, on a CPU 80 % of what is free (within its control groups, too), shared by the ranks of the "
                "machine. On a GPU never more than is free."},
    /* optimiser */
    {"optimiser", "optim", QL_KEY_CHOICE, AT(optim), .initial = "adamw_torch", .decides = true,
     .choices = "adamw_torch|adamw_torch_fused|adamw|adamw_hf|adamw_apex_fused|paged_adamw|paged_adamw_32bit",
     .meaning = "The optimiser; its moments are kept in 32 bits, and by any of its names wait on the host where a GPU "
                "is short of memory."},
    {"optimiser", "learning_rate", QL_KEY_REAL, AT(learning_rate), .initial = "2e-4", .open = QL_LOW_OPEN,
     .decides = true, .meaning = "The highest learning rate."},
    {"optimiser", "lr_scheduler_type", QL_KEY_CHOICE, AT(lr_scheduler_type), .initial = "cosine", .decides = true,
     .choices = "linear cosine constant constant_with_warmup cosine_with_min_lr polynomial inverse_sqrt",
     .meaning = "Course of the learning rate, as transformers computes it."},
    {"optimiser", "warmup_ratio", QL_KEY_REAL, AT(warmup_ratio), .initial = "0.03", .high = 1, .decides = true,
     .meaning = "Part of all steps in which the learning rate rises from 0."},
    {"optimiser", "warmup_steps", QL_KEY_REAL, AT(warmup_steps), .none = -1, .decides = true,
     .meaning = "The same in steps, and wins; below 1 it is a fraction."},
    {"optimiser", "min_lr", QL_KEY_REAL, AT(min_lr), .none = -1, .decides = true,
     .meaning = "Lowest learning rate of cosine_with_min_lr."},
    {"optimiser", "min_lr_rate", QL_KEY_REAL, AT(min_lr_rate), .none = -1, .high = 1, .decides = true,
     .meaning = "The same as a part of learning_rate."},
    {"optimiser", "lr_end", QL_KEY_REAL, AT(lr_end), .initial = "1e-7", .decides = true,
     .meaning = "Last learning rate of polynomial."},
    {"optimiser", "lr_power", QL_KEY_REAL, AT(lr_power), .initial = "1", .open = QL_LOW_OPEN, .decides = true,
     .meaning = "Power of polynomial."},
    {"optimiser", "lr_timescale", QL_KEY_INT, AT(lr_timescale), .low = 1, .automatic = true, .decides = true,
     .meaning = "Time scale of inverse_sqrt; auto: the warm-up steps, or 10000."},
    {"optimiser", "weight_decay", QL_KEY_REAL, AT(weight_decay), .initial = "0", .decides = true,
     .meaning = "Decoupled weight decay on the adapter."},
    {"optimiser", "adam_beta1", QL_KEY_REAL, AT(adam_beta1), .initial = "0.9", .high = 1, .open = QL_HIGH_OPEN,
     .decides = true, .meaning = "Decay of Adam's first moment."},
    {"optimiser", "adam_beta2", QL_KEY_REAL, AT(adam_beta2), .initial = "0.999", .high = 1, .open = QL_HIGH_OPEN,
     .decides = true, .meaning = "Decay of Adam's second moment."},
    {"optimiser", "adam_epsilon", QL_KEY_REAL, AT(adam_epsilon), .initial = "1e-8", .open = QL_LOW_OPEN,
     .decides = true, .meaning = "Added to the root of the second moment."},
    {"optimiser", "max_grad_norm", QL_KEY_REAL, AT(max_grad_norm), .initial = "1.0", .decides = true,
     .meaning = "Longer gradients are shortened to this norm; 0: never."},
    /* logs, saves */
    {"logs and saves", "logging_steps", QL_KEY_INT, AT(logging_steps), .initial = "1", .low = 1,
     .meaning = "Steps from one line in metrics.jsonl to the next."},
    {"logs and saves", "eval_strategy", QL_KEY_CHOICE, AT(eval_strategy), .initial = "no",
     .choices = "no|false steps epoch", .meaning = "When to evaluate during training."},
    {"logs and saves", "eval_steps", QL_KEY_INT, AT(eval_steps), .low = 1,
     .meaning = "Steps between evaluations with eval_strategy: steps; none: logging_steps."},
    {"logs and saves", "save_strategy", QL_KEY_CHOICE, AT(save_strategy), .initial = "steps",
     .choices = "no|false steps epoch best",
     .meaning = "steps: by save_steps and save_minutes; epoch: after each epoch, too; best: after each evaluation that is the best so "
                "far, too; no: only at the end and when stopped."},
    {"logs and saves", "save_steps", QL_KEY_INT, AT(save_steps), .low = 1, .meaning = "Steps between checkpoints."},
    {"logs and saves", "save_minutes", QL_KEY_REAL, AT(save_minutes), .initial = "10",
     .meaning = "Minutes between checkpoints; 0: never by time."},
    {"logs and saves", "save_total_limit", QL_KEY_INT, AT(save_total_limit), .initial = "3", .low = 1,
     .meaning = "Checkpoints to keep."},
    {"logs and saves", "resume_from_checkpoint", QL_KEY_TEXT, AT(resume_from_checkpoint), .initial = "auto",
     .choices = "auto|true false|no",
     .meaning = "auto: from the newest good checkpoint in output_dir, if any; false: start anew; or a checkpoint folder."},
    {"logs and saves", "load_best_model_at_end", QL_KEY_BOOL, AT(load_best_model_at_end), .initial = "false",
     .meaning = "Keep the checkpoint of the best evaluation, and hand out its adapter at the end."},
    {"logs and saves", "metric_for_best_model", QL_KEY_CHOICE, AT(metric_for_best_model), .initial = "eval_loss",
     .choices = "eval_loss|loss eval_perplexity|perplexity", .meaning = "What the best evaluation has least of."},
    {"logs and saves", "greater_is_better", QL_KEY_BOOL, AT(greater_is_better), .initial = "false",
     .meaning = "Only false: of loss and perplexity less is better."},
    {"logs and saves", "early_stopping_patience", QL_KEY_INT, AT(early_stopping_patience), .low = 0, .initial = "0",
     .meaning = "End training after so many evaluations in a row that were not better than the best; 0: never."},
    {"logs and saves", "early_stopping_threshold", QL_KEY_REAL, AT(early_stopping_threshold), .initial = "0",
     .meaning = "How much better, in metric_for_best_model, an evaluation must be to count as better."},
    /* faults */
    {"faults", "on_nonfinite", QL_KEY_CHOICE, AT(on_nonfinite), .initial = "stop", .choices = "stop skip", .decides = true,
     .quiet = true,
     .meaning = "When a loss or a gradient is not a finite number, or a loss spikes: stop all ranks, naming the records; or "
                "leave the step's update out and go on; ten such steps in a row end the run."},
    {"faults", "loss_spike_zscore", QL_KEY_REAL, AT(loss_spike_zscore), .initial = "0", .decides = true, .quiet = true,
     .meaning = "A loss that lies so many standard deviations above its moving mean counts as a spike, and on_nonfinite "
                "says what happens; the first 20 losses are not judged; 0: none is. 6 is a good start."},
    {"faults", "step_timeout", QL_KEY_INT, AT(step_timeout), .low = 1, .automatic = true,
     .meaning = "Seconds without progress in a step, or of waiting for ranks that show no sign of life, after which the run ends "
                "with status 75; auto: 60, or ten steps if that is more. Changes no result."},
    {"faults", "load_timeout", QL_KEY_INT, AT(load_timeout), .low = 1, .initial = "1800",
     .meaning = "The same while model and data are read."},
    {"faults", "save_timeout", QL_KEY_INT, AT(save_timeout), .low = 1, .initial = "600",
     .meaning = "The same while something is written."},
    {"faults", "max_restarts", QL_KEY_INT, AT(max_restarts), .low = 0, .high = 1000, .initial = "3",
     .meaning = "How often qlora run starts the workers again after a fault, in a row without a newer checkpoint. Changes no result."},
    {"faults", "min_ranks", QL_KEY_INT, AT(min_ranks), .low = 1, .automatic = true,
     .meaning = "qlora run goes on with fewer workers, down to this many, when devices do not work any more; auto: as many as there were. "
                "Changes no result."},
};
const size_t ql_n_keys = QL_LEN(ql_keys);

#define FIELD(name) {#name, offsetof(ql_dataset_spec, name), QL_FIELD_TEXT}
const ql_dataset_field ql_dataset_fields[] = {
    FIELD(path),         FIELD(field_prompt),   FIELD(field_completion), FIELD(field_instruction), FIELD(field_input),
    FIELD(field_output), FIELD(field_question), FIELD(field_answer),     FIELD(field_text),        FIELD(field_messages),
    FIELD(field_conversations), FIELD(field_system), FIELD(field_history), FIELD(field_chosen), FIELD(field_rejected),
    {"format", offsetof(ql_dataset_spec, format), QL_FIELD_CHOICE}, FIELD(instruction_template),
    {"weight", offsetof(ql_dataset_spec, weight), QL_FIELD_WEIGHT}, {"max_records", offsetof(ql_dataset_spec, max_records), QL_FIELD_COUNT},
};
const size_t ql_n_dataset_fields = QL_LEN(ql_dataset_fields);

const ql_key *ql_key_find(const char *name) {
    for (size_t i = 0; i < ql_n_keys; i++)
        if (!strcmp(ql_keys[i].name, name)) return &ql_keys[i];
    return NULL;
}

static void number_expected(const ql_key *key, const char *what, ql_str *out) {
    bool        low_open = key->open & QL_LOW_OPEN, high_open = key->open & QL_HIGH_OPEN;
    const char *least = low_open ? "above" : key->high != 0 ? "from" : "of at least";
    ql_str_printf(out, "%s %s %.15g", what, least, key->low);
    if (key->high != 0) ql_str_printf(out, " %s %.15g", high_open ? "to below" : "to", key->high);
    if (key->automatic) ql_str_puts(out, ", or auto");
}

static void choices_expected(const char *choices, ql_str *out) {
    for (const char *p = choices; *p; p += strspn(p, " ")) {
        size_t word = strcspn(p, " "), first = strcspn(p, " |");
        if (p != choices) ql_str_puts(out, p[word] ? ", " : " or ");
        ql_str_put(out, p, first);
        p += word;
    }
}

/* One choice and its other names. */
static void same_expected(const char *choices, ql_str *out) {
    size_t first = strcspn(choices, "|");
    ql_str_printf(out, "%.*s or one of its other names (", (int)first, choices);
    for (const char *p = choices + first + 1; *p; p += *p == '|') {
        size_t n = strcspn(p, "|");
        ql_str_printf(out, "%s%.*s", p == choices + first + 1 ? "" : ", ", (int)n, p);
        p += n;
    }
    ql_str_puts(out, ")");
}

void ql_key_expects(const ql_key *key, ql_str *out) {
    switch (key->kind) {
        case QL_KEY_BOOL: ql_str_puts(out, "true or false"); break;
        case QL_KEY_TRISTATE: ql_str_puts(out, "true, false or auto"); break;
        case QL_KEY_INT: number_expected(key, "a whole number", out); break;
        case QL_KEY_REAL: number_expected(key, "a number", out); break;
        case QL_KEY_SIZE: ql_str_puts(out, "a size such as 15GiB or 500MiB, or auto"); break;
        case QL_KEY_TEXT: ql_str_puts(out, "a text"); break;
        case QL_KEY_TEXTS: ql_str_puts(out, "a text or a list of texts"); break;
        case QL_KEY_MAPPING: ql_str_puts(out, "a mapping, or the text of a JSON object"); break;
        case QL_KEY_DATASETS: ql_str_puts(out, "a path, or a list of paths or of mappings with path"); break;
        case QL_KEY_CHOICE:
            if (strchr(key->choices, ' ')) choices_expected(key->choices, out);
            else same_expected(key->choices, out);
            break;
    }
}

typedef struct {
    const char *best;
    size_t      distance;
} candidate;

static void consider(candidate *c, const char *word, const char *name) {
    size_t n = strlen(word), m = strlen(name);
    if ((n > m ? n - m : m - n) >= c->distance) return; /* each missing letter is one mistake */
    size_t d = ql_edit_distance(word, name);
    if (d < c->distance) *c = (candidate){name, d};
}

const char *ql_key_nearest(const char *word) {
    candidate c = {NULL, ql_edit_limit(word) + 1};
    for (size_t i = 0; i < ql_n_keys; i++) consider(&c, word, ql_keys[i].name);
    for (size_t i = 0; i < ql_n_aliases; i++) consider(&c, word, ql_aliases[i].name);
    for (size_t i = 0; i < ql_n_foreigns; i++) consider(&c, word, ql_foreigns[i].name);
    return c.best;
}
