/* Saving beside the training: what is saved is the state of the step, whatever becomes of it meanwhile; when the next may
 * begin; what a failure comes to. With a job on a tiny model, and a disk that obeys (tests/support/fault_shim.h). */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/quant/scratch.h"
#include "tests/support/fault_shim.h"
#include "tests/support/golden_job.h"
#include "worker/saver.h"

typedef struct {
    golden   g;
    ql_saver saver;
} subject;

static ql_job *job(subject *s) {
    return &s->g.job;
}

static float *values(subject *s) {
    return ql_host_address(job(s)->device, job(s)->adapter.value);
}

static void open_subject(subject *s, const char *strategy, int64_t save_steps) {
    golden_open(&(golden_request){.model = "qwen3", .base = "nf4", .adapter = true, .training = true, .threads = 2}, &s->g);
    ql_config *c = &job(s)->config;
    free(c->output_dir);
    free(c->save_strategy);
    c->output_dir = ql_strdup(scratch("out"));
    c->save_strategy = ql_strdup(strategy);
    c->save_steps = save_steps;
    c->save_minutes = 0;
    c->save_total_limit = 2;
    ok(ql_dir_make(scratch("out/run")));
    ok(ql_claim_take(c->output_dir, &job(s)->claim));
    ql_saver_open(job(s), 0, &s->saver);
}

static void close_subject(subject *s) {
    shim_disarm();
    ql_saver_close(&s->saver);
    golden_close(&s->g);
    ok(ql_dir_remove(scratch("out")));
}

/* Each write takes so long from here on that a save takes far longer than a test may wait for it. */
static void slow_disk(void) {
    shim_arm(1, SHIM_SLOW);
}

static void begin(subject *s, int64_t step) {
    ok(ql_saver_begin(&s->saver, &(ql_progress_counters){.step = step, .rows_done = 10 * step}));
}

/* At a step boundary; whether a checkpoint is to begin. `*saved`: the step of one that has ended, or 0. */
static bool attend(subject *s, int64_t step, int64_t *saved) {
    ql_saved done;
    bool     wanted;
    ok(ql_saver_attend(&s->saver, step, &done, &wanted));
    *saved = done.path ? done.step : 0;
    free(done.path);
    return wanted;
}

static int64_t wait_for_end(subject *s) {
    ql_saved saved;
    ok(ql_saver_wait(&s->saver, true, &saved));
    int64_t step = saved.path ? saved.step : 0;
    if (saved.path) assert_true(saved.stall >= 0 && saved.total > 0);
    free(saved.path);
    return step;
}

static bool is_there(int64_t step) {
    char *name = ql_format("out/checkpoint-%08lld/MANIFEST.json", (long long)step);
    bool  there = ql_file_exists(scratch(name));
    free(name);
    return there;
}

/* The first value of the adapter in the checkpoint, and its rows. */
static float first_value(subject *s, int64_t step, int64_t *rows) {
    ql_job_state         state;
    ql_progress_counters none = {0};
    char                *path = ql_format("%s/checkpoint-%08lld", scratch("out"), (long long)step);
    ql_job_state_open(job(s), &none, &state);
    ok(ql_checkpoint_load(path, &state.state));
    *rows = state.state.counter[QL_COUNT_ROWS];
    float value = state.state.tensor[0].value[0];
    assert_string_equal(state.state.computed_on, "cpu");
    ql_job_state_close(&state);
    free(path);
    return value;
}

/* ---- what is saved ---- */

static void training_goes_on_and_the_step_is_saved(void **state) {
    (void)state;
    subject s;
    int64_t rows, saved;
    open_subject(&s, "steps", 2);
    values(&s)[0] = 0.25f;
    assert_true(attend(&s, 2, &saved));
    slow_disk();
    begin(&s, 2);
    assert_true(ql_background_pending(&s.saver.writing));
    values(&s)[0] = 0.5f; /* the next steps */
    job(&s)->evaluated = 3;
    assert_false(attend(&s, 3, &saved));
    assert_int_equal(saved, 0);
    shim_disarm();
    assert_int_equal(wait_for_end(&s), 2);
    assert_true(is_there(2));
    assert_true(first_value(&s, 2, &rows) == 0.25f);
    assert_int_equal(rows, 20);
    close_subject(&s);
}

static void nothing_is_saved_twice(void **state) {
    (void)state;
    subject s;
    int64_t saved;
    bool    lacks;
    open_subject(&s, "steps", 2);
    assert_false(attend(&s, 0, &saved));
    assert_false(attend(&s, 1, &saved));
    assert_true(attend(&s, 2, &saved));
    begin(&s, 2);
    assert_int_equal(wait_for_end(&s), 2);
    assert_false(attend(&s, 2, &saved));
    ok(ql_saver_lacks(&s.saver, 2, &lacks));
    assert_false(lacks);
    ok(ql_saver_lacks(&s.saver, 3, &lacks));
    assert_true(lacks);
    close_subject(&s);
}

