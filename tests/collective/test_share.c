/* Who computes what, and on which device: pure decisions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "worker/deal.h"
#include "worker/device_share.h"
#include "worker/exchange.h"

/* ---- rows ---- */

static void deal_rows(ql_deal *d, int n, int *rows_of) {
    for (int r = 0; r < d->ranks; r++) rows_of[r] = 0;
    ql_deal_begin(d);
    for (int i = 0; i < n; i++) rows_of[ql_deal_next(d)]++;
}

static void learn(ql_deal *d, int times, const int64_t *measured) {
    for (int i = 0; i < times; i++) ql_deal_learn(d, measured);
}

static void equal_ranks_get_row_k_mod_n(void **state) {
    (void)state;
    for (int ranks = 1; ranks <= 5; ranks++) {
        ql_deal d;
        ql_deal_open(ranks, &d);
        for (int learnt = 0; learnt < 3; learnt++) {
            ql_deal_begin(&d);
            for (int i = 0; i < 23; i++) assert_int_equal(ql_deal_next(&d), i % ranks);
            int64_t nearly[] = {100, 108, 99, 104, 101};
            learn(&d, 1, nearly);
        }
        ql_deal_close(&d);
    }
}

static void faster_ranks_get_more(void **state) {
    (void)state;
    ql_deal d;
    int     rows[3];
    ql_deal_open(3, &d);
    learn(&d, 40, (int64_t[]){300, 100, 100});
    deal_rows(&d, 20, rows);
    assert_true(rows[0] == 12 && rows[1] == 4 && rows[2] == 4);
    /* Nobody waits for a slow rank that could as well have nothing. */
    deal_rows(&d, 2, rows);
    assert_true(rows[0] == 2 && rows[1] + rows[2] == 0);
    deal_rows(&d, 0, rows);
    assert_true(rows[0] + rows[1] + rows[2] == 0);
    ql_deal_close(&d);
}

/* No order of dealing would be done sooner: by hand, over all ways to give n rows to three ranks. */
static void no_dealing_ends_sooner(void **state) {
    (void)state;
    static const int64_t speeds[][3] = {{7, 5, 3}, {100, 30, 55}, {1, 1, 9}, {2, 3, 4}};
    for (size_t s = 0; s < QL_LEN(speeds); s++) {
        ql_deal d;
        int     rows[3];
        ql_deal_open(3, &d);
        learn(&d, 2, speeds[s]);
        for (int n = 1; n < 25; n++) {
            deal_rows(&d, n, rows);
            double took = 0, best = 1e9;
            for (int r = 0; r < 3; r++) took = took > (double)rows[r] / (double)speeds[s][r] ? took : (double)rows[r] / (double)speeds[s][r];
            for (int a = 0; a <= n; a++)
                for (int b = 0; a + b <= n; b++) {
                    double t[3] = {a / (double)speeds[s][0], b / (double)speeds[s][1], (n - a - b) / (double)speeds[s][2]};
                    double last = t[0] > t[1] ? t[0] : t[1];
                    last = last > t[2] ? last : t[2];
                    best = best < last ? best : last;
                }
            assert_true(took <= best * (1 + 1e-12));
        }
        ql_deal_close(&d);
    }
}

static void the_first_step_teaches_nothing(void **state) {
    (void)state;
    ql_deal d;
    int     rows[2];
    ql_deal_open(2, &d);
    ql_deal_learn(&d, (int64_t[]){1, 1000});
    deal_rows(&d, 10, rows);
    assert_true(rows[0] == 5 && rows[1] == 5);
    ql_deal_close(&d);
}

/* A rank that was slow once and had nothing since gets a row again. */
static void a_rank_without_rows_is_tried_again(void **state) {
    (void)state;
    ql_deal d;
    int     rows[2] = {0, 0}, steps = 0;
    ql_deal_open(2, &d);
    learn(&d, 10, (int64_t[]){1000, 1});
    deal_rows(&d, 4, rows);
    assert_int_equal(rows[1], 0);
    for (; rows[1] == 0 && steps < 100; steps++) {
        ql_deal_learn(&d, (int64_t[]){1000, 0});
        deal_rows(&d, 4, rows);
    }
    assert_true(rows[1] > 0);
    ql_deal_close(&d);
}

