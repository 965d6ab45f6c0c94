/* Opening, describing and filling the CPU device, and the checks in front of the operations. */
#include "tests/kernels/rig.h"

static void instruction_sets(void **state) {
    (void)state;
    ql_device *d = NULL;
    setenv("QLORA_CPU", "sse9", 1);
    must_fail(ql_device_open("cpu", 0, 1, &d), QL_USAGE,
              "QLORA_CPU=sse9: unknown; choose portable, avx2, avx512, avx512_bf16 or amx");
    static const char *const sets[] = {"portable", "avx2", "avx512", "avx512_bf16", "amx"};
    for (size_t i = 0; i < QL_LEN(sets); i++) {
        if (!(d = open_device(sets[i], 1))) continue;
        ql_device_info info;
        must(ql_device_describe(d, &info));
        assert_non_null(strstr(info.name, sets[i]));
        ql_device_close(d);
    }
    setenv("QLORA_CPU", "", 1);
    must(ql_device_open("cpu", 0, 1, &d));
    ql_device_close(d);
    unsetenv("QLORA_CPU");
}

static void opening(void **state) {
    (void)state;
    ql_device *d = NULL;
    must_fail(ql_device_open("tpu", 0, 0, &d), QL_USAGE, "unknown");
    must_fail(ql_device_open("cpu", 1, 0, &d), QL_USAGE, "no device 1");
    must_fail(ql_device_open("cpu", 0, -1, &d), QL_USAGE, "threads: -1");
    setenv("OMP_NUM_THREADS", "3,2", 1);
    must(ql_device_open("cpu", 0, 0, &d));
    ql_device_info info;
    must(ql_device_describe(d, &info));
    assert_int_equal(info.threads, 3);
    ql_device_close(d);
    unsetenv("OMP_NUM_THREADS");
}

static void description(void **state) {
    (void)state;
    ql_device *d = open_device("portable", 0);
    ql_device_info info;
    must(ql_device_describe(d, &info));
    assert_true(info.threads >= 1 && info.bytes_total > 1 << 20 && info.bytes_free <= info.bytes_total);
    assert_true(strlen(info.name) > strlen(" (portable)"));
    ql_device_close(d);
}

static void memory(void **state) {
    (void)state;
    ql_device *d = open_device("portable", 1);
    ql_buffer *b = NULL;
    must_fail(ql_buffer_new(d, (size_t)1 << 50, &b), QL_TEMP, "1073741824 MiB of memory needed");
    static const size_t sizes[] = {0, 1, 4097, 20 << 20};
    for (size_t i = 0; i < QL_LEN(sizes); i++) {
        must(ql_buffer_new(d, sizes[i], &b));
        assert_int_equal((uintptr_t)b->memory % 64, 0);
        for (size_t k = 0; k < sizes[i]; k += 997) assert_int_equal(((char *)b->memory)[k], 0);
        ql_buffer_free(d, b);
    }
    assert_int_equal(ql_device_memory(d).bytes_now, 0);
    assert_int_equal(ql_device_memory(d).bytes_peak, 20 << 20);
    ql_device_close(d);
}

/* Buffers are cut from what was reserved, on borders of 64 bytes, and never go beyond it. */
static void reserve(void **state) {
    (void)state;
    ql_device *d = open_device("portable", 1);
    ql_buffer *a, *b, *c, *none;
    must(ql_device_reserve(d, 1024));
    must_fail(ql_device_reserve(d, 1024), QL_BUG, "before it was reserved");
    must(ql_buffer_new(d, 600, &a));
    must(ql_buffer_new(d, 320, &b));
    assert_int_equal((char *)b->memory - (char *)a->memory, 640);
    must_fail(ql_buffer_new(d, 65, &none), QL_BUG, "but 64 of the 1024 planned are left");
    must(ql_buffer_new(d, 64, &c));
    must_fail(ql_buffer_new(d, 1, &none), QL_BUG, "but 0 of the 1024 planned are left");
    assert_int_equal(ql_device_memory(d).allocations, 1);
    ql_buffer_free(d, a);
    ql_buffer_free(d, b);
    ql_buffer_free(d, c);
    ql_device_close(d);
    d = open_device("portable", 1);
    must(ql_buffer_new(d, 64, &a));
    must_fail(ql_device_reserve(d, 1024), QL_BUG, "before it was reserved");
    ql_buffer_free(d, a);
    ql_device_close(d);
}