/* A run that goes on from its own checkpoint has that one; from another folder's it has none here. */
static void where_it_goes_on_from(void **state) {
    (void)state;
    static const struct {
        const char *how;
        bool        lacks;
    } cases[] = {{"auto", false}, {"true", false}, {"/elsewhere/checkpoint-00000002", true}};
    for (size_t i = 0; i < QL_LEN(cases); i++) {
        subject s;
        bool    lacks;
        open_subject(&s, "steps", 2);
        free(job(&s)->config.resume_from_checkpoint);
        job(&s)->config.resume_from_checkpoint = ql_strdup(cases[i].how);
        ql_saver_open(job(&s), 2, &s.saver);
        ok(ql_saver_lacks(&s.saver, 2, &lacks));
        assert_int_equal(lacks, cases[i].lacks);
        close_subject(&s);
    }
}

/* ---- when ---- */

static void a_named_step_waits_a_little(void **state) {
    (void)state;
    subject s;
    int64_t saved;
    open_subject(&s, "steps", 1);
    begin(&s, 1);
    assert_true(attend(&s, 2, &saved)); /* as soon as that of step 1 is there */
    assert_int_equal(saved, 1);
    begin(&s, 2);
    close_subject(&s);
}

static void a_disk_that_stands_still_holds_up_one_step_only(void **state) {
    (void)state;
    subject s;
    int64_t saved;
    open_subject(&s, "steps", 2);
    slow_disk();
    begin(&s, 2);
    double start = ql_seconds();
    assert_false(attend(&s, 3, &saved));
    assert_false(attend(&s, 4, &saved)); /* due, and put off */
    double waited = ql_seconds() - start;
    assert_true(waited >= 4); /* it did wait for step 4 */
    for (int64_t step = 5; step < 50; step++) assert_false(attend(&s, step, &saved));
    assert_true(s.saver.waited < waited + 4); /* and not again for 6, 8, ... 48 */
    shim_disarm();
    while (!ql_background_ended(&s.saver.writing)) usleep(1000);
    assert_true(attend(&s, 51, &saved)); /* what was put off; 51 by itself is not due */
    assert_int_equal(saved, 2);
    begin(&s, 51);
    assert_int_equal(wait_for_end(&s), 51);
    assert_false(attend(&s, 53, &saved));
    close_subject(&s);
}

static void the_clock_does_not_wait(void **state) {
    (void)state;
    subject s;
    int64_t saved;
    open_subject(&s, "steps", 0);
    job(&s)->config.save_minutes = 1e-9;
    slow_disk();
    assert_true(attend(&s, 1, &saved));
    begin(&s, 1);
    double start = ql_seconds();
    for (int64_t step = 2; step < 100; step++) assert_false(attend(&s, step, &saved));
    assert_true(s.saver.waited <= ql_seconds() - start);
    shim_disarm();
    while (!ql_background_ended(&s.saver.writing)) usleep(1000);
    assert_true(attend(&s, 100, &saved));
    close_subject(&s);
}

/* ---- failures ---- */

/* A save of `step` on a disk with that fault; the verdict at the next boundary. */
static ql_err save_badly(subject *s, int64_t step, shim_fault fault) {
    ql_saved saved;
    bool     wanted;
    shim_arm(1, fault);
    begin(s, step);
    while (!ql_background_ended(&s->saver.writing)) usleep(1000);
    shim_disarm();
    ql_err e = ql_saver_attend(&s->saver, step + 1, &saved, &wanted);
    assert_null(saved.path);
    assert_false(is_there(step));
    return e;
}

static void the_third_failure_in_a_row_is_the_end(void **state) {
    (void)state;
    subject s;
    int64_t saved;
    open_subject(&s, "steps", 2);
    begin(&s, 2);
    assert_int_equal(wait_for_end(&s), 2);
    ok(save_badly(&s, 4, SHIM_ENOSPC));
    ok(save_badly(&s, 6, SHIM_FSYNC));
    assert_true(attend(&s, 8, &saved));
    begin(&s, 8); /* one that works: counting begins anew */
    assert_int_equal(wait_for_end(&s), 8);
    ok(save_badly(&s, 10, SHIM_EROFS));
    ok(save_badly(&s, 12, SHIM_EDQUOT));
    refused(save_badly(&s, 14, SHIM_DEAD), QL_IO, "Input/output error");
    assert_true(is_there(2) && is_there(8));
    close_subject(&s);
}

static void a_last_save_must_succeed(void **state) {
    (void)state;
    subject  s;
    ql_saved saved;
    bool     lacks;
    open_subject(&s, "steps", 2);
    shim_arm(1, SHIM_ENOSPC);
    begin(&s, 2);
    refused(ql_saver_wait(&s.saver, true, &saved), QL_IO, "No space left");
    shim_disarm();
    ok(ql_saver_lacks(&s.saver, 2, &lacks));
    assert_true(lacks);
    close_subject(&s);
}

