/* Rings: what a recorder keeps, the file that follows it, and files that are no rings, or hostile ones. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/random.h"
#include "base/ring.h"
#include "collective/recorder.h"
#include "tests/quant/scratch.h"

/* ---- a ring that is good ---- */

static void put_event(ql_ring *r, uint64_t number, bool over) {
    ql_ring_event *e = &r->event[number % QL_RING_EVENTS];
    e->number = number;
    e->what = QL_RING_SUM;
    e->count = 40112640;
    e->step = 12;
    e->begin = r->monotonic + number * 1000000;
    e->end = over ? e->begin + 250000 : 0;
}

static ql_ring *good_ring(void) {
    static ql_ring r;
    memset(&r, 0, sizeof r);
    memcpy(r.magic, "qlora ring", 10);
    r.version = QL_RING_VERSION;
    r.bytes = sizeof r;
    r.pid = 4711;
    r.monotonic = 5000000000;
    snprintf(r.host, sizeof r.host, "node7");
    r.rank = 1;
    r.size = 2;
    r.generation = 3;
    r.entered = 130;
    r.pulses.step = 12;
    for (uint64_t n = 67; n <= 130; n++) put_event(&r, n, n < 130);
    r.pulses.thread[QL_PULSE_MAIN].kind = QL_PULSE_WAIT;
    r.pulses.thread[QL_PULSE_MAIN].around = QL_PULSE_STEP;
    memcpy((void *)r.pulses.thread[QL_PULSE_MAIN].text, "backward pass", 13);
    return &r;
}

static const char *write_ring(const ql_ring *r) {
    return scratch_write("rank-1.ring", r, sizeof *r);
}

static void is_read_and_printed(void **state) {
    (void)state;
    ql_ring r;
    ql_str  text = {0};
    ok(ql_ring_read(write_ring(good_ring()), &r));
    ql_ring_print(&r, &text);
    static const char *const part[] = {"rank 1 of 2, process 4711 on node7, generation 3: at work, step 12\n",
                                       "  main thread: waiting for other ranks: backward pass, 0 signs of progress\n",
                                       "  exchange 67, step 12, sum of 40112640 integers, entered at 0.067 s, took 0.000250 s\n",
                                       "  exchange 130, step 12, sum of 40112640 integers, entered at 0.130 s, not left\n"};
    for (size_t i = 0; i < QL_LEN(part); i++)
        if (!strstr(text.data, part[i])) fail_msg("'%s' is not in:\n%s", part[i], text.data);
    assert_null(strstr(text.data, "exchange 66,"));
    assert_null(strstr(text.data, "writer"));
    ql_str_free(&text);
}

/* ---- files that are none ---- */

static void refuses_other_files(void **state) {
    (void)state;
    ql_ring r;
    char    large[sizeof(ql_ring) + 1];
    memcpy(large, good_ring(), sizeof(ql_ring));
    refused(ql_ring_read(scratch("none.ring"), &r), QL_DATA, "none.ring: cannot be opened");
    refused(ql_ring_read(scratch_text("a", ""), &r), QL_DATA, "is no ring");
    refused(ql_ring_read(scratch_write("b", large, sizeof(ql_ring) - 1), &r), QL_DATA, "is no ring");
    refused(ql_ring_read(scratch_write("c", large, sizeof large), &r), QL_DATA, "is no ring");
    refused(ql_ring_read(scratch("."), &r), QL_DATA, "is no ring");
    assert_int_equal(symlink(write_ring(good_ring()), scratch("link")), 0);
    refused(ql_ring_read(scratch("link"), &r), QL_DATA, "cannot be opened");
    assert_int_equal(mkfifo(scratch("fifo"), 0600), 0);
    refused(ql_ring_read(scratch("fifo"), &r), QL_DATA, "is no ring");
}

static void spoil(void (*how)(ql_ring *), const char *part) {
    ql_ring *r = good_ring(), there;
    how(r);
    refused(ql_ring_read(write_ring(r), &there), QL_DATA, part);
}

static void other_magic(ql_ring *r) { r->magic[3] = 'x'; }
static void other_version(ql_ring *r) { r->version++; }
static void other_size(ql_ring *r) { r->bytes--; }
static void rank_beyond(ql_ring *r) { r->rank = 2; }
static void no_ranks(ql_ring *r) { r->size = r->rank = 0; }
static void many_ranks(ql_ring *r) { r->size = r->rank = UINT64_MAX; }
static void odd_state(ql_ring *r) { r->state = QL_RING_STATES; }
static void odd_kind(ql_ring *r) { r->pulses.thread[1].kind = QL_PULSE_KINDS; }
static void odd_surroundings(ql_ring *r) { r->pulses.thread[0].around = UINT64_MAX; }
static void odd_event(ql_ring *r) { r->event[5].what = QL_RING_WHATS; }
static void misplaced_event(ql_ring *r) { r->event[5].number++; }
static void future_event(ql_ring *r) { r->event[3].number = 131; }
static void large_process(ql_ring *r) { r->pid = UINT64_MAX; }

