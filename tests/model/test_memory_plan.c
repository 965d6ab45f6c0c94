/* The memory plan: its parts, and the ladder that it walks down when memory is short. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "collective/collective.h"
#include "tests/support/check.h"
#include "worker/batch.h"
#include "worker/memory.h"
#include "worker/model/model.h"

typedef struct {
    ql_model model;
    ql_config config;
    ql_adapter_shape shape;
    ql_memory_question q;
} subject;

static void open_subject(const char *name, bool training, subject *s) {
    char *folder = ql_format("%s/models/%s", QL_TEST_DATA, name);
    ql_load_options o = {.load_in_4bit = true, .quant = ql_quant_find("nf4"), .double_quant = true};
    *s = (subject){0};
    ok(ql_config_from_overrides(NULL, 0, &s->config));
    ok(ql_model_describe(folder, &o, &s->model));
    ok(ql_adapter_plan(&s->model.graph, &s->config, &s->shape));
    s->q = (ql_memory_question){.graph = &s->model.graph,
                                .weights = s->model.weight,
                                .adapter = &s->shape,
                                .device = "cpu",
                                .data_bytes = 1000,
                                .data_detail = "some",
                                .ranks = 1,
                                .weight_bytes = s->model.weight_bytes,
                                .table_bytes = ql_model_table_bytes(&s->model, 100),
                                .vocab = s->model.config.vocab_size,
                                .longest_row = 100,
                                .rows_at_most = 16,
                                .recompute = QL_AUTO,
                                .training = training,
                                .limit = UINT64_MAX,
                                .host_limit = UINT64_MAX};
    ok(ql_device_needs_of("cpu", 2, QL_F32, 0, &s->q.needs));
    free(folder);
}

static void open_absent_device(const char *model, subject *s) {
    open_subject(model, true, s);
    s->q.device = "cuda";
    ok(ql_device_needs_of("cuda", 0, QL_BF16, 1000, &s->q.needs));
}

static void close_subject(subject *s) {
    ql_adapter_shape_free(&s->shape);
    ql_model_close(&s->model);
    ql_config_free(&s->config);
}

static uint64_t part(const ql_memory_plan *p, const char *name) {
    for (int i = 0; i < p->parts; i++)
        if (!strcmp(p->part[i].name, name)) return p->part[i].bytes;
    return 0;
}

static uint64_t sum_of(const ql_memory_plan *p, ql_memory_place place) {
    uint64_t sum = 0;
    for (int i = 0; i < p->parts; i++) sum += p->part[i].place == place ? p->part[i].bytes : 0;
    return sum;
}

static void check_schedule(const ql_plan_request *r, const ql_memory_plan *p) {
    assert_int_equal(r->recompute, p->choice.recompute);
    assert_int_equal(r->deep_layers, p->choice.deep_layers);
    assert_int_equal(r->logit_rows, p->choice.logit_rows);
    assert_int_equal(r->max_tokens, p->micro_tokens);
}

/* The parts are the buffers that a run takes, and add up. */
static void check_parts(const subject *s, const ql_memory_plan *p) {
    assert_true(p->parts <= QL_MEMORY_PARTS);
    assert_int_equal(sum_of(p, QL_ON_DEVICE), p->arena_bytes);
    assert_int_equal(sum_of(p, QL_ON_HOST), p->host_total);
    uint64_t host = s->q.needs.is_host ? p->host_total : 0;
    assert_int_equal(p->arena_bytes + sum_of(p, QL_OUTSIDE_ARENA) + host, p->total);
    assert_int_equal(sum_of(p, QL_OUTSIDE_ARENA), s->q.needs.workspace + s->q.needs.outside);
    assert_int_equal(part(p, "base model"), s->model.weight_bytes);
    assert_int_equal(part(p, "adapter") + part(p, "moments") + part(p, "gradients"),
                     ql_adapter_bytes(&s->shape, s->q.training, false));
    assert_int_equal(part(p, "batch"), ql_batch_bytes(p->micro_tokens, p->choice.micro_rows));
    assert_int_equal(part(p, "activations") + part(p, "logits") + part(p, "working space"), p->run_bytes);
    assert_true(p->run_bytes >= p->score.bytes && p->run_bytes >= p->train.bytes);
    assert_int_equal(p->micro_tokens, p->choice.micro_rows * s->q.longest_row);
    assert_int_equal(p->train.steps > 0, s->q.training);
    check_schedule(&p->score.request, p);
    if (s->q.training) check_schedule(&p->train.request, p);
}

