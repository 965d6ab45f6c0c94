/* Mutants of state.h5 with a manifest that vouches for them, so that libhdf5 really sees them, and
 * mutants of the manifest. The state exists in two forms: as we write it, where most metadata
 * carries a checksum, and in HDF5's oldest format, where nothing does. libhdf5 may crash on them:
 * in its child, which must come out as an error of ours. */
#include <hdf5.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "tests/checkpoint/state.h"
#include "tests/fuzz/common.h"

enum { MODULES = 2, STEP = 3 };

static uint64_t crashes, hungry;

static void count_kinds(void) {
    printf("fuzz_checkpoint: libhdf5 crashed %llu times, ran out of its limits %llu times, in its child\n",
           (unsigned long long)crashes, (unsigned long long)hungry);
}

static void must(bool good, const char *what) {
    if (good) return;
    fprintf(stderr, "fuzz_checkpoint: %s: %s\n", what, ql_err_text());
    abort();
}

static bool all_finite(const ql_state *s) {
    for (size_t k = 0; k < s->n_tensors; k++) {
        const ql_state_tensor *t = &s->tensor[k];
        for (size_t i = 0; i < (size_t)(t->rows * t->cols); i++)
            if (!isfinite(t->value[i]) || !isfinite(t->moment1[i]) || !isfinite(t->moment2[i])) return false;
    }
    return true;
}

static bool load(const char *folder) {
    test_state *t = state_empty(MODULES);
    ql_err e = ql_checkpoint_load(folder, &t->s);
    if (ql_bad(e)) {
        crashes += strstr(ql_err_text(), "libhdf5 crashed") != NULL;
        hungry += strstr(ql_err_text(), "ended before all was read") != NULL;
        must(e.code == QL_DATA || e.code == QL_USAGE, "an unexpected code");
        must(ql_err_text()[0] != 0, "no sentence");
    } else {
        must(all_finite(&t->s), "numbers that are not finite were accepted");
    }
    state_free(t);
    return !ql_bad(e);
}

/* Two checkpoints: one whose state is replaced by mutants, one whose manifest is. */
typedef struct {
    char *state_folder, *manifest_folder;
} folders;

static void put(const char *folder, const char *name, const uint8_t *bytes, size_t n) {
    char *path = ql_path_join(folder, name);
    FILE *f = fopen(path, "wb");
    must(f && fwrite(bytes, 1, n, f) == n && fclose(f) == 0, path);
    free(path);
}

/* A mutant that begins with a brace is one of the manifest. */
static bool target(void *ctx, const uint8_t *bytes, size_t n) {
    const folders *at = ctx;
    if (n > 0 && bytes[0] == '{') {
        put(at->manifest_folder, "MANIFEST.json", bytes, n);
        return load(at->manifest_folder);
    }
    put(at->state_folder, "state.h5", bytes, n);
    must(!ql_bad(renew_manifest(at->state_folder, STEP)), "the manifest");
    return load(at->state_folder);
}

static void copy_in_old_format(const char *from, const char *to) {
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_libver_bounds(access, H5F_LIBVER_EARLIEST, H5F_LIBVER_V18);
    hid_t in = H5Fopen(from, H5F_ACC_RDONLY, H5P_DEFAULT), out = H5Fcreate(to, H5F_ACC_TRUNC, H5P_DEFAULT, access);
    static const char *const group[] = {"adapter", "moment1", "moment2", "identity"};
    static const char *const number[] = {"format_version", "step", "rows_done", "tokens_seen", "targets_seen"};
    bool good = in >= 0 && out >= 0;
    for (size_t i = 0; i < QL_LEN(group) && good; i++)
        good = H5Ocopy(in, group[i], out, group[i], H5P_DEFAULT, H5P_DEFAULT) >= 0;
    hid_t scalar = H5Screate(H5S_SCALAR);
    for (size_t i = 0; i < QL_LEN(number) && good; i++) {
        int64_t value = 0;
        hid_t a = H5Aopen(in, number[i], H5P_DEFAULT);
        hid_t b = H5Acreate2(out, number[i], H5T_STD_I64LE, scalar, H5P_DEFAULT, H5P_DEFAULT);
        good = H5Aread(a, H5T_NATIVE_INT64, &value) >= 0 && H5Awrite(b, H5T_NATIVE_INT64, &value) >= 0;
        H5Aclose(a), H5Aclose(b);
    }
    H5Sclose(scalar), H5Fclose(in), H5Fclose(out), H5Pclose(access);
    must(good, "the copy in the old format");
}

static char *make_checkpoint(const char *base, const char *name) {
    char *output_dir = ql_path_join(base, name), *folder = ql_path_join(output_dir, "checkpoint-00000003");
    must(!ql_bad(state_save_new(output_dir, MODULES, STEP, 0)), "save");
    free(output_dir);
    return folder;
}

static void read_seed(const char *folder, const char *name, ql_str *out) {
    char *path = ql_path_join(folder, name);
    must(!ql_bad(ql_file_read(path, 1 << 20, out)), path);
    free(path);
}

int main(int argc, char **argv) {
    must(!ql_bad(ql_checkpoint_init()), "init");
    /* Each mutant's manifest is made durable, which takes a disk most of the time. */
    if (access("/dev/shm", W_OK) == 0) setenv("TMPDIR", "/dev/shm", 0);
    const char *base = ql_fuzz_folder();
    folders at = {make_checkpoint(base, "a"), make_checkpoint(base, "b")};
    char *state = ql_path_join(at.state_folder, "state.h5"), *old = ql_path_join(base, "old.h5");
    ql_str seed[3];
    copy_in_old_format(state, old);
    read_seed(at.state_folder, "state.h5", &seed[0]);
    read_seed(base, "old.h5", &seed[1]);
    read_seed(at.manifest_folder, "MANIFEST.json", &seed[2]);
    atexit(count_kinds);
    int status = ql_fuzz_main(argc, argv, seed, QL_LEN(seed), target, &at);
    for (size_t i = 0; i < QL_LEN(seed); i++) ql_str_free(&seed[i]);
    free(at.state_folder), free(at.manifest_folder), free(state), free(old);
    return status;
}
