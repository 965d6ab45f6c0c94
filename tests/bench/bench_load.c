/* Time to load a model of a given shape with random weights: quantised, and from the cache of the
 * quantised base, each with its files in the page cache and without; beside reading the cache's file.
 *   bench_load [135m|1.1b] [ROUNDS] [THREADS]
 * Prints time, bytes a second, and processor time, of which other programs take less away.
 * The folders lie in /var/tmp and are removed. Best of the rounds, which take all ways in turn. */
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "tests/support/random_model.h"
#include "worker/model/model.h"

static const random_model shapes[] = {
    {"135m", 576, 30, 9, 3, 1536, 49152, true, 2048}, /* SmolLM-135M    */
    {"1.1b", 2048, 22, 32, 4, 5632, 32000, false, 2048}, /* TinyLlama-1.1B */
};
static char model_folder[] = "/var/tmp/qlora-bench.XXXXXX", cache_folder[] = "/var/tmp/qlora-bench.XXXXXX";
static int  threads;

/* Lets the page cache forget a file, which must be on disk for that. */
static void forget(const char *path) {
    int fd = open(path, O_RDONLY);
    fdatasync(fd);
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
}

typedef struct {
    double wall, processor;
} times;

static times now(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (times){ql_seconds(), (double)t.tv_sec + 1e-9 * (double)t.tv_nsec};
}

static times since(times start) {
    times t = now();
    return (times){t.wall - start.wall, t.processor - start.processor};
}

static times read_file(const char *path) {
    enum { PIECE = 1 << 17 };
    static char piece[PIECE];
    times       start = now();
    int         fd = open(path, O_RDONLY);
    while (read(fd, piece, PIECE) > 0) {}
    close(fd);
    return since(start);
}

static times load(const char *cache) {
    ql_load_options o = {true, ql_quant_find("nf4"), true, cache, true};
    ql_model        m;
    ql_device      *d;
    times           start = now();
    must(ql_device_open("cpu", 0, threads, &d));
    must(ql_model_describe(model_folder, &o, &m));
    must(ql_model_load(&m, d, 1024));
    times t = since(start);
    if (!!strstr(m.origin, "from the cache") != (cache != NULL)) fprintf(stderr, "unexpected: %s\n", m.origin);
    ql_model_close(&m);
    ql_device_close(d);
    return t;
}

static void say(const char *what, times t, size_t bytes) {
    printf("%-52s %6.3f s  %6.2f GB/s  %6.3f s of processor time\n", what, t.wall, (double)bytes / t.wall * 1e-9,
           t.processor);
}

static times least(times a, times b) {
    return (times){a.wall < b.wall ? a.wall : b.wall, a.processor < b.processor ? a.processor : b.processor};
}

static size_t size_of(const char *path) {
    ql_file_mark mark;
    if (!ql_file_mark_read(path, &mark)) exit(1);
    return mark.size;
}

static void fill_cache(glob_t *found) {
    char *pattern = ql_path_join(cache_folder, "*.base");
    sleep(3); /* a model that was just written is not kept */
    ql_load_options o = {true, ql_quant_find("nf4"), true, cache_folder, true};
    ql_model        m;
    ql_device      *d;
    must(ql_device_open("cpu", 0, threads, &d));
    must(ql_model_describe(model_folder, &o, &m));
    must(ql_model_load(&m, d, 1024));
    printf("base %s\n", m.origin);
    ql_model_close(&m);
    ql_device_close(d);
    if (glob(pattern, 0, NULL, found) != 0) exit(1);
    free(pattern);
}

int main(int argc, char **argv) {
    const random_model *s = &shapes[0];
    for (size_t i = 0; argc > 1 && i < QL_LEN(shapes); i++)
        if (!strcmp(argv[1], shapes[i].name)) s = &shapes[i];
    int rounds = argc > 2 ? atoi(argv[2]) : 5;
    threads = argc > 3 ? atoi(argv[3]) : 0;
    if (!mkdtemp(model_folder) || !mkdtemp(cache_folder)) return 1;
    random_model_write(s, model_folder, 1);
    glob_t found;
    fill_cache(&found);
    const char *file = found.gl_pathv[0];
    char       *weights = ql_path_join(model_folder, "model.safetensors");
    times       best[6] = {0};
    for (int r = 0; r < rounds; r++) {
        times t[6];
        t[0] = load(NULL);
        t[1] = load(cache_folder);
        t[2] = read_file(file);
        forget(weights);
        t[3] = load(NULL);
        forget(weights);
        forget(file);
        t[4] = load(cache_folder);
        forget(file);
        t[5] = read_file(file);
        for (int i = 0; i < 6; i++) best[i] = r == 0 ? t[i] : least(best[i], t[i]);
    }
    say("quantised, model in the page cache", best[0], size_of(weights));
    say("from the cache, all in the page cache", best[1], size_of(file));
    say("reading the cache's file from the page cache", best[2], size_of(file));
    say("quantised, model on disk", best[3], size_of(weights));
    say("from the cache, all on disk", best[4], size_of(file));
    say("reading the cache's file from disk", best[5], size_of(file));
    must(ql_dir_remove(model_folder));
    must(ql_dir_remove(cache_folder));
    return 0;
}
