/* Whole models against PyTorch + PEFT: log-likelihoods, gradients, and six training steps. The
 * goal of parity: 2e-5 relative per record, 1e-4 per-step loss.
 *
 *   test_golden_models [cuda]: on a device of that kind, with f32 arithmetic */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/check.h"
#include "tests/support/golden_job.h"
#include "worker/eval.h"
#include "worker/step.h"

typedef struct {
    const char *model, *base;
} subject;

static const subject subjects[] = {
    {"llama3-rope", "dense"},   {"llama-linear-bias", "dense"}, {"llama-tied-shards", "dense"}, {"mistral-window", "dense"},
    {"qwen2", "dense"},         {"qwen2-window", "dense"},      {"qwen3", "dense"},             {"llama3-rope", "nf4"},
    {"llama-linear-bias", "nf4"}, {"llama-tied-shards", "nf4"}, {"mistral-window", "nf4"},      {"qwen2", "nf4"},
    {"qwen2-window", "nf4"},    {"qwen3", "nf4"},               {"qwen3", "nf4-single"},        {"qwen3-4bit", "stored"},
    {"mistral-window", "nf4-single"},
};

static bool is_there(const subject *s) {
    char    *path = ql_format("%s/models/%s/expected.json", golden_data(), s->model);
    ql_json *json;
    ok(ql_json_read(path, 1 << 24, &json));
    free(path);
    bool there = ql_json_get(ql_json_get(json, "bases"), s->base) != NULL;
    ql_json_free(json);
    return there;
}

static void close_to(double here, double there, double tolerance, const char *what, const subject *s) {
    if (fabs(here - there) <= tolerance * fmax(fabs(there), 1e-3)) return;
    fail_msg("%s/%s: %s is %.9g, PyTorch has %.9g (relative %.2g)", s->model, s->base, what, here, there,
             fabs(here - there) / fabs(there));
}

static void check_likelihoods(const subject *s, bool adapter) {
    golden g;
    golden_open(&(golden_request){.model = s->model, .base = s->base, .adapter = adapter}, &g);
    size_t         n = (size_t)g.job.eval.records;
    int64_t       *loss = QL_NEW_ARRAY(int64_t, n), *targets = QL_NEW_ARRAY(int64_t, n);
    ql_eval_result r;
    ok(ql_evaluate(&g.job, loss, targets, NULL, &r));
    const ql_json *nll = ql_json_get(g.base, adapter ? "nll_adapter" : "nll");
    assert_int_equal(ql_json_size(nll), n);
    for (size_t i = 0; i < n; i++)
        close_to((double)loss[i] / 0x1p32, ql_json_number(ql_json_at(nll, i), NAN), 2e-5, "the NLL of a document", s);
    free(loss);
    free(targets);
    golden_close(&g);
}

static void test_likelihoods(void **state) {
    (void)state;
    size_t checked = 0;
    for (size_t i = 0; i < QL_LEN(subjects); i++) {
        if (!is_there(&subjects[i])) continue;
        check_likelihoods(&subjects[i], false);
        check_likelihoods(&subjects[i], true);
        checked++;
    }
    assert_true(checked >= 12);
}

/* All rows as one step whose update is irrelevant; the integer sums are the gradient. */
static int64_t *summed_gradient(const golden_request *r, golden *g) {
    golden_open(r, g);
    ql_schedule    schedule;
    ql_step_result result;
    int64_t        rows[16], n = g->job.train_rows.rows;
    for (int64_t i = 0; i < n; i++) rows[i] = i;
    ok(ql_schedule_open(&g->job.config, g->job.total_steps, &schedule));
    ok(ql_step_on_rows(&g->job, &schedule, 0, rows, n, &result));
    int64_t *sum = QL_NEW_ARRAY(int64_t, (size_t)g->job.adapter.shape.length);
    ok(ql_download(g->job.device, sum, g->job.adapter.sum));
    return sum;
}

static void compare_matrix(const subject *s, const int64_t *sum, const ql_stored *t, const char *name) {
    double difference = 0, size = 0;
    for (int64_t i = 0; i < t->count; i++) {
        double there = (double)golden_value(t, i), here = (double)sum[i] / 0x1p40;
        difference += (here - there) * (here - there);
        size += there * there;
    }
    if (sqrt(difference) > 5e-5 * sqrt(size) + 1e-6)
        fail_msg("%s/%s: gradient of %s is off by %.3g of %.3g", s->model, s->base, name, sqrt(difference), sqrt(size));
}

static void test_gradients(void **state) {
    (void)state;
    for (size_t i = 0; i < QL_LEN(subjects); i++) {
        const subject *s = &subjects[i];
        if (!is_there(s)) continue;
        golden   g;
        int64_t *sum = summed_gradient(
            &(golden_request){.model = s->model, .base = s->base, .adapter = true, .training = true}, &g);
        const ql_adapter_shape *shape = &g.job.adapter.shape;
        for (size_t k = 0; k < shape->modules; k++) {
            const ql_adapter_module *m = &shape->module[k];
            compare_matrix(s, sum + m->a_at, golden_tensor(&g, "%s.grad.%s.lora_A", s->base, m->module), m->module);
            compare_matrix(s, sum + m->b_at, golden_tensor(&g, "%s.grad.%s.lora_B", s->base, m->module), m->module);
        }
        free(sum);
        golden_close(&g);
    }
}

