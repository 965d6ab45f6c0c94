/* What the ladder offers devices whose memory is not the host's changes no bit of a training: moments and inputs of
 * layers on the host, weights that are decoded once. Here on the CPU, whose transfers happen as late as is allowed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/check.h"
#include "tests/support/golden_job.h"
#include "tests/support/late_transfers.h"
#include "worker/step.h"

enum { STEPS = 3 };

typedef struct {
    ql_adapter_copy copy; /* of the state after STEPS steps */
    int64_t length, transfers;
    double loss;
} outcome;

static outcome trained(const char *model, const ql_memory_choice *choice) {
    golden g;
    outcome o = {0};
    ql_schedule schedule;
    golden_open(&(golden_request){.model = model, .base = "nf4", .adapter = true, .training = true, .threads = 2, .dropout = 0.1, .choice = choice},
                &g);
    ok(ql_schedule_open(&g.job.config, g.job.total_steps, &schedule));
    late_transfers(g.job.device);
    for (int64_t step = 0; step < STEPS; step++) {
        ql_step_result r;
        ok(ql_step(&g.job, &schedule, step, &r));
        assert_int_equal(late_transfers_pending(), 0);
        o.loss = r.loss;
    }
    o.transfers = late_transfers_count();
    o.length = g.job.adapter.shape.length;
    ql_adapter_copy_open(&g.job.adapter, &o.copy);
    ok(ql_adapter_fetch(&g.job.adapter, &o.copy));
    golden_close(&g);
    return o;
}

static const ql_memory_choice plain = {.micro_rows = 2, .logit_rows = 16};

/* Returns how many transfers there were. */
static int64_t check_choice(const char *model, const outcome *expected, ql_memory_choice c, const char *what) {
    outcome o = trained(model, &c);
    assert_int_equal(o.length, expected->length);
    if (memcmp(o.copy.memory, expected->copy.memory, 3 * sizeof(float) * (size_t)o.length) || o.loss != expected->loss)
        fail_msg("%s: %s changes bits", model, what);
    ql_adapter_copy_close(&o.copy);
    return o.transfers;
}

static void check_model(const char *model) {
    outcome expected = trained(model, &plain);
    assert_int_equal(expected.transfers, 0);
    ql_memory_choice moments = plain, borders = plain, decoded = plain, all;
    moments.paged_moments = true;
    assert_true(check_choice(model, &expected, moments, "moments on the host") >= STEPS * 4);
    borders.recompute = QL_RECOMPUTE_LAYERS;
    borders.deep_layers = 1000;
    borders.micro_rows = 1;
    assert_int_equal(check_choice(model, &expected, borders, "recomputation"), 0);
    borders.host_borders = true;
    assert_true(check_choice(model, &expected, borders, "inputs of layers on the host") > STEPS);
    decoded.shadow_layers = 2;
    assert_int_equal(check_choice(model, &expected, decoded, "decoded weights in one layer"), 0);
    all = borders;
    all.micro_rows = 3;
    all.paged_moments = true;
    all.shadow_layers = 1000;
    (void)check_choice(model, &expected, all, "all of them together");
    ql_adapter_copy_close(&expected.copy);
}

static void test_same_bits(void **state) {
    (void)state;
    static const char *const models[] = {"llama3-rope", "mistral-window", "qwen2", "qwen3"};
    for (size_t i = 0; i < QL_LEN(models); i++) check_model(models[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_same_bits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