static void refuses_hostile_ones(void **state) {
    (void)state;
    static void (*const how[])(ql_ring *) = {rank_beyond, no_ranks,  many_ranks,      odd_state,    odd_kind,
                                             odd_surroundings, odd_event, misplaced_event, future_event, large_process};
    spoil(other_magic, "is no ring");
    spoil(other_version, "another version");
    spoil(other_size, "another version");
    for (size_t i = 0; i < QL_LEN(how); i++) spoil(how[i], "damaged");
}

/* Texts without an end, and with a terminal's commands in them. */
static void makes_text_harmless(void **state) {
    (void)state;
    ql_ring *r = good_ring(), there;
    ql_str   text = {0};
    memset(r->host, '\033', sizeof r->host);
    memset((void *)r->pulses.thread[0].text, '\n', QL_PULSE_TEXT);
    ok(ql_ring_read(write_ring(r), &there));
    ql_ring_print(&there, &text);
    assert_null(memchr(text.data, '\033', text.size));
    assert_null(strstr(text.data, "\n\n"));
    ql_str_free(&text);
}

/* Any numbers anywhere: refused, or printed in lines of this many bytes at most. */
static void survives_mutants(void **state) {
    (void)state;
    for (uint32_t seed = 0; seed < 20000; seed++) {
        ql_ring  there = *good_ring();
        uint8_t *byte = (uint8_t *)&there;
        for (uint32_t i = 0; i < 1 + seed % 8; i++) {
            ql_random4 x = ql_philox(seed, i, 0, 0, 0);
            byte[40 + x.word[0] % (sizeof there - 40)] = (uint8_t)(x.word[1] % 3 == 0 ? 0xff : x.word[2]);
        }
        if (ql_bad(ql_ring_check(&there, "a mutant"))) continue;
        ql_str text = {0};
        ql_ring_print(&there, &text);
        assert_true(text.size < 70 * 256);
        for (size_t i = 0; i < text.size; i++) assert_true(text.data[i] == '\n' || (text.data[i] >= ' ' && text.data[i] < 0x7f));
        ql_str_free(&text);
    }
}

/* ---- the recorder ---- */

static void wait_for_copy(const char *path, uint64_t entered, ql_ring *r) {
    for (;;) {
        if (!ql_bad(ql_ring_read(path, r)) && r->entered == entered) return;
        nanosleep(&(struct timespec){0, 5000000}, NULL);
    }
}

static void records_to_a_file(void **state) {
    (void)state;
    ql_ring r;
    ql_recorder_open();
    ql_pulse_step(4);
    for (uint64_t n = 1; n <= 200; n++) {
        ql_recorder_enter(n % 2 ? QL_RING_SUM : QL_RING_VOTE, n);
        if (n < 200) ql_recorder_leave();
    }
    /* What lies there is not ours to follow or to keep. */
    assert_int_equal(symlink("/nowhere", scratch("rank-0.ring")), 0);
    scratch_text("rank-1.ring", "of a larger run");
    ql_recorder_publish(scratch("."));
    wait_for_copy(scratch("rank-0.ring"), 200, &r);
    assert_false(ql_file_exists(scratch("rank-1.ring")));
    struct stat st;
    assert_int_equal(lstat(scratch("rank-0.ring"), &st), 0);
    assert_true(S_ISREG(st.st_mode) && (st.st_mode & 077) == 0);
    assert_int_equal(r.pid, getpid());
    assert_int_equal(r.pulses.step, 4);
    for (uint64_t n = 137; n <= 200; n++) {
        const ql_ring_event *e = &r.event[n % QL_RING_EVENTS];
        assert_int_equal(e->number, n);
        assert_int_equal(e->count, n);
        assert_int_equal(e->what, n % 2 ? QL_RING_SUM : QL_RING_VOTE);
        assert_true(n == 200 ? e->end == 0 : e->end >= e->begin);
    }
    ql_recorder_end(QL_RING_ENDED, 60000);
    ok(ql_ring_read(scratch("rank-0.ring"), &r));
    assert_int_equal(r.state, QL_RING_ENDED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_read_and_printed),  cmocka_unit_test(refuses_other_files), cmocka_unit_test(refuses_hostile_ones),
        cmocka_unit_test(makes_text_harmless), cmocka_unit_test(survives_mutants),    cmocka_unit_test(records_to_a_file),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
