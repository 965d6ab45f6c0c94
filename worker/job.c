#include "worker/job.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hook.h"
#include "base/log.h"
#include "base/random.h"
#include "worker/ballot.h"
#include "worker/data/audit/overlap.h"
#include "worker/data/read/files.h"
#include "worker/data/target/chat_of.h"
#include "worker/model/shadow.h"

/* ---- data ---- */

static ql_err read_eval(ql_job *j, ql_job_purpose purpose, const ql_corpus_options *o) {
    const ql_config *c = &j->config;
    if (purpose == QL_JOB_EVAL) {
        const ql_datasets *files = c->eval_dataset.count ? &c->eval_dataset : &c->dataset;
        return ql_corpus_read(files, o, &j->eval);
    }
    if (c->eval_dataset.count) {
        QL_TRY(ql_corpus_read(&c->eval_dataset, o, &j->eval));
        ql_overlap_find(&j->train, &c->eval_dataset, c, &j->eval);
    } else if (c->val_set_size > 0) ql_corpus_split(&j->train, c->val_set_size, c->seed, &j->eval);
    return ql_ok();
}

static ql_err read_corpora(ql_job *j, ql_job_purpose purpose, const ql_audit_facts *facts) {
    const ql_config  *c = &j->config;
    ql_corpus_options o = {.config = c, .tokenizer = j->tokenizer, .vocab_size = j->model.config.vocab_size, .training = true, .facts = facts,
                           .chat = &j->chat, .prepares = j->prepares, .threads_alone = j->threads_alone};
    if (purpose == QL_JOB_TRAIN) QL_TRY(ql_corpus_read(&c->dataset, &o, &j->train));
    o.keep_untargeted = purpose == QL_JOB_EVAL;
    o.training = false;
    QL_TRY(read_eval(j, purpose, &o));
    ql_corpus_pack(&j->eval, c, false, &j->eval_rows);
    if (purpose == QL_JOB_EVAL) return ql_ok();
    QL_CHECK(j->train.documents > 0 || j->eval.documents == 0 || c->eval_dataset.count > 0, QL_DATA,
             "dataset: val_set_size takes all %zu records for evaluation and leaves none to train on", j->eval.documents);
    QL_CHECK(j->train.documents > 0, QL_DATA, "dataset: no record is left to train on (%lld read, %lld too long, %lld without targets)",
             (long long)j->train.records, (long long)j->train.dropped_long, (long long)j->train.without_targets);
    ql_corpus_pack(&j->train, c, true, &j->train_rows);
    return ql_ok();
}

static void resolve_steps(ql_job *j) {
    const ql_config *c = &j->config;
    j->steps_per_epoch = ql_ceil_div(j->train_rows.rows, j->global_batch);
    j->total_steps = c->max_steps > 0 ? c->max_steps : (int64_t)ceil(c->num_train_epochs * (double)j->steps_per_epoch);
}

static ql_err read_audited(ql_job *j, ql_job_purpose purpose) {
    ql_audit_facts facts;
    const ql_model_config *model = &j->model.config;
    QL_TRY(ql_audit_facts_open(j->config.model_name_or_path, j->tokenizer, model->vocab_size, model->max_positions, &facts));
    ql_audit_model(&facts, &j->audit);
    ql_err e = read_corpora(j, purpose, &facts);
    ql_audit_facts_close(&facts);
    return e;
}

ql_err ql_job_read_data(ql_job *j, ql_job_purpose purpose) {
    QL_TRY(ql_tokenizer_open(j->config.model_name_or_path, &j->tokenizer));
    QL_TRY(ql_chat_of(&j->config, &j->chat));
    QL_TRY(read_audited(j, purpose));
    j->global_batch = ql_config_rows_per_step(&j->config, j->place.size);
    if (purpose == QL_JOB_TRAIN) resolve_steps(j);
    if (purpose == QL_JOB_TRAIN && j->config.group_by_length) ql_row_set_group(&j->train, j->global_batch, &j->train_rows);
    return ql_ok();
}

/* ---- model and plan ---- */

ql_err ql_job_describe_model(ql_job *j, ql_job_purpose purpose) {
    const ql_config *c = &j->config;
    ql_load_options  o = {.load_in_4bit = c->load_in_4bit,
                          .quant = ql_quant_find(c->bnb_4bit_quant_type),
                          .double_quant = c->bnb_4bit_use_double_quant,
                          .cache = strcmp(c->quantized_cache, "false") ? c->quantized_cache : NULL,
                          .keeps_cache = j->place.local_rank == 0};
    QL_TRY(ql_model_describe(c->model_name_or_path, &o, &j->model));
    j->has_adapter = purpose == QL_JOB_TRAIN || c->adapter_name_or_path;
    if (!j->has_adapter) return ql_ok();
    return ql_adapter_plan(&j->model.graph, c, &j->adapter.shape);
}

