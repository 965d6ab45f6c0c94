/* Files that change under a map: the process ends with one line that names the file, whatever it was doing; other faults go
 * where they went before. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "tests/quant/scratch.h"

enum { PAGES = 3 };

static size_t page_size(void) {
    return (size_t)sysconf(_SC_PAGESIZE);
}

/* A file of three pages. */
static const char *file_of_pages(const char *name) {
    size_t n = PAGES * page_size();
    char  *bytes = ql_alloc(n);
    const char *path = scratch_write(name, bytes, n);
    free(bytes);
    return path;
}

/* Runs a child; its exit status, or minus the signal that killed it. What it said lies in `said`. */
static int run(void (*child)(void), ql_str *said) {
    int ends[2], status;
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], STDERR_FILENO);
        child();
        _exit(0);
    }
    close(ends[1]);
    char piece[512];
    for (ssize_t n; (n = read(ends[0], piece, sizeof piece)) > 0;) ql_str_put(said, piece, (size_t)n);
    close(ends[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static void ends_with(void (*child)(void), int status, const char *line) {
    ql_str said = {0};
    assert_int_equal(run(child, &said), status);
    assert_string_equal(said.data ? said.data : "", line);
    ql_str_free(&said);
}

static uint8_t last_byte(const ql_map *m) {
    return *(const volatile uint8_t *)(m->data + m->size - 1);
}

/* Three maps, the one that is cut in the middle; a closed one before has left its place in the list. */
static void read_what_was_cut(void) {
    ql_map before, m, after;
    if (ql_bad(ql_map_open(scratch("other"), &before))) _exit(1);
    ql_map_close(&before);
    if (ql_bad(ql_map_open(scratch("other"), &before)) || ql_bad(ql_map_open(scratch("cut"), &m)) ||
        ql_bad(ql_map_open(scratch("other"), &after)) || truncate(scratch("cut"), 100) != 0)
        _exit(2);
    last_byte(&before), last_byte(&after);
    last_byte(&m);
}

static void a_file_that_is_cut(void **state) {
    (void)state;
    file_of_pages("other"), file_of_pages("cut");
    char *line = ql_format("qlora: error: %s: was cut short while it was being read; put the whole file back and start again\n",
                           scratch("cut"));
    ends_with(read_what_was_cut, QL_DATA, line);
    free(line);
}

static void *read_in_a_thread(void *map) {
    last_byte(map);
    return NULL;
}

static void read_as_rank_12(void) {
    ql_map m;
    pthread_t thread;
    if (ql_bad(ql_log_open(scratch("run.log"), 12, 16)) || ql_bad(ql_map_open(scratch("cut"), &m)) || truncate(scratch("cut"), 0) != 0)
        _exit(1);
    pthread_create(&thread, NULL, read_in_a_thread, &m);
    pthread_join(thread, NULL);
}

static void any_thread_of_any_rank(void **state) {
    (void)state;
    file_of_pages("cut");
    char *line = ql_format("qlora: error: rank 12: %s: was cut short while it was being read; put the whole file back and start again\n",
                           scratch("cut"));
    ends_with(read_as_rank_12, QL_DATA, line);
    ql_str log;
    ok(ql_file_read(scratch("run.log"), 4096, &log));
    assert_string_equal(log.data, line);
    ql_str_free(&log);
    free(line);
}

/* What is at the path now is whole: the bytes that are gone were those of a disk, as far as anybody can tell. */
static void read_what_failed(void) {
    ql_map m;
    if (ql_bad(ql_map_open(scratch("gone"), &m)) || truncate(scratch("gone"), 0) != 0 || rename(scratch("whole"), scratch("gone")) != 0)
        _exit(1);
    last_byte(&m);
}

static void a_disk_that_fails(void **state) {
    (void)state;
    file_of_pages("gone"), file_of_pages("whole");
    char *line = ql_format("qlora: error: %s: cannot be read any more; look after the disk or network it lies on\n", scratch("gone"));
    ends_with(read_what_failed, QL_IO, line);
    free(line);
}

static void fault_elsewhere(void) {
    ql_map m;
    if (ql_bad(ql_map_open(scratch("other"), &m))) _exit(1);
    int fd = open(scratch("foreign"), O_RDONLY);
    const volatile char *p = mmap(NULL, page_size(), PROT_READ, MAP_PRIVATE, fd, 0);
    if (truncate(scratch("foreign"), 0) != 0) _exit(2);
    (void)*p;
}

static void send_it(void) {
    ql_map m;
    if (ql_bad(ql_map_open(scratch("other"), &m))) _exit(1);
    raise(SIGBUS);
}

static void somebody_s_handler(int sig) {
    (void)sig;
    _exit(42);
}

static void fault_elsewhere_with_a_handler(void) {
    signal(SIGBUS, somebody_s_handler);
    fault_elsewhere();
}

static void other_faults_are_not_ours(void **state) {
    (void)state;
    file_of_pages("other");
    file_of_pages("foreign");
    ends_with(fault_elsewhere_with_a_handler, 42, "");
    file_of_pages("foreign");
    signal(SIGBUS, SIG_DFL);
    ends_with(fault_elsewhere, -SIGBUS, "");
    ends_with(send_it, -SIGBUS, "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(other_faults_are_not_ours), cmocka_unit_test(a_file_that_is_cut), cmocka_unit_test(any_thread_of_any_rank),
        cmocka_unit_test(a_disk_that_fails),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
