/* Time of a training step, split by operation, on a model of a given shape with random weights.
 *   bench_step [135m|1.1b] [ROWS] [TOKENS] [THREADS] [STEPS] [KEY=VALUE ...]
 * The weights lie in a temporary folder; the data are random ids in full rows of one document. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/random.h"
#include "tests/support/random_model.h"
#include "worker/data/corpus_build.h"
#include "worker/device_choice.h"
#include "worker/step.h"

static const random_model shapes[] = {
    {"135m", 576, 30, 9, 3, 1536, 49152, true}, /* SmolLM-135M    */
    {"1.1b", 2048, 22, 32, 4, 5632, 32000, false}, /* TinyLlama-1.1B */
};

static void make_rows(ql_job *j, int64_t rows, int64_t tokens) {
    int32_t *id = QL_NEW_ARRAY(int32_t, (size_t)tokens);
    uint8_t *target = QL_NEW_ARRAY(uint8_t, (size_t)tokens);
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t i = 0; i < tokens; i++) {
            id[i] = (int32_t)(ql_philox(9, (uint32_t)i, (uint32_t)r, 0, 0).word[0] % (uint32_t)j->model.config.vocab_size);
            target[i] = i > 0;
        }
        ql_corpus_add(&j->train, r, id, target, (size_t)tokens);
    }
    ql_corpus_seal(&j->train);
    ql_pack(&j->train, tokens, true, &j->train_rows);
    free(id);
    free(target);
}

static void print_phases(const ql_job *j, int64_t steps, double total) {
    const ql_plan *p = &j->plan.train;
    const char    *name[64];
    double         seconds[64];
    size_t         n = 0;
    for (size_t i = 0; i < p->steps; i++) {
        const ql_rule *rule = j->model.graph.node[p->step[i].node].rule;
        char           label[64];
        snprintf(label, sizeof label, "%s %s", rule->name, p->step[i].backward && p->step[i].d_out >= 0 ? "backward" : "forward");
        size_t k = 0;
        while (k < n && strcmp(name[k], label)) k++;
        if (k == n) {
            name[n] = ql_strdup(label);
            seconds[n++] = 0;
        }
        seconds[k] += j->seconds[i];
    }
    for (size_t k = 0; k < n; k++)
        printf("  %-22s %8.3f s  %5.1f %%\n", name[k], seconds[k] / (double)steps, 100 * seconds[k] / total);
}

static int64_t argument(int argc, char **argv, int i, int64_t otherwise) {
    return argc > i ? strtoll(argv[i], NULL, 10) : otherwise;
}

enum { OWN_KEYS = 4, KEYS_MAX = 32 };

static void set_up(ql_job *j, const random_model *s, const char *folder, int64_t rows, int64_t tokens, int threads,
                   char **keys, int n) {
    char *overrides[OWN_KEYS + KEYS_MAX] = {ql_format("max_length=%lld", (long long)tokens), ql_strdup("lora_r=16"),
                                            ql_format("per_device_train_batch_size=%lld", (long long)rows),
                                            ql_strdup("max_memory=64GiB")};
    for (int i = 0; i < n && i < KEYS_MAX; i++) overrides[OWN_KEYS + i] = keys[i];
    must(ql_config_from_overrides(overrides, (size_t)ql_min(OWN_KEYS + n, OWN_KEYS + KEYS_MAX), &j->config));
    j->config.model_name_or_path = ql_strdup(folder);
    must(ql_world_open(NULL, NULL, &j->world));
    j->place = ql_world_place(j->world);
    random_model_write(s, folder);
    must(ql_choose_device(j, "cpu", threads, false));
    must(ql_job_describe_model(j, QL_JOB_TRAIN));
    make_rows(j, rows, tokens);
    j->global_batch = rows;
    j->steps_per_epoch = j->total_steps = 1000;
    must(ql_job_plan(j, QL_JOB_TRAIN));
    double start = ql_seconds();
    must(ql_job_load(j, QL_JOB_TRAIN));
    char a[32], b[32];
    printf("%s: loaded in %.2f s, plan %s, buffers %s\n", s->name, ql_seconds() - start, ql_text_bytes(a, j->plan.total),
           ql_text_bytes(b, ql_device_memory(j->device).bytes_now));
}

int main(int argc, char **argv) {
    const random_model *s = &shapes[0];
    for (size_t i = 0; argc > 1 && i < QL_LEN(shapes); i++)
        if (!strcmp(argv[1], shapes[i].name)) s = &shapes[i];
    int64_t rows = argument(argc, argv, 2, 2), tokens = argument(argc, argv, 3, 1024), steps = argument(argc, argv, 5, 3);
    char    folder[] = "/var/tmp/qlora-bench.XXXXXX";
    if (!mkdtemp(folder)) return 1;
    ql_job j = {0};
    set_up(&j, s, folder, rows, tokens, (int)argument(argc, argv, 4, 0), argv + 6, argc > 6 ? argc - 6 : 0);
    ql_schedule schedule;
    must(ql_schedule_open(&j.config, 1000, &schedule));
    int64_t       *index = QL_NEW_ARRAY(int64_t, (size_t)rows);
    ql_step_result r;
    for (int64_t i = 0; i < rows; i++) index[i] = i;
    must(ql_step_on_rows(&j, &schedule, 0, index, rows, &r)); /* warm */
    j.seconds = QL_NEW_ARRAY(double, j.plan.train.steps);
    double start = ql_seconds(), best = 1e30;
    for (int64_t i = 1; i <= steps; i++) {
        must(ql_step_on_rows(&j, &schedule, i, index, rows, &r));
        best = r.seconds < best ? r.seconds : best;
    }
    double total = ql_seconds() - start;
    printf("%lld rows x %lld tokens: %.3f s a step (best %.3f), %.1f tokens/s (best %.1f), loss %.4f\n", (long long)rows,
           (long long)tokens, total / (double)steps, best, (double)(rows * tokens * steps) / total,
           (double)(rows * tokens) / best, r.loss);
    print_phases(&j, steps, total);
    double flop = 4.0 * (double)j.model.parameters * (double)(rows * tokens);
    printf("  base products alone: %.1f GFLOP/s of the whole step (4 per parameter and token)\n", flop / best * 1e-9);
    must(ql_dir_remove(folder));
    return 0;
}
