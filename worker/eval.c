#include "worker/eval.h"

#include <math.h>

#include "base/clock.h"
#include "base/log.h"

static ql_err count_batch(ql_job *j, int64_t *record_loss, int64_t *record_targets, ql_eval_result *out) {
    QL_TRY(ql_job_run_host_batch(j, false, 0));
    for (int64_t i = 0; i < j->host.targets; i++) {
        int64_t loss = ql_loss_sum(j->objective, &j->batch.logp[i], 1);
        int64_t record = j->eval.document[j->host.target_document[i]].record;
        bool fits = loss != INT64_MAX && !__builtin_add_overflow(out->loss_fixed, loss, &out->loss_fixed);
        QL_CHECK(fits, QL_DATA, "record %lld: the loss is not finite; %s", (long long)record,
                 ql_cure_of_bad_loss(j->question.needs.activation, "look at its text, or at the adapter"));
        if (record_loss) record_loss[record] += loss;
        if (record_targets) record_targets[record]++;
    }
    out->targets += j->host.targets;
    out->tokens += j->host.tokens;
    ql_host_batch_clear(&j->host);
    return ql_ok();
}

static ql_err run_own_rows(ql_job *j, int64_t *record_loss, int64_t *record_targets, ql_eval_result *out) {
    const ql_row_set *r = &j->eval_rows;
    ql_host_batch_clear(&j->host);
    ql_deal_begin(&j->deal);
    for (int64_t row = 0; row < r->rows; row++) {
        if (ql_deal_next(&j->deal) != j->place.rank) continue;
        int64_t n = r->start[row + 1] - r->start[row], tokens = ql_row_tokens(&j->eval, r, row);
        if (j->host.rows == j->plan.choice.micro_rows || j->host.tokens + tokens > j->plan.micro_tokens)
            QL_TRY(count_batch(j, record_loss, record_targets, out));
        ql_host_batch_add(&j->host, &j->eval, r->document + r->start[row], n, row);
        ql_progress(false, "evaluating: row %lld of %lld", (long long)row + 1, (long long)r->rows);
    }
    return j->host.rows > 0 ? count_batch(j, record_loss, record_targets, out) : ql_ok();
}

static ql_err sum_over_ranks(ql_job *j, int64_t *record_loss, int64_t *record_targets, ql_eval_result *out) {
    int64_t sums[3] = {out->loss_fixed, out->targets, out->tokens};
    QL_TRY(ql_sum_i64(j->world, sums, 3));
    out->loss_fixed = sums[0];
    out->targets = sums[1];
    out->tokens = sums[2];
    if (record_loss) QL_TRY(ql_sum_i64(j->world, record_loss, (size_t)j->eval.records));
    return record_targets ? ql_sum_i64(j->world, record_targets, (size_t)j->eval.records) : ql_ok();
}

ql_err ql_evaluate(ql_job *j, int64_t *record_loss, int64_t *record_targets, ql_eval_result *out) {
    double start = ql_seconds();
    *out = (ql_eval_result){0};
    ql_err e = run_own_rows(j, record_loss, record_targets, out);
    QL_TRY(ql_agree(j->world, e, "evaluation"));
    QL_TRY(sum_over_ranks(j, record_loss, record_targets, out));
    QL_CHECK(out->targets > 0, QL_DATA, "eval_dataset: no record has a target token");
    out->loss = ldexp((double)out->loss_fixed, -QL_LOSS_BITS) / (double)out->targets;
    out->perplexity = exp(out->loss);
    out->seconds = ql_seconds() - start;
    return ql_ok();
}
