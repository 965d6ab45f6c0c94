#include "worker/save.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "checkpoint/checkpoint_folder.h"
#include "worker/eval.h"
#include "worker/model/arch.h"

/* ---- identity: what must be the same for the bits to be the same ---- */

static void remember(ql_job_identity *id, const char *key, char *value) {
    ql_identity entry = {key, value};
    QL_PUSH(id->item, id->count, id->capacity, entry);
}

/* Keys whose wording may differ while the run is the same; what they came to is compared instead. Whether a step that goes
 * wrong stops the run decides nothing about the steps that went well. */
static bool is_resolved(const char *key) {
    static const char *const keys[] = {"dataset", "sample_by", "deduplicate", "train_on", "chat_template", "chat_template_kwargs", "bnb_4bit_compute_dtype", "on_nonfinite"};
    for (size_t i = 0; i < QL_LEN(keys); i++)
        if (!strcmp(keys[i], key)) return true;
    return false;
}

static void identify(const ql_job *j, ql_job_identity *id) {
    remember(id, "model", ql_format("%s %016" PRIx64, j->model.config.arch->title, j->model.fingerprint));
    remember(id, "dataset", ql_format("%" PRId64 " records %016" PRIx64, j->train.records, j->train.fingerprint));
    remember(id, "compute dtype", ql_strdup(ql_dtype_name(j->operands)));
    remember(id, "total steps", ql_format("%" PRId64, j->total_steps));
    ql_config_fact *fact;
    size_t          n = ql_config_facts(&j->config, &fact);
    for (size_t i = 0; i < n; i++) {
        if (is_resolved(fact[i].key)) free(fact[i].value);
        else remember(id, fact[i].key, fact[i].value);
    }
    free(fact);
}

static void forget(ql_job_identity *id) {
    for (size_t i = 0; i < id->count; i++) free((char *)(uintptr_t)id->item[i].value);
    free(id->item);
}

/* ---- the state, filled from the job or into it ---- */

/* What never happened is not written down: most runs skip nothing. */
static void put_guard(const ql_guard *g, int64_t counter[QL_COUNTERS]) {
    if (g->skipped_in_all > 0) {
        counter[QL_COUNT_SKIPPED] = g->skipped;
        counter[QL_COUNT_SKIPPED_IN_ALL] = g->skipped_in_all;
    }
    if (g->zscore == 0) return;
    counter[QL_COUNT_SPIKE_STEPS] = g->losses;
    counter[QL_COUNT_SPIKE_MEAN] = g->mean;
    counter[QL_COUNT_SPIKE_VARIANCE] = g->variance;
}

static ql_err take_guard(ql_guard *g, const int64_t counter[QL_COUNTERS]) {
    ql_guard kept = {.skipped = ql_max(0, counter[QL_COUNT_SKIPPED]),
                     .skipped_in_all = ql_max(0, counter[QL_COUNT_SKIPPED_IN_ALL]),
                     .losses = ql_max(0, counter[QL_COUNT_SPIKE_STEPS]),
                     .mean = ql_max(0, counter[QL_COUNT_SPIKE_MEAN]),
                     .variance = ql_max(0, counter[QL_COUNT_SPIKE_VARIANCE])};
    return ql_guard_restore(g, counter[QL_COUNT_STEP], &kept);
}

static void put_evaluations(const ql_job *j, int64_t step, int64_t counter[QL_COUNTERS]) {
    if (ql_evaluation_is_due(j, step)) counter[QL_COUNT_EVALUATED] = j->evaluated == step;
    if (j->best.step < 0) return;
    counter[QL_COUNT_BEST_STEP] = j->best.step;
    counter[QL_COUNT_BEST_LOSS] = j->best.loss;
    counter[QL_COUNT_PATIENCE] = j->best.without;
}

static ql_err take_evaluations(ql_job *j, const int64_t counter[QL_COUNTERS]) {
    int64_t step = counter[QL_COUNT_STEP], evaluated = counter[QL_COUNT_EVALUATED];
    QL_CHECK(evaluated == QL_NO_COUNT || evaluated == 0 || evaluated == 1, QL_DATA, "%lld evaluations of one step are none of ours",
             (long long)evaluated);
    j->evaluated = evaluated == 0 ? -1 : step;
    if (counter[QL_COUNT_BEST_STEP] == QL_NO_COUNT) return ql_ok();
    return ql_best_restore(&j->best, step, counter[QL_COUNT_BEST_STEP], counter[QL_COUNT_BEST_LOSS], counter[QL_COUNT_PATIENCE]);
}