/* A rung changes one thing, and nothing is ever taken back. */
static void check_step_down(const ql_memory_choice *from, const ql_memory_choice *to) {
    assert_true(to->recompute >= from->recompute);
    assert_true(to->micro_rows <= from->micro_rows && to->logit_rows <= from->logit_rows);
    assert_int_equal(from->shadow_layers + to->shadow_layers, 0);
    assert_true(to->paged_moments >= from->paged_moments && to->host_borders >= from->host_borders);
    int changes = (to->recompute != from->recompute) + (to->micro_rows != from->micro_rows) +
                  (to->logit_rows != from->logit_rows) + (to->paged_moments != from->paged_moments) +
                  (to->host_borders != from->host_borders);
    assert_int_equal(changes, 1);
    if (to->logit_rows < from->logit_rows) assert_true(to->micro_rows == 1 || to->recompute == QL_KEEP_ALL);
}

/* Every rung needs less than the one before. */
static int check_ladder(const subject *s) {
    ql_rung rung[QL_RUNGS_MAX];
    int     n = ql_memory_ladder(&s->q, rung);
    for (int i = 0; i < n; i++) {
        ql_memory_plan p;
        ql_memory_evaluate(&s->q, &rung[i].choice, &p);
        check_parts(s, &p);
        assert_int_equal(p.total, rung[i].total);
        ql_memory_plan_free(&p);
        if (i == 0) continue;
        assert_true(rung[i].total < rung[i - 1].total);
        check_step_down(&rung[i - 1].choice, &rung[i].choice);
        assert_true(rung[i].extra_time >= rung[i - 1].extra_time);
        if (rung[i].choice.recompute > rung[i - 1].choice.recompute) assert_true(rung[i].extra_time > rung[i - 1].extra_time);
    }
    assert_true(rung[0].extra_time == 0);
    return n;
}

/* The sentence names an amount that is enough, and not much more. */
static void check_refusal(const subject *s, uint64_t smallest) {
    ql_memory_plan p;
    ql_memory_question q = s->q;
    for (q.limit = 0; q.limit < smallest; q.limit = q.limit ? smallest : smallest - 1) {
        double mib, allowed;
        assert_int_equal(ql_memory_plan_make(&q, &p).code, QL_USAGE);
        assert_non_null(strstr(ql_err_text(), "max_memory"));
        const char *need = strstr(ql_err_text(), "at least ");
        assert_non_null(need);
        assert_int_equal(sscanf(need, "at least %lf MiB is needed and %lf", &mib, &allowed), 2);
        assert_true(allowed < mib);
        uint64_t named = (uint64_t)(mib * (1 << 20));
        assert_true(named >= smallest && named < smallest + (1 << 20) / 9);
    }
}

/* Lowers the limit to one byte below each plan, down to the last; returns the number of plans. */
static int walk_down(subject *s) {
    ql_memory_plan at, next;
    int plans = 1;
    s->q.limit = UINT64_MAX;
    ok(ql_memory_plan_make(&s->q, &at));
    assert_int_equal(at.rung, 0);
    for (;; plans++) {
        check_parts(s, &at);
        assert_true(at.total <= s->q.limit);
        s->q.limit = at.total; /* exactly enough is enough */
        ok(ql_memory_plan_make(&s->q, &next));
        assert_int_equal(next.total, at.total);
        assert_int_equal(next.rung, at.rung);
        ql_memory_plan_free(&next);
        s->q.limit = at.total - 1;
        if (ql_bad(ql_memory_plan_make(&s->q, &next))) break;
        assert_true(next.rung >= at.rung);
        if (next.rung == at.rung) { /* one more layer is recomputed */
            assert_int_equal(next.choice.recompute, at.choice.recompute);
            assert_int_equal(next.choice.deep_layers, at.choice.deep_layers + 1);
        }
        ql_memory_plan_free(&at);
        at = next;
    }
    check_refusal(s, at.total);
    assert_int_equal(at.choice.micro_rows, 1);
    ql_memory_plan_free(&at);
    s->q.limit = UINT64_MAX;
    return plans;
}

