#include "worker/ballot.h"

#include <math.h>

#include "base/hash.h"
#include "base/hook.h"
#include "collective/vote.h"

/* The numbers on a ballot: what must be the same, what is wished, what was computed. */
enum {
    GENERATION,
    STEP,
    CONFIG,
    ROWS,
    SCALE,
    STOP,
    SAVE,
    LOSS_WHOLE,
    LOSS_PART,
    TARGETS,
    TOKENS,
    COMPUTED,
    BAD_LOSSES,
    NOT_FINITE,
    TOO_LARGE,
    SPEED,
    NUMBERS
};
_Static_assert((int)NUMBERS == (int)QL_BALLOT_NUMBERS && (int)NUMBERS <= (int)QL_VOTE_NUMBERS, "a ballot");

/* Which rows, of which data, in which order. */
static int64_t digest_of(const ql_job *j, const int64_t *rows, int64_t n) {
    return (int64_t)ql_hash64(rows, (size_t)n * sizeof *rows, j->train.fingerprint);
}

static ql_err fill(ql_job *j, int64_t step, const int64_t *rows, int64_t n, bool complete, const ql_step_result *r, int64_t *ballot) {
    ql_wishes wishes = {0};
    int32_t   flaws = 0;
    if (complete) QL_TRY(ql_job_gradient_flaws(j, &flaws));
    if (complete && j->wisher) QL_TRY(j->wisher->ask(j->wisher->context, &wishes));
    ballot[GENERATION] = j->claim.generation;
    ballot[STEP] = step + 1;
    ballot[CONFIG] = (int64_t)j->config_digest;
    ballot[ROWS] = digest_of(j, rows, n);
    ballot[SCALE] = j->loss_scale.exponent;
    ballot[STOP] = wishes.stop_signal;
    ballot[SAVE] = wishes.save;
    ballot[LOSS_WHOLE] = r->losses.whole;
    ballot[LOSS_PART] = r->losses.part;
    ballot[TARGETS] = r->targets;
    ballot[TOKENS] = r->tokens;
    ballot[COMPUTED] = r->rows;
    ballot[BAD_LOSSES] = r->bad_losses.count > 0;
    ballot[NOT_FINITE] = (flaws & QL_GRAD_NOT_FINITE) != 0;
    ballot[TOO_LARGE] = (flaws & QL_GRAD_TOO_LARGE) != 0;
    ballot[SPEED] = ql_deal_measure(j->place.rank, r->tokens, r->busy_seconds);
    return ql_ok();
}

/* ---- reading all ballots ---- */

static int64_t sum(const ql_job *j, int number) {
    int64_t total = 0;
    for (int r = 0; r < j->place.size; r++) total += j->ballots[(int64_t)r * NUMBERS + number];
    return total;
}

static int64_t most(const ql_job *j, int number) {
    int64_t value = 0;
    for (int r = 0; r < j->place.size; r++) value = ql_max(value, j->ballots[(int64_t)r * NUMBERS + number]);
    return value;
}

static bool differs(const ql_job *j, int number, char who[64]) {
    return ql_vote_differs(j->ballots, j->place.size, NUMBERS, (size_t)number, who);
}

static ql_err check_sameness(const ql_job *j) {
    char      who[64];
    long long generation = j->ballots[GENERATION], step = j->ballots[STEP];
    QL_CHECK(!differs(j, GENERATION, who), QL_TEMP, "rank 0 belongs to start %lld of the run, %s to another one; end what is left of the other start",
             generation, who);
    QL_CHECK(!differs(j, STEP, who), QL_DATA, "rank 0 is in step %lld, %s in another one; start all ranks from the same checkpoint", step, who);
    QL_CHECK(!differs(j, CONFIG, who), QL_DATA, "the configuration of %s is not that of rank 0; give all ranks the same settings", who);
    QL_CHECK(!differs(j, ROWS, who), QL_DATA, "the rows of this step are others on %s than on rank 0; give all ranks the same data and settings", who);
    QL_CHECK(!differs(j, SCALE, who), QL_BUG, "rank 0 scales the loss by 2^%lld, %s otherwise", (long long)j->ballots[SCALE], who);
    return ql_ok();
}

/* Of all ranks together; what is not finite explains what does not fit. */
static ql_trouble trouble_of(const ql_job *j) {
    if (sum(j, BAD_LOSSES) > 0) return QL_LOSS_NOT_FINITE;
    if (sum(j, NOT_FINITE) > 0) return QL_GRADIENT_NOT_FINITE;
    return sum(j, TOO_LARGE) > 0 ? QL_SUMS_OVERFLOW : QL_SOUND;
}

static ql_err count(ql_job *j, int64_t n, ql_step_result *out, ql_trouble *trouble) {
    QL_CHECK(sum(j, COMPUTED) == n, QL_BUG, "%lld rows were dealt, %lld were computed", (long long)n, (long long)sum(j, COMPUTED));
    for (int r = 0; r < j->place.size; r++) j->deal.lesson[r] = j->ballots[(int64_t)r * NUMBERS + SPEED];
    ql_deal_learn(&j->deal, j->deal.lesson);
    *trouble = trouble_of(j);
    out->losses = (ql_loss_sum){sum(j, LOSS_WHOLE), sum(j, LOSS_PART)};
    out->targets = sum(j, TARGETS);
    out->tokens = sum(j, TOKENS);
    out->loss = *trouble == QL_LOSS_NOT_FINITE ? NAN : ql_loss_mean(out->losses, out->targets);
    out->wishes = (ql_wishes){(int)most(j, STOP), most(j, SAVE) != 0};
    return ql_ok();
}

ql_err ql_ballot_cast(ql_job *j, ql_err mine, int64_t step, const int64_t *rows, int64_t n, bool complete, ql_step_result *out,
                      ql_trouble *trouble) {
    int64_t ballot[NUMBERS] = {0};
    if (!ql_bad(mine)) mine = fill(j, step, rows, n, complete, out, ballot);
    ql_at("vote", step + 1, ballot);
    QL_TRY(ql_vote(j->world, mine, complete ? "the forward and backward pass" : "the rows before the last ones", ballot, NUMBERS, j->ballots));
    QL_TRY(check_sameness(j));
    return complete ? count(j, n, out, trouble) : ql_ok();
}
