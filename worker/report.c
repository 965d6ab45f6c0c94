/* The first lines of a run. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "worker/data/pack/cut.h"
#include "worker/data/target/target.h"
#include "worker/job.h"

static void report_model(const ql_job *j) {
    ql_str title = {0};
    ql_model_title(&j->model, &title);
    ql_info("model    %s: %s", j->config.model_name_or_path, title.data);
    ql_str_free(&title);
    if (!j->has_adapter) return;
    double share = 100 * (double)j->adapter.shape.trainable / (double)j->model.parameters;
    ql_info("adapter  LoRA r %" PRId64 ", alpha %g on %zu layers: %" PRId64 " trainable parameters (%.2f %%)", j->adapter.shape.r,
            j->config.lora_alpha, j->adapter.shape.modules, j->adapter.shape.trainable, share);
}

static void report_corpus(const char *name, const ql_corpus *c, const ql_row_set *r) {
    if (c->records == 0) return;
    ql_info("%s %" PRId64 " records (%s): %zu documents in %" PRId64 " rows, %.1f %% full, %" PRId64 " target tokens of %" PRId64, name,
            c->records, c->format, c->documents, r->rows,
            r->rows ? 100.0 * (double)r->tokens / (double)(r->rows * r->max_length) : 0.0, r->targets, r->tokens);
    for (size_t i = 0; i < c->stores; i++)
        if (c->store[i]->origin) ql_info("         %s", c->store[i]->origin);
    if (c->dropped_long + c->truncated + c->without_targets > 0)
        ql_info("         dropped for length %" PRId64 ", truncated %" PRId64 ", without targets %" PRId64, c->dropped_long, c->truncated,
                c->without_targets);
    if (c->dropped_long > 0 && !strcmp(c->format, "text")) ql_info("         packing_strategy: wrapped would cut long texts instead of dropping them");
    if (c->duplicates > 0) ql_info("         left out as like another: %" PRId64, c->duplicates);
}

static void warn_of_severed(const ql_job *j) {
    int64_t n = ql_corpus_severed(&j->train);
    if (n > 0 && j->place.rank == 0)
        ql_warn("packing_strategy: %s cuts records: %" PRId64 " pieces of answers are trained on without their prompt; bfd keeps records whole", j->config.packing_strategy, n);
}

/* What is trained on, and what conversations were rendered with. */
static void report_targets(const ql_job *j) {
    bool conversations = j->train.conversations || j->eval.conversations;
    ql_info("targets  %s, each with the token that ends it", ql_train_on_text(ql_train_on_of(&j->config), j->train.records ? j->train.format : j->eval.format));
    if (conversations) ql_info("template %s%s%s", j->chat.name, j->config.chat_template_kwargs ? " with " : "", j->config.chat_template_kwargs ? j->config.chat_template_kwargs : "");
}

static void report_device(const ql_job *j) {
    ql_device_info info;
    if (ql_bad(ql_device_describe(j->device, &info))) return;
    char threads[40] = ""; /* of a CPU */
    if (info.threads > 0) snprintf(threads, sizeof threads, "%d thread%s a rank, ", info.threads, info.threads == 1 ? "" : "s");
    ql_info("device   %s, %s%d rank%s (%s); products in %s", info.name, threads, j->place.size, j->place.size == 1 ? "" : "s",
            ql_world_kind(j->world), ql_dtype_name(j->operands));
}

static void report_plan(const ql_job *j) {
    char   total[32], limit[32];
    ql_str choice = {0};
    ql_memory_choice_text(&j->question, &j->plan.choice, &choice);
    ql_info("plan     %s of %s a rank: %s", ql_text_bytes(total, j->plan.total), ql_text_bytes(limit, j->plan.limit),
            choice.data);
    ql_str_free(&choice);
}

void ql_job_report(const ql_job *j, ql_job_purpose purpose) {
    report_model(j);
    report_corpus("data    ", &j->train, &j->train_rows);
    report_corpus("eval    ", &j->eval, &j->eval_rows);
    report_targets(j);
    warn_of_severed(j);
    report_device(j);
    report_plan(j);
    if (purpose != QL_JOB_TRAIN) return;
    ql_info("run      %" PRId64 " steps of %" PRId64 " rows (%" PRId64 " steps an epoch), %s, learning rate %g %s", j->total_steps,
            j->global_batch, j->steps_per_epoch, j->config.optim, j->config.learning_rate, j->config.lr_scheduler_type);
    ql_info("output   %s", j->config.output_dir);
}