static void test_ladder_of_training(void **state) {
    (void)state;
    static const char *const models[] = {"llama3-rope", "mistral-window", "qwen2-window", "qwen3-4bit"};
    for (size_t i = 0; i < QL_LEN(models); i++) {
        subject s;
        open_subject(models[i], true, &s);
        int rungs = check_ladder(&s);
        assert_true(rungs >= 8);
        assert_true(walk_down(&s) >= rungs);
        close_subject(&s);
    }
}

static void test_ladder_of_evaluation(void **state) {
    (void)state;
    subject s;
    open_subject("qwen3", false, &s);
    assert_true(check_ladder(&s) >= 4);
    assert_true(walk_down(&s) >= 4);
    s.q.adapter = NULL;
    ql_memory_plan p;
    ok(ql_memory_plan_make(&s.q, &p));
    assert_int_equal(p.choice.recompute, QL_KEEP_ALL);
    assert_int_equal(part(&p, "adapter"), 0);
    ql_memory_plan_free(&p);
    close_subject(&s);
}

/* For a card that is not there: its memory and the host's are two things. */
static void test_ladder_of_an_absent_device(void **state) {
    (void)state;
    subject s;
    open_absent_device("llama3-rope", &s);
    assert_false(s.q.needs.is_host);
    assert_int_equal(s.q.needs.activation, QL_BF16);
    int     rungs = check_ladder(&s);
    ql_rung rung[QL_RUNGS_MAX];
    assert_int_equal(ql_memory_ladder(&s.q, rung), rungs);
    ql_memory_plan first, last;
    ql_memory_evaluate(&s.q, &rung[0].choice, &first);
    ql_memory_evaluate(&s.q, &rung[rungs - 1].choice, &last);
    assert_true(last.choice.paged_moments && last.choice.host_borders);
    uint64_t moments = 2 * sizeof(float) * (uint64_t)s.shape.length;
    assert_int_equal(last.host_total - first.host_total + ql_host_batch_bytes(first.micro_tokens, first.choice.micro_rows) -
                         ql_host_batch_bytes(last.micro_tokens, 1),
                     moments + last.train.host_bytes);
    /* What does not fit on the host is refused, too. */
    s.q.limit = last.total;
    s.q.host_limit = last.host_total - 1;
    ql_memory_plan p;
    assert_int_equal(ql_memory_plan_make(&s.q, &p).code, QL_USAGE);
    assert_non_null(strstr(ql_err_text(), "on the host"));
    ql_memory_plan_free(&first);
    ql_memory_plan_free(&last);
    close_subject(&s);
}

/* Decoded copies take what the first rung that fits leaves, and never cost a rung. */
static void test_decoded_weights(void **state) {
    (void)state;
    subject        s;
    ql_memory_plan p;
    ql_rung        rung[QL_RUNGS_MAX];
    open_absent_device("llama3-rope", &s);
    int      rungs = ql_memory_ladder(&s.q, rung);
    uint64_t all = 0;
    for (size_t i = 0; i < s.model.graph.slots; i++)
        if (s.model.weight[i].quant) all += ql_align((size_t)(2 * s.model.weight[i].out * s.model.weight[i].in), 64);
    for (int i = 0; i < rungs; i++) {
        s.q.limit = rung[i].total;
        int layers = 0, before = 0;
        for (uint64_t more = 0; more <= all && (i == 0 || rung[i].total + more < rung[i - 1].total); more += all / 50 + 1) {
            s.q.limit = rung[i].total + more;
            ok(ql_memory_plan_make(&s.q, &p));
            check_parts(&s, &p);
            assert_true(p.total <= s.q.limit && part(&p, "decoded weights") <= more);
            if (p.choice.recompute == rung[i].choice.recompute) assert_true(p.rung == rung[i].number);
            layers = p.choice.shadow_layers;
            assert_true(i > 0 || layers >= before);
            before = layers;
            ql_memory_plan_free(&p);
        }
    }
    s.q.limit = rung[0].total + all;
    ok(ql_memory_plan_make(&s.q, &p));
    assert_int_equal(part(&p, "decoded weights"), all);
    assert_int_equal(p.rung, 0);
    ql_memory_plan_free(&p);
    s.q.limit = rung[0].total + all - 1;
    ok(ql_memory_plan_make(&s.q, &p));
    assert_true(part(&p, "decoded weights") > 0 && part(&p, "decoded weights") < all);
    ql_memory_plan_free(&p);
    ok(ql_device_needs_of("cpu", 2, QL_F32, 0, &s.q.needs));
    s.q.limit = UINT64_MAX;
    ok(ql_memory_plan_make(&s.q, &p));
    assert_int_equal(p.choice.shadow_layers, 0);
    ql_memory_plan_free(&p);
    close_subject(&s);
}

