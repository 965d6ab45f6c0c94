#include "worker/trouble.h"

#include <math.h>

#include "base/log.h"
#include "worker/suspects.h"

/* Of a spike: every record has some loss. */
enum { SPIKES_NAMED = 3 };

/* The last module with a flaw: gradients reach it first, and what is not finite spreads from there. -1: it is not about
 * gradients. */
static ql_err first_flawed_module(const ql_job *j, ql_trouble trouble, int64_t *module) {
    int32_t flaw = trouble == QL_SUMS_OVERFLOW ? QL_GRAD_TOO_LARGE : trouble == QL_GRADIENT_NOT_FINITE ? QL_GRAD_NOT_FINITE : 0;
    *module = -1;
    for (size_t m = 0; m < j->adapter.shape.modules; m++)
        if (j->adapter.flaws_on_host[m] & flaw) *module = (int64_t)m;
    return ql_max_i64(j->world, module, 1);
}

static void say_spike(const ql_job *j, const ql_step_result *r, const char *who, ql_str *out) {
    const ql_guard *g = &j->guard;
    ql_str_printf(out,
                  "the loss %.4f is a spike, %.1f standard deviations (%.4f) above its moving mean %.4f; the largest losses are of %s",
                  r->loss, ql_guard_zscore(g, ql_loss_mean_fixed(r->losses, r->targets)), ql_guard_deviation(g),
                  ldexp((double)g->mean, -QL_LOSS_BITS), who);
}

static void say_what(const ql_job *j, ql_trouble trouble, int64_t module, const ql_suspects *s, const ql_step_result *r,
                     ql_str *out) {
    static const char *const what[] = {[QL_LOSS_NOT_FINITE] = "the loss is not finite",
                                       [QL_GRADIENT_NOT_FINITE] = "a gradient is not finite",
                                       [QL_SUMS_OVERFLOW] = "a gradient is too large for the exact sums (overflow)"};
    ql_str who = {0};
    ql_suspects_text(s, &j->config.dataset, &j->config, &who);
    if (trouble == QL_LOSS_SPIKE) {
        say_spike(j, r, who.data, out);
    } else {
        ql_str_puts(out, what[trouble]);
        if (who.size) ql_str_printf(out, " in %s", who.data);
        else ql_str_puts(out, ", though none is when the same rows are computed again (is the hardware sound?)");
        if (module >= 0) ql_str_printf(out, ", first in %s", j->adapter.shape.module[module].module);
    }
    ql_str_free(&who);
}

static const char *cure_of(const ql_job *j, ql_trouble trouble) {
    if (trouble == QL_LOSS_NOT_FINITE)
        return ql_cure_of_bad_loss(j->question.needs.activation,
                                   "look at the data there, or lower learning_rate (with resume_from_checkpoint: false)");
    if (trouble == QL_LOSS_SPIKE) return "look at the data there, lower learning_rate, or raise loss_spike_zscore";
    return "lower learning_rate or lora_alpha";
}

static ql_err say(ql_job *j, int64_t step, ql_trouble trouble, const char *what) {
    const char *cure = cure_of(j, trouble);
    const int   n = QL_SKIPS_AT_MOST + 1;
    QL_CHECK(j->guard.skips, QL_DATA, "%s; %s; on_nonfinite: skip leaves such steps out", what, cure);
    QL_CHECK(j->guard.skipped < n, QL_DATA, "%s; that is %d steps in a row whose update is left out; %s", what, n, cure);
    ql_warn("step %lld: %s; its update is left out", (long long)step + 1, what);
    return ql_ok();
}

ql_err ql_report_trouble(ql_job *j, int64_t step, const int64_t *rows, int64_t n, ql_trouble trouble,
                         const ql_step_result *r) {
    ql_suspects who = r->bad_losses;
    int64_t     module;
    QL_TRY(first_flawed_module(j, trouble, &module));
    if (trouble == QL_LOSS_NOT_FINITE) QL_TRY(ql_suspects_gather(j->world, &who));
    else QL_TRY(ql_suspects_of_step(j, step, rows, n, trouble, &who));
    if (trouble == QL_LOSS_SPIKE) who.count = ql_min(who.count, SPIKES_NAMED);
    ql_guard_count_skip(&j->guard);
    ql_err e = ql_ok();
    if (j->place.rank == 0) {
        ql_str what = {0};
        say_what(j, trouble, module, &who, r, &what);
        e = say(j, step, trouble, what.data);
        ql_str_free(&what);
    }
    return ql_agree(j->world, e, "telling what is wrong with a step");
}