static void transfers(void **state) {
    (void)state;
    ql_device *d = open_device("portable", 1);
    ql_buffer *b = NULL;
    int32_t in[12], out[12];
    for (int i = 0; i < 12; i++) in[i] = i * i;
    must(ql_buffer_new(d, sizeof in, &b));
    ql_tensor t = {b, 0, QL_I32, 4, 3};
    must(ql_upload(d, t, in));
    must(ql_zero(d, ql_rows(t, 1, 1)));
    must(ql_copy(d, ql_rows(t, 3, 1), ql_rows(t, 0, 1)));
    must(ql_sync(d));
    must(ql_download(d, out, t));
    static const int32_t want[12] = {0, 1, 4, 0, 0, 0, 36, 49, 64, 0, 1, 4};
    assert_memory_equal(out, want, sizeof want);
    /* The CPU's memory is the host's, and is used in place. */
    assert_non_null(ql_host_address(d, t));
    assert_memory_equal(ql_host_address(d, ql_rows(t, 1, 3)), want + 3, 9 * sizeof *want);
    must_fail(ql_upload(d, ql_rows(t, 2, 3), in), QL_BUG, "outside its buffer");
    ql_buffer_free(d, b);
    ql_device_close(d);
}

/* One wrong shape, type, offset each; every operation has such a front door. */
static void wrong_shapes(void **state) {
    (void)state;
    ql_device *d = open_device("portable", 1);
    ql_buffer *b = NULL;
    must(ql_buffer_new(d, 4096, &b));
    ql_tensor f23 = {b, 0, QL_F32, 2, 3}, f24 = {b, 0, QL_F32, 2, 4}, i23 = {b, 0, QL_I32, 2, 3}, none = {0};
    ql_tensor big = {b, 4092, QL_F32, 2, 3}, odd = {b, 2, QL_F32, 2, 3};
    ql_weight w = ql_dense(f24);
    must_fail(ql_add(d, &(ql_add_args){f23, f24, f23}), QL_BUG, "add: y is [2, 3], not [2, 4]");
    must_fail(ql_add(d, &(ql_add_args){f23, f23, i23}), QL_BUG, "add: b has elements of type int32");
    must_fail(ql_add(d, &(ql_add_args){f23, f23, none}), QL_BUG, "add: b is absent");
    must_fail(ql_add(d, &(ql_add_args){f23, f23, big}), QL_BUG, "add: b lies outside its buffer");
    must_fail(ql_add(d, &(ql_add_args){f23, f23, odd}), QL_BUG, "add: b begins in the middle of an element");
    must_fail(ql_matmul(d, &(ql_matmul_args){.y = f23, .x = f23, .weight = &w, .alpha = 1}), QL_BUG,
              "the weight is [2, 4], not [3, 3]");
    must_fail(ql_matmul(d, &(ql_matmul_args){.y = f23, .x = f24, .weight = NULL, .alpha = 1}), QL_BUG, "absent");
    must_fail(ql_adamw(d, &(ql_adamw_args){.p = {b, 0, QL_F32, 1, 4},
                                           .m = {b, 0, QL_F32, 1, 4},
                                           .v = {b, 0, QL_F32, 1, 4},
                                           .g = {b, 0, QL_F32, 1, 4}}),
              QL_BUG, "adamw: step 0");
    must_fail(ql_sum_squares(d, &(ql_sum_squares_args){.partial = {b, 0, QL_F64, 1, 2}, .x = {b, 0, QL_F32, 1, 100}}),
              QL_BUG, "sum_squares: partial is [1, 2], not [1, 1]");
    ql_buffer_free(d, b);
    ql_device_close(d);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(instruction_sets), cmocka_unit_test(opening),
                                       cmocka_unit_test(description),      cmocka_unit_test(memory),
                                       cmocka_unit_test(transfers),        cmocka_unit_test(wrong_shapes),
                                       cmocka_unit_test(reserve)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
