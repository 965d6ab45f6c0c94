/* Learning rates and warm-up counts against those of transformers (tests/golden/schedules.py). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "tests/support/check.h"
#include "worker/optim/schedule.h"

static ql_json *golden;

static int read_golden(void **state) {
    (void)state;
    return ql_bad(ql_json_read(QL_TEST_DATA "/schedules.json", 1 << 24, &golden));
}

static int free_golden(void **state) {
    (void)state;
    ql_json_free(golden);
    return 0;
}

static void add(char **overrides, size_t *n, const char *key, double value) {
    ql_str text = {0};
    ql_str_printf(&text, "%s=", key);
    ql_json_put_double(&text, value);
    overrides[(*n)++] = text.data;
}

/* A configuration with one schedule and its keys. */
static void configure(const ql_json *schedule, ql_config *out) {
    char *overrides[16];
    size_t n = 0;
    const char *type = ql_json_text(ql_json_get(schedule, "lr_scheduler_type"), NULL);
    const ql_json *keys = ql_json_get(schedule, "keys");
    overrides[n++] = ql_format("lr_scheduler_type=%s", type);
    add(overrides, &n, "learning_rate", ql_json_number(ql_json_get(golden, "learning_rate"), NAN));
    add(overrides, &n, "warmup_steps", ql_json_number(ql_json_get(schedule, "warmup"), NAN));
    for (void *it = ql_json_first(keys); it; it = ql_json_next(keys, it))
        add(overrides, &n, ql_json_key(it), ql_json_number(ql_json_value(it), NAN));
    ok(ql_config_from_overrides(overrides, n, out));
    for (size_t i = 0; i < n; i++) free(overrides[i]);
}

static void check_rates(const ql_schedule *s, const ql_json *schedule) {
    const ql_json *rates = ql_json_get(schedule, "learning_rates");
    assert_int_equal(ql_json_size(rates), s->total + 1);
    for (int64_t done = 0; done <= s->total; done++) {
        double here = ql_schedule_rate(s, done), there = ql_json_number(ql_json_at(rates, (size_t)done), NAN);
        if (fabs(here - there) <= 1e-12 * fabs(there)) continue;
        fail_msg("%s, step %lld of %lld, warm-up %lld: %.17g, transformers has %.17g", s->config->lr_scheduler_type,
                 (long long)done, (long long)s->total, (long long)s->warmup, here, there);
    }
}

static void test_learning_rates(void **state) {
    (void)state;
    const ql_json *schedules = ql_json_get(golden, "schedules");
    size_t types = 0;
    const char *last = "";
    for (size_t i = 0; i < ql_json_size(schedules); i++) {
        const ql_json *schedule = ql_json_at(schedules, i);
        ql_config c;
        ql_schedule s;
        configure(schedule, &c);
        ok(ql_schedule_open(&c, ql_json_int(ql_json_get(schedule, "total"), -1), &s));
        assert_int_equal(s.warmup, ql_json_int(ql_json_get(schedule, "warmup"), -1));
        check_rates(&s, schedule);
        const char *type = ql_json_text(ql_json_get(schedule, "lr_scheduler_type"), NULL);
        types += strcmp(type, last) != 0;
        last = type;
        ql_config_free(&c);
    }
    assert_true(types >= 7);
}

static void test_warmup_counts(void **state) {
    (void)state;
    const ql_json *counts = ql_json_get(golden, "warmup_counts");
    assert_true(ql_json_size(counts) > 5);
    for (size_t i = 0; i < ql_json_size(counts); i++) {
        const ql_json *row = ql_json_at(counts, i);
        double w = ql_json_number(ql_json_at(row, 0), NAN);
        ql_config c;
        ok(ql_config_from_overrides(NULL, 0, &c));
        int64_t total = ql_json_int(ql_json_at(row, 1), -1), count = ql_json_int(ql_json_at(row, 2), -1);
        ql_schedule s;
        c.warmup_steps = w;
        ok(ql_schedule_open(&c, total, &s));
        assert_int_equal(s.warmup, count);
        if (w < 1) { /* the same as a ratio */
            c.warmup_steps = -1;
            c.warmup_ratio = w;
            ok(ql_schedule_open(&c, total, &s));
            assert_int_equal(s.warmup, count);
        }
        ql_config_free(&c);
    }
}

static void test_unknown_schedule(void **state) {
    (void)state;
    ql_config c;
    ql_schedule s;
    ok(ql_config_from_overrides(NULL, 0, &c));
    free(c.lr_scheduler_type);
    c.lr_scheduler_type = ql_strdup("sawtooth");
    ql_err e = ql_schedule_open(&c, 10, &s);
    assert_int_equal(e.code, QL_USAGE);
    assert_non_null(strstr(ql_err_text(), "sawtooth"));
    ql_config_free(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_learning_rates),
        cmocka_unit_test(test_warmup_counts),
        cmocka_unit_test(test_unknown_schedule),
    };
    return cmocka_run_group_tests(tests, read_golden, free_golden);
}
