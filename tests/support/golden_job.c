#include "tests/support/golden_job.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/check.h"
#include "worker/data/corpus_build.h"

static void add_override(char **overrides, size_t *n, char *text) {
    overrides[(*n)++] = text;
}

static char *number_override(const char *key, const ql_json *from) {
    ql_str text = {0};
    ql_str_printf(&text, "%s=", key);
    ql_json_put_double(&text, ql_json_number(ql_json_get(from, key), 0));
    return text.data;
}

static void configure(golden *g, const golden_request *r) {
    static const char *const training_keys[] = {"learning_rate", "warmup_steps", "max_steps",
                                                "weight_decay",  "adam_beta1",   "adam_beta2", "max_grad_norm"};
    char          *overrides[32];
    size_t         n = 0;
    const ql_json *training = ql_json_get(g->expected, "training"), *lora = ql_json_get(g->expected, "lora");
    for (size_t i = 0; i < QL_LEN(training_keys); i++)
        add_override(overrides, &n, number_override(training_keys[i], training));
    add_override(overrides, &n, number_override("lora_alpha", lora));
    add_override(overrides, &n, ql_format("lora_r=%lld", (long long)ql_json_int(ql_json_get(lora, "r"), 0)));
    add_override(overrides, &n, ql_format("use_rslora=%s", ql_json_bool(ql_json_get(lora, "use_rslora"), false) ? "true" : "false"));
    add_override(overrides, &n, ql_format("lora_dropout=%g", r->dropout));
    add_override(overrides, &n, ql_strdup("lr_scheduler_type=linear"));
    add_override(overrides, &n, ql_format("adam_epsilon=%g", r->epsilon > 0 ? r->epsilon : 1e-8));
    add_override(overrides, &n, ql_format("load_in_4bit=%s", strncmp(r->base, "nf4", 3) ? "false" : "true"));
    add_override(overrides, &n, ql_format("bnb_4bit_use_double_quant=%s", strcmp(r->base, "nf4") ? "false" : "true"));
    add_override(overrides, &n, ql_format("gradient_checkpointing=%s", r->max_memory ? "auto" : r->recompute ? "true" : "false"));
    if (r->max_memory) add_override(overrides, &n, ql_format("max_memory=%lld", (long long)r->max_memory));
    if (r->targets) add_override(overrides, &n, ql_format("target_modules=%s", r->targets));
    if (r->micro_rows > 0)
        add_override(overrides, &n, ql_format("per_device_train_batch_size=%lld", (long long)r->micro_rows));
    ok(ql_config_from_overrides(overrides, n, &g->job.config));
    for (size_t i = 0; i < n; i++) free(overrides[i]);
    free(g->job.config.model_name_or_path);
    g->job.config.model_name_or_path = ql_strdup(g->folder);
    if (r->adapter) g->job.config.adapter_name_or_path = ql_path_join(g->folder, "adapter");
}

static void add_document(ql_corpus *c, int64_t record, const ql_json *document) {
    const ql_json *ids = ql_json_get(document, "ids");
    size_t         n = ql_json_size(ids);
    int64_t        first = ql_json_int(ql_json_get(document, "first_target"), 1);
    int32_t       *id = QL_NEW_ARRAY(int32_t, n);
    uint8_t       *target = QL_NEW_ARRAY(uint8_t, n);
    for (size_t i = 0; i < n; i++) {
        id[i] = (int32_t)ql_json_int(ql_json_at(ids, i), 0);
        target[i] = (int64_t)i >= first;
    }
    ql_corpus_add(c, record, id, target, n);
    free(id);
    free(target);
}

static void read_documents(const golden *g, ql_corpus *c) {
    const ql_json *documents = ql_json_get(g->expected, "documents");
    for (size_t i = 0; i < ql_json_size(documents); i++) add_document(c, (int64_t)i, ql_json_at(documents, i));
    c->records = (int64_t)c->documents;
    ql_corpus_seal(c);
}

/* The rows as expected.json deals them; a document may be in several. */
static void read_rows(const golden *g, const ql_corpus *c, ql_row_set *out) {
    const ql_json *rows = ql_json_get(g->expected, "rows");
    size_t         n = ql_json_size(rows), documents = 0;
    for (size_t r = 0; r < n; r++) documents += ql_json_size(ql_json_at(rows, r));
    *out = (ql_row_set){.rows = (int64_t)n};
    out->start = QL_NEW_ARRAY(int64_t, n + 1);
    out->document = QL_NEW_ARRAY(int64_t, documents);
    int64_t at = 0;
    for (size_t r = 0; r < n; r++) {
        const ql_json *row = ql_json_at(rows, r);
        int64_t        tokens = 0;
        for (size_t i = 0; i < ql_json_size(row); i++) {
            out->document[at] = ql_json_int(ql_json_at(row, i), 0);
            tokens += c->document[out->document[at++]].length;
        }
        out->start[r + 1] = at;
        out->tokens += tokens;
        out->longest = ql_max(out->longest, tokens);
    }
    out->max_length = out->longest;
}

const char *golden_device = "cpu";

const char *golden_data(void) {
    const char *elsewhere = getenv("QL_TEST_DATA");
    return elsewhere ? elsewhere : QL_TEST_DATA;
}

void golden_open(const golden_request *r, golden *out) {
    *out = (golden){.folder = ql_format("%s/models/%s", golden_data(), r->model)};
    char *json = ql_path_join(out->folder, "expected.json"), *tensors = ql_path_join(out->folder, "expected.safetensors");
    ok(ql_json_read(json, 1 << 24, &out->expected));
    ok(ql_tensor_file_open(tensors, &out->tensors));
    free(json);
    free(tensors);
    out->base = ql_json_get(ql_json_get(out->expected, "bases"), r->base);
    configure(out, r);
    ql_job *j = &out->job;
    ok(ql_world_open(NULL, NULL, &j->world));
    j->place = ql_world_place(j->world);
    j->device_kind = golden_device;
    j->threads = r->threads ? r->threads : 1;
    ok(ql_device_open(j->device_kind, 0, j->threads, &j->device));
    ql_job_purpose purpose = r->training ? QL_JOB_TRAIN : QL_JOB_EVAL;
    read_documents(out, &j->train);
    read_rows(out, &j->train, &j->train_rows);
    read_documents(out, &j->eval);
    ql_pack(&j->eval, j->train_rows.longest, true, &j->eval_rows);
    j->global_batch = j->train_rows.rows;
    j->steps_per_epoch = 1;
    j->total_steps = j->config.max_steps;
    ok(ql_job_describe_model(j, purpose));
    ok(ql_job_plan(j, purpose));
    if (r->choice) {
        ql_memory_plan_free(&j->plan);
        ql_memory_evaluate(&j->question, r->choice, &j->plan);
    }
    ok(ql_job_load(j, purpose));
}

void golden_close(golden *g) {
    ok(ql_world_close(g->job.world, ql_ok()));
    ql_job_close(&g->job);
    ql_tensor_set_close(g->tensors);
    ql_json_free(g->expected);
    free(g->folder);
}

const ql_stored *golden_tensor(const golden *g, const char *fmt, ...) {
    char    name[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(name, sizeof name, fmt, ap);
    va_end(ap);
    const ql_stored *t = ql_tensor_set_find(g->tensors, name);
    if (!t) fail_msg("expected.safetensors of %s has no tensor %s", g->folder, name);
    return t;
}

float golden_value(const ql_stored *t, int64_t i) {
    float x;
    memcpy(&x, t->data + 4 * i, 4);
    return x;
}
