/* What keys say together. A check whose keys could not be read stays silent: one mistake, one line. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/config/reader.h"

static const ql_setting *setting_of(const ql_reader *r, const char *name) {
    return &r->setting[ql_key_find(name) - ql_keys];
}

static bool is_sound(const ql_reader *r, const char *name) {
    return !setting_of(r, name)->broken;
}

static bool is_given(const ql_reader *r, const char *name) {
    return setting_of(r, name)->where != NULL;
}

/* Where to point: at the key, if somebody set it. */
static const char *place(const ql_reader *r, const char *name) {
    const char *where = setting_of(r, name)->where;
    return where ? where : r->file ? r->file : "command line";
}

static void check_required(ql_reader *r) {
    for (size_t i = 0; i < ql_n_keys; i++) {
        const ql_key *key = &ql_keys[i];
        if (!key->required || r->setting[i].where) continue;
        ql_reader_mistake(r, r->file, "%s is missing; add %s: %s", key->name, key->name,
                          key->kind == QL_KEY_DATASETS ? "FILE.jsonl" : "FOLDER");
    }
}

static void check_steps(ql_reader *r) {
    if (is_sound(r, "max_steps") && r->config->max_steps == 0)
        ql_reader_mistake(r, place(r, "max_steps"), "max_steps is '0'; expected a whole number of at least 1, or -1 to go by num_train_epochs");
}

static void check_warmup(ql_reader *r) {
    ql_config *c = r->config;
    if (!is_sound(r, "warmup_steps") || c->warmup_steps < 0) return;
    if (c->warmup_steps >= 1 && c->warmup_steps != floor(c->warmup_steps))
        ql_reader_mistake(r, place(r, "warmup_steps"), "warmup_steps is %.15g; expected a whole number, or a fraction below 1", c->warmup_steps);
    bool ratio_given = is_given(r, "warmup_ratio");
    if (c->warmup_steps == 0) { /* as in transformers: 0 steps leave a given ratio in force */
        c->warmup_steps = -1;
        if (!ratio_given) c->warmup_ratio = 0;
    } else if (ratio_given && c->warmup_ratio != 0.03) {
        ql_reader_note(r, place(r, "warmup_ratio"), "warmup_ratio has no effect beside warmup_steps");
    }
}

static void check_validation(ql_reader *r) {
    const ql_config *c = r->config;
    if (!is_sound(r, "val_set_size") || !is_sound(r, "eval_dataset")) return;
    if (c->val_set_size >= 1 && c->val_set_size != floor(c->val_set_size))
        ql_reader_mistake(r, place(r, "val_set_size"), "val_set_size is %.15g; expected a whole number of records, or a fraction below 1", c->val_set_size);
    for (size_t i = 0; i < c->eval_dataset.count; i++)
        if (c->eval_dataset.item[i].weight)
            ql_reader_mistake(r, place(r, "eval_dataset"), "eval_dataset has an entry with weight; evaluation takes each record once: remove it");
    if (c->val_set_size > 0 && c->eval_dataset.count > 0)
        ql_reader_mistake(r, place(r, "val_set_size"), "val_set_size and eval_dataset both name evaluation data; keep one, or set val_set_size to 0");
    bool has_data = c->val_set_size > 0 || c->eval_dataset.count > 0;
    if (is_sound(r, "eval_strategy") && strcmp(c->eval_strategy, "no") != 0 && !has_data)
        ql_reader_mistake(r, place(r, "eval_strategy"), "eval_strategy is %s, but there are no evaluation data; add eval_dataset or val_set_size", c->eval_strategy);
}

/* Two keys that both say what is trained on. */
static void check_train_on(ql_reader *r) {
    const ql_config *c = r->config;
    if (!is_sound(r, "train_on") || !is_sound(r, "completion_only_loss") || c->completion_only_loss == QL_AUTO) return;
    bool all = !strcmp(c->train_on, "all"), only = c->completion_only_loss == QL_TRUE;
    if (strcmp(c->train_on, "auto") != 0 && all == only)
        ql_reader_mistake(r, place(r, "train_on"), "train_on is %s, but completion_only_loss is %s; keep train_on", c->train_on, only ? "true" : "false");
}

static void fill_eval_steps(ql_reader *r) {
    ql_config *c = r->config;
    if (!is_sound(r, "eval_strategy")) return;
    bool by_steps = !strcmp(c->eval_strategy, "steps");
    if (by_steps && c->eval_steps == 0) c->eval_steps = c->logging_steps;
    if (!by_steps && is_given(r, "eval_steps"))
        ql_reader_note(r, place(r, "eval_steps"), "eval_steps has no effect without eval_strategy: steps");
}

static void note_save_steps(ql_reader *r) {
    if (is_sound(r, "save_strategy") && is_given(r, "save_steps") && strcmp(r->config->save_strategy, "steps") != 0)
        ql_reader_note(r, place(r, "save_steps"), "save_steps has no effect without save_strategy: steps");
}

static void needs_scheduler(ql_reader *r, const char *name, const char *scheduler) {
    if (is_sound(r, name) && strcmp(r->config->lr_scheduler_type, scheduler) != 0)
        ql_reader_mistake(r, place(r, name), "%s needs lr_scheduler_type: %s, which is %s", name, scheduler, r->config->lr_scheduler_type);
}