static void put_counters(const ql_job *j, const ql_progress_counters *c, int64_t counter[QL_COUNTERS]) {
    for (int i = 0; i < QL_COUNTERS; i++) counter[i] = QL_NO_COUNT;
    counter[QL_COUNT_STEP] = c->step;
    counter[QL_COUNT_ROWS] = c->rows_done;
    counter[QL_COUNT_TOKENS] = c->tokens_seen;
    counter[QL_COUNT_TARGETS] = c->targets_seen;
    put_guard(&j->guard, counter);
    put_evaluations(j, c->step, counter);
    if (!j->loss_scale.active) return;
    counter[QL_COUNT_LOSS_SCALE] = j->loss_scale.exponent;
    counter[QL_COUNT_LOSS_SCALE_STEPS] = j->loss_scale.good_steps;
}

static ql_err take_counters(ql_job *j, const int64_t counter[QL_COUNTERS], ql_progress_counters *c) {
    if (counter[QL_COUNT_LOSS_SCALE] != QL_NO_COUNT)
        QL_TRY(ql_loss_scale_restore(&j->loss_scale, counter[QL_COUNT_LOSS_SCALE], counter[QL_COUNT_LOSS_SCALE_STEPS]));
    QL_TRY(take_guard(&j->guard, counter));
    QL_TRY(take_evaluations(j, counter));
    c->step = counter[QL_COUNT_STEP];
    c->rows_done = counter[QL_COUNT_ROWS];
    c->tokens_seen = counter[QL_COUNT_TOKENS];
    c->targets_seen = counter[QL_COUNT_TARGETS];
    return ql_ok();
}

/* All CPUs compute the same bits; of an accelerator model and software matter. */
static void name_device(const ql_job *j, char text[QL_DEVICE_TEXT]) {
    ql_device_info info;
    text[0] = 0;
    if (j->question.needs.is_host) snprintf(text, QL_DEVICE_TEXT, "%s", j->device_kind);
    else if (!ql_bad(ql_device_describe(j->device, &info))) snprintf(text, QL_DEVICE_TEXT, "%s, %s", info.name, info.driver);
}

void ql_job_state_open(const ql_job *j, const ql_progress_counters *c, ql_job_state *out) {
    *out = (ql_job_state){0};
    identify(j, &out->identity);
    ql_adapter_card(&j->adapter, &j->model.graph, &j->config, &out->card);
    out->state = (ql_state){.tensor = j->copy.tensor,
                            .n_tensors = j->copy.tensors,
                            .identity = out->identity.item,
                            .n_identity = out->identity.count};
    put_counters(j, c, out->state.counter);
    name_device(j, out->state.computed_on);
}

void ql_job_state_close(ql_job_state *s) {
    ql_peft_config_free(&s->card);
    forget(&s->identity);
    *s = (ql_job_state){0};
}

static void compare_devices(const char *then, const char *now) {
    if (then[0] && now[0] && strcmp(then, now) != 0)
        ql_info("note: this checkpoint was computed on %s, this run goes on on %s: the last bits will differ from an undisturbed run",
                then, now);
}

static ql_err load_from(ql_job *j, const char *path, ql_progress_counters *counters) {
    ql_job_state s;
    char         now[QL_DEVICE_TEXT];
    ql_job_state_open(j, counters, &s);
    memcpy(now, s.state.computed_on, sizeof now);
    ql_err e = ql_checkpoint_load(path, &s.state);
    if (!ql_bad(e)) e = ql_err_prefix(take_counters(j, s.state.counter, counters), "%s", path);
    if (!ql_bad(e)) e = ql_adapter_store(&j->adapter, &j->copy);
    if (!ql_bad(e)) compare_devices(s.state.computed_on, now);
    ql_job_state_close(&s);
    return e;
}

