#include "tests/fuzz/common.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"

enum { AT_LEAST = 100 };

static struct {
    const char *name;
    const uint8_t *bytes; /* what the parser is working on */
    size_t size;
    uint64_t seed, mutant;
    char crash[512];
} now;

/* Only calls that are safe in a signal handler, but for the one printf: we are dying anyway. */
static void keep_culprit(void) {
    int fd = open(now.crash, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd >= 0) {
        ssize_t ignored = write(fd, now.bytes, now.size);
        (void)ignored;
        close(fd);
    }
    fprintf(stderr, "%s: died on mutant %llu of seed %llu; its bytes are in %s\n", now.name,
            (unsigned long long)now.mutant, (unsigned long long)now.seed, now.crash);
}

static void on_crash(int sig) {
    keep_culprit();
    signal(sig, SIG_DFL);
    raise(sig);
}

/* Present when a sanitizer is linked in. */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void watch(const char *program, uint64_t seed) {
    const char *slash = strrchr(program, '/');
    now.name = slash ? slash + 1 : program;
    now.seed = seed;
    snprintf(now.crash, sizeof now.crash, "%s.crash", now.name);
    if (__sanitizer_set_death_callback) {
        __sanitizer_set_death_callback(keep_culprit);
        signal(SIGABRT, on_crash);
        return;
    }
    static const int sigs[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL};
    for (size_t i = 0; i < QL_LEN(sigs); i++) signal(sigs[i], on_crash);
}

/* The parser gets a block of exactly n bytes, so that a sanitizer sees one byte too many. */
static bool run_one(ql_fuzz_target target, void *ctx, const void *bytes, size_t n) {
    uint8_t *exact = malloc(n ? n : 1);
    if (!exact) abort();
    if (n) memcpy(exact, bytes, n);
    now.bytes = exact;
    now.size = n;
    bool accepted = target(ctx, exact, n);
    free(exact);
    now.size = 0;
    return accepted;
}

static int run_file(const char *path, ql_fuzz_target target, void *ctx) {
    ql_str text;
    if (ql_bad(ql_file_read(path, SIZE_MAX, &text))) {
        fprintf(stderr, "%s\n", ql_err_text());
        return 2;
    }
    bool accepted = run_one(target, ctx, text.data, text.size);
    printf("%s: %s%s%s\n", path, accepted ? "accepted" : "refused", accepted ? "" : ": ",
           accepted ? "" : ql_err_text());
    ql_str_free(&text);
    return 0;
}

static bool seeds_are_good(const ql_str *seeds, size_t n, ql_fuzz_target target, void *ctx) {
    for (size_t i = 0; i < n; i++) {
        if (run_one(target, ctx, seeds[i].data, seeds[i].size)) continue;
        fprintf(stderr, "%s: seed %zu is refused: %s\n", now.name, i, ql_err_text());
        return false;
    }
    return n > 0;
}

int ql_fuzz_main(int argc, char **argv, const ql_str *seeds, size_t n_seeds, ql_fuzz_target target, void *ctx) {
    if (argc == 2) return run_file(argv[1], target, ctx);
    if (argc < 3) {
        fprintf(stderr, "usage: %s SECONDS SEED [FIRST], or %s FILE\n", argv[0], argv[0]);
        return 64;
    }
    double until = ql_seconds() + atof(argv[1]);
    uint64_t seed = strtoull(argv[2], NULL, 10), first = argc > 3 ? strtoull(argv[3], NULL, 10) : 0;
    uint64_t done = 0, accepted = 0;
    watch(argv[0], seed);
    if (!seeds_are_good(seeds, n_seeds, target, ctx)) return 1;
    ql_str mutant = {0};
    for (; done < AT_LEAST || ql_seconds() < until; done++) {
        ql_fuzz f;
        now.mutant = first + done;
        ql_fuzz_start(&f, seed, (uint32_t)now.mutant);
        const ql_str *from = &seeds[ql_fuzz_below(&f, n_seeds)];
        ql_mutate(&f, (const uint8_t *)from->data, from->size, &mutant);
        accepted += run_one(target, ctx, mutant.data, mutant.size);
    }
    ql_str_free(&mutant);
    printf("%s: %llu mutants, %llu accepted\n", now.name, (unsigned long long)done, (unsigned long long)accepted);
    return 0;
}

static char scratch[512];

static void remove_scratch(void) {
    ql_err ignored = ql_dir_remove(scratch);
    (void)ignored;
}

const char *ql_fuzz_folder(void) {
    if (!scratch[0]) {
        /* In memory where that is possible: a disk flushes each file that is rewritten. */
        const char *base = getenv("TMPDIR");
        if (!base) base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
        snprintf(scratch, sizeof scratch, "%s/qlora-fuzz-XXXXXX", base);
        if (!mkdtemp(scratch)) {
            perror(scratch);
            exit(2);
        }
        atexit(remove_scratch);
    }
    return scratch;
}

const char *ql_fuzz_file(const char *name, const void *bytes, size_t n) {
    static char path[1024];
    snprintf(path, sizeof path, "%s/%s", ql_fuzz_folder(), name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || ql_bad(ql_write_all(fd, bytes, n, path))) {
        perror(path);
        exit(2);
    }
    close(fd);
    return path;
}
