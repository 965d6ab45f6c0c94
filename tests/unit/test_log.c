/* What is printed: to a pipe and to a terminal, by a clock that the test moves. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "tests/quant/scratch.h"

static double now = 1000;
double __wrap_ql_seconds(void);
double __wrap_ql_seconds(void) {
    return now;
}

typedef void (*speech)(void);

/* What `speak` prints in a child whose standard error is `there`, read from `here`. */
static ql_str capture(speech speak, int here, int there) {
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(there, STDERR_FILENO);
        close(there);
        close(here);
        speak();
        _exit(0);
    }
    close(there);
    ql_str text = {0};
    char piece[4096];
    for (ssize_t n; (n = read(here, piece, sizeof piece)) > 0;) ql_str_put(&text, piece, (size_t)n);
    close(here);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    ql_str_reserve(&text, 1);
    text.data[text.size] = 0;
    return text;
}

static ql_str through_pipe(speech speak) {
    int end[2];
    assert_int_equal(pipe(end), 0);
    return capture(speak, end[0], end[1]);
}

/* False where this machine has no pseudo-terminals. */
static bool through_terminal(speech speak, ql_str *out) {
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0 || grantpt(master) || unlockpt(master)) return false;
    int slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    if (slave < 0) return false;
    *out = capture(speak, master, slave);
    return true;
}

static int count(const ql_str *s, const char *what) {
    int n = 0;
    for (const char *p = s->data; (p = strstr(p, what)); p += strlen(what)) n++;
    return n;
}

static void check_plain(const ql_str *s) {
    for (size_t i = 0; i < s->size; i++) assert_true(s->data[i] == '\n' || (unsigned char)s->data[i] >= 0x20);
}

static void progress_by_the_clock(void) {
    for (int i = 0; i < 400; i++) {
        ql_progress(false, "step %d", i); /* ten steps a second */
        now += 0.1;
    }
    ql_progress(true, "the last");
}

static void test_progress_in_a_pipe(void **state) {
    (void)state;
    ql_str s = through_pipe(progress_by_the_clock);
    check_plain(&s);
    /* 40 seconds: at the start and after 10, 20 and 30 (one step later where 0.1 rounds), and the last. */
    assert_int_equal(count(&s, "\n"), 5);
    assert_int_equal(strncmp(s.data, "step 0\nstep 10", 14), 0);
    assert_string_equal(s.data + s.size - 9, "the last\n");
    ql_str_free(&s);
}

static void last_comes_always(void) {
    ql_progress(false, "a");
    ql_progress(true, "b");
    ql_progress(true, "c");
}

static void test_last_progress(void **state) {
    (void)state;
    ql_str s = through_pipe(last_comes_always);
    assert_string_equal(s.data, "a\nb\nc\n");
    ql_str_free(&s);
}

static void speak_as_rank_1(void) {
    ql_err e = ql_log_open(NULL, 1, 4);
    if (ql_bad(e)) _exit(1);
    ql_info("unheard");
    ql_progress(true, "unheard");
    ql_warn("about %s", "this");
    ql_error("FILE:3: bad");
}

static void test_ranks(void **state) {
    (void)state;
    ql_str s = through_pipe(speak_as_rank_1);
    assert_string_equal(s.data, "qlora: warning: rank 1: about this\nqlora: error: rank 1: FILE:3: bad\n");
    ql_str_free(&s);
}

static void speak_alone(void) {
    ql_info("heard");
    ql_warn("w");
    ql_error("e");
}

static void test_alone(void **state) {
    (void)state;
    ql_str s = through_pipe(speak_alone);
    assert_string_equal(s.data, "heard\nqlora: warning: w\nqlora: error: e\n");
    ql_str_free(&s);
}

/* Longer than any buffer: cut, with its line end, and nothing that is not text. */
static void speak_at_length(void) {
    char *text = ql_alloc(20000);
    memset(text, 'x', 19999);
    ql_info("%s", text);
    ql_error("%s", text);
    ql_progress(false, "%s", text);
    ql_progress(true, "%s", text);
    free(text);
}

