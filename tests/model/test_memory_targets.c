/* What cards of known sizes must be able to do, by plan: shapes of real models, r = 16 on all linear layers, NF4 with
 * double quantisation, bf16. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/quant/scratch.h"
#include "tests/support/random_model.h"
#include "worker/memory.h"
#include "worker/model/model.h"

typedef struct {
    const char *model;
    int64_t row, micro_rows, rows_at_most;
    double gigabytes; /* of 10^9 bytes */
} wish;

typedef struct {
    ql_model model;
    ql_config config;
    ql_adapter_shape shape;
    ql_memory_question q;
} subject;

static int64_t largest_matrix(const ql_model *m) {
    int64_t most = 0;
    for (size_t i = 0; i < m->graph.slots; i++) most = ql_max(most, m->graph.slot[i].rows * m->graph.slot[i].cols);
    return most;
}

static void open_subject(const wish *w, subject *s) {
    char *keys[] = {"lora_r=16"};
    const char *folder = scratch(w->model);
    ok(ql_dir_make(folder));
    random_model_outline(random_model_named(w->model), folder);
    ql_load_options o = {.load_in_4bit = true, .quant = ql_quant_find("nf4"), .double_quant = true};
    *s = (subject){0};
    ok(ql_config_from_overrides(keys, 1, &s->config));
    ok(ql_model_describe(folder, &o, &s->model));
    ok(ql_adapter_plan(&s->model.graph, &s->config, &s->shape));
    s->q = (ql_memory_question){.graph = &s->model.graph,
                                .weights = s->model.weight,
                                .adapter = &s->shape,
                                .device = "cuda",
                                .data_bytes = 1 << 20,
                                .data_detail = "some",
                                .ranks = 1,
                                .weight_bytes = s->model.weight_bytes,
                                .table_bytes = ql_model_table_bytes(&s->model, w->row),
                                .vocab = s->model.config.vocab_size,
                                .longest_row = w->row,
                                .micro_rows = w->micro_rows,
                                .rows_at_most = w->rows_at_most,
                                .recompute = QL_AUTO,
                                .training = true,
                                .limit = (uint64_t)(w->gigabytes * 1e9),
                                .host_limit = UINT64_MAX};
    ok(ql_device_needs_of("cuda", 0, QL_BF16, largest_matrix(&s->model), &s->q.needs));
}

static void close_subject(subject *s) {
    ql_adapter_shape_free(&s->shape);
    ql_model_close(&s->model);
    ql_config_free(&s->config);
}

/* `most`: what may be made again. Up to QL_RECOMPUTE_CHEAP that is no product at all, up to QL_RECOMPUTE_ATTENTION none
 * with a weight. */
static void check_wish(wish w, ql_recompute most, int64_t rows) {
    subject s;
    ql_memory_plan p;
    ql_str text = {0};
    open_subject(&w, &s);
    ok(ql_memory_plan_make(&s.q, &p));
    ql_memory_plan_text(&s.q, &p, &text);
    printf("%s, rows of %lld tokens, %.0f GB:\n%s\n", w.model, (long long)w.row, w.gigabytes, text.data);
    assert_true(p.total <= s.q.limit);
    assert_true(p.choice.recompute <= most);
    assert_int_equal(p.choice.micro_rows, rows);
    ql_str_free(&text);
    ql_memory_plan_free(&p);
    close_subject(&s);
}

static void test_seven_billion(void **state) {
    (void)state;
    check_wish((wish){"7b", 512, 0, 16, 7}, QL_RECOMPUTE_ATTENTION, 1);
    check_wish((wish){"7b", 1024, 0, 16, 10}, QL_RECOMPUTE_CHEAP, 1);
}

/* The plan takes fewer rows at a time first; with both of them, too, no product is made again. */
static void test_eight_billion(void **state) {
    (void)state;
    wish w = {"8b", 2048, 2, 16, 24};
    check_wish(w, QL_RECOMPUTE_CHEAP, 1);
    subject s;
    ql_memory_plan p;
    open_subject(&w, &s);
    ql_memory_choice c = {.micro_rows = 2, .logit_rows = 256, .recompute = QL_RECOMPUTE_CHEAP, .deep_layers = s.model.graph.layers};
    ql_memory_evaluate(&s.q, &c, &p);
    assert_true(p.total <= s.q.limit);
    ql_memory_plan_free(&p);
    close_subject(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_seven_billion), cmocka_unit_test(test_eight_billion)};
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
