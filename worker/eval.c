#include "worker/eval.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "worker/suspects.h"

bool ql_evaluation_is_due(const ql_job *j, int64_t step) {
    const ql_config *c = &j->config;
    if (j->eval_rows.rows == 0 || step == 0) return false;
    if (step == j->total_steps) return true;
    if (!strcmp(c->eval_strategy, "epoch")) return step % j->steps_per_epoch == 0;
    if (strcmp(c->eval_strategy, "steps")) return false;
    return step % (c->eval_steps > 0 ? c->eval_steps : c->logging_steps) == 0;
}

/* What this rank gathers on its way through its rows. */
typedef struct {
    int64_t            *record_loss, *record_targets;
    const ql_eval_stop *stop;
    ql_suspects         bad;
    ql_eval_result     *out;
} evaluation;

static void count_target(evaluation *v, int64_t record, int64_t loss) {
    int64_t *sum = v->record_loss ? &v->record_loss[record] : NULL;
    if (v->record_targets) v->record_targets[record]++;
    if (loss != INT64_MAX) ql_loss_add(&v->out->losses, loss);
    if (sum && (loss == INT64_MAX || *sum == INT64_MAX || __builtin_add_overflow(*sum, loss, sum))) *sum = INT64_MAX;
}

static ql_err count_batch(ql_job *j, evaluation *v) {
    if (j->host.rows == 0) return ql_ok();
    QL_TRY(ql_job_run_host_batch(j, false, 0));
    for (int64_t i = 0; i < j->host.targets; i++)
        count_target(v, j->eval.document[j->host.target_document[i]].record, ql_loss_fixed(j->objective, j->batch.logp[i]));
    ql_suspect_losses(j, &j->eval, &v->bad);
    v->out->targets += j->host.targets;
    v->out->tokens += j->host.tokens;
    ql_host_batch_clear(&j->host);
    return ql_ok();
}

static ql_err take_row(ql_job *j, evaluation *v, int64_t row) {
    const ql_row_set *r = &j->eval_rows;
    int64_t           n = r->start[row + 1] - r->start[row], tokens = ql_row_tokens(&j->eval, r, row);
    if (j->host.rows == j->plan.choice.micro_rows || j->host.tokens + tokens > j->plan.micro_tokens) QL_TRY(count_batch(j, v));
    ql_host_batch_add(&j->host, &j->eval, r->document + r->start[row], n, row);
    ql_progress(false, "evaluating: row %lld of %lld", (long long)row + 1, (long long)r->rows);
    return ql_ok();
}

/* Whether all go on: nobody was asked to stop, nobody has failed (`mine`). */
static ql_err vote(ql_job *j, evaluation *v, ql_err mine, bool *go_on) {
    int64_t wish[2] = {v->stop->requested(v->stop->context), ql_bad(mine)};
    QL_TRY(ql_max_i64(j->world, wish, 2));
    v->out->stop_signal = (int)wish[0];
    *go_on = wish[0] == 0 && wish[1] == 0;
    return ql_ok();
}

/* The ranks vote at rows of the whole set, which come by on each of them, whoever computes them. */
static bool is_time_to_vote(const ql_job *j, const evaluation *v, int64_t row) {
    enum { ROWS_OF_A_RANK = 4 };
    return v->stop && row % ((int64_t)ROWS_OF_A_RANK * j->place.size) == 0;
}

static ql_err run_own_rows(ql_job *j, evaluation *v) {
    ql_err e = ql_ok();
    bool   go_on = true;
    ql_host_batch_clear(&j->host);
    ql_deal_begin(&j->deal);
    for (int64_t row = 0; row < j->eval_rows.rows && go_on; row++) {
        if (is_time_to_vote(j, v, row)) QL_TRY(vote(j, v, e, &go_on));
        bool mine = ql_deal_next(&j->deal) == j->place.rank;
        if (mine && go_on && !ql_bad(e)) e = take_row(j, v, row);
    }
    return ql_bad(e) || !go_on ? e : count_batch(j, v);
}

static ql_err sum_over_ranks(ql_job *j, evaluation *v, int64_t *bad) {
    ql_eval_result *out = v->out;
    int64_t         sums[5] = {out->losses.whole, out->losses.part, out->targets, out->tokens, v->bad.count};
    QL_TRY(ql_sum_i64(j->world, sums, QL_LEN(sums)));
    out->losses = (ql_loss_sum){sums[0], sums[1]};
    out->targets = sums[2];
    out->tokens = sums[3];
    *bad = sums[4];
    if (v->record_loss) QL_TRY(ql_sum_i64(j->world, v->record_loss, (size_t)j->eval.records));
    return v->record_targets ? ql_sum_i64(j->world, v->record_targets, (size_t)j->eval.records) : ql_ok();
}

static ql_err say_bad_losses(const ql_job *j, const ql_suspects *bad) {
    const ql_config *c = &j->config;
    ql_str           who = {0};
    ql_err           e = ql_ok();
    ql_suspects_text(bad, c->eval_dataset.count ? &c->eval_dataset : &c->dataset, c, &who);
    if (j->guard.skips)
        ql_warn("evaluation: the loss is not finite in %s", who.data);
    else
        e = ql_fail(QL_DATA, "evaluation: the loss is not finite in %s; %s", who.data,
                    ql_cure_of_bad_loss(j->question.needs.activation, "look at the text there, or at the adapter"));
    ql_str_free(&who);
    return e;
}

static ql_err report_bad_losses(ql_job *j, evaluation *v) {
    QL_TRY(ql_suspects_gather(j->world, &v->bad));
    ql_err e = j->place.rank == 0 ? say_bad_losses(j, &v->bad) : ql_ok();
    return ql_agree(j->world, e, "telling what is wrong with an evaluation");
}

ql_err ql_evaluate(ql_job *j, int64_t *record_loss, int64_t *record_targets, const ql_eval_stop *stop, ql_eval_result *out) {
    double     start = ql_seconds();
    evaluation v = {.record_loss = record_loss, .record_targets = record_targets, .stop = stop, .out = out};
    int64_t    bad = 0;
    *out = (ql_eval_result){0};
    ql_err e = run_own_rows(j, &v);
    QL_TRY(ql_agree(j->world, e, "evaluation"));
    if (out->stop_signal) return ql_ok();
    QL_TRY(sum_over_ranks(j, &v, &bad));
    QL_CHECK(out->targets > 0, QL_DATA, "eval_dataset: no record has a target token");
    if (bad > 0) QL_TRY(report_bad_losses(j, &v));
    out->loss = bad > 0 ? NAN : ql_loss_mean(out->losses, out->targets);
    out->loss_fixed = bad > 0 ? INT64_MAX : ql_max(0, ql_loss_mean_fixed(out->losses, out->targets));
    out->perplexity = exp(out->loss);
    out->seconds = ql_seconds() - start;
    return ql_ok();
}
