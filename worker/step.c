#include "worker/step.h"

#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/hook.h"
#include "base/log.h"
#include "base/mem.h"
#include "worker/ballot.h"
#include "worker/trouble.h"

static const int64_t *order_of_epoch(ql_job *j, int64_t epoch) {
    if (!j->order) j->order = QL_NEW_ARRAY(int64_t, (size_t)j->train_rows.rows);
    if (j->order_epoch != epoch + 1) ql_row_order(&j->train_rows, j->config.seed, (uint32_t)epoch, j->order);
    j->order_epoch = epoch + 1;
    return j->order;
}

int64_t ql_step_rows(ql_job *j, int64_t step, int64_t *rows) {
    int64_t        epoch = step / j->steps_per_epoch, first = step % j->steps_per_epoch * j->global_batch;
    int64_t        n = ql_min(j->global_batch, j->train_rows.rows - first);
    const int64_t *order = order_of_epoch(j, epoch);
    for (int64_t i = 0; i < n; i++) rows[i] = order[first + i];
    return n;
}

static void add_row(ql_job *j, int64_t row, int64_t index_in_step) {
    const ql_row_set *r = &j->train_rows;
    ql_host_batch_add(&j->host, &j->train, r->document + r->start[row], r->start[row + 1] - r->start[row], index_in_step);
}

static ql_err run_and_count(ql_job *j, int64_t step, ql_step_result *out) {
    if (j->host.rows == 0) return ql_ok();
    double start = ql_seconds();
    QL_TRY(ql_job_run_host_batch(j, true, (uint32_t)step));
    for (ql_phase p = QL_PHASE_FORWARD; p <= QL_PHASE_BACKWARD; p++) QL_TRY(ql_phase_add(j->device, p, out->phase_seconds));
    if (!ql_loss_add_targets(&out->losses, j->objective, j->batch.logp, j->host.targets))
        ql_suspect_losses(j, &j->train, &out->bad_losses);
    out->targets += j->host.targets;
    out->tokens += j->host.tokens;
    out->rows += j->host.rows;
    out->busy_seconds += ql_seconds() - start;
    ql_host_batch_clear(&j->host);
    return ql_ok();
}

/* This rank's rows of the step, in micro-batches of whole rows. The last one stays in j->host. */
static ql_err run_own_rows(ql_job *j, int64_t step, const int64_t *rows, int64_t n, ql_step_result *out) {
    ql_host_batch_clear(&j->host);
    ql_deal_begin(&j->deal);
    for (int64_t i = 0; i < n; i++) {
        if (ql_deal_next(&j->deal) != j->place.rank) continue;
        if (j->host.rows == j->plan.choice.micro_rows) QL_TRY(run_and_count(j, step, out));
        add_row(j, rows[i], i);
    }
    return ql_ok();
}

static ql_err norm_of_gradient(ql_job *j, double *norm) {
    ql_adapter *a = &j->adapter;
    QL_TRY(ql_sum_squares(j->device, &(ql_sum_squares_args){.partial = a->partial, .x = a->gradient}));
    QL_TRY(ql_download(j->device, a->partial_on_host, a->partial));
    double sum = 0;
    for (int64_t i = 0; i < ql_count(a->partial); i++) sum += a->partial_on_host[i];
    *norm = sqrt(sum);
    return ql_ok();
}

static ql_err update(ql_job *j, int64_t step, ql_step_result *out) {
    const ql_config *c = &j->config;
    ql_adapter      *a = &j->adapter;
    QL_TRY(ql_phase_begin(j->device, QL_PHASE_UPDATE));
    QL_TRY(ql_grad_mean(j->device, &(ql_grad_mean_args){.g = a->gradient, .sum = a->sum, .count = (double)out->targets}));
    QL_TRY(norm_of_gradient(j, &out->grad_norm));
    QL_TRY(ql_phase_add(j->device, QL_PHASE_EXCHANGE, out->phase_seconds));
    double clip = 1;
    if (c->max_grad_norm > 0) clip = fmin(1, c->max_grad_norm / (out->grad_norm + 1e-6));
    ql_tensor room = {.buffer = j->arena, .dtype = QL_U8, .rows = 1, .cols = (int64_t)j->plan.run_bytes};
    QL_TRY(ql_adapter_update(a, room, &(ql_adamw_args){.lr = out->rate,
                                                       .beta1 = c->adam_beta1,
                                                       .beta2 = c->adam_beta2,
                                                       .eps = c->adam_epsilon,
                                                       .weight_decay = c->weight_decay,
                                                       .clip = clip,
                                                       .step = step + 1 - j->guard.skipped_in_all}));
    j->has_updated = true;
    return ql_phase_end(j->device, QL_PHASE_UPDATE);
}

/* A rank whose last rows failed (`e`) sums all the same, or the others would wait for it. */
static ql_err finish_exchange(ql_job *j, ql_err e) {
    if (!ql_bad(e)) return ql_exchange_finish(&j->exchange);
    char  *sentence = ql_strdup(ql_err_text());
    ql_err finished = ql_exchange_finish(&j->exchange);
    if (ql_bad(finished)) finished = ql_fail(e.code, "%s", sentence);
    free(sentence);
    return finished;
}

static ql_err clear(ql_job *j, ql_step_result *out) {
    out->losses = (ql_loss_sum){0};
    out->bad_losses = (ql_suspects){0};
    out->targets = out->tokens = out->rows = 0;
    out->busy_seconds = 0;
    ql_exchange_begin_step(&j->exchange);
    QL_TRY(ql_zero(j->device, j->adapter.sum));
    return ql_zero(j->device, j->adapter.flaws);
}

