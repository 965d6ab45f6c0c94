/* What a save costs: how long a step stands still for it, how long it takes beside the training, and what that time is
 * spent on.
 *
 *   bench_save [MILLION [THREADS [FOLDER]]]
 *
 * By default 40 million trained parameters (an adapter of 160 MB, 480 MB with its moments: Llama-3-8B with rank 16 on all
 * linear layers), all threads, a new folder below /var/tmp. Prints the least and the median time of ROUNDS rounds, and the
 * least processor time of all threads together, of which other programs take less away. The parts are those of one save,
 * each done once more by itself. */
#include <fcntl.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/background.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "checkpoint/h5.h"
#include "checkpoint/manifest.h"
#include "tests/bench/stopwatch.h"
#include "worker/model/adapter.h"

enum { ROUNDS = 7, LAYERS = 32, MODULES = 7, R = 16 };
static const char *const module_name[MODULES] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
                                                 "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"};
/* Of Llama-3-8B, whose 41.9 million parameters are scaled to what is asked for. */
static const int64_t shape_of[MODULES][2] = {{4096, 4096}, {4096, 1024}, {4096, 1024}, {4096, 4096}, {4096, 14336}, {4096, 14336}, {14336, 4096}};

static int64_t scaled(int64_t n, double by) {
    return ql_max(16, (int64_t)((double)n * by) / 16 * 16);
}