static int rung_of_paging(const subject *s, ql_rung rung[QL_RUNGS_MAX]) {
    int n = ql_memory_ladder(&s->q, rung);
    for (int i = 0; i < n; i++)
        if (rung[i].choice.paged_moments) return i;
    fail_msg("moments are never paged");
    return 0;
}

/* Moments go to the host before anything is multiplied again where a step is long beside their way there and back,
 * else near the end. */
static void test_order_of_paging(void **state) {
    (void)state;
    subject s;
    ql_rung rung[QL_RUNGS_MAX];
    open_absent_device("llama3-rope", &s);
    s.q.rows_at_most = 1;
    int late = rung_of_paging(&s, rung);
    assert_int_equal(rung[late - 1].choice.recompute, QL_RECOMPUTE_LAYERS);
    double cost = rung[late].extra_time - rung[late - 1].extra_time;
    assert_true(cost > 0.05);
    s.q.rows_at_most = 1 << 20;
    int early = rung_of_paging(&s, rung);
    assert_true(rung[early].choice.recompute <= QL_RECOMPUTE_CHEAP);
    assert_true(rung[early].extra_time - rung[early - 1].extra_time < 0.05);
    (void)check_ladder(&s);
    close_subject(&s);
}

/* What the user fixed is not changed to save memory. */
static void test_recomputation_as_configured(void **state) {
    (void)state;
    static const ql_tristate wishes[] = {QL_FALSE, QL_TRUE};
    for (size_t i = 0; i < QL_LEN(wishes); i++) {
        subject s;
        open_subject("llama3-rope", true, &s);
        s.q.recompute = wishes[i];
        ql_memory_plan p;
        for (s.q.limit = UINT64_MAX; !ql_bad(ql_memory_plan_make(&s.q, &p)); s.q.limit = p.total - 1) {
            assert_int_equal(p.choice.recompute, wishes[i] == QL_TRUE ? QL_RECOMPUTE_LAYERS : QL_KEEP_ALL);
            ql_memory_plan_free(&p);
        }
        close_subject(&s);
    }
}

static void check_rows(subject *s, int64_t wanted, int64_t at_most, int64_t longest, int64_t expected) {
    ql_memory_plan p;
    s->q.micro_rows = wanted;
    s->q.rows_at_most = at_most;
    s->q.longest_row = longest;
    ok(ql_memory_plan_make(&s->q, &p));
    assert_int_equal(p.choice.micro_rows, expected);
    ql_memory_plan_free(&p);
}

static void test_rows_at_a_time(void **state) {
    (void)state;
    subject s;
    open_subject("llama3-rope", true, &s);
    check_rows(&s, 3, 16, 100, 3);
    check_rows(&s, 32, 16, 100, 16); /* never more than there are */
    check_rows(&s, 0, 1, 100, 1);
    check_rows(&s, 0, 16, 5000, 1);
    check_rows(&s, 0, 16, 1, 16);
    check_rows(&s, 1 << 20, 1 << 20, 1 << 24, 64); /* so many tokens that no sum of bytes overflows */
    close_subject(&s);
}