/* Vote, then the sums of the gradients; numbers that are no use need not be summed. */
static ql_err compute_and_sum(ql_job *j, int64_t step, const int64_t *rows, int64_t n, ql_step_result *out, ql_trouble *trouble) {
    ql_err e = clear(j, out);
    if (!ql_bad(e)) e = run_own_rows(j, step, rows, n, out);
    if (!ql_bad(e)) e = run_and_count(j, step, out);
    QL_TRY(ql_ballot_cast(j, e, step, rows, n, true, out, trouble));
    QL_TRY(ql_phase_begin(j->device, QL_PHASE_EXCHANGE));
    ql_at("exchange", step + 1, j);
    return *trouble == QL_SOUND ? ql_exchange_finish(&j->exchange) : ql_ok();
}

/* Where the sums hide behind the backward pass: the last micro-batch, with them behind it, comes after a vote, and another
 * one after it, since sums that one rank begins must be begun by all. */
static ql_err compute_while_summing(ql_job *j, int64_t step, const int64_t *rows, int64_t n, ql_step_result *out, ql_trouble *trouble) {
    ql_err e = clear(j, out);
    if (!ql_bad(e)) e = run_own_rows(j, step, rows, n, out);
    QL_TRY(ql_ballot_cast(j, e, step, rows, n, false, out, trouble));
    ql_exchange_listen(&j->exchange);
    e = run_and_count(j, step, out);
    QL_TRY(ql_phase_begin(j->device, QL_PHASE_EXCHANGE));
    ql_at("exchange", step + 1, j);
    QL_TRY(finish_exchange(j, e));
    return ql_ballot_cast(j, e, step, rows, n, true, out, trouble);
}

/* One attempt at the gradients of this rank's rows, and what has come of it on all ranks. The same order on every rank. */
static ql_err compute(ql_job *j, int64_t step, const int64_t *rows, int64_t n, ql_step_result *out, ql_trouble *trouble) {
    bool hides = ql_data_plane_hides(j->exchange.plane);
    return hides ? compute_while_summing(j, step, rows, n, out, trouble) : compute_and_sum(j, step, rows, n, out, trouble);
}

static bool is_of_gradient(ql_trouble t) {
    return t == QL_GRADIENT_NOT_FINITE || t == QL_SUMS_OVERFLOW;
}

/* Gradients that float16 cannot hold are made again from the same rows, with a lower loss scale: no row is lost, and a step
 * stays a step. All ranks see the same counts and do the same. */
static ql_err compute_until_it_fits(ql_job *j, int64_t step, const int64_t *rows, int64_t n, ql_step_result *out,
                                    ql_trouble *trouble) {
    int first = j->loss_scale.exponent;
    QL_TRY(compute(j, step, rows, n, out, trouble));
    while (is_of_gradient(*trouble) && ql_loss_scale_lower(&j->loss_scale)) QL_TRY(compute(j, step, rows, n, out, trouble));
    int used = j->loss_scale.exponent;
    if (used < first && *trouble == QL_SOUND)
        ql_info("step %lld: gradients were too large for float16; the loss scale is lowered from 2^%d to 2^%d",
                (long long)step + 1, first, used);
    out->loss_scale = j->loss_scale.active ? ldexp(1, used) : 0;
    if (*trouble == QL_SOUND) ql_loss_scale_count(&j->loss_scale);
    return ql_ok();
}

/* Leaves the update out. */
static ql_err leave_out(ql_job *j, int64_t step, const int64_t *rows, int64_t n, ql_trouble trouble, ql_step_result *out) {
    out->skipped = true;
    out->grad_norm = NAN;
    j->has_updated = false;
    QL_TRY(ql_phase_end(j->device, QL_PHASE_EXCHANGE));
    return ql_report_trouble(j, step, rows, n, trouble, out);
}

static ql_err use_gradients(ql_job *j, int64_t step, ql_step_result *out) {
    if (j->has_updated) QL_TRY(ql_phase_add(j->device, QL_PHASE_UPDATE, out->phase_seconds));
    QL_TRY(update(j, step, out));
    ql_guard_count_update(&j->guard, ql_loss_mean_fixed(out->losses, out->targets));
    return ql_ok();
}

ql_err ql_step_on_rows(ql_job *j, const ql_schedule *s, int64_t step, const int64_t *rows, int64_t n,
                       ql_step_result *out) {
    double start = ql_seconds();
    *out = (ql_step_result){.rate = ql_schedule_rate(s, step)};
    ql_trouble    trouble = QL_SOUND;
    ql_loss_scale scale = j->loss_scale;
    ql_err        e = compute_until_it_fits(j, step, rows, n, out, &trouble);
    int64_t       loss = ql_loss_mean_fixed(out->losses, out->targets);
    if (!ql_bad(e) && trouble == QL_SOUND && ql_guard_is_spike(&j->guard, loss)) trouble = QL_LOSS_SPIKE;
    if (!ql_bad(e)) e = trouble == QL_SOUND ? use_gradients(j, step, out) : leave_out(j, step, rows, n, trouble, out);
    if (trouble != QL_SOUND) j->loss_scale = scale; /* what no scale helps says nothing about it */
    out->rows = n;
    out->epoch = (double)(step + 1) / (double)j->steps_per_epoch;
    out->seconds = ql_seconds() - start;
    j->exchange.step_seconds = out->seconds;
    return ql_err_prefix(e, "step %lld", (long long)step + 1);
}

ql_err ql_step(ql_job *j, const ql_schedule *s, int64_t step, ql_step_result *out) {
    int64_t n = ql_step_rows(j, step, j->step_rows);
    return ql_step_on_rows(j, s, step, j->step_rows, n, out);
}
