/* Other names of our keys: older and newer Hugging Face, TRL, PEFT, bitsandbytes, Axolotl,
 * LLaMA-Factory, Unsloth, torchtune and qlora.py. A row is never removed: recipes are copied
 * from old pages. */
#include <string.h>

#include "base/config/keys.h"

const ql_alias ql_aliases[] = {
    /* model */
    {"base_model", "model_name_or_path", NULL},
    {"model", "model_name_or_path", NULL},
    {"model_name", "model_name_or_path", NULL},
    {"model_id", "model_name_or_path", NULL},
    {"model_path", "model_name_or_path", NULL},
    {"pretrained_model_name_or_path", "model_name_or_path", NULL},
    {"lora_model_dir", "adapter_name_or_path", NULL},
    {"adapter_path", "adapter_name_or_path", NULL},
    {"adapter", "load_in_4bit", "qlora>true lora>"},
    {"bits", "load_in_4bit", "4>true 16>false 32>false"},
    {"quantization_bit", "load_in_4bit", "4>true"},
    {"quant_type", "bnb_4bit_quant_type", NULL},
    {"quantization_type", "bnb_4bit_quant_type", NULL},
    {"use_bnb_nested_quant", "bnb_4bit_use_double_quant", NULL},
    {"use_nested_quant", "bnb_4bit_use_double_quant", NULL},
    {"double_quant", "bnb_4bit_use_double_quant", NULL},
    {"double_quantization", "bnb_4bit_use_double_quant", NULL},
    {"compute_dtype", "bnb_4bit_compute_dtype", NULL},
    /* LoRA */
    {"r", "lora_r", NULL},
    {"lora_rank", "lora_r", NULL},
    {"lora_target", "target_modules", "all>all-linear *"},
    {"lora_target_modules", "target_modules", NULL},
    {"lora_target_linear", "target_modules", "true>all-linear false>"},
    {"lora_exclude_modules", "exclude_modules", NULL},
    {"peft_use_rslora", "use_rslora", NULL},
    {"peft_init_lora_weights", "init_lora_weights", NULL},
    /* data */
    {"datasets", "dataset", NULL},
    {"dataset_name", "dataset", NULL},
    {"dataset_path", "dataset", NULL},
    {"data_path", "dataset", NULL},
    {"train_file", "dataset", NULL},
    {"train_dataset", "dataset", NULL},
    {"test_datasets", "eval_dataset", NULL},
    {"validation_file", "eval_dataset", NULL},
    {"eval_data_path", "eval_dataset", NULL},
    {"val_size", "val_set_size", NULL},
    {"max_seq_length", "max_length", NULL},
    {"max_seq_len", "max_length", NULL},
    {"model_max_length", "max_length", NULL},
    {"sequence_len", "max_length", NULL},
    {"cutoff_len", "max_length", NULL},
    {"sample_packing", "packing", NULL},
    {"packed", "packing", NULL},
    {"train_sampling_strategy", "group_by_length", "group_by_length>true random>false"},
    /* Training on the prompt, too, was asked for or not; "not" leaves plain texts alone. */
    {"train_on_inputs", "train_on", "true>all false>"},
    {"train_on_input", "train_on", "true>all false>"},
    {"train_on_prompt", "train_on", "true>all false>"},
    {"train_on_source", "train_on", "true>all false>"},
    {"assistant_only_loss", "train_on", "true>assistant false>"},
    {"mask_history", "train_on", "true>last false>"},
    {"chat_template_path", "chat_template", NULL},
    {"chat_template_jinja", "chat_template", NULL},
    {"random_seed", "seed", NULL},
    {"field_text", "dataset_text_field", NULL},
    {"formatting", "format", NULL},
    {"text_field", "dataset_text_field", NULL},
    /* run */
    {"output_path", "output_dir", NULL},
    {"num_epochs", "num_train_epochs", NULL},
    {"epochs", "num_train_epochs", NULL},
    {"micro_batch_size", "per_device_train_batch_size", NULL},
    {"per_gpu_train_batch_size", "per_device_train_batch_size", NULL},
    {"batch_size", "per_device_train_batch_size", NULL},
    {"total_train_batch_size", "global_batch_size", NULL},
    {"use_cpu", "device", "true>cpu false>"},
    {"no_cuda", "device", "true>cpu false>"},
    {"activation_checkpointing", "gradient_checkpointing", NULL},
    {"enable_activation_checkpointing", "gradient_checkpointing", NULL},
    {"max_memory_MB", "max_memory", "+MB"},
    /* optimiser */
    {"optimizer", "optim", NULL},
    {"lr", "learning_rate", NULL},
    {"lr_scheduler", "lr_scheduler_type", NULL},
    {"cosine_min_lr_ratio", "min_lr_rate", NULL},
    {"lr_scheduler_kwargs.min_lr", "min_lr", NULL},
    {"lr_scheduler_kwargs.min_lr_rate", "min_lr_rate", NULL},
    {"lr_scheduler_kwargs.lr_end", "lr_end", NULL},
    {"lr_scheduler_kwargs.power", "lr_power", NULL},
    {"lr_scheduler_kwargs.timescale", "lr_timescale", NULL},
    {"num_warmup_steps", "warmup_steps", NULL},
    {"beta1", "adam_beta1", NULL},
    {"beta2", "adam_beta2", NULL},
    {"clip_grad_norm", "max_grad_norm", NULL},
    {"gradient_clipping", "max_grad_norm", NULL},
    /* logs, saves */
    {"evaluation_strategy", "eval_strategy", NULL},
    {"auto_resume_from_checkpoints", "resume_from_checkpoint", NULL},
};
const size_t ql_n_aliases = QL_LEN(ql_aliases);

const ql_alias *ql_alias_find(const char *name) {
    for (size_t i = 0; i < ql_n_aliases; i++)
        if (!strcmp(ql_aliases[i].name, name)) return &ql_aliases[i];
    return NULL;
}

bool ql_is_section(const char *name) {
    static const char *const sections[] = {"quantization_config", "bnb_config_kwargs", "bnb_config", "lora_config",
                                           "peft_config", "special_tokens"};
    for (size_t i = 0; i < QL_LEN(sections); i++)
        if (!strcmp(sections[i], name)) return true;
    return false;
}
