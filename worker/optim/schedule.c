#include "worker/optim/schedule.h"

#include <math.h>
#include <string.h>

static const double PI = 3.14159265358979323846;

typedef double (*factor_of)(const ql_schedule *s, double done);

static double warming(const ql_schedule *s, double done) {
    return done / fmax(1, (double)s->warmup);
}

static double progress(const ql_schedule *s, double done) {
    return (done - (double)s->warmup) / fmax(1, (double)(s->total - s->warmup));
}

static bool is_warming(const ql_schedule *s, double done) {
    return done < (double)s->warmup;
}

static double linear(const ql_schedule *s, double done) {
    if (is_warming(s, done)) return warming(s, done);
    return fmax(0, ((double)s->total - done) / fmax(1, (double)(s->total - s->warmup)));
}

static double cosine(const ql_schedule *s, double done) {
    if (is_warming(s, done)) return warming(s, done);
    return fmax(0, 0.5 * (1 + cos(PI * progress(s, done))));
}

static double constant(const ql_schedule *s, double done) {
    (void)s;
    (void)done;
    return 1; /* no warm-up, as transformers has it */
}

static double constant_with_warmup(const ql_schedule *s, double done) {
    return is_warming(s, done) ? warming(s, done) : 1;
}

static double cosine_with_min_lr(const ql_schedule *s, double done) {
    if (is_warming(s, done)) return warming(s, done);
    const ql_config *c = s->config;
    double           floor_rate = c->min_lr_rate >= 0 ? c->min_lr_rate : c->min_lr / c->learning_rate;
    return fmax(0, 0.5 * (1 + cos(PI * progress(s, done))) * (1 - floor_rate) + floor_rate);
}

static double polynomial(const ql_schedule *s, double done) {
    if (is_warming(s, done)) return warming(s, done);
    const ql_config *c = s->config;
    if (done > (double)s->total) return c->lr_end / c->learning_rate;
    double left = 1 - (done - (double)s->warmup) / (double)(s->total - s->warmup);
    return ((c->learning_rate - c->lr_end) * pow(left, c->lr_power) + c->lr_end) / c->learning_rate;
}

static double inverse_sqrt(const ql_schedule *s, double done) {
    if (is_warming(s, done)) return warming(s, done);
    double timescale = s->config->lr_timescale > 0 ? (double)s->config->lr_timescale : s->warmup ? (double)s->warmup : 10000;
    return 1 / sqrt((done + timescale - (double)s->warmup) / timescale);
}

static const struct {
    const char *name;
    factor_of   factor;
} schedules[] = {
    {"linear", linear},
    {"cosine", cosine},
    {"constant", constant},
    {"constant_with_warmup", constant_with_warmup},
    {"cosine_with_min_lr", cosine_with_min_lr},
    {"polynomial", polynomial},
    {"inverse_sqrt", inverse_sqrt},
};

static factor_of find(const char *name) {
    for (size_t i = 0; i < QL_LEN(schedules); i++)
        if (!strcmp(schedules[i].name, name)) return schedules[i].factor;
    return NULL;
}

/* transformers 5: int(w) if w >= 1 else ceil(total * w), in double. */
static int64_t warmup_steps(const ql_config *c, int64_t total) {
    double w = c->warmup_steps >= 0 ? c->warmup_steps : c->warmup_ratio;
    bool   is_count = c->warmup_steps >= 1;
    return is_count ? (int64_t)w : (int64_t)ceil((double)total * w);
}

ql_err ql_schedule_open(const ql_config *c, int64_t total_steps, ql_schedule *out) {
    *out = (ql_schedule){c, total_steps, warmup_steps(c, total_steps)};
    QL_CHECK(find(c->lr_scheduler_type), QL_USAGE, "lr_scheduler_type: %s is not supported", c->lr_scheduler_type);
    return ql_ok();
}

double ql_schedule_rate(const ql_schedule *s, int64_t done) {
    return s->config->learning_rate * find(s->config->lr_scheduler_type)(s, (double)done);
}
