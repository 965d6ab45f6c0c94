#include "tests/cache/rig.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/support/random_model.h"

static const random_model small = {"small", 64, 2, 4, 2, 160, 256, true, 2048};
static double ahead = 60;
static int    threads = 1;
static char   caches[512];

double __real_ql_wall_seconds(void);
double __wrap_ql_wall_seconds(void);
double __wrap_ql_wall_seconds(void) {
    return __real_ql_wall_seconds() + ahead;
}

void rig_clock_ahead(double seconds) {
    ahead = seconds;
}

int rig_open(void **state) {
    if (scratch_make(state)) return -1;
    snprintf(caches, sizeof caches, "%s", scratch("caches"));
    ql_err e = ql_dir_make(scratch("model"));
    if (!ql_bad(e)) random_model_write(&small, scratch("model"), 1);
    return ql_bad(e);
}

int rig_close(void **state) {
    return scratch_remove(state);
}

void rig_use_threads(int n) {
    threads = n;
}

const char *rig_caches(void) {
    return caches;
}

void rig_empty(void) {
    ok(ql_dir_remove(rig_caches()));
}

ql_load_options rig_options(const char *cache) {
    return (ql_load_options){true, ql_quant_find("nf4"), true, cache, true};
}

loaded rig_load(const ql_load_options *o) {
    ql_model   m;
    ql_device *d;
    ok(ql_device_open("cpu", 0, threads, &d));
    ok(ql_model_describe(scratch("model"), o, &m));
    ok(ql_model_load(&m, d, 16));
    loaded l = {.size = m.weight_bytes, .slots = m.graph.slots, .origin = ql_strdup(m.origin)};
    l.bytes = ql_alloc(l.size);
    l.offset = QL_NEW_ARRAY(float, l.slots);
    ok(ql_download(d, l.bytes, (ql_tensor){m.buffer, 0, QL_U8, 1, (int64_t)l.size}));
    for (size_t i = 0; i < l.slots; i++) l.offset[i] = m.weight[i].nested_offset;
    ql_model_close(&m);
    ql_device_close(d);
    return l;
}

void rig_free(loaded *l) {
    free(l->bytes);
    free(l->offset);
    free(l->origin);
    *l = (loaded){0};
}

bool rig_same(const loaded *a, const loaded *b) {
    return a->size == b->size && !memcmp(a->bytes, b->bytes, a->size) && a->slots == b->slots &&
           !memcmp(a->offset, b->offset, a->slots * sizeof(float));
}

bool rig_from_cache(const loaded *l) {
    return !strncmp(l->origin, "from the cache ", 15);
}

void rig_expect_at(bool from_cache, const char *file, int line) {
    ql_load_options with = rig_options(rig_caches()), without = rig_options(NULL);
    loaded          l = rig_load(&with), reference = rig_load(&without);
    bool            good = rig_same(&l, &reference) && rig_from_cache(&l) == from_cache;
    if (!good) print_error("%s weights, %s\n", rig_same(&l, &reference) ? "the right" : "wrong", l.origin);
    rig_free(&l);
    rig_free(&reference);
    if (!good) _fail(file, line);
}

static size_t look(const char *ending, char *last, size_t size) {
    DIR   *dir = opendir(rig_caches());
    size_t n = 0;
    for (struct dirent *e; dir && (e = readdir(dir));) {
        const char *at = strstr(e->d_name, ending);
        if (!at || e->d_name[0] == '.') continue;
        if (strcmp(ending, ".base") == 0 && at[strlen(ending)]) continue;
        snprintf(last, size, "%s/%s", rig_caches(), e->d_name);
        n++;
    }
    if (dir) closedir(dir);
    return n;
}

size_t rig_count(const char *ending) {
    char last[1024];
    return look(ending, last, sizeof last);
}

const char *rig_cache_file(void) {
    static char path[1024];
    if (look(".base", path, sizeof path) != 1) fail_msg("not exactly one cache in %s", rig_caches());
    return path;
}
