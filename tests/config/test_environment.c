/* What the launcher takes out of the environment of workers. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "launcher/environment.h"
#include "tests/support/check.h"

static const char *const dangerous[] = {
    "LD_PRELOAD",       "LD_LIBRARY_PATH",      "LD_AUDIT",          "HDF5_PLUGIN_PATH",   "HDF5_PLUGIN_PRELOAD",
    "HDF5_VOL_CONNECTOR", "HDF5_DRIVER",        "OPAL_PREFIX",       "PMIX_MCA_psec",      "OMPI_MCA_mca_base_component_path",
    "OMPI_MCA_mca_base_param_files",            "OMPI_MCA_plm_rsh_agent",                  "NCCL_NET_PLUGIN",
    "NCCL_TUNER_PLUGIN", "NCCL_PROFILER_PLUGIN", "NCCL_ENV_PLUGIN",  "NCCL_CONF_FILE",     "NCCL_DEBUG_FILE",
    "NCCL_TOPO_DUMP_FILE",                      "CUDA_INJECTION64_PATH",                   "CUDA_MODULE_LOADING",
};
static const char *const harmless[] = {"OMPI_MCA_btl", "NCCL_DEBUG", "CUDA_VISIBLE_DEVICES", "PMIX_RANK", "MY_LD_PRELOAD", "HOME"};

static void set_all(void) {
    for (size_t i = 0; i < QL_LEN(dangerous); i++) setenv(dangerous[i], "x", 1);
    for (size_t i = 0; i < QL_LEN(harmless); i++) setenv(harmless[i], "x", 1);
}

static void test_root_loads_nothing(void **state) {
    (void)state;
    set_all();
    ql_environment_check(true);
    for (size_t i = 0; i < QL_LEN(dangerous); i++) assert_null(getenv(dangerous[i]));
    for (size_t i = 0; i < QL_LEN(harmless); i++) assert_string_equal(getenv(harmless[i]), "x");
}

static void test_others_decide_for_themselves(void **state) {
    (void)state;
    set_all();
    ql_environment_check(false);
    for (size_t i = 0; i < QL_LEN(dangerous); i++) assert_string_equal(getenv(dangerous[i]), "x");
}

static void test_a_folder_for_temporary_files(void **state) {
    (void)state;
    char folder[] = "/tmp/qlora-test-XXXXXX";
    assert_non_null(mkdtemp(folder));
    setenv("TMPDIR", folder, 1);
    ql_environment_check(true);
    assert_string_equal(getenv("TMPDIR"), folder); /* our own */
    setenv("TMPDIR", "/tmp", 1);
    ql_environment_check(true);
    assert_string_equal(getenv("TMPDIR"), "/tmp"); /* the system's */
    setenv("TMPDIR", folder, 1);
    if (geteuid() == 0) {
        assert_int_equal(chown(folder, 12345, 12345), 0);
        ql_environment_check(true);
        assert_null(getenv("TMPDIR"));
    }
    rmdir(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_root_loads_nothing),
        cmocka_unit_test(test_others_decide_for_themselves),
        cmocka_unit_test(test_a_folder_for_temporary_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
