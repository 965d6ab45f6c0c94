/* Mutants of a file in the cache of the quantised base: whatever lies there, the weights are right. */
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/log.h"
#include "tests/fuzz/common.h"
#include "tests/support/random_model.h"
#include "worker/model/model.h"

static const random_model small = {"small", 32, 1, 2, 1, 64, 64, true, 2048};

/* The model was just written, and would not be cached. */
double __real_ql_wall_seconds(void);
double __wrap_ql_wall_seconds(void);
double __wrap_ql_wall_seconds(void) {
    return __real_ql_wall_seconds() + 60;
}

typedef struct {
    char *model, *caches, *file;
    ql_str reference; /* the weights */
} context;

/* The weights on the device; true when they came from the cache. */
static bool load(const context *c, const char *cache, bool keeps, ql_str *out) {
    ql_load_options o = {true, ql_quant_find("nf4"), true, cache, keeps};
    ql_model m;
    ql_device *d;
    must(ql_device_open("cpu", 0, 1, &d));
    must(ql_model_describe(c->model, &o, &m));
    must(ql_model_load(&m, d, 4));
    out->size = 0;
    ql_str_put(out, ql_host_address(d, (ql_tensor){m.buffer, 0, QL_U8, 1, 1}), m.weight_bytes);
    for (size_t i = 0; i < m.graph.slots; i++) ql_str_put(out, &m.weight[i].nested_offset, sizeof(float));
    bool cached = !strncmp(m.origin, "from the cache", 14);
    ql_model_close(&m);
    ql_device_close(d);
    return cached;
}

static void write_file(const char *path, const void *bytes, size_t n) {
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(bytes, 1, n, f) != n || fclose(f) != 0 || chmod(path, 0600) != 0) abort();
}

static bool target(void *ctx, const uint8_t *bytes, size_t n) {
    const context *c = ctx;
    ql_str got = {0};
    write_file(c->file, bytes, n);
    bool cached = load(c, c->caches, false, &got);
    if (got.size != c->reference.size || memcmp(got.data, c->reference.data, got.size) != 0) abort();
    ql_str_free(&got);
    return cached;
}

int main(int argc, char **argv) {
    context c = {.model = ql_path_join(ql_fuzz_folder(), "model"), .caches = ql_path_join(ql_fuzz_folder(), "caches")};
    must(ql_dir_make(c.model));
    random_model_write(&small, c.model, 1);
    load(&c, c.caches, true, &c.reference);
    char *pattern = ql_path_join(c.caches, "*.base");
    glob_t found;
    if (glob(pattern, 0, NULL, &found) != 0) return 2;
    c.file = found.gl_pathv[0];
    ql_str seed;
    must(ql_file_read(c.file, 1 << 20, &seed));
    must(ql_log_open(NULL, 1, 2)); /* not rank 0: no line for each mutant that is not used */
    int rc = ql_fuzz_main(argc, argv, &seed, 1, target, &c);
    ql_str_free(&seed);
    ql_str_free(&c.reference);
    globfree(&found);
    free(pattern);
    free(c.model);
    free(c.caches);
    return rc;
}