static ql_adapter_shape make_shape(double million) {
    ql_adapter_shape s = {.r = R, .scale = 2, .modules = LAYERS * MODULES};
    s.module = QL_NEW_ARRAY(ql_adapter_module, s.modules);
    for (size_t i = 0; i < s.modules; i++) {
        const int64_t     *in_out = shape_of[i % MODULES];
        ql_adapter_module *m = &s.module[i];
        *m = (ql_adapter_module){.module = ql_format("model.layers.%zu.%s", i / MODULES, module_name[i % MODULES]),
                                 .in = scaled(in_out[0], million / 41.9),
                                 .out = scaled(in_out[1], million / 41.9),
                                 .a_at = s.length};
        m->b_at = m->a_at + R * m->in;
        s.length = m->b_at + R * m->out;
    }
    s.trainable = s.length;
    return s;
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

typedef struct {
    double wall, processor;
} moment;

typedef struct {
    double wall[ROUNDS], processor[ROUNDS];
} times;

static moment look(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (moment){ql_seconds(), (double)t.tv_sec + 1e-9 * (double)t.tv_nsec};
}

static void note(times *t, int round, moment from, moment to) {
    t->wall[round] = to.wall - from.wall;
    t->processor[round] = to.processor - from.processor;
}

static void show(const char *what, times *t, double bytes) {
    qsort(t->wall, ROUNDS, sizeof(double), by_size);
    qsort(t->processor, ROUNDS, sizeof(double), by_size);
    printf("%-44s %8.1f ms %8.1f ms %8.1f ms", what, 1e3 * t->wall[0], 1e3 * t->wall[ROUNDS / 2], 1e3 * t->processor[0]);
    if (bytes > 0) printf("  %6.2f GB/s", bytes / t->wall[0] / 1e9);
    printf("\n");
}

typedef struct {
    ql_adapter      adapter;
    ql_adapter_copy copy;
    ql_state        state;
    ql_peft_config  card;
    ql_save_order   order;
    double          bytes;
} subject;

static void fill(ql_adapter *a) {
    ql_tensor run[] = {a->value, a->moment1, a->moment2};
    for (size_t r = 0; r < QL_LEN(run); r++) {
        float *x = ql_host_address(a->device, run[r]);
        for (int64_t i = 0; i < ql_count(run[r]); i++) x[i] = (float)((i * 2654435761u + r * 40503) % 1000003) * 1e-6f - 0.5f;
    }
}

static void open_subject(double million, int threads, const char *folder, subject *s) {
    ql_device       *device;
    ql_adapter_shape shape = make_shape(million);
    must(ql_device_open("cpu", 0, threads, &device));
    must(ql_adapter_open(device, &shape, true, false, &s->adapter));
    fill(&s->adapter);
    size_t bytes = ql_adapter_copy_bytes(&s->adapter.shape);
    void  *memory;
    must(ql_host_new(device, bytes, &memory));
    memset(memory, 0, bytes);
    ql_adapter_copy_open_in(&s->adapter, memory, &s->copy);
    s->state = (ql_state){.tensor = s->copy.tensor, .n_tensors = s->copy.tensors, .computed_on = "cpu"};
    for (int i = 0; i < QL_COUNTERS; i++) s->state.counter[i] = i < QL_COUNTERS_ALWAYS ? 0 : QL_NO_COUNT;
    s->card = (ql_peft_config){.r = R, .lora_alpha = 32, .base_model_name_or_path = ql_strdup("model")};
    s->order = (ql_save_order){.output_dir = folder,
                               .state = &s->state,
                               .peft = &s->card,
                               .modules = s->copy.module,
                               .n_modules = s->adapter.shape.modules,
                               .keep = 1,
                               .best = -1};
    s->bytes = (double)bytes;
}

static void time_stall(subject *s, int threads) {
    times    both, digest;
    uint64_t first = 0, again;
    for (int i = 0; i < ROUNDS; i++) {
        moment start = look();
        must(ql_adapter_snapshot(&s->adapter, &s->copy, true, threads, &again));
        note(&both, i, start, look());
        if (i == 0) first = again;
        start = look();
        must(ql_adapter_snapshot(&s->adapter, &s->copy, false, threads, &again));
        note(&digest, i, start, look());
        if (again != first) must(ql_fail(QL_BUG, "two digests of the same"));
    }
    show("a step stands still: rank 0, copy and digest", &both, s->bytes);
    show("a step stands still: others, digest", &digest, s->bytes);
}

static ql_err save(void *subject_) {
    subject *s = subject_;
    return ql_checkpoint_save(&s->order, NULL);
}

static void time_saves(subject *s) {
    times all, begin;
    for (int i = 0; i < ROUNDS; i++) {
        ql_background b = {0};
        s->state.counter[QL_COUNT_STEP]++;
        moment start = look();
        ql_background_start(&b, save, s);
        note(&begin, i, start, look());
        must(ql_background_take(&b));
        note(&all, i, start, look());
    }
    show("starting the thread", &begin, 0);
    show("the whole save, on one thread", &all, 0);
}

static void sync_files(const char *folder) {
    static const char *const names[] = {"state.h5", "adapter_model.safetensors"};
    for (size_t i = 0; i < QL_LEN(names); i++) {
        char *path = ql_path_join(folder, names[i]);
        int   fd = open(path, O_RDONLY);
        if (fd < 0 || fsync(fd) != 0) must(ql_fail_errno("%s", path));
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        close(fd);
        free(path);
    }
}

static ql_err ignore_text(void *self, const char *text) {
    (void)self, (void)text;
    return ql_ok();
}

static ql_err ignore_counters(void *self, const int64_t counter[QL_COUNTERS]) {
    (void)self, (void)counter;
    return ql_ok();
}

static ql_err ignore_array(void *self, const float *data, size_t n) {
    (void)self, (void)data, (void)n;
    return ql_ok();
}

static void time_parts(subject *s, const char *folder) {
    const char *name[] = {"  state.h5 written by HDF5", "  adapter written and read back", "  SHA-256 of what was written",
                          "  fsync", "  SHA-256 of what the disk gives back", "  state.h5 read back by HDF5"};
    times       part[QL_LEN(name)];
    char       *state = ql_path_join(folder, "state.h5");
    ql_h5_sink  sink = {.computed_on = ignore_text, .counters = ignore_counters, .array = ignore_array};
    double      written = s->bytes * 4 / 3;
    for (int i = 0; i < ROUNDS; i++) {
        must(ql_dir_remove(folder));
        must(ql_dir_make(folder));
        ql_manifest m = {0};
        moment      t[QL_LEN(name) + 1] = {look()};
        must(ql_h5_write(state, &s->state));
        t[1] = look();
        must(ql_peft_write(folder, &s->card, s->copy.module, s->adapter.shape.modules));
        t[2] = look();
        must(ql_manifest_add(&m, folder, "state.h5"));
        must(ql_manifest_add(&m, folder, "adapter_model.safetensors"));
        t[3] = look();
        sync_files(folder);
        t[4] = look();
        must(ql_manifest_check(&m, folder, NULL));
        t[5] = look();
        must(ql_h5_read(state, &s->state, &sink));
        t[6] = look();
        ql_manifest_free(&m);
        for (size_t p = 0; p < QL_LEN(name); p++) note(&part[p], i, t[p], t[p + 1]);
    }
    double bytes[] = {s->bytes, s->bytes / 3, written, written, written, s->bytes};
    for (size_t p = 0; p < QL_LEN(name); p++) show(name[p], &part[p], bytes[p]);
    free(state);
}

static void time_digest(const subject *s) {
    times sha;
    for (int i = 0; i < ROUNDS; i++) {
        moment start = look();
        (void)ql_sha256_of(s->copy.memory, (size_t)s->bytes);
        note(&sha, i, start, look());
    }
    show("SHA-256 of memory, one thread", &sha, s->bytes);
}

int main(int argc, char **argv) {
    double million = argc > 1 ? atof(argv[1]) : 40;
    int    threads = argc > 2 ? atoi(argv[2]) : omp_get_max_threads();
    char   own[] = "/var/tmp/qlora-bench.XXXXXX", *folder = argc > 3 ? argv[3] : own;
    if (million <= 0 || threads < 1) must(ql_fail(QL_USAGE, "bench_save: see the first lines of tests/bench/bench_save.c"));
    must(ql_checkpoint_init());
    if (argc <= 3 && !mkdtemp(own)) must(ql_fail_errno("%s", own));
    must(ql_dir_make(folder));
    subject s = {0};
    char   *parts = ql_path_join(folder, "parts");
    open_subject(million, threads, folder, &s);
    printf("%.1f million parameters, adapter and moments %.0f MB, %d threads, %s\n%-44s %11s %11s %11s\n", (double)s.adapter.shape.trainable / 1e6,
           s.bytes / 1e6, threads, folder, "", "least", "median", "processor");
    time_stall(&s, threads);
    time_saves(&s);
    time_parts(&s, parts);
    time_digest(&s);
    must(ql_dir_remove(argc > 3 ? parts : folder));
    return 0;
}
