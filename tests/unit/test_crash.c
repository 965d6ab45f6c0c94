/* What a process says when it crashes. */
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/crash.h"
#include "base/mem.h"
#include "tests/support/check.h"

static void (*volatile nowhere)(void);
static int *volatile nothing = (int *)8;

static void jump_to_nowhere(void) {
    nowhere();
}

static void write_to_nothing(void) {
    *nothing = 1;
}

/* What a process that does so writes to standard error. */
static void said_by(void (*crash)(void), ql_str *out) {
    int     end[2], status;
    char    text[512];
    ssize_t n;
    assert_int_equal(pipe(end), 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(end[1], STDERR_FILENO);
        signal(SIGSEGV, SIG_DFL); /* the test program has a handler of its own */
        ql_crash_watch();
        crash();
        _exit(0);
    }
    close(end[1]);
    while ((n = read(end[0], text, sizeof text)) > 0) ql_str_put(out, text, (size_t)n);
    close(end[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

/* Frames of this program; the first is that of the handler. */
static int own_frames(const ql_str *said) {
    int sum = 0;
    for (const char *at = said->data; (at = strstr(at, "test_crash(")); at++) sum++;
    return sum;
}

static void test_crashes(void **state) {
    (void)state;
    static const struct {
        void (*crash)(void);
        const char *line;
    } one[] = {{write_to_nothing, "crashed: SIGSEGV at address 0x8; start again"}, {jump_to_nowhere, "crashed: SIGSEGV at address (nil); start again"}};
    for (size_t i = 0; i < QL_LEN(one); i++) {
        ql_str said = {0};
        said_by(one[i].crash, &said);
        if (!strstr(said.data, one[i].line) || own_frames(&said) < 2) fail_msg("it said: %s", said.data);
        ql_str_free(&said);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_crashes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