static void what_is_measured(void **state) {
    (void)state;
    unsetenv("QLORA_SPEEDS");
    assert_int_equal(ql_deal_measure(0, 500, 2), 250000);
    assert_int_equal(ql_deal_measure(0, 0, 2), 0);
    assert_int_equal(ql_deal_measure(0, 5, 0), 0);
    setenv("QLORA_SPEEDS", "30,10", 1);
    assert_int_equal(ql_deal_measure(0, 500, 2), 30);
    assert_int_equal(ql_deal_measure(1, 500, 2), 10);
    assert_int_equal(ql_deal_measure(2, 500, 2), 250000);
    unsetenv("QLORA_SPEEDS");
}

/* ---- devices ---- */

/* "host: id id; host: id" */
static int read_offers(const char *text, ql_device_offer *offer) {
    char *all = ql_strdup(text), *rest = all, *part;
    int   ranks = 0;
    while ((part = strsep(&rest, ";"))) {
        ql_device_offer *o = &offer[ranks++];
        *o = (ql_device_offer){.count = 0};
        char *ids = strchr(part, ':'), *id;
        *ids++ = 0;
        snprintf(o->host, sizeof o->host, "%.60s", part + strspn(part, " "));
        while ((id = strsep(&ids, " ")))
            if (*id) snprintf(o->id[o->count++], 48, "%.40s", id);
    }
    free(all);
    return ranks;
}

static void expect_share(const char *offers, const char *expected) {
    ql_device_offer *offer = QL_NEW_ARRAY(ql_device_offer, 16);
    int              ordinal[16], ranks = read_offers(offers, offer), computing = ql_devices_share(offer, ranks, ordinal), n = 0;
    ql_str           got = {0};
    for (int r = 0; r < ranks; r++) {
        n += ordinal[r] >= 0;
        ql_str_printf(&got, "%s%s", r ? " " : "", ordinal[r] < 0 ? "-" : offer[r].id[ordinal[r]]);
    }
    assert_string_equal(got.data, expected);
    assert_int_equal(computing, n);
    ql_str_free(&got);
    free(offer);
}

static void ranks_take_devices(void **state) {
    (void)state;
    expect_share("a: A", "A");
    expect_share("a: A B; a: A B", "A B");
    expect_share("a: A B C; a: A B C", "A B");
    /* Each sees its own, as under srun --gpus-per-task. */
    expect_share("a: A; a: B; b: C; b: D", "A B C D");
    expect_share("a: A B; a: A B; b: C D; b: C D", "A B C D");
    /* Numbered differently by each rank. */
    expect_share("a: A B; a: B A", "A B");
    expect_share("a: A B C; a: C A B; a: B C A", "A B C");
    /* Ranks of the hosts in turns. */
    expect_share("a: A B; b: C D; a: A B; b: C D", "A C B D");
    expect_share("a: ; a: A", "- A");
    /* Parts of one GPU. */
    expect_share("a: MIG-1 MIG-2; a: MIG-1 MIG-2; a: MIG-1 MIG-2", "MIG-1 MIG-2 -");
    expect_share("a: MIG-1; a: MIG-2", "MIG-1 MIG-2");
}

static void ranks_stand_by(void **state) {
    (void)state;
    expect_share("a: A; a: A", "A -");
    expect_share("a: A B; a: A B; a: A B; a: A B; a: A B", "A B - - -");
    /* The trap of --gpus-per-task with mpirun: the second host shows one device to both. */
    expect_share("a: A B; a: A B; b: C; b: C", "A B C -");
    expect_share("a: ; a: ", "- -");
    /* Bound to the same by hand, on "hosts" that are one. */
    expect_share("a: A; b: A", "A -");
}

/* Who has the choice makes room for who has not. */
static void ranks_make_room(void **state) {
    (void)state;
    expect_share("a: A B; a: A", "B A");
    expect_share("a: A B; a: B C; a: A; a: C", "B C A -");
    expect_share("a: A B C; a: A B; a: A", "C B A");
}