/* A chunk of logits has no more rows than there are tokens. */
static void test_logits_at_a_time(void **state) {
    (void)state;
    subject s;
    open_subject("llama3-rope", true, &s);
    ql_memory_choice c = {.micro_rows = 2, .logit_rows = 1024};
    ql_memory_plan   p;
    ql_memory_evaluate(&s.q, &c, &p);
    assert_int_equal(p.choice.logit_rows, 200);
    assert_int_equal(part(&p, "logits"), ql_align(200 * (size_t)s.q.vocab * sizeof(float), 64));
    check_parts(&s, &p);
    ql_memory_plan_free(&p);
    close_subject(&s);
}

/* What ranks exchange, and what a copy of their state takes. */
static void test_parts_of_several_ranks(void **state) {
    (void)state;
    for (int ranks = 1; ranks <= 3; ranks++) {
        subject s;
        open_subject("qwen2", true, &s);
        s.q.ranks = ranks;
        ql_memory_plan p;
        ok(ql_memory_plan_make(&s.q, &p));
        assert_int_equal(part(&p, "exchange"), ranks == 1 ? 0 : ql_sum_buffer_bytes((size_t)s.shape.length, ranks));
        assert_true((part(&p, "exchange") > 0) == (ranks > 1));
        assert_int_equal(part(&p, "saving"), 3 * sizeof(float) * (uint64_t)s.shape.length);
        ql_memory_plan_free(&p);
        close_subject(&s);
    }
}

static void test_texts(void **state) {
    (void)state;
    subject s;
    ql_memory_plan p;
    ql_str text = {0}, json = {0};
    ql_json *v;
    open_subject("llama3-rope", true, &s);
    ok(ql_memory_plan_make(&s.q, &p));
    ql_memory_plan_text(&s.q, &p, &text);
    ql_str_puts(&json, "{");
    ql_memory_plan_json(&s.q, &p, &json);
    ql_str_puts(&json, "}");
    ok(ql_json_parse(json.data, json.size, "plan", 1, &v));
    assert_int_equal(ql_json_int(ql_json_get(v, "total_bytes"), 0), p.total);
    assert_int_equal(ql_json_int(ql_json_get(v, "rows_at_a_time"), 0), p.choice.micro_rows);
    const ql_json *parts = ql_json_get(v, "parts"), *host = ql_json_get(v, "host_parts"), *ladder = ql_json_get(v, "ladder");
    assert_int_equal(ql_json_size(parts) + ql_json_size(host), p.parts);
    for (int i = 0; i < p.parts; i++) {
        const ql_json *here = p.part[i].place == QL_ON_HOST ? host : parts;
        assert_int_equal(ql_json_int(ql_json_get(here, p.part[i].name), -1), p.part[i].bytes);
        assert_non_null(strstr(text.data, p.part[i].name));
    }
    ql_rung rung[QL_RUNGS_MAX];
    int     rungs = ql_memory_ladder(&s.q, rung);
    assert_int_equal(ql_json_size(ladder), rungs);
    for (int i = 0; i < rungs; i++) {
        assert_int_equal(ql_json_int(ql_json_get(ql_json_at(ladder, (size_t)i), "total_bytes"), 0), rung[i].total);
        if (i == 0 || rung[i].total + (1 << 20) <= rung[i - 1].total) assert_non_null(strstr(text.data, rung[i].name));
    }
    ql_json_free(v);
    ql_str_free(&text);
    ql_str_free(&json);
    ql_memory_plan_free(&p);
    close_subject(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ladder_of_training),
        cmocka_unit_test(test_ladder_of_evaluation),
        cmocka_unit_test(test_ladder_of_an_absent_device),
        cmocka_unit_test(test_decoded_weights),
        cmocka_unit_test(test_order_of_paging),
        cmocka_unit_test(test_recomputation_as_configured),
        cmocka_unit_test(test_rows_at_a_time),
        cmocka_unit_test(test_logits_at_a_time),
        cmocka_unit_test(test_parts_of_several_ranks),
        cmocka_unit_test(test_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