static void check_cosine(ql_reader *r) {
    const ql_config *c = r->config;
    bool             floor_given = c->min_lr >= 0, rate_given = c->min_lr_rate >= 0;
    if (floor_given) needs_scheduler(r, "min_lr", "cosine_with_min_lr");
    if (rate_given) needs_scheduler(r, "min_lr_rate", "cosine_with_min_lr");
    if (strcmp(c->lr_scheduler_type, "cosine_with_min_lr") != 0) return;
    if (!is_sound(r, "min_lr") || !is_sound(r, "min_lr_rate")) return;
    if (!floor_given && !rate_given)
        ql_reader_mistake(r, place(r, "lr_scheduler_type"), "cosine_with_min_lr needs min_lr or min_lr_rate; add one");
    if (floor_given && rate_given)
        ql_reader_mistake(r, place(r, "min_lr"), "min_lr and min_lr_rate say the same; keep one");
    if (floor_given && is_sound(r, "learning_rate") && c->min_lr > c->learning_rate)
        ql_reader_mistake(r, place(r, "min_lr"), "min_lr %.15g is above learning_rate %.15g", c->min_lr, c->learning_rate);
}

/* Written-out defaults pass: a resolved configuration holds every key. */
static void check_other_schedules(ql_reader *r) {
    const ql_config *c = r->config;
    if (c->lr_end != 1e-7) needs_scheduler(r, "lr_end", "polynomial");
    if (c->lr_power != 1) needs_scheduler(r, "lr_power", "polynomial");
    if (c->lr_timescale != 0) needs_scheduler(r, "lr_timescale", "inverse_sqrt");
    bool polynomial = !strcmp(c->lr_scheduler_type, "polynomial");
    if (polynomial && is_sound(r, "lr_end") && is_sound(r, "learning_rate") && c->lr_end >= c->learning_rate)
        ql_reader_mistake(r, place(r, "lr_end"), "lr_end %.15g must be below learning_rate %.15g", c->lr_end, c->learning_rate);
}

static void needs_evaluation(ql_reader *r, const char *name, const char *value) {
    if (is_sound(r, name) && is_sound(r, "eval_strategy") && !strcmp(r->config->eval_strategy, "no"))
        ql_reader_mistake(r, place(r, name), "%s%s needs evaluations during training; set eval_strategy to steps or epoch", name, value);
}

static void check_best(ql_reader *r) {
    const ql_config *c = r->config;
    bool             stops_early = c->early_stopping_patience > 0;
    if (c->load_best_model_at_end) needs_evaluation(r, "load_best_model_at_end", "");
    if (stops_early) needs_evaluation(r, "early_stopping_patience", "");
    if (is_sound(r, "save_strategy") && !strcmp(c->save_strategy, "best")) needs_evaluation(r, "save_strategy", ": best");
    if (c->load_best_model_at_end && is_sound(r, "save_strategy") && !strcmp(c->save_strategy, "no"))
        ql_reader_mistake(r, place(r, "load_best_model_at_end"), "load_best_model_at_end needs checkpoints; set save_strategy to best, steps or epoch");
    if (c->greater_is_better)
        ql_reader_mistake(r, place(r, "greater_is_better"), "greater_is_better is true, but of loss and perplexity less is better; set it to false");
    if (!stops_early && c->early_stopping_threshold != 0)
        ql_reader_note(r, place(r, "early_stopping_threshold"), "early_stopping_threshold has no effect without early_stopping_patience");
    if (stops_early && !c->load_best_model_at_end)
        ql_reader_note(r, place(r, "early_stopping_patience"),
                       "early stopping without load_best_model_at_end hands out the last adapter, which is not the best");
}

static void check_batch(ql_reader *r) {
    const ql_config *c = r->config;
    if (c->global_batch_size > 0 && c->gradient_accumulation_steps > 0)
        ql_reader_note(r, place(r, "gradient_accumulation_steps"),
                       "gradient_accumulation_steps has no effect beside global_batch_size");
}

static void check_packing(ql_reader *r) {
    ql_config *c = r->config;
    if (!is_sound(r, "packing") || !is_sound(r, "packing_strategy") || !is_sound(r, "group_by_length")) return;
    if (c->packing && c->group_by_length) {
        ql_reader_note(r, place(r, "group_by_length"), "group_by_length has no effect with packing: rows are full");
        c->group_by_length = false;
    }
    if (!strcmp(c->packing_strategy, "bfd")) return;
    if (!c->packing)
        ql_reader_note(r, place(r, "packing_strategy"), "packing_strategy has no effect without packing: long records are not cut");
    else if (is_sound(r, "excess_length_strategy") && strcmp(c->excess_length_strategy, "drop") != 0)
        ql_reader_note(r, place(r, "excess_length_strategy"), "excess_length_strategy has no effect with packing_strategy: %s, which cuts long records",
                       c->packing_strategy);
}

void ql_reader_check(ql_reader *r, bool need_required) {
    if (need_required) check_required(r);
    check_steps(r);
    check_warmup(r);
    check_validation(r);
    check_train_on(r);
    fill_eval_steps(r);
    note_save_steps(r);
    check_batch(r);
    check_packing(r);
    check_best(r);
    if (!is_sound(r, "lr_scheduler_type")) return;
    check_cosine(r);
    check_other_schedules(r);
}