static ql_err find_checkpoint(const ql_job *j, char **path) {
    const char *how = j->config.resume_from_checkpoint;
    *path = NULL;
    if (!strcmp(how, "false")) return ql_ok();
    if (!strcmp(how, "auto") || !strcmp(how, "true")) {
        QL_TRY(ql_checkpoint_newest(j->config.output_dir, path));
        QL_CHECK(*path || strcmp(how, "true"), QL_USAGE, "resume_from_checkpoint: there is no checkpoint in %s",
                 j->config.output_dir);
        return ql_ok();
    }
    QL_TRY(ql_checkpoint_verify(how));
    *path = ql_strdup(how);
    return ql_ok();
}

/* A run that starts anew in a used folder: its own checkpoints must be the only ones there. */
static ql_err start_anew(const ql_job *j) {
    size_t moved = 0;
    if (j->place.rank != 0 || strcmp(j->config.resume_from_checkpoint, "false")) return ql_ok();
    QL_TRY(ql_checkpoint_set_aside(j->config.output_dir, &moved));
    if (moved > 0) ql_info("note: %zu checkpoints of an earlier run are set aside (checkpoint-*.set-aside-*)", moved);
    return ql_ok();
}

ql_err ql_resume(ql_job *j, ql_progress_counters *counters) {
    *counters = (ql_progress_counters){0};
    char  *path = NULL;
    ql_err e = start_anew(j);
    if (!ql_bad(e)) e = find_checkpoint(j, &path);
    if (!ql_bad(e) && path) e = load_from(j, path, counters);
    if (!ql_bad(e) && path) ql_info("resumed: %s, step %" PRId64 " of %" PRId64, path, counters->step, j->total_steps);
    free(path);
    QL_TRY(ql_agree(j->world, e, "resuming"));
    return ql_same_everywhere(j->world, (uint64_t)counters->step, "the checkpoint to resume from");
}

/* ---- the adapter in the output folder ---- */

/* From the arrays of j->copy. */
static ql_err write_copy(ql_job *j) {
    ql_peft_config card;
    ql_adapter_card(&j->adapter, &j->model.graph, &j->config, &card);
    ql_err e = ql_peft_write(j->config.output_dir, &card, j->copy.module, j->adapter.shape.modules);
    ql_peft_config_free(&card);
    return e;
}

static ql_err write_adapter(ql_job *j) {
    QL_TRY(ql_claim_check(&j->claim));
    QL_TRY(ql_adapter_fetch(&j->adapter, &j->copy));
    return write_copy(j);
}

ql_err ql_export_adapter(ql_job *j) {
    ql_err e = j->place.rank == 0 ? write_adapter(j) : ql_ok();
    return ql_agree(j->world, e, "writing the adapter");
}

/* The adapter of a checkpoint of this run, into the arrays of j->copy. */
static ql_err read_adapter(ql_job *j, const char *path, int64_t step) {
    ql_progress_counters none = {0};
    ql_job_state         s;
    ql_job_state_open(j, &none, &s);
    ql_err e = ql_checkpoint_verify(path);
    if (!ql_bad(e)) e = ql_checkpoint_load(path, &s.state);
    int64_t found = s.state.counter[QL_COUNT_STEP];
    if (!ql_bad(e) && found != step) e = ql_fail(QL_DATA, "%s: is of step %" PRId64, path, found);
    ql_job_state_close(&s);
    return e;
}

/* The last adapter is better than none. */
static ql_err write_last_instead(ql_job *j, const char *path) {
    char  *reason = ql_strdup(ql_err_text());
    ql_err e = write_adapter(j);
    if (!ql_bad(e))
        e = ql_fail(QL_DATA, "%s, the checkpoint of the best evaluation, cannot be used (%s); the adapter of the last step is written instead: "
                    "take that, or set load_best_model_at_end: false", path, reason);
    free(reason);
    return e;
}

static ql_err write_adapter_of(ql_job *j, int64_t step) {
    QL_TRY(ql_claim_check(&j->claim));
    char  *path = ql_checkpoint_path(j->config.output_dir, step);
    ql_err e = read_adapter(j, path, step);
    e = ql_bad(e) ? write_last_instead(j, path) : write_copy(j);
    free(path);
    return e;
}

ql_err ql_export_checkpoint(ql_job *j, int64_t step) {
    ql_err e = j->place.rank == 0 ? write_adapter_of(j, step) : ql_ok();
    return ql_agree(j->world, e, "writing the adapter of the best evaluation");
}
