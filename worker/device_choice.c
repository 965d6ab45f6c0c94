#include "worker/device_choice.h"

#include <omp.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"

static int allowed_cpus(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    return CPU_COUNT(&set) > 0 ? CPU_COUNT(&set) : 1;
}

/* mpirun binds each rank of a small job to a core of its own; then the allowed ones are not shared. */
static int fair_share(int local_size) {
    int n = allowed_cpus();
    return n >= local_size ? n / local_size : 1;
}

static bool is_built(const char *wanted) {
    bool        built;
    const char *kind;
    for (int i = 0; (kind = ql_device_kind(i, &built)); i++)
        if (!strcmp(kind, wanted)) return built;
    return true; /* unknown: opening it says so */
}

/* Tensor cores know bf16 since compute capability 8.0. */
static ql_err operands_on_gpu(ql_job *j) {
    const char    *wanted = j->config.bnb_4bit_compute_dtype;
    ql_device_info info = {.capability = 90}; /* of a card that is not there */
    if (j->device) QL_TRY(ql_device_describe(j->device, &info));
    bool has_bf16 = info.capability >= 80;
    j->operands = !strcmp(wanted, "float32") ? QL_F32 : has_bf16 && strcmp(wanted, "float16") ? QL_BF16 : QL_F16;
    QL_CHECK(has_bf16 || strcmp(wanted, "bfloat16"), QL_USAGE,
             "bnb_4bit_compute_dtype: bfloat16: %s has no arithmetic for it (compute capability %d.%d); use float16 or auto",
             info.name, info.capability / 10, info.capability % 10);
    return ql_ok();
}

/* auto means the same on every CPU, whatever it is good at: the choice decides bits. */
static ql_dtype operands_on_cpu(const char *compute_dtype) {
    if (!strcmp(compute_dtype, "bfloat16")) return QL_BF16;
    if (!strcmp(compute_dtype, "float16"))
        ql_info("note: bnb_4bit_compute_dtype: float16: the CPU computes in float32; bfloat16 is the faster choice");
    return QL_F32;
}

ql_err ql_choose_device(ql_job *j, const char *kind, int threads, bool only_planning) {
    if (!kind) kind = j->config.device;
    if (threads == 0) threads = fair_share(j->place.local_size);
    omp_set_num_threads(threads); /* for reading data and quantising, which know no device */
    if (!strcmp(kind, "auto")) {
        kind = ql_device_preferred();
        if (!strcmp(kind, "cpu")) ql_info("device: auto: this build has no accelerator back end; computing on the CPU");
    }
    j->device_kind = kind;
    j->threads = threads;
    /* A plan for so much memory may be one for another card. */
    bool asks = !only_planning || (is_built(kind) && j->config.max_memory == 0);
    if (asks) QL_TRY(ql_device_open(kind, 0, threads, &j->device));
    if (strcmp(kind, "cpu")) return operands_on_gpu(j);
    j->operands = operands_on_cpu(j->config.bnb_4bit_compute_dtype);
    return ql_ok();
}

static ql_err describe_device(const char *kind, bool json, ql_str *line) {
    ql_device *d;
    QL_TRY(ql_device_open(kind, 0, 0, &d));
    ql_device_info info;
    ql_err         e = ql_device_describe(d, &info);
    ql_device_close(d);
    QL_TRY(e);
    char total[32], available[32];
    if (!json) {
        ql_str_printf(line, "%-5s %s, %d threads, %s of memory, %s available\n", kind, info.name, info.threads,
                      ql_text_bytes(total, info.bytes_total), ql_text_bytes(available, info.bytes_free));
        return ql_ok();
    }
    ql_str_printf(line, "{\"kind\": \"%s\", \"name\": ", kind);
    ql_json_put_string(line, info.name, strlen(info.name));
    ql_str_printf(line, ", \"threads\": %d, \"bytes_total\": %llu, \"bytes_free\": %llu}", info.threads,
                  (unsigned long long)info.bytes_total, (unsigned long long)info.bytes_free);
    return ql_ok();
}

ql_err ql_probe(bool json) {
    ql_str line = {0};
    if (json) ql_str_puts(&line, "{\"devices\": [");
    bool        built, first = true;
    const char *kind;
    for (int i = 0; (kind = ql_device_kind(i, &built)); i++) {
        if (!built && !json) ql_str_printf(&line, "%-5s not part of this build\n", kind);
        if (!built) continue;
        if (json && !first) ql_str_puts(&line, ", ");
        QL_TRY(describe_device(kind, json, &line));
        first = false;
    }
    if (json) ql_str_printf(&line, "], \"version\": \"%s\"}\n", QL_VERSION);
    fwrite(line.data, 1, line.size, stdout);
    ql_str_free(&line);
    return ql_ok();
}
