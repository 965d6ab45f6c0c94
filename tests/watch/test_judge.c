/* The watchdog's judgement, case by case: what is seen, and what is to be said. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "worker/judge.h"

static const ql_deadlines deadlines = {.init = 5, .step = 3, .load = 20, .save = 10, .extra = 0};

static ql_sight sight(int rank, ql_pulse_kind kind, const char *what, double quiet) {
    ql_sight s = {.rank = rank, .is_known = true, .quiet = quiet, .exchange = 57, .what = QL_RING_SUM, .count = 3, .step = 12, .life = QL_LIFE_RUNS};
    s.now.kind = kind;
    s.now.around = QL_PULSE_STEP;
    snprintf(s.now.what, sizeof s.now.what, "%s", what);
    return s;
}

static ql_sight waiting(int rank, double quiet) {
    return sight(rank, QL_PULSE_WAIT, "backward pass", quiet);
}

static char said[900];

static ql_judgement judge(const ql_sight *rank, int n, int me, const ql_deadlines *d) {
    return ql_judge(rank, n, me, d, said, sizeof said);
}

static void expect(const ql_sight *rank, int n, ql_judgement wanted, const char *part) {
    assert_int_equal(judge(rank, n, 0, &deadlines), wanted);
    if (!strstr(said, part)) fail_msg("'%s' is not in '%s'", part, said);
    if (wanted == QL_JUDGED_WELL) assert_string_equal(said, "");
}

/* ---- oneself ---- */

static void judges_itself(void **state) {
    (void)state;
    static const struct {
        ql_pulse_kind kind;
        const char   *what;
        double        limit;
        const char   *part;
    } cases[] = {
        {QL_PULSE_START, "MPI_Init", 5, "not all ranks reached MPI_Init within 5 s"},
        {QL_PULSE_START, "", 5, "rank 4 did not come to MPI_Init within 5 s"},
        {QL_PULSE_LOAD, "data.jsonl", 20, "rank 4 made no progress for 20.0 s while reading (data.jsonl)"},
        {QL_PULSE_STEP, "forward pass", 3, "rank 4 made no progress for 3.0 s in step 12, forward pass;"},
        {QL_PULSE_SAVE, "metrics.jsonl", 10, "rank 4 made no progress for 10.0 s while writing (metrics.jsonl)"},
        {QL_PULSE_END, "", 3, "not all ranks came to the end of the run within 3.0 s"},
    };
    for (size_t i = 0; i < QL_LEN(cases); i++) {
        ql_sight me = sight(4, cases[i].kind, cases[i].what, cases[i].limit - 0.01);
        expect(&me, 1, QL_JUDGED_WELL, "");
        me.quiet = cases[i].limit;
        expect(&me, 1, QL_JUDGED_OVER, cases[i].part);
    }
    ql_sight idle = sight(0, QL_PULSE_IDLE, "", 1e6);
    expect(&idle, 1, QL_JUDGED_WELL, "");
}

/* Until a step was measured, computing may take longer; nothing else may. */
static void first_step_has_more_time(void **state) {
    (void)state;
    ql_deadlines d = deadlines;
    d.extra = 300;
    ql_sight me = sight(0, QL_PULSE_STEP, "", 302.9);
    assert_int_equal(judge(&me, 1, 0, &d), QL_JUDGED_WELL);
    me.quiet = 303;
    assert_int_equal(judge(&me, 1, 0, &d), QL_JUDGED_OVER);
    ql_sight two[] = {waiting(0, 4), waiting(1, 0)};
    two[1].still = 3;
    assert_int_equal(judge(two, 2, 0, &d), QL_JUDGED_OVER);
    two[1].still = 0, two[1].quiet = 4;
    assert_int_equal(judge(two, 2, 0, &d), QL_JUDGED_WELL);
}

/* The writer's own thread is judged beside whatever the main thread does. */
static void judges_its_writer(void **state) {
    (void)state;
    ql_sight me = sight(0, QL_PULSE_STEP, "", 0);
    me.writer.kind = QL_PULSE_SAVE;
    snprintf(me.writer.what, sizeof me.writer.what, "checkpoint-00000012");
    me.writer_quiet = 9.9;
    expect(&me, 1, QL_JUDGED_WELL, "");
    me.writer_quiet = 10;
    expect(&me, 1, QL_JUDGED_OVER, "while writing (checkpoint-00000012)");
    me.writer.kind = QL_PULSE_IDLE;
    expect(&me, 1, QL_JUDGED_WELL, "");
}