/* Without data, as for --plan: the longest that the configuration allows. */
static int64_t longest_row(const ql_job *j) {
    int64_t longest = ql_max(j->train_rows.longest, j->eval_rows.longest);
    return longest > 0 ? longest : j->config.max_length;
}

/* That this rank can get at a time. No step has more rows than the data, which --plan does not know. */
static int64_t rows_at_most(const ql_job *j, bool training) {
    if (!training) return ql_max(1, j->eval_rows.rows);
    int64_t known = j->train_rows.rows > 0 ? j->train_rows.rows : INT64_MAX;
    return ql_ceil_div(ql_min(j->global_batch, known), j->place.size);
}

/* Of what the machine has free, some is left to others; the ranks of a machine share the rest. */
static uint64_t share_of_host(const ql_job *j, const ql_device_info *host) {
    return host->bytes_free / 5 * 4 / (uint64_t)j->place.local_size;
}

/* An accelerator has one rank, and its driver has taken already part of what the plan counts as outside of our
 * buffers. Something is left for what is larger than estimated and cannot be cut to fit. */
uint64_t ql_job_limit(const ql_job *j, const ql_device_info *info) {
    enum { LEFT = 512 << 20, LEFT_SHARE = 50 };
    uint64_t there = info->bytes_free + j->question.needs.outside, left = LEFT + info->bytes_total / LEFT_SHARE;
    uint64_t wanted = (uint64_t)j->config.max_memory;
    if (wanted > 0) return wanted < there ? wanted : there;
    return there > left ? there - left : 0;
}

static ql_err host_limit(const ql_job *j, uint64_t *limit) {
    ql_device     *host;
    ql_device_info info;
    QL_TRY(ql_device_open("cpu", 0, 1, &host));
    ql_err e = ql_device_describe(host, &info);
    ql_device_close(host);
    *limit = share_of_host(j, &info);
    return e;
}

/* Where there is no device, it is not this machine's memory that counts. */
static ql_err memory_limits(const ql_job *j, uint64_t *limit, uint64_t *on_host) {
    *limit = (uint64_t)j->config.max_memory;
    *on_host = UINT64_MAX;
    if (j->card) {
        ql_device_info absent = ql_card_info(j->card, j->question.needs.outside);
        *limit = ql_job_limit(j, &absent);
        return ql_ok();
    }
    QL_CHECK(j->device || *limit > 0, QL_USAGE,
             "device: %s: there is none here to be asked for its memory; say what to plan for, as in --gpu A100-80 or --max-memory 16GiB",
             j->device_kind);
    if (!j->device) return ql_ok();
    ql_device_info info;
    QL_TRY(ql_device_describe(j->device, &info));
    if (j->question.needs.is_host) {
        if (*limit == 0) *limit = share_of_host(j, &info);
        return ql_ok();
    }
    *limit = ql_job_limit(j, &info);
    return host_limit(j, on_host);
}

/* Of a plan; where there are data the audit looks at each record. */
static void warn_of_length(const ql_job *j) {
    if (j->train.records + j->eval.records == 0 && longest_row(j) > j->model.config.max_positions)
        ql_info("note: rows of up to %lld tokens, the model was made for %lld (max_position_embeddings)",
                (long long)longest_row(j), (long long)j->model.config.max_positions);
}

static int64_t largest_frozen(const ql_model *m) {
    int64_t most = 0;
    for (size_t i = 0; i < m->graph.slots; i++)
        most = ql_max(most, m->weight[i].out * m->weight[i].in);
    return most;
}

/* Before the data are read: five bytes a token, and two bytes of a file make a token at least (three to four with the
 * vocabularies of real models), so that a run needs no more than its plan said. */
static uint64_t expected_data(const ql_datasets *sets) {
    return ql_files_text_bytes(sets) / 2 * 5;
}

static bool has_mapped(const ql_corpus *c) {
    for (size_t i = 0; i < c->stores; i++)
        if (c->store[i]->map.data) return true;
    return false;
}

static void ask_about_data(const ql_job *j, ql_memory_question *q) {
    if (j->train.documents + j->eval.documents == 0) {
        q->data_bytes = expected_data(&j->config.dataset) + expected_data(&j->config.eval_dataset);
        q->data_detail = "tokens and rows, estimated from the size of the files, uncached";
        return;
    }
    q->data_bytes = ql_corpus_bytes(&j->train) + ql_row_set_bytes(&j->train, &j->train_rows) + ql_corpus_bytes(&j->eval) +
                    ql_row_set_bytes(&j->eval, &j->eval_rows);
    bool mapped = has_mapped(&j->train) || has_mapped(&j->eval);
    q->data_detail = mapped ? "records and rows; tokens are mapped from the cache" : "tokens and rows";
}

