/* What a process says of itself, read by another thread and by another process. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/pulse.h"

static ql_pulse_state now(ql_pulse_thread thread) {
    return ql_pulse_read(&ql_pulses_here()->thread[thread]);
}

static void starts_idle(void **state) {
    (void)state;
    for (int t = 0; t < QL_PULSE_THREADS; t++) {
        assert_int_equal(now((ql_pulse_thread)t).kind, QL_PULSE_IDLE);
        assert_string_equal(now((ql_pulse_thread)t).what, "");
    }
}

/* Every call is progress; what is begun in something gives it back at its end. */
static void begins_and_ends(void **state) {
    (void)state;
    uint64_t beats = now(QL_PULSE_MAIN).beats;
    (void)ql_pulse_begin(QL_PULSE_STEP, "forward pass");
    ql_pulse_state before = ql_pulse_begin(QL_PULSE_SAVE, "metrics.jsonl");
    assert_int_equal(before.kind, QL_PULSE_STEP);
    assert_int_equal(now(QL_PULSE_MAIN).kind, QL_PULSE_SAVE);
    assert_string_equal(now(QL_PULSE_MAIN).what, "metrics.jsonl");
    ql_pulse_end(&before);
    assert_int_equal(now(QL_PULSE_MAIN).kind, QL_PULSE_STEP);
    assert_string_equal(now(QL_PULSE_MAIN).what, "forward pass");
    ql_pulse_kind kind = ql_pulse_wait();
    assert_int_equal(now(QL_PULSE_MAIN).kind, QL_PULSE_WAIT);
    assert_int_equal(now(QL_PULSE_MAIN).around, QL_PULSE_STEP);
    assert_string_equal(now(QL_PULSE_MAIN).what, "forward pass");
    ql_pulse_go_on(kind);
    assert_int_equal(now(QL_PULSE_MAIN).kind, QL_PULSE_STEP);
    assert_int_equal(now(QL_PULSE_MAIN).beats, beats + 5);
    ql_pulse_beat();
    assert_int_equal(now(QL_PULSE_MAIN).beats, beats + 6);
    ql_pulse_step(7);
    assert_int_equal(ql_pulses_here()->step, 7);
    assert_string_equal(now(QL_PULSE_MAIN).what, "");
}

static void cuts_and_cleans_text(void **state) {
    (void)state;
    char long_text[300];
    memset(long_text, 'x', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = 0;
    ql_pulse_what(long_text);
    assert_int_equal(strlen(now(QL_PULSE_MAIN).what), QL_PULSE_TEXT - 1);
    ql_pulse_what("a\nb\033[2Jc");
    assert_string_equal(now(QL_PULSE_MAIN).what, "a?b?[2Jc");
    ql_pulse thrown_at_us = {.kind = UINT64_MAX, .around = 1 << 20};
    memset((void *)(uintptr_t)thrown_at_us.text, 0xff, sizeof thrown_at_us.text);
    ql_pulse_state s = ql_pulse_read(&thrown_at_us);
    assert_int_equal(s.kind, QL_PULSE_IDLE);
    assert_int_equal(s.around, QL_PULSE_IDLE);
    assert_int_equal(strlen(s.what), QL_PULSE_TEXT - 1);
    thrown_at_us.version = 1; /* for ever being written */
    assert_string_equal(ql_pulse_read(&thrown_at_us).what, "");
}

static void *write_as_writer(void *unused) {
    (void)unused;
    ql_pulse_thread_is(QL_PULSE_WRITER);
    for (int i = 0; i < 200000; i++) (void)ql_pulse_begin(QL_PULSE_SAVE, i % 2 ? "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" : "bbbbbbbbbbbbbbb");
    (void)ql_pulse_begin(QL_PULSE_IDLE, "");
    return NULL;
}

/* A reader sees one text or the other, or none; never a mixture. The main thread's own words are not touched. */
static void is_read_while_written(void **state) {
    (void)state;
    pthread_t writer;
    (void)ql_pulse_begin(QL_PULSE_STEP, "mine");
    uint64_t beats = now(QL_PULSE_MAIN).beats;
    assert_int_equal(pthread_create(&writer, NULL, write_as_writer, NULL), 0);
    for (int seen = 0; seen < 100000; seen++) {
        ql_pulse_state s = now(QL_PULSE_WRITER);
        assert_int_equal(strspn(s.what, s.what[0] == 'a' ? "a" : "b"), strlen(s.what));
        assert_true(strlen(s.what) == 0 || strlen(s.what) == (s.what[0] == 'a' ? 37 : 15));
    }
    pthread_join(writer, NULL);
    assert_int_equal(now(QL_PULSE_WRITER).kind, QL_PULSE_IDLE);
    assert_int_equal(now(QL_PULSE_MAIN).beats, beats);
    assert_string_equal(now(QL_PULSE_MAIN).what, "mine");
}

/* What was said moves along; a child of this process says it in the same place. */
static void moves(void **state) {
    (void)state;
    ql_pulses *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(shared, MAP_FAILED);
    (void)ql_pulse_begin(QL_PULSE_LOAD, "model");
    ql_pulse_state before = now(QL_PULSE_MAIN);
    ql_pulses_move(shared);
    ql_pulses_move(shared);
    assert_ptr_equal(ql_pulses_here(), shared);
    ql_pulse_state after = now(QL_PULSE_MAIN);
    assert_int_equal(after.kind, before.kind);
    assert_int_equal(after.beats, before.beats);
    assert_string_equal(after.what, before.what);
    pid_t child = fork();
    if (child == 0) {
        ql_pulse_beat();
        _exit(0);
    }
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(now(QL_PULSE_MAIN).beats, before.beats + 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(starts_idle),          cmocka_unit_test(begins_and_ends), cmocka_unit_test(cuts_and_cleans_text),
        cmocka_unit_test(is_read_while_written), cmocka_unit_test(moves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