static void test_long_lines(void **state) {
    (void)state;
    ql_str s = through_pipe(speak_at_length);
    check_plain(&s);
    assert_int_equal(count(&s, "\n"), 4);
    assert_int_equal(s.data[s.size - 1], '\n');
    ql_str_free(&s);
}

static void test_long_lines_on_a_terminal(void **state) {
    (void)state;
    ql_str s;
    setenv("TERM", "xterm", 1);
    if (!through_terminal(speak_at_length, &s)) skip();
    assert_null(memchr(s.data, 0, s.size));
    ql_str_free(&s);
}

static void draw(void) {
    for (int i = 0; i < 50; i++) {
        ql_progress(false, "bar %d", i);
        now += 0.02;
    }
    ql_info("between");
    ql_progress(true, "done");
    ql_info("after");
}

static void test_bar_on_a_terminal(void **state) {
    (void)state;
    ql_str s;
    setenv("TERM", "xterm", 1);
    if (!through_terminal(draw, &s)) skip();
    int bars = count(&s, "bar ");
    assert_in_range(bars, 9, 11); /* one second, ten a second */
    assert_non_null(strstr(s.data, "\r\033[Kbar 0"));
    assert_non_null(strstr(s.data, "\r\033[Kbetween\r\n\r\033[Kdone\r\nafter\r\n"));
    ql_str_free(&s);
}

static void test_dumb_terminal(void **state) {
    (void)state;
    ql_str s;
    setenv("TERM", "dumb", 1);
    bool there = through_terminal(draw, &s);
    setenv("TERM", "xterm", 1);
    if (!there) skip();
    assert_null(strchr(s.data, '\033'));
    assert_string_equal(s.data, "bar 0\r\nbetween\r\ndone\r\nafter\r\n");
    ql_str_free(&s);
}

static void write_log(void) {
    if (ql_bad(ql_log_open(scratch("run.log"), 0, 1))) _exit(1);
    draw();
    ql_log_close();
    ql_info("not in the file");
}

static void test_log_file(void **state) {
    (void)state;
    scratch_text("run.log", "earlier\n");
    setenv("TERM", "xterm", 1);
    ql_str s, file;
    if (!through_terminal(write_log, &s)) skip();
    ok(ql_file_read(scratch("run.log"), 1 << 20, &file));
    assert_int_equal(strncmp(file.data, "earlier\n", 8), 0); /* appended */
    assert_non_null(strstr(file.data, "between\n"));
    assert_null(strstr(file.data, "not in the file"));
    check_plain(&file);
    ql_str_free(&s);
    ql_str_free(&file);
    refused(ql_log_open(scratch("none/run.log"), 0, 1), QL_IO, "cannot be opened");
}

static void limit_files(rlim_t bytes) {
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* A disk that fills up takes the beginning of a line: the next one that it takes is whole. */
static void test_log_on_a_full_disk(void **state) {
    (void)state;
    ql_str file;
    signal(SIGXFSZ, SIG_IGN);
    ok(ql_log_open(scratch("full.log"), 0, 1));
    ql_info("first");
    limit_files(strlen("first\nsec"));
    ql_info("second");
    ql_info("lost");
    limit_files(RLIM_INFINITY);
    ql_info("third");
    ql_info("fourth");
    ql_log_close();
    ok(ql_file_read(scratch("full.log"), 1 << 20, &file));
    assert_string_equal(file.data, "first\nsec\nthird\nfourth\n");
    ql_str_free(&file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_progress_in_a_pipe),
        cmocka_unit_test(test_last_progress),
        cmocka_unit_test(test_ranks),
        cmocka_unit_test(test_alone),
        cmocka_unit_test(test_long_lines),
        cmocka_unit_test(test_long_lines_on_a_terminal),
        cmocka_unit_test(test_bar_on_a_terminal),
        cmocka_unit_test(test_dumb_terminal),
        cmocka_unit_test(test_log_file),
        cmocka_unit_test(test_log_on_a_full_disk),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