ql_err ql_job_ask_memory(ql_job *j, ql_job_purpose purpose) {
    bool training = purpose == QL_JOB_TRAIN;
    warn_of_length(j);
    if (j->global_batch == 0) j->global_batch = ql_config_rows_per_step(&j->config, j->place.size);
    j->question = (ql_memory_question){.graph = &j->model.graph,
                                       .weights = j->model.weight,
                                       .adapter = j->has_adapter ? &j->adapter.shape : NULL,
                                       .device = j->device_kind,
                                       .weight_bytes = j->model.weight_bytes,
                                       .table_bytes = ql_model_table_bytes(&j->model, longest_row(j)),
                                       .vocab = j->model.config.vocab_size,
                                       .longest_row = longest_row(j),
                                       .rows_at_most = rows_at_most(j, training),
                                       .micro_rows = j->config.per_device_train_batch_size,
                                       .ranks = j->place.size,
                                       .recompute = j->config.gradient_checkpointing,
                                       .training = training};
    QL_TRY(ql_device_needs_of(j->device_kind, j->threads, j->operands, largest_frozen(&j->model), &j->question.needs));
    QL_TRY(memory_limits(j, &j->question.limit, &j->question.host_limit));
    ask_about_data(j, &j->question);
    return ql_ok();
}

ql_err ql_job_plan(ql_job *j, ql_job_purpose purpose) {
    QL_TRY(ql_job_ask_memory(j, purpose));
    return ql_memory_plan_make(&j->question, &j->plan);
}

/* ---- loading ---- */

static ql_err take_buffers(ql_job *j) {
    int64_t tokens = j->plan.micro_tokens, rows = j->plan.choice.micro_rows;
    QL_TRY(ql_buffer_new(j->device, j->plan.run_bytes, &j->arena));
    if (j->plan.train.host_bytes > 0) QL_TRY(ql_host_new(j->device, j->plan.train.host_bytes, &j->borders));
    QL_TRY(ql_batch_open(j->device, tokens, rows, &j->batch));
    ql_host_batch_open(tokens, rows, &j->host);
    j->coef = QL_NEW_ARRAY(float, (size_t)tokens);
    j->ballots = QL_NEW_ARRAY(int64_t, (size_t)j->place.size * QL_BALLOT_NUMBERS);
    j->step_rows = QL_NEW_ARRAY(int64_t, (size_t)ql_min(j->global_batch, ql_max(1, j->train_rows.rows)));
    j->order = QL_NEW_ARRAY(int64_t, (size_t)j->train_rows.rows);
    return ql_ok();
}

/* Written to at once, so that the first save waits for no pages. */
static ql_err take_copy(ql_job *j) {
    size_t bytes = ql_adapter_copy_bytes(&j->adapter.shape);
    QL_TRY(ql_host_new(j->device, bytes, &j->copy_memory));
    memset(j->copy_memory, 0, bytes);
    ql_adapter_copy_open_in(&j->adapter, j->copy_memory, &j->copy);
    return ql_ok();
}

static ql_err compare_bytes(const char *what, uint64_t planned, uint64_t taken) {
    QL_CHECK(taken == planned, QL_BUG, "memory%s: %llu bytes were planned, %llu are taken", what, (unsigned long long)planned,
             (unsigned long long)taken);
    return ql_ok();
}

/* What was planned and what was taken are compared, on every run. */
static ql_err check_against_plan(const ql_job *j) {
    ql_memory_use use = ql_device_memory(j->device);
    QL_TRY(compare_bytes("", j->plan.arena_bytes, use.bytes_now));
    return compare_bytes(" of the host", j->plan.waiting_bytes, use.host_now);
}

static ql_err start_adapter(ql_job *j, ql_job_purpose purpose) {
    if (!j->has_adapter) return ql_ok();
    const ql_config *c = &j->config;
    ql_adapter_shape shape = j->adapter.shape;
    QL_TRY(ql_adapter_open(j->device, &shape, purpose == QL_JOB_TRAIN, j->plan.choice.paged_moments, &j->adapter));
    if (c->adapter_name_or_path) return ql_adapter_read(&j->adapter, c->adapter_name_or_path);
    return ql_adapter_init(&j->adapter, c->seed, c->init_lora_weights);
}

static ql_err decode_layers(ql_job *j) {
    int layers = j->plan.choice.shadow_layers;
    if (layers == 0) return ql_ok();
    ql_dtype type = j->question.needs.activation;
    size_t   bytes = ql_shadow_bytes(&j->model.graph, j->model.weight, layers, type);
    QL_TRY(ql_buffer_new(j->device, bytes, &j->shadow));
    return ql_shadow_make(j->device, &j->model.graph, j->model.weight, layers, type, j->shadow);
}

