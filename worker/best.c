#include "worker/best.h"

#include <math.h>
#include <string.h>

#include "worker/objective/objective.h"

ql_best ql_best_start(const ql_config *c) {
    return (ql_best){.keeps = c->load_best_model_at_end || !strcmp(c->save_strategy, "best"),
                     .perplexity = !strcmp(c->metric_for_best_model, "eval_perplexity"),
                     .patience = c->early_stopping_patience,
                     .threshold = c->early_stopping_threshold,
                     .step = -1,
                     .loss = INT64_MAX};
}

ql_err ql_best_restore(ql_best *b, int64_t now, int64_t step, int64_t loss, int64_t without) {
    bool possible = step >= 0 && step <= now && loss >= 0 && (step == 0) == (loss == INT64_MAX) && without >= 0 && without <= now;
    QL_CHECK(possible, QL_DATA, "a best evaluation of %lld in 2^-32 at step %lld, and %lld without gain, are none of ours", (long long)loss,
             (long long)step, (long long)without);
    b->step = step;
    b->loss = loss;
    b->without = without;
    return ql_ok();
}

/* By how much a smaller loss is better, in the unit of the metric. */
static double gain(const ql_best *b, int64_t loss) {
    if (b->loss == INT64_MAX) return INFINITY;
    if (!b->perplexity) return ldexp((double)(b->loss - loss), -QL_LOSS_BITS);
    return exp(ldexp((double)b->loss, -QL_LOSS_BITS)) - exp(ldexp((double)loss, -QL_LOSS_BITS));
}

bool ql_best_take(ql_best *b, int64_t step, int64_t loss) {
    bool first = b->step < 0, less = loss < b->loss;
    bool gains = first || (less && gain(b, loss) > b->threshold);
    b->without = gains ? 0 : b->without + 1;
    if (first) b->step = 0;
    if (!less) return false;
    b->step = step;
    b->loss = loss;
    return true;
}

bool ql_best_ends_run(const ql_best *b) {
    return b->patience > 0 && b->without >= b->patience;
}

int64_t ql_best_kept_step(const ql_best *b) {
    return b->keeps && b->step > 0 ? b->step : -1;
}
