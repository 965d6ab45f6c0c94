/* Memory of a CUDA device, transfers beside the work, marks of time, and what it refuses. */
#include "tests/cuda/rig.h"

static ql_tensor new_tensor(ql_device *d, ql_dtype t, int64_t n) {
    ql_tensor v = {NULL, 0, t, 1, n};
    must(ql_buffer_new(d, ql_bytes(v), &v.buffer));
    return v;
}

static void memory_begins_as_zero_and_keeps_what_it_gets(void **state) {
    (void)state;
    ql_device *d = rig_device();
    enum { N = 100003 };
    ql_tensor a = new_tensor(d, QL_F32, N), b = new_tensor(d, QL_F32, N);
    float    *x = random_floats(N, 1, 1), *y = random_floats(N, 2, 1);
    must(ql_download(d, y, a));
    for (int i = 0; i < N; i++) assert_true(y[i] == 0);
    must(ql_upload(d, a, x));
    must(ql_copy(d, b, a));
    must(ql_zero(d, a));
    must(ql_download(d, y, b));
    assert_memory_equal(x, y, N * sizeof *x);
    must(ql_download(d, y, a));
    assert_true(y[N - 1] == 0);
    ql_buffer_free(d, a.buffer);
    ql_buffer_free(d, b.buffer);
    free(x), free(y);
}

/* Several pieces through two places, as the moments of an optimiser on the host travel: without the orders that
 * ql_send, ql_fetch and ql_await_transfers promise, a piece would be overwritten or read too early. */
static void transfers_keep_their_order(void **state) {
    (void)state;
    ql_device *d = rig_device();
    enum { PIECE = 50000, PIECES = 7 };
    ql_tensor place[2] = {new_tensor(d, QL_F32, PIECE), new_tensor(d, QL_F32, PIECE)};
    float    *host = NULL, *want = random_floats(PIECE * PIECES, 3, 1);
    must(ql_host_new(d, PIECE * PIECES * sizeof *host, (void **)&host));
    for (int i = 0; i < PIECE * PIECES; i++) assert_true(host[i] == 0);
    memcpy(host, want, PIECE * PIECES * sizeof *host);
    must(ql_fetch(d, place[0], host));
    for (int i = 0; i < PIECES; i++) {
        must(ql_await_transfers(d));
        if (i + 1 < PIECES) must(ql_fetch(d, place[(i + 1) % 2], host + (i + 1) * PIECE));
        must(ql_add(d, &(ql_add_args){.y = place[i % 2], .a = place[i % 2], .b = place[i % 2]}));
        must(ql_send(d, host + i * PIECE, place[i % 2]));
    }
    must(ql_sync(d));
    for (int i = 0; i < PIECE * PIECES; i++)
        if (host[i] != 2 * want[i]) fail_msg("element %d is %g, not %g", i, (double)host[i], (double)(2 * want[i]));
    ql_host_free(d, host, PIECE * PIECES * sizeof *host);
    ql_buffer_free(d, place[0].buffer);
    ql_buffer_free(d, place[1].buffer);
    free(want);
}

static void marks_measure_work(void **state) {
    (void)state;
    ql_device *d = rig_device();
    ql_tensor  a = new_tensor(d, QL_F32, 1 << 20);
    double     seconds = -1;
    must(ql_mark(d, 0));
    for (int i = 0; i < 10; i++) must(ql_add(d, &(ql_add_args){.y = a, .a = a, .b = a}));
    must(ql_mark(d, 1));
    must(ql_sync(d));
    must(ql_seconds_between(d, 0, 1, &seconds));
    assert_true(seconds >= 0);
    must_fail(ql_mark(d, QL_MARKS), QL_BUG, "mark");
    ql_buffer_free(d, a.buffer);
}

static void describes_itself(void **state) {
    (void)state;
    ql_device_info info;
    must(ql_device_describe(rig_device(), &info));
    printf("%s, capability %d, %s, %s\n", info.name, info.capability, info.id, info.driver);
    assert_true(info.capability >= 75 && info.bytes_free <= info.bytes_total && info.bytes_total > 0);
    assert_int_equal(strlen(info.id), strlen("GPU-00000000-0000-0000-0000-000000000000"));
    assert_null(ql_host_address(rig_device(), (ql_tensor){0}));
}

static void what_is_not_there_is_refused(void **state) {
    (void)state;
    ql_device *d = NULL;
    must_fail(ql_device_open("cuda", 1000, 0, &d), QL_USAGE, "no GPU 1000");
    ql_buffer *b = NULL;
    must_fail(ql_buffer_new(rig_device(), (size_t)1 << 50, &b), QL_TEMP, "no memory left");
    assert_null(b);
    /* A refusal is no fault: the device goes on. */
    ql_tensor a = new_tensor(rig_device(), QL_F32, 10);
    float     x[10];
    must(ql_download(rig_device(), x, a));
    ql_buffer_free(rig_device(), a.buffer);
}

/* On a device of its own: what was promised is taken, and no more. */
static void workspace_is_what_was_planned(void **state) {
    (void)state;
    ql_device      *d;
    ql_device_needs needs;
    must(ql_device_open("cuda", 0, 0, &d));
    must(ql_device_needs_of("cuda", 0, QL_F32, 1 << 20, &needs));
    must(ql_device_prepare(d, &needs));
    assert_int_equal(ql_device_memory(d).workspace, needs.workspace);
    must(ql_device_reserve(d, 1 << 20));
    ql_buffer *b = NULL;
    must_fail(ql_buffer_new(d, 2 << 20, &b), QL_BUG, "planned");
    ql_device_close(d);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(memory_begins_as_zero_and_keeps_what_it_gets),
                                       cmocka_unit_test(transfers_keep_their_order), cmocka_unit_test(marks_measure_work),
                                       cmocka_unit_test(describes_itself), cmocka_unit_test(what_is_not_there_is_refused),
                                       cmocka_unit_test(workspace_is_what_was_planned)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
