/* Mutants of state.h5 with a manifest that vouches for them, so that libhdf5 really sees them, and
 * mutants of the manifest. The state exists in two forms: as we write it, where most metadata
 * carries a checksum, and in HDF5's oldest format, where nothing does. Half of the mutants are blind ones of the whole
 * file; the others change metadata only, and renew its checksums (h5_patch.h). libhdf5 may crash on them:
 * in its child, which must come out as an error of ours. */
#include <hdf5.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "tests/checkpoint/old_format.h"
#include "tests/checkpoint/state.h"
#include "tests/faults/record.h"
#include "tests/fuzz/common.h"
#include "tests/fuzz/h5_patch.h"

enum { MODULES = 2, STEP = 3 };

static uint64_t crashes, hungry, of_metadata, of_old_metadata;

static void count_kinds(void) {
    printf("fuzz_checkpoint: libhdf5 crashed %llu times, ran out of its limits %llu times, in its child\n",
           (unsigned long long)crashes, (unsigned long long)hungry);
    record("31", "T36", "mutants", "no mutant kills the reader by a signal", "%llu changed metadata of ours, %llu of the oldest format: libhdf5 crashed %llu times, in its child",
           (unsigned long long)of_metadata, (unsigned long long)of_old_metadata, (unsigned long long)crashes);
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
        hungry += strstr(ql_err_text(), "ended before all was read") || strstr(ql_err_text(), "takes longer than");
        must(e.code == QL_DATA || e.code == QL_USAGE || e.code == QL_DENIED, "an unexpected code");
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
    h5_subject ours, oldest;
    ql_str patched;
} fixture;

static void put(const char *folder, const char *name, const uint8_t *bytes, size_t n) {
    char *path = ql_path_join(folder, name);
    FILE *f = fopen(path, "wb");
    must(f && fwrite(bytes, 1, n, f) == n && fclose(f) == 0, path);
    free(path);
}

/* What a mutant is of shows in its first byte: the manifest, changes of the metadata in either format, or a state. */
static bool target(void *ctx, const uint8_t *bytes, size_t n) {
    fixture *at = ctx;
    char kind = n > 0 ? (char)bytes[0] : 0;
    if (kind == '{') {
        put(at->manifest_folder, "MANIFEST.json", bytes, n);
        return load(at->manifest_folder);
    }
    if (kind == 'P' || kind == 'O') {
        *(kind == 'P' ? &of_metadata : &of_old_metadata) += 1;
        h5_patch(kind == 'P' ? &at->ours : &at->oldest, bytes + 1, n - 1, &at->patched);
        put(at->state_folder, "state.h5", (const uint8_t *)at->patched.data, at->patched.size);
    } else {
        put(at->state_folder, "state.h5", bytes, n);
    }
    must(!ql_bad(renew_manifest(at->state_folder, STEP)), "the manifest");
    return load(at->state_folder);
}

static char *make_checkpoint(const char *base, const char *name) {
    char *output_dir = ql_path_join(base, name), *folder = ql_path_join(output_dir, "checkpoint-00000003");
    must(!ql_bad(state_save_new(output_dir, MODULES, STEP, 0)), "save");
    free(output_dir);
    return folder;
}

/* Two changes: a 0 is added, and no bit is flipped. */
static const char NO_CHANGE[] = "P"
                                "\x10\x00\x00\x01\x00\x00\x00\x00"
                                "\x00\x02\x02\x02\x00\x00\x00\x00";

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
    fixture at = {make_checkpoint(base, "a"), make_checkpoint(base, "b"), {{0}, NULL, 0, 0, 0}, {{0}, NULL, 0, 0, 0}, {0}};
    char *state = ql_path_join(at.state_folder, "state.h5"), *old = ql_path_join(base, "old.h5");
    ql_str seed[5] = {0};
    must(copy_in_old_format(state, old), "the copy in the old format");
    must(h5_subject_open(state, &at.ours) && h5_subject_open(old, &at.oldest), "the metadata");
    read_seed(at.state_folder, "state.h5", &seed[0]);
    read_seed(base, "old.h5", &seed[1]);
    read_seed(at.manifest_folder, "MANIFEST.json", &seed[2]);
    ql_str_put(&seed[3], NO_CHANGE, sizeof NO_CHANGE - 1);
    ql_str_put(&seed[4], NO_CHANGE, sizeof NO_CHANGE - 1);
    seed[4].data[0] = 'O';
    atexit(count_kinds);
    int status = ql_fuzz_main(argc, argv, seed, QL_LEN(seed), target, &at);
    for (size_t i = 0; i < QL_LEN(seed); i++) ql_str_free(&seed[i]);
    h5_subject_close(&at.ours), h5_subject_close(&at.oldest), ql_str_free(&at.patched);
    free(at.state_folder), free(at.manifest_folder), free(state), free(old);
    return status;
}