static void run_steps(golden *g, const char *epsilon, const subject *s) {
    const ql_json *steps = ql_json_get(ql_json_get(g->base, "training"), epsilon);
    ql_schedule    schedule;
    ok(ql_schedule_open(&g->job.config, g->job.total_steps, &schedule));
    assert_true(ql_json_size(steps) > 3);
    for (size_t i = 0; i < ql_json_size(steps); i++) {
        const ql_json *want = ql_json_at(steps, i), *dealt = ql_json_get(want, "rows");
        int64_t        rows[16], n = (int64_t)ql_json_size(dealt);
        for (int64_t k = 0; k < n; k++) rows[k] = ql_json_int(ql_json_at(dealt, (size_t)k), 0);
        ql_step_result r;
        ok(ql_step_on_rows(&g->job, &schedule, (int64_t)i, rows, n, &r));
        assert_int_equal(r.targets, ql_json_int(ql_json_get(want, "target_tokens"), -1));
        close_to(r.loss, ql_json_number(ql_json_get(want, "loss"), NAN), 1e-4, "the loss of a step", s);
        close_to(r.grad_norm, ql_json_number(ql_json_get(want, "grad_norm"), NAN), 1e-3, "the gradient's norm", s);
        close_to(r.rate, ql_json_number(ql_json_get(want, "learning_rate"), NAN), 1e-12, "the learning rate", s);
    }
}

static void compare_final(const golden *g, const subject *s) {
    const ql_adapter_shape *shape = &g->job.adapter.shape;
    float                  *value = QL_NEW_ARRAY(float, (size_t)shape->length);
    ok(ql_download(g->job.device, value, g->job.adapter.value));
    for (size_t k = 0; k < shape->modules; k++) {
        const ql_adapter_module *m = &shape->module[k];
        const ql_stored         *a = golden_tensor(g, "%s.final.%s.lora_A", s->base, m->module);
        for (int64_t i = 0; i < a->count; i++)
            close_to((double)value[m->a_at + i], (double)golden_value(a, i), 2e-2, "an element of the final A", s);
        const ql_stored *b = golden_tensor(g, "%s.final.%s.lora_B", s->base, m->module);
        for (int64_t i = 0; i < b->count; i++)
            close_to((double)value[m->b_at + i], (double)golden_value(b, i), 2e-2, "an element of the final B", s);
    }
    free(value);
}

static void train(const subject *s, double epsilon, const char *name) {
    golden g;
    golden_open(&(golden_request){.model = s->model, .base = s->base, .adapter = true, .training = true, .epsilon = epsilon}, &g);
    run_steps(&g, name, s);
    if (epsilon >= 1e-3) compare_final(&g, s);
    golden_close(&g);
}

static void test_training(void **state) {
    (void)state;
    for (size_t i = 0; i < QL_LEN(subjects); i++) {
        if (!is_there(&subjects[i])) continue;
        train(&subjects[i], 1e-8, "1e-08");
        train(&subjects[i], 1e-3, "0.001");
    }
}

/* Recomputation, micro-batches and threads must not change a bit of the gradient. */
static void test_same_bits(void **state) {
    (void)state;
    const golden_request variants[] = {
        {.micro_rows = 1, .threads = 1},
        {.micro_rows = 4, .threads = 2},
        {.micro_rows = 3, .threads = 3, .recompute = true},
        {.micro_rows = 1, .threads = 2, .recompute = true},
    };
    for (size_t m = 0; m < QL_LEN(subjects); m++) {
        if (!is_there(&subjects[m])) continue;
        int64_t *first = NULL;
        for (size_t i = 0; i < QL_LEN(variants); i++) {
            golden_request r = variants[i];
            r.model = subjects[m].model;
            r.base = subjects[m].base;
            r.adapter = r.training = true;
            golden   g;
            int64_t *sum = summed_gradient(&r, &g);
            if (first) assert_memory_equal(sum, first, (size_t)g.job.adapter.shape.length * sizeof *sum);
            golden_close(&g);
            if (first) free(sum);
            else first = sum;
        }
        free(first);
    }
}

/* Nor must any rung of the ladder, nor one that is taken in some layers only. Each limit is the need
 * of a rung, or lies in the middle of two. */