static void a_start_that_was_replaced_publishes_nothing(void **state) {
    (void)state;
    subject  s;
    ql_claim young;
    ql_saved saved;
    bool     wanted;
    open_subject(&s, "steps", 2);
    close(job(&s)->claim.lock); /* as where there are no locks */
    job(&s)->claim.lock = -1;
    slow_disk();
    begin(&s, 2);
    shim_disarm();
    ok(ql_claim_take(scratch("out"), &young)); /* whether the save is done before this or not, the next one comes too late */
    while (!ql_background_ended(&s.saver.writing)) usleep(1000);
    ql_err e = ql_saver_attend(&s.saver, 3, &saved, &wanted);
    if (ql_bad(e)) assert_int_equal(e.code, QL_TEMP);
    free(saved.path);
    refused(save_badly(&s, 4, SHIM_NOTHING), QL_TEMP, "another start (generation 2, host ");
    refused(ql_export_adapter(job(&s)), QL_TEMP, "this one is generation 1");
    refused(ql_export_checkpoint(job(&s), 2), QL_TEMP, "this one is generation 1");
    assert_false(ql_file_exists(scratch("out/adapter_model.safetensors")));
    ql_claim_close(&young);
    close_subject(&s);
}

static void what_is_not_finite_is_not_saved(void **state) {
    (void)state;
    subject s;
    open_subject(&s, "steps", 2);
    float *moment2 = ql_host_address(job(&s)->device, job(&s)->adapter.moment2);
    moment2[3] = (float)(1e30 * 1e30);
    refused(save_badly(&s, 2, SHIM_NOTHING), QL_DATA, "its second moment is not finite");
    moment2[3] = 0;
    values(&s)[7] = (float)(0 * (1e30f * 1e30f));
    refused(save_badly(&s, 4, SHIM_NOTHING), QL_DATA, "its value is not finite");
    close_subject(&s);
}

/* ---- the thread ---- */

typedef struct {
    sigset_t  blocked;
    pthread_t thread;
    ql_code   code;
} witness;

static ql_err look_around(void *self) {
    witness *w = self;
    w->thread = pthread_self();
    pthread_sigmask(SIG_BLOCK, NULL, &w->blocked);
    return w->code == QL_OK ? ql_ok() : ql_fail(w->code, "as told");
}

/* In place of pthread_create (the linker's --wrap). */
typedef void *thread_work(void *self);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *how, thread_work *work, void *self);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *how, thread_work *work, void *self);
static bool no_threads;
int         __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *how, thread_work *work, void *self) {
    return no_threads ? EAGAIN : __real_pthread_create(thread, how, work, self);
}

static void work_on_a_thread_of_its_own(void **state) {
    (void)state;
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGALRM};
    ql_background    b = {0};
    witness          w = {.code = QL_OK};
    sigset_t         before, after;
    pthread_sigmask(SIG_BLOCK, NULL, &before);
    assert_false(ql_background_pending(&b) || ql_background_ended(&b));
    ql_background_start(&b, look_around, &w);
    assert_true(ql_background_pending(&b));
    ok(ql_background_take(&b));
    assert_false(ql_background_pending(&b) || ql_background_ended(&b));
    assert_false(pthread_equal(w.thread, pthread_self()));
    pthread_sigmask(SIG_BLOCK, NULL, &after);
    for (size_t i = 0; i < QL_LEN(signals); i++) {
        assert_true(sigismember(&w.blocked, signals[i]));
        assert_int_equal(sigismember(&before, signals[i]), sigismember(&after, signals[i]));
    }
    w.code = QL_DENIED;
    ql_background_start(&b, look_around, &w);
    while (!ql_background_ended(&b)) usleep(1000);
    (void)ql_fail(QL_DATA, "of another matter");
    refused(ql_background_take(&b), QL_DENIED, "as told");
}

/* Where the system gives no thread, the work is done at once. */
static void work_without_a_thread(void **state) {
    (void)state;
    ql_background b = {0};
    witness       w = {.code = QL_OK};
    no_threads = true;
    ql_background_start(&b, look_around, &w);
    no_threads = false;
    assert_true(ql_background_ended(&b));
    assert_true(pthread_equal(w.thread, pthread_self()));
    ok(ql_background_take(&b));
}

int main(void) {
    if (ql_bad(ql_checkpoint_init())) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(training_goes_on_and_the_step_is_saved),
        cmocka_unit_test(nothing_is_saved_twice),
        cmocka_unit_test(where_it_goes_on_from),
        cmocka_unit_test(a_named_step_waits_a_little),
        cmocka_unit_test(a_disk_that_stands_still_holds_up_one_step_only),
        cmocka_unit_test(the_clock_does_not_wait),
        cmocka_unit_test(the_third_failure_in_a_row_is_the_end),
        cmocka_unit_test(a_last_save_must_succeed),
        cmocka_unit_test(a_start_that_was_replaced_publishes_nothing),
        cmocka_unit_test(what_is_not_finite_is_not_saved),
        cmocka_unit_test(work_on_a_thread_of_its_own),
        cmocka_unit_test(work_without_a_thread),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
