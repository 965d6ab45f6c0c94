#include "checkpoint/h5_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const ql_h5_array_group[QL_H5_ARRAYS] = {"adapter", "moment1", "moment2"};
const char *const ql_h5_counter[QL_COUNTERS] = {
    [QL_COUNT_STEP] = "step",
    [QL_COUNT_ROWS] = "rows_done",
    [QL_COUNT_TOKENS] = "tokens_seen",
    [QL_COUNT_TARGETS] = "targets_seen",
    [QL_COUNT_LOSS_SCALE] = "loss_scale_exponent",
    [QL_COUNT_LOSS_SCALE_STEPS] = "loss_scale_steps",
    [QL_COUNT_EVALUATED] = "evaluated",
    [QL_COUNT_BEST_STEP] = "best_step",
    [QL_COUNT_BEST_LOSS] = "best_loss",
    [QL_COUNT_PATIENCE] = "evaluations_without_gain",
    [QL_COUNT_SKIPPED] = "steps_skipped_in_a_row",
    [QL_COUNT_SKIPPED_IN_ALL] = "steps_skipped",
    [QL_COUNT_SPIKE_STEPS] = "spike_guard_steps",
    [QL_COUNT_SPIKE_MEAN] = "spike_guard_mean",
    [QL_COUNT_SPIKE_VARIANCE] = "spike_guard_variance",
};

/* The library would load code from these places, or lock files (which some network file systems
 * refuse and which publishing by rename makes needless). */
void ql_h5_set_environment(void) {
    static const char *const dangerous[] = {"HDF5_PLUGIN_PATH", "HDF5_PLUGIN_PRELOAD", "HDF5_VOL_CONNECTOR",
                                            "HDF5_DRIVER", "HDF5_DRIVER_CONFIG"};
    for (size_t i = 0; i < QL_LEN(dangerous); i++) unsetenv(dangerous[i]);
    setenv("HDF5_USE_FILE_LOCKING", "FALSE", 1);
}

/* Where the library knows threads, each has an error stack of its own, and prints it unless told otherwise. */
static ql_err be_quiet(void) {
    QL_CHECK(H5Eset_auto2(H5E_DEFAULT, NULL, NULL) >= 0, QL_TEMP, "libhdf5 cannot be silenced");
    return ql_ok();
}

ql_err ql_h5_init(void) {
    static bool done;
    if (done) return be_quiet();
    ql_h5_set_environment();
    /* The exit handler crashes after a full disk; it must be refused before anything else is called. */
    QL_CHECK(H5dont_atexit() >= 0 && H5open() >= 0, QL_TEMP, "libhdf5 cannot be started");
    QL_CHECK(H5PLset_loading_state(0) >= 0, QL_TEMP, "libhdf5 cannot be set up");
    done = true;
    return be_quiet();
}

/* The innermost entry of the error stack; where that is a failed system call it says "errno = N". */
static herr_t take_cause(unsigned depth, const H5E_error2_t *entry, void *cause) {
    if (depth > 0 || !entry->desc) return 0;
    const char *number = strstr(entry->desc, "errno = ");
    if (number)
        snprintf(cause, 256, "%s", strerror(atoi(number + strlen("errno = "))));
    else
        snprintf(cause, 256, "libhdf5: %s", entry->desc);
    return 0;
}

ql_err ql_h5_fail(ql_code code, const char *fmt, ...) {
    char text[1024], cause[256] = "";
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take_cause, cause) < 0) cause[0] = 0;
    H5Eclear2(H5E_DEFAULT);
    return ql_fail(code, "%s%s%s", text, cause[0] ? ": " : "", cause);
}

/* No locks, once more: a child that reads has no environment (checkpoint_read.c), and the library looks there at each open. */
hid_t ql_h5_access(void) {
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    if (access < 0) return access;
    if (H5Pset_fapl_sec2(access) >= 0 && H5Pset_libver_bounds(access, H5F_LIBVER_V18, H5F_LIBVER_V18) >= 0 &&
        H5Pset_fclose_degree(access, H5F_CLOSE_STRONG) >= 0 && H5Pset_file_locking(access, false, true) >= 0)
        return access;
    H5Pclose(access);
    return H5I_INVALID_HID;
}
