/* The emulated NCCL with real processes. The same program is the test and, started again by mpirun, each rank. */
#include "test_ranks.h"
#include "tests/cuda_emulation/emulation.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
extern "C" {
#include <cmocka.h>
}

/* `variables`: "NAME=value ..." for the ranks. */
static void expect(const std::string &variables, int n, const char *act, int status, const char *text) {
    char self[4096];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    assert_true(length > 0);
    self[length] = 0;
    const std::string command = "exec 2>&1; " + variables + " QL_EMU_DEVICES=" + std::to_string(n) +
                                " timeout 120 " MPIEXEC " -np " + std::to_string(n) + " '" + self + "' " + act;
    FILE *pipe = popen(command.c_str(), "r");
    assert_non_null(pipe);
    std::string said;
    char piece[4096];
    for (size_t got; (got = fread(piece, 1, sizeof piece, pipe)) > 0;) said.append(piece, got);
    int ended = pclose(pipe);
    if (!WIFEXITED(ended) || WEXITSTATUS(ended) != status || !strstr(said.c_str(), text))
        fail_msg("%s\nexit %d instead of %d, said:\n%s", command.c_str(), WEXITSTATUS(ended), status, said.c_str());
}
static void expect(const std::string &variables, int n, const char *act) {
    expect(variables, n, act, 0, "");
}

static const char *const both[] = {"QL_EMU_STREAMS=immediate", "QL_EMU_STREAMS=deferred"};

static void ranks_sum(void **) {
    expect("", 1, "reductions");
    expect("", 2, "buckets");
    for (const char *mode : both) {
        expect(mode, 3, "reductions");
        expect(mode, 3, "broadcasts");
    }
    expect("QL_EMU_STREAMS=deferred", 3, "buckets");
}

static void answers_are_asked_for(void **) {
    expect("", 2, "progress");
    expect("QL_EMU_STREAMS=deferred", 2, "blocking");
    expect("", 3, "part");
}

static void it_refuses(void **) {
    expect("", 2, "one-device");
    expect("QL_EMU_NCCL=1:version=21300", 2, "versions");
    expect("", 2, "different", emulation::failed_status, "collective 1 is not the same on ranks");
    expect("", 1, "host-memory", emulation::failed_status, "not all device memory");
    expect("QL_EMU_NCCL=hang", 1, "reductions", emulation::failed_status, "QL_EMU_NCCL: 'hang' is none of");
}

static void it_fails_when_told(void **) {
    expect("PATIENCE=0.3 QL_EMU_NCCL=1:init_hang", 2, "nobody");
    expect("QL_EMU_NCCL=1:init_error", 2, "failing-meeting");
    for (const char *mode : both) {
        expect(std::string("PATIENCE=0.3 QL_EMU_NCCL=1:hang:3 ") + mode, 2, "hang");
        expect(std::string("PATIENCE=0.3 QL_EMU_NCCL=1:async_error:3 ") + mode, 2, "error");
    }
}

int main(int argc, char **argv) {
    if (argc > 1) return run_rank(argc, argv);
    const CMUnitTest tests[] = {
        cmocka_unit_test(ranks_sum),
        cmocka_unit_test(answers_are_asked_for),
        cmocka_unit_test(it_refuses),
        cmocka_unit_test(it_fails_when_told),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