static void the_line_names_the_cause(void **state) {
    (void)state;
    ql_device_offer *offer = QL_NEW_ARRAY(ql_device_offer, 16);
    int              ordinal[16];
    int              ranks = read_offers("node7: GPU-1; node7: GPU-1; node7: GPU-1", offer);
    strcpy(offer[0].visible, "0");
    strcpy(offer[1].visible, "GPU-1");
    (void)ql_devices_share(offer, ranks, ordinal);
    ql_str line = {0};
    ql_devices_share_text(offer, ranks, ordinal, &line);
    assert_string_equal(line.data, "2 of 3 ranks stand by (1, 2): rank 1 on node7 sees 1 device (CUDA_VISIBLE_DEVICES=GPU-1), and GPU-1 is rank "
                                   "0's (CUDA_VISIBLE_DEVICES=0); start one rank for each device (under Slurm and mpirun: --gpus-per-node, "
                                   "not --gpus-per-task)");
    ql_str_free(&line);
    ranks = read_offers("a: A; b: ", offer);
    strcpy(offer[1].why, "there is no NVIDIA GPU");
    (void)ql_devices_share(offer, ranks, ordinal);
    ql_devices_share_text(offer, ranks, ordinal, &line);
    assert_non_null(strstr(line.data, "1 of 2 ranks stands by (1): rank 1 on b sees no device: there is no NVIDIA GPU;"));
    ql_str_free(&line);
    ranks = 12;
    for (int r = 0; r < ranks; r++) offer[r] = offer[0];
    (void)ql_devices_share(offer, ranks, ordinal);
    ql_devices_share_text(offer, ranks, ordinal, &line);
    assert_non_null(strstr(line.data, "11 of 12 ranks stand by (1, 2, 3, 4, 5, 6, 7, 8, ...): rank 1 on a sees 1 device, and A is rank 0's;"));
    ql_str_free(&line);
    free(offer);
}

/* ---- buckets ---- */

static ql_adapter_shape shape_of(const int64_t *length, size_t modules) {
    ql_adapter_shape s = {.module = QL_NEW_ARRAY(ql_adapter_module, modules), .modules = modules};
    for (size_t m = 0; m < modules; m++) {
        s.module[m].a_at = s.length;
        s.length += length[m];
    }
    return s;
}

static void buckets_cover_the_run(void **state) {
    (void)state;
    const int64_t full = QL_BUCKET_BYTES / 8;
    static const size_t expected[][4] = {{1, 3}, {2, 2, 1}, {3, 1, 1, 1}, {2, 1, 2}, {1, 1}};
    const int64_t       length[][4] = {{5, 6, 7}, {full - 16, 16, 16}, {full, full, full}, {2 * full, 16, 16}, {48}};
    const size_t        modules[] = {3, 3, 3, 3, 1};
    for (size_t i = 0; i < QL_LEN(modules); i++) {
        ql_adapter_shape s = shape_of(length[i], modules[i]);
        ql_bucket       *bucket;
        size_t           n = ql_buckets_cut(&s, &bucket), module = 0;
        int64_t          at = 0;
        assert_int_equal(n, expected[i][0]);
        for (size_t b = 0; b < n; b++) {
            assert_true(bucket[b].first == module && bucket[b].at == at && bucket[b].modules == expected[i][1 + b]);
            module += bucket[b].modules;
            at += bucket[b].length;
        }
        assert_true(module == s.modules && at == s.length);
        free(bucket);
        ql_adapter_shape_free(&s);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_ranks_get_row_k_mod_n),
        cmocka_unit_test(faster_ranks_get_more),
        cmocka_unit_test(no_dealing_ends_sooner),
        cmocka_unit_test(the_first_step_teaches_nothing),
        cmocka_unit_test(a_rank_without_rows_is_tried_again),
        cmocka_unit_test(what_is_measured),
        cmocka_unit_test(ranks_take_devices),
        cmocka_unit_test(ranks_stand_by),
        cmocka_unit_test(ranks_make_room),
        cmocka_unit_test(the_line_names_the_cause),
        cmocka_unit_test(buckets_cover_the_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