/* ---- others ---- */

static void waits_for_who_lives(void **state) {
    (void)state;
    ql_sight two[] = {waiting(0, 1000), sight(1, QL_PULSE_STEP, "forward pass", 1000)};
    two[1].exchange = 56;
    expect(two, 2, QL_JUDGED_WELL, "");
    two[1].now.kind = QL_PULSE_END;
    expect(two, 2, QL_JUDGED_WELL, "");
}

static void names_the_dead(void **state) {
    (void)state;
    ql_sight three[] = {waiting(0, 3.2), waiting(1, 3.2), sight(2, QL_PULSE_STEP, "backward pass", 3.4)};
    three[2].exchange = 56;
    three[2].still = 2.9;
    three[2].life = QL_LIFE_STOPPED;
    expect(three, 3, QL_JUDGED_WELL, "");
    three[2].still = 3.1;
    expect(three, 3, QL_JUDGED_OVER,
           "rank 2 did not enter exchange 57 of step 12 (sum of 3 integers): no sign of life for 3.1 s, last seen in backward pass: its process is "
           "stopped by a signal; rank 0 waits since 3.2 s; start again");
    three[2].life = QL_LIFE_BLOCKED;
    expect(three, 3, QL_JUDGED_OVER, "stuck in the operating system");
    three[2].exchange = 57;
    expect(three, 3, QL_JUDGED_OVER, "rank 2 hangs in exchange 57 of step 12");
    three[0].step = 0;
    expect(three, 3, QL_JUDGED_OVER, "exchange 57, before the first step (sum of 3 integers)");
    /* Only who waits judges others. */
    three[0].now.kind = QL_PULSE_STEP, three[0].quiet = 0;
    expect(three, 3, QL_JUDGED_WELL, "");
}

/* A process that is gone is named before the deadline, but not before its starter had the time to notice. */
static void names_the_gone(void **state) {
    (void)state;
    ql_deadlines d = deadlines;
    d.step = 60;
    ql_sight two[] = {waiting(0, 5), sight(1, QL_PULSE_STEP, "", 5)};
    two[1].life = QL_LIFE_GONE;
    two[1].still = 4.9;
    assert_int_equal(judge(two, 2, 0, &d), QL_JUDGED_WELL);
    two[1].still = 5;
    assert_int_equal(judge(two, 2, 0, &d), QL_JUDGED_OVER);
    assert_non_null(strstr(said, "its process is gone"));
    two[1].still = 59, two[1].life = QL_LIFE_STOPPED;
    assert_int_equal(judge(two, 2, 0, &d), QL_JUDGED_WELL);
}

static void says_it_once(void **state) {
    (void)state;
    ql_sight three[] = {waiting(0, 4), waiting(1, 4), sight(2, QL_PULSE_STEP, "", 4)};
    three[2].still = 4;
    three[1].has_left = true;
    assert_int_equal(judge(three, 3, 0, &deadlines), QL_JUDGED_OVER);
    assert_string_equal(said, "");
}

static void far_ranks_have_ten_seconds(void **state) {
    (void)state;
    ql_sight two[] = {waiting(0, 9), sight(1, QL_PULSE_STEP, "", 9)};
    two[1].host = "far";
    two[1].life = QL_LIFE_UNKNOWN;
    two[1].still = 9.9;
    two[1].exchange = 56;
    expect(two, 2, QL_JUDGED_WELL, "");
    two[1].still = 10;
    expect(two, 2, QL_JUDGED_OVER, "rank 1 on far did not enter exchange 57");
    assert_non_null(strstr(said, "stopped, or its machine is gone"));
}

/* ---- all wait ---- */

static void names_the_network(void **state) {
    (void)state;
    ql_sight three[] = {waiting(0, 3), waiting(1, 3), waiting(2, 2.9)};
    expect(three, 3, QL_JUDGED_WELL, "");
    three[2].quiet = 3;
    expect(three, 3, QL_JUDGED_OVER, "all ranks entered exchange 57 of step 12 (sum of 3 integers) and nothing moves for 3.0 s: the network");
}

