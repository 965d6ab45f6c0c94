/* The configuration of a run: one struct, one table of keys (keys.c) from which the parser,
 * --help-config, docs/config.md and the resolved config.yaml are made. Names are Hugging Face's. */
#pragma once
#include "base/err.h"
#include "base/mem.h"

/* A list of texts; `text` for keys that take one text or a list. */
typedef struct {
    char **item;
    size_t count, capacity;
} ql_texts;

/* One data set: `path`, and field names that differ from the global ones (NULL: the global). */
typedef struct {
    char *path;
    char *format, *instruction_template;
    char *field_prompt, *field_completion, *field_instruction, *field_input, *field_output, *field_question,
        *field_answer, *field_text, *field_messages, *field_conversations, *field_system, *field_history, *field_chosen, *field_rejected;
    char *weight, *max_records; /* checked numbers; NULL: not given */
} ql_dataset_spec;
double  ql_dataset_weight(const ql_dataset_spec *d);      /* above 0; 1 where it is not given  */
int64_t ql_dataset_max_records(const ql_dataset_spec *d); /* INT64_MAX where it is not given */
typedef struct {
    ql_dataset_spec *item;
    size_t           count, capacity;
} ql_datasets;

typedef enum { QL_AUTO = -1, QL_FALSE = 0, QL_TRUE = 1 } ql_tristate;

typedef struct {
    /* model */
    char *model_name_or_path, *adapter_name_or_path;
    bool  load_in_4bit, bnb_4bit_use_double_quant;
    char *bnb_4bit_quant_type, *bnb_4bit_compute_dtype;
    char *quantized_cache; /* auto, false, or a folder */
    /* LoRA */
    int64_t  lora_r;
    double   lora_alpha, lora_dropout;
    ql_texts target_modules; /* {"all-linear"}, names, or one regular expression            */
    bool     target_modules_is_list; /* false: a single text: all-linear or an expression  */
    ql_texts exclude_modules;
    bool     exclude_modules_is_list;
    bool     use_rslora, init_lora_weights;
    /* data */
    ql_datasets dataset, eval_dataset;
    double      val_set_size; /* below 1: a fraction; else a number of records             */
    int64_t     max_length;
    char       *dataset_cache; /* auto, false, or a folder */
    bool        packing, deduplicate;
    char       *packing_strategy; /* bfd, bfd_split, wrapped */
    bool        group_by_length;
    ql_tristate completion_only_loss;
    char       *train_on;             /* auto, assistant, last, completion, all               */
    char       *chat_template;        /* auto, a file, or a name                              */
    char       *chat_template_kwargs; /* the text of a JSON object; NULL: none                */
    char       *excess_length_strategy; /* drop, truncate, error */
    char       *sample_by;              /* line, paragraph, document */
    char       *audit;                  /* error, warn */
    double      audit_max_untargeted, audit_max_lost; /* shares of records */
    int64_t     seed;
    char       *format;               /* auto, or the name of a record format */
    char       *instruction_template; /* auto, or Jinja text, or a file of it */
    char       *dataset_text_field, *field_prompt, *field_completion, *field_instruction, *field_input, *field_output,
        *field_question, *field_answer, *field_messages, *field_conversations, *field_system, *field_history, *field_chosen, *field_rejected;
    /* run */
    char       *output_dir;
    double      num_train_epochs;
    int64_t     max_steps;
    int64_t     global_batch_size;             /* rows; 0: not given                         */
    int64_t     per_device_train_batch_size;   /* 0: auto                                    */
    int64_t     gradient_accumulation_steps;   /* 0: auto                                    */
    char       *device;
    ql_tristate gradient_checkpointing;
    int64_t     max_memory; /* bytes; 0: auto */
    /* optimiser */
    char   *optim;
    double  learning_rate, warmup_ratio, warmup_steps /* -1: not given; below 1: a fraction */, weight_decay, adam_beta1,
        adam_beta2, adam_epsilon, max_grad_norm;
    char   *lr_scheduler_type;
    double  min_lr, min_lr_rate; /* lr_scheduler_kwargs of cosine_with_min_lr; -1: not given */
    double  lr_end, lr_power;    /* of polynomial; transformers: 1e-7, 1                    */
    int64_t lr_timescale;        /* of inverse_sqrt; 0: warm-up steps, or 10000             */
    /* logs, saves */
    int64_t logging_steps;
    char   *eval_strategy; /* no, steps, epoch */
    int64_t eval_steps;    /* 0: not given     */
    char   *save_strategy; /* no, steps, epoch, best */
    int64_t save_steps;    /* 0: none          */
    double  save_minutes;  /* 0: never by time */
    int64_t save_total_limit;
    char   *resume_from_checkpoint; /* auto, false, or a folder */
    bool    load_best_model_at_end;
    char   *metric_for_best_model; /* eval_loss, eval_perplexity */
    bool    greater_is_better;
    int64_t early_stopping_patience; /* evaluations; 0: never */
    double  early_stopping_threshold;
    /* faults */
    char   *on_nonfinite;        /* stop, skip                                    */
    double  loss_spike_zscore;   /* 0: no guard                                   */
    int64_t step_timeout;        /* seconds without progress; 0: auto             */
    int64_t load_timeout, save_timeout; /* the same while reading and while writing */
    int64_t max_restarts;        /* by qlora run, in a row without a newer checkpoint */
    int64_t min_ranks;           /* 0: auto, as many as were started              */
} ql_config;

/* Reads `path` and then the overrides ("KEY=VALUE", the value in YAML). All mistakes are
 * collected: the verdict is QL_USAGE and the text of ql_err_text holds one line per mistake,
 * "FILE:LINE: what; expected; nearest key". Notes to the user (an alias was used, a key has no
 * effect here) are appended to `notes`, one a line; may be NULL. */
QL_RESULT ql_config_read(const char *path, char **overrides, size_t n_overrides, ql_config *out, ql_str *notes);
/* All defaults, no required keys checked: for tools that take only KEY=VALUE. */
QL_RESULT ql_config_from_overrides(char **overrides, size_t n_overrides, ql_config *out);
void ql_config_free(ql_config *c);
/* Rows of one optimiser step: global_batch_size; else, with gradient_accumulation_steps, its
 * product with per_device_train_batch_size and the ranks, as Hugging Face has it; else 16.
 * per_device_train_batch_size alone is speed and memory, and decides nothing. */
int64_t ql_config_rows_per_step(const ql_config *c, int64_t n_ranks);
/* The resolved configuration as YAML that can be run again. */
void ql_config_write(const ql_config *c, ql_str *out);
/* The keys that decide what a run computes, as "key", "value" pairs in table order, for the
 * identity in a checkpoint. Caller frees the array and each value. Paths of model and data are
 * not among them: these are compared by digest. */
typedef struct {
    const char *key;
    char       *value;
} ql_config_fact;
size_t ql_config_facts(const ql_config *c, ql_config_fact **out);
/* What decides the tokens of one data set, as lines "KEY: VALUE": the keys of the group "data", but for those that are known to decide
 * nothing of it, and the fields of `spec`, but for path and weight. */
void ql_config_put_data(const ql_config *c, const ql_dataset_spec *spec, ql_str *out);
/* Every key with type, default and meaning: plain text for --help-config, or Markdown. */
void ql_config_help(ql_str *out, bool markdown);