static void check_rungs(const char *model, double dropout) {
    golden_request r = {.model = model, .base = "nf4", .adapter = true, .training = true, .threads = 2, .dropout = dropout};
    r.max_memory = (int64_t)1 << 40;
    golden   all;
    int64_t *expected = summed_gradient(&r, &all);
    ql_rung  rung[QL_RUNGS_MAX];
    int      rungs = ql_memory_ladder(&all.job.question, rung);
    bool     partial = false;
    assert_int_equal(all.job.plan.rung, 0);
    assert_true(rungs >= 5);
    for (int i = 1; i < 2 * rungs - 1; i++) {
        uint64_t before = rung[(i - 1) / 2].total, here = rung[(i + 1) / 2].total;
        r.max_memory = (int64_t)(i % 2 ? (before + here) / 2 : here);
        golden   g;
        int64_t *sum = summed_gradient(&r, &g);
        const ql_memory_choice *c = &g.job.plan.choice;
        assert_true(g.job.plan.total <= (uint64_t)r.max_memory);
        partial |= c->deep_layers > 0 && c->deep_layers < g.job.model.graph.layers;
        if (memcmp(sum, expected, (size_t)g.job.adapter.shape.length * sizeof *sum))
            fail_msg("%s: rung %d, degree %d in %d layers changes bits", model, g.job.plan.rung, c->recompute, c->deep_layers);
        free(sum);
        golden_close(&g);
    }
    assert_true(partial);
    free(expected);
    golden_close(&all);
}

static void test_rungs(void **state) {
    (void)state;
    for (size_t m = 0; m < QL_LEN(subjects); m++) {
        if (!is_there(&subjects[m]) || strcmp(subjects[m].base, "nf4")) continue;
        check_rungs(subjects[m].model, 0);
        check_rungs(subjects[m].model, 0.1);
    }
}

/* After the first step a step takes no memory, neither of the device nor of the host. */
static void test_steps_allocate_nothing(void **state) {
    (void)state;
    golden         g;
    ql_schedule    schedule;
    ql_step_result r;
    golden_open(&(golden_request){.model = "qwen3", .base = "nf4", .adapter = true, .training = true, .threads = 2, .dropout = 0.1}, &g);
    ok(ql_schedule_open(&g.job.config, g.job.total_steps, &schedule));
    ql_memory_use before = ql_device_memory(g.job.device);
    uint64_t      host = ql_allocations();
    for (int64_t step = 0; step < 3; step++) ok(ql_step(&g.job, &schedule, step, &r));
    assert_int_equal(ql_allocations() - host, 0);
    ql_memory_use after = ql_device_memory(g.job.device);
    assert_int_equal(after.allocations, 1); /* the arena */
    assert_int_equal(after.bytes_peak, before.bytes_now);
    assert_int_equal(after.bytes_peak, g.job.plan.arena_bytes);
    assert_int_equal(after.workspace, g.job.question.needs.workspace);
    uint64_t data = ql_corpus_bytes(&g.job.train) + ql_row_set_bytes(&g.job.train, &g.job.train_rows) +
                    ql_corpus_bytes(&g.job.eval) + ql_row_set_bytes(&g.job.eval, &g.job.eval_rows);
    assert_int_equal(g.job.question.data_bytes, data);
    assert_true(data > 0);
    golden_close(&g);
}

/* While B is zero adapters do not change the model, so B's gradient in one layer does not depend
 * on which other layers have one: the same integers as with all of them. */
static void check_partial(const char *targets, bool recompute, const golden *all, const int64_t *all_sum) {
    golden   g;
    int64_t *sum = summed_gradient(&(golden_request){.model = "qwen2", .base = "nf4", .training = true, .targets = targets,
                                                      .recompute = recompute}, &g);
    const ql_adapter_shape *some = &g.job.adapter.shape, *every = &all->job.adapter.shape;
    for (size_t i = 0; i < some->modules; i++) {
        const ql_adapter_module *m = &some->module[i], *twin = every->module;
        while (strcmp(twin->module, m->module)) twin++;
        if (memcmp(sum + m->b_at, all_sum + twin->b_at, (size_t)(some->r * m->out) * sizeof *sum))
            fail_msg("target_modules=%s: the gradient of %s is not the one with all layers", targets, m->module);
    }
    free(sum);
    golden_close(&g);
}

static void test_partial_targets(void **state) {
    (void)state;
    static const char *const sets[] = {"[q_proj, v_proj]", "[k_proj]", "[v_proj]", "[q_proj, k_proj]", "[gate_proj]", "[up_proj]",
                                       "[down_proj]", "[o_proj]", "[layers.1.self_attn.v_proj, layers.0.mlp.up_proj]",
                                       "[layers.1.self_attn.q_proj]"};
    golden   all;
    int64_t *sum = summed_gradient(&(golden_request){.model = "qwen2", .base = "nf4", .training = true}, &all);
    for (size_t i = 0; i < QL_LEN(sets); i++) {
        check_partial(sets[i], false, &all, sum);
        check_partial(sets[i], true, &all, sum);
    }
    free(sum);
    golden_close(&all);
}

/* What another back end than the CPU's has to show; its own tests look at the rest. */
static int on_another_device(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_likelihoods), cmocka_unit_test(test_gradients),
                                       cmocka_unit_test(test_training)};
    int  count;
    char why[256];
    ok(ql_device_count(golden_device, &count, why));
    if (count == 0) {
        printf("no device of kind %s here: %s\n", golden_device, why);
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv) {
    if (argc > 1) {
        golden_device = argv[1];
        return on_another_device();
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_likelihoods),
        cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_training),
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_rungs),
        cmocka_unit_test(test_steps_allocate_nothing),
        cmocka_unit_test(test_partial_targets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