/* A tokenizer of 256,000 tokens takes as much as a small model, and its file in JSON more. */
static void forget_text(ql_job *j) {
    ql_tokenizer_close(j->tokenizer);
    j->tokenizer = NULL;
    ql_return_freed();
}

ql_err ql_job_load(ql_job *j, ql_job_purpose purpose) {
    forget_text(j);
    j->objective = &ql_objective_sft;
    j->loss_scale = ql_loss_scale_start(j->question.needs.activation);
    j->guard = ql_guard_start(&j->config);
    j->best = ql_best_start(&j->config);
    j->evaluated = -1;
    QL_TRY(ql_device_prepare(j->device, &j->question.needs));
    QL_TRY(ql_device_reserve(j->device, j->plan.arena_bytes));
    QL_TRY(ql_model_load(&j->model, j->device, longest_row(j)));
    QL_TRY(decode_layers(j));
    QL_TRY(start_adapter(j, purpose));
    QL_TRY(take_buffers(j));
    if (purpose == QL_JOB_TRAIN) QL_TRY(take_copy(j));
    QL_TRY(check_against_plan(j));
    ql_deal_open(j->place.size, &j->deal);
    if (purpose != QL_JOB_TRAIN) return ql_ok();
    return ql_exchange_open(j->world, j->device, j->device_kind, &j->adapter, &j->exchange);
}

void ql_job_close(ql_job *j) {
    ql_exchange_close(&j->exchange);
    ql_deal_close(&j->deal);
    ql_host_batch_close(&j->host);
    ql_batch_close(&j->batch);
    if (j->copy_memory) ql_host_free(j->device, j->copy_memory, ql_adapter_copy_bytes(&j->adapter.shape));
    ql_adapter_copy_close(&j->copy);
    if (j->device) ql_host_free(j->device, j->borders, j->plan.train.host_bytes);
    if (j->device) ql_buffer_free(j->device, j->arena);
    if (j->device) ql_buffer_free(j->device, j->shadow);
    free(j->coef);
    free(j->step_rows);
    free(j->ballots);
    free(j->order);
    ql_adapter_close(&j->adapter);
    ql_model_close(&j->model);
    ql_memory_plan_free(&j->plan);
    ql_row_set_free(&j->train_rows);
    ql_row_set_free(&j->eval_rows);
    ql_corpus_free(&j->train);
    ql_corpus_free(&j->eval);
    ql_audit_free(&j->audit);
    ql_tokenizer_close(j->tokenizer);
    ql_chat_close(&j->chat);
    ql_device_close(j->device);
    ql_claim_close(&j->claim);
    ql_machines_free(&j->machines);
    ql_config_free(&j->config);
}

ql_err ql_job_run_host_batch(ql_job *j, bool training, uint32_t step) {
    const float *coef = NULL;
    if (training) {
        j->objective->coefficients(NULL, j->host.targets, j->coef);
        ql_loss_scale_multiply(&j->loss_scale, j->coef, j->host.targets);
        ql_at("gradient", step + 1, j);
        coef = j->coef;
    }
    QL_TRY(ql_batch_upload(&j->batch, &j->host, coef));
    ql_run r = {.device = j->device,
                .graph = &j->model.graph,
                .plan = training ? &j->plan.train : &j->plan.score,
                .arena = j->arena,
                .host = j->borders,
                .weights = j->model.weight,
                .sites = j->has_adapter ? j->adapter.sites : NULL,
                .act = j->question.needs.activation,
                .operands = j->operands,
                .rope_cos = j->model.rope_cos,
                .rope_sin = j->model.rope_sin,
                .step_rows = ql_min(j->global_batch, j->train_rows.rows),
                .loss_scale = j->loss_scale.exponent,
                .batch = &j->batch.view,
                .dropout = training ? (float)j->config.lora_dropout : 0,
                .dropout_key = ql_random_key((uint64_t)j->config.seed, QL_RANDOM_DROPOUT),
                .step = step,
                .module_done = training ? ql_exchange_module_done : NULL,
                .listener = &j->exchange};
    QL_TRY(ql_run_batch(&r));
    QL_TRY(ql_batch_fetch(&j->batch));
    ql_at(training ? "loss" : "score", training ? step + 1 : 0, j);
    return ql_ok();
}

ql_err ql_job_gradient_flaws(ql_job *j, int32_t *flaws) {
    int32_t *each = j->adapter.flaws_on_host;
    QL_TRY(ql_download(j->device, each, j->adapter.flaws));
    *flaws = 0;
    for (size_t m = 0; m < j->adapter.shape.modules; m++) *flaws |= each[m];
    return ql_ok();
}