static void names_both_of_a_mismatch(void **state) {
    (void)state;
    ql_sight three[] = {waiting(0, 3), waiting(1, 3), waiting(2, 3)};
    three[2].exchange = 58, three[2].step = 13;
    expect(three, 3, QL_JUDGED_OVER, "rank 0 waits in exchange 57 of step 12 (sum of 3 integers), rank 2 in exchange 58 of step 13 (sum of 3 integers)");
    three[2] = waiting(2, 3);
    three[2].what = QL_RING_BARRIER; /* the same number, another thing */
    expect(three, 3, QL_JUDGED_OVER, "rank 0 waits in exchange 57 of step 12 (sum of 3 integers), rank 2 in exchange 57 of step 12 (barrier)");
    three[1].now.kind = QL_PULSE_STEP;
    expect(three, 3, QL_JUDGED_WELL, "");
}

static void believes_no_old_file(void **state) {
    (void)state;
    ql_sight two[] = {waiting(0, 4), waiting(1, 4)};
    two[1].host = "far";
    two[1].exchange = 23;
    two[1].still = 4; /* it waited there once, and has not written since */
    expect(two, 2, QL_JUDGED_WELL, "");
    two[1].still = 1;
    expect(two, 2, QL_JUDGED_OVER, "the ranks are not at the same place");
}

/* ---- who cannot be seen, and who stands by ---- */

static void time_decides_about_the_unseen(void **state) {
    (void)state;
    ql_sight two[] = {waiting(0, 2.9), {.rank = 1, .host = "far"}};
    expect(two, 2, QL_JUDGED_WELL, "");
    two[0].quiet = 3;
    expect(two, 2, QL_JUDGED_OVER, "rank 0 waits in exchange 57 of step 12 (sum of 3 integers) since 3.0 s, and cannot see what rank 1 on far does");
    two[0].now.around = QL_PULSE_SAVE; /* it waits for the end of a save */
    expect(two, 2, QL_JUDGED_WELL, "");
    two[0].quiet = 10;
    expect(two, 2, QL_JUDGED_OVER, "cannot see what rank 1");
}

static void nobody_waits_for_who_stands_by(void **state) {
    (void)state;
    ql_sight three[] = {waiting(0, 3), waiting(1, 3), sight(2, QL_PULSE_ASIDE, "", 1e4)};
    three[2].still = 1e4, three[2].exchange = 3;
    expect(three, 3, QL_JUDGED_OVER, "all ranks entered exchange 57");
    three[2].now.kind = QL_PULSE_IDLE; /* it waits for its writer, which may just have ended */
    expect(three, 3, QL_JUDGED_OVER, "rank 2 did not enter");
    three[2].still = 0;
    expect(three, 3, QL_JUDGED_WELL, "");
}

/* ---- slow disks ---- */

static void reports_a_slow_disk(void **state) {
    (void)state;
    ql_sight three[] = {waiting(0, 65), waiting(1, 65), sight(2, QL_PULSE_SAVE, "metrics.jsonl", 65)};
    three[2].exchange = 56;
    expect(three, 3, QL_JUDGED_NOTE, "rank 2 is writing (metrics.jsonl) and has got no further for 65 s");
    assert_int_equal(judge(three, 3, 1, &deadlines), QL_JUDGED_WELL); /* rank 0 says it */
    three[2].quiet = 0.7; /* a quarter of the deadline */
    expect(three, 3, QL_JUDGED_WELL, "");
    three[2] = sight(2, QL_PULSE_LOAD, "data.jsonl", 4);
    expect(three, 3, QL_JUDGED_NOTE, "rank 2 is reading (data.jsonl)");
    three[2] = sight(2, QL_PULSE_IDLE, "", 1);
    three[2].writer.kind = QL_PULSE_SAVE;
    three[2].writer_quiet = 5;
    snprintf(three[2].writer.what, sizeof three[2].writer.what, "checkpoint-00000012");
    expect(three, 3, QL_JUDGED_NOTE, "rank 2 is writing (checkpoint-00000012) and has got no further for 5 s");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(judges_itself),
        cmocka_unit_test(first_step_has_more_time),
        cmocka_unit_test(judges_its_writer),
        cmocka_unit_test(waits_for_who_lives),
        cmocka_unit_test(names_the_dead),
        cmocka_unit_test(names_the_gone),
        cmocka_unit_test(says_it_once),
        cmocka_unit_test(far_ranks_have_ten_seconds),
        cmocka_unit_test(names_the_network),
        cmocka_unit_test(names_both_of_a_mismatch),
        cmocka_unit_test(believes_no_old_file),
        cmocka_unit_test(time_decides_about_the_unseen),
        cmocka_unit_test(nobody_waits_for_who_stands_by),
        cmocka_unit_test(reports_a_slow_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
