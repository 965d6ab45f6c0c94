/* The data plane with real processes: through the host, and, in the program that has the emulated GPU, through NCCL,
 * where everything that can go wrong has to end in time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "collective/data_plane.h"
#include "plane_ranks.h"

/* n ranks of this program with `environment` ("A=1 B=2"); their status, and a text that they must say. */
static void expect(const char *environment, int n, const char *kind_and_what, int status, const char *text) {
    char    path[4096] = "";
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    assert_true(length > 0);
    char *command = ql_format("exec 2>&1; env %s timeout 120 " MPIEXEC " -np %d %s %s", environment, n, path, kind_and_what);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    ql_str said = {0};
    char   buffer[4096];
    size_t got;
    while ((got = fread(buffer, 1, sizeof buffer, pipe)) > 0) ql_str_put(&said, buffer, got);
    int ended = pclose(pipe);
    ql_str_puts(&said, "");
    if (!WIFEXITED(ended) || WEXITSTATUS(ended) != status || !strstr(said.data, text))
        fail_msg("%s\nexit %d instead of %d with \"%s\", said:\n%s", command, WEXITSTATUS(ended), status, text, said.data);
    ql_str_free(&said);
    free(command);
}

static void through_the_host(void **state) {
    (void)state;
    expect("", 1, "cpu sums", 0, "none, does not hide");
    expect("", 2, "cpu sums", 0, "host memory, does not hide");
    expect("", 3, "cpu sums", 0, "host memory, does not hide");
}

static void memory_is_planned(void **state) {
    (void)state;
    ql_device_needs host = {.is_host = true}, card = {.is_host = false};
    assert_int_equal(ql_data_plane_memory_of("cpu", &host, 1000, 1).host_bytes, 0);
    assert_int_equal(ql_data_plane_memory_of("cpu", &host, 1000, 2).host_bytes, 8000);
    assert_int_equal(ql_data_plane_memory_of("cuda", &card, 1000, 1).device_bytes, 0);
#ifndef HAS_GPUS
    assert_true(ql_data_plane_memory_of("cuda", &card, 1000, 2).device_bytes > 0);
#endif
    char name[64];
    ql_data_plane_library("cpu", name);
    assert_string_equal(name, "");
}

#ifdef HAS_GPUS
static void from_gpus_through_the_host(void **state) {
    (void)state;
    expect("QL_EMU_DEVICES=3", 3, "cuda sums", 0, "host memory, does not hide");
    expect("QL_EMU_DEVICES=2 QL_EMU_STREAMS=deferred", 2, "cuda sums", 0, "host memory, does not hide");
    ql_device_needs card = {.is_host = false};
    ql_data_plane_memory m = ql_data_plane_memory_of("cuda", &card, 1000, 2);
    assert_true(m.device_bytes == 0 && m.host_bytes == (32 << 20) + 8000);
}
#endif

#ifdef HAS_NCCL
static void through_nccl(void **state) {
    (void)state;
    expect("QL_EMU_DEVICES=4", 1, "cuda sums", 0, "none, does not hide");
    for (int n = 2; n <= 4; n++) expect("QL_EMU_DEVICES=4", n, "cuda sums", 0, "NCCL 2.28.9, hides");
    expect("QL_EMU_DEVICES=2 QL_EMU_STREAMS=deferred", 2, "cuda sums", 0, "NCCL 2.28.9, hides");
    expect("QL_EMU_DEVICES=2 QL_EMU_STREAMS=deferred QL_EMU_OTHER_STREAMS=first", 2, "cuda sums", 0, "NCCL");
    expect("QL_EMU_DEVICES=2 QL_EMU_NCCL=polls=40", 2, "cuda sums", 0, "NCCL");
}

static void versions_must_fit(void **state) {
    (void)state;
    expect("QL_EMU_DEVICES=2 QL_EMU_NCCL=1:version=22700", 2, "cuda several", QL_USAGE,
           "NCCL is not of the same version on all ranks: from NCCL 2.27.0 to NCCL 2.28.9");
    expect("QL_EMU_DEVICES=2 QL_EMU_NCCL=version=21303", 2, "cuda several", QL_USAGE, "NCCL 2.13.3: version 2.14 or later is needed");
}

static void meeting_in_vain(void **state) {
    (void)state;
    expect("QL_EMU_DEVICES=2 QLORA_NCCL_TIMEOUT=1.5 QL_EMU_NCCL=1:init_hang", 2, "cuda several", QL_TEMP,
           "meeting the other ranks: not done after 2 s; a rank hangs or is gone");
    expect("QL_EMU_DEVICES=2 QLORA_NCCL_TIMEOUT=1.5 QL_EMU_NCCL=1:init_error", 2, "cuda several", QL_TEMP,
           "NCCL, rank 1, meeting the other ranks: unhandled system error");
    expect("QL_EMU_DEVICES=2 QL_EMU_FAIL=ncclGetUniqueId:1:ncclSystemError", 2, "cuda several", QL_TEMP,
           "NCCL, rank 0, opening a port for the other ranks");
}

static void sums_in_vain(void **state) {
    (void)state;
    /* The n-th sum: at once, in the middle of a step, and late. */
    for (int n = 1; n <= 7; n += 3) {
        char *hang = ql_format("QL_EMU_DEVICES=3 QLORA_NCCL_TIMEOUT=1.5 QL_EMU_NCCL=1:hang:%d", n);
        char *error = ql_format("QL_EMU_DEVICES=3 QLORA_NCCL_TIMEOUT=20 QL_EMU_NCCL=1:async_error:%d", n);
        expect(hang, 3, "cuda several", QL_TEMP, "summing gradients: not done after 2 s; a rank hangs or is gone");
        expect(error, 3, "cuda several", QL_TEMP, "NCCL, rank 1, summing gradients: remote process exited");
        free(hang);
        free(error);
    }
    expect("QL_EMU_DEVICES=2 QLORA_NCCL_TIMEOUT=1.5", 2, "cuda absent", QL_TEMP, "NCCL, rank 0, summing gradients: not done after 2 s");
    expect("QL_EMU_DEVICES=2 QLORA_NCCL_TIMEOUT=20 QL_EMU_FAIL=ncclAllReduce:3:ncclInternalError", 2, "cuda several", QL_TEMP,
           "summing gradients: internal error");
}

/* A GPU that is lost in the middle says so itself. */
static void a_lost_gpu(void **state) {
    (void)state;
    expect("QL_EMU_DEVICES=2 QLORA_NCCL_TIMEOUT=20 QL_EMU_FAIL=cudaEventQuery:2:cudaErrorECCUncorrectable", 2, "cuda several", QL_TEMP,
           "waiting for the gradients of other ranks: the GPU's memory lost data");
}
#endif

int main(int argc, char **argv) {
    if (argc > 1) return run_rank(argc, argv);
    setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
    setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
    setenv("OMPI_MCA_rmaps_base_oversubscribe", "1", 1);
    setenv("OMPI_MCA_hwloc_base_binding_policy", "none", 1);
    setenv("OMPI_MCA_btl", "self,vader", 1);
    unsetenv("QLORA_NCCL_TIMEOUT");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(through_the_host),
        cmocka_unit_test(memory_is_planned),
#ifdef HAS_GPUS
        cmocka_unit_test(from_gpus_through_the_host),
#endif
#ifdef HAS_NCCL
        cmocka_unit_test(through_nccl),
        cmocka_unit_test(versions_must_fit),
        cmocka_unit_test(meeting_in_vain),
        cmocka_unit_test(sums_in_vain),
        cmocka_unit_test(a_lost_gpu),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
