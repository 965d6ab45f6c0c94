/* Ranks with the same plan are shown as one. */
#include <stdlib.h>
#include <string.h>

#include "tests/support/check.h"
#include "worker/rank_plans.h"

typedef struct {
    ql_model           model;
    ql_config          config;
    ql_adapter_shape   shape;
    ql_memory_question q;
    uint64_t           first, last; /* what the first and the last rung need */
} subject;

static void open_subject(subject *s) {
    ql_load_options o = {.load_in_4bit = true, .quant = ql_quant_find("nf4"), .double_quant = true};
    *s = (subject){0};
    ok(ql_config_from_overrides(NULL, 0, &s->config));
    ok(ql_model_describe(QL_TEST_DATA "/models/llama3-rope", &o, &s->model));
    ok(ql_adapter_plan(&s->model.graph, &s->config, &s->shape));
    s->q = (ql_memory_question){.graph = &s->model.graph, .weights = s->model.weight, .adapter = &s->shape, .device = "cuda",
                                .data_bytes = 1000, .data_detail = "some", .ranks = 4, .weight_bytes = s->model.weight_bytes,
                                .table_bytes = ql_model_table_bytes(&s->model, 100), .vocab = s->model.config.vocab_size,
                                .longest_row = 100, .rows_at_most = 16, .recompute = QL_AUTO, .training = true};
    ok(ql_device_needs_of("cuda", 0, QL_BF16, 1000, &s->q.needs));
    ql_rung rung[QL_RUNGS_MAX];
    int     n = ql_memory_ladder(&s->q, rung);
    s->first = rung[0].total;
    s->last = rung[n - 1].total;
}

static void close_subject(subject *s) {
    ql_adapter_shape_free(&s->shape);
    ql_model_close(&s->model);
    ql_config_free(&s->config);
}

enum { RANKS = 6 };

static ql_rank_room room(uint64_t limit, const char *device) {
    ql_rank_room r = {.limit = limit, .host_limit = UINT64_MAX};
    strcpy(r.device, device);
    return r;
}

static void check_group(const ql_rank_group *g, size_t ranks, const int *rank, uint64_t limit, bool fits) {
    assert_int_equal(g->ranks, ranks);
    for (size_t i = 0; i < ranks; i++) assert_int_equal(g->rank[i], rank[i]);
    assert_int_equal(g->question.limit, limit);
    assert_int_equal(g->plan.limit, limit);
    assert_int_equal(g->fits, fits);
    assert_int_equal(g->plan.total <= limit, fits);
}

static void test_alike(void **state) {
    (void)state;
    subject        s;
    ql_rank_group *group;
    ql_rank_room   rooms[RANKS];
    open_subject(&s);
    /* A few bytes of difference, as cards of a kind have them, change no plan. */
    for (int r = 0; r < RANKS; r++) rooms[r] = room(((uint64_t)1 << 40) - (uint64_t)(r % 3), "a card");
    assert_int_equal(ql_rank_groups(&s.q, rooms, RANKS, &group), 1);
    check_group(&group[0], RANKS, (int[]){0, 1, 2, 3, 4, 5}, ((uint64_t)1 << 40) - 2, true);
    ql_rank_groups_free(group, 1);
    close_subject(&s);
}

static void test_unlike(void **state) {
    (void)state;
    subject        s;
    ql_rank_group *group;
    open_subject(&s);
    uint64_t     small = s.last + (s.first - s.last) / 2;
    ql_rank_room rooms[RANKS] = {room(s.first, "a card"), room(small, "a card"), room(s.first, "a card"),
                                 room(s.last - 1, "a card"), room(small, "a card"), room(s.first, "another card")};
    assert_int_equal(ql_rank_groups(&s.q, rooms, RANKS, &group), 4);
    check_group(&group[0], 2, (int[]){0, 2}, s.first, true);
    check_group(&group[1], 2, (int[]){1, 4}, small, true);
    check_group(&group[2], 1, (int[]){3}, s.last - 1, false);
    check_group(&group[3], 1, (int[]){5}, s.first, true);
    assert_int_equal(group[0].plan.rung, 0);
    assert_true(group[1].plan.rung > 0);
    assert_string_equal(group[3].device, "another card");
    ql_rank_groups_free(group, 4);
    close_subject(&s);
}

/* The short ways to an answer give the planner's. */
static void test_short_questions(void **state) {
    (void)state;
    subject s;
    open_subject(&s);
    for (int64_t rows = 1; rows <= 16; rows++) {
        s.q.micro_rows = rows;
        for (uint64_t step = 0; step <= 40; step++) {
            ql_memory_plan p;
            s.q.limit = s.last - 1000 + (s.first - s.last + 2000) * step / 40;
            bool good = ql_memory_plan_try(&s.q, &p);
            assert_int_equal(ql_memory_fits(&s.q), good);
            assert_int_equal(ql_memory_keeps_rows(&s.q), good && p.choice.micro_rows == rows);
            ql_memory_plan_free(&p);
        }
    }
    close_subject(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_alike), cmocka_unit_test(test_unlike),
                                       cmocka_unit_test(test_short_questions)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
