/* Damaged metrics.jsonl on resume: refused with its name, or what stays are whole lines of it, each JSON and of the past, and
 * none of the past is lost that was whole. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "tests/fuzz/common.h"
#include "worker/metrics.h"

enum { STEP = 7 };

static const char *const seed[] = {
    "{\"event\": \"start\", \"step\": 0, \"version\": \"x\"}\n{\"event\": \"step\", \"step\": 6, \"loss\": 1.5, \"grad_norm\": null}\n"
    "{\"event\": \"step\", \"step\": 7, \"loss\": 1e-3}\n{\"event\": \"eval\", \"step\": 7, \"eval_loss\": 2}\n"
    "{\"event\": \"save\", \"step\": 7, \"path\": \"o/\\u00e9\"}\n{\"event\": \"step\", \"step\": 8, \"loss\": 1}\n",
    "{\"event\": \"step\", \"step\": 9}\n{\"event\": \"end\", \"step\": 7, \"reason\": \"stopped\"}\n\n{\"event\": \"end\", \"step\": 7, \"reason\": "
    "\"done\"}\n{\"event\": \"st",
};

static void insist(bool fact, const char *what) {
    if (fact) return;
    fprintf(stderr, "fuzz_metrics: %s: %s\n", what, ql_err_text());
    abort();
}

/* One that is whole, JSON, and of a step before STEP: it must stay. */
static bool is_past(const char *line, size_t n) {
    ql_json *v;
    if (ql_bad(ql_json_parse(line, n, "line", 1, &v))) return false;
    bool past = ql_json_int(ql_json_get(v, "step"), 0) < STEP;
    ql_json_free(v);
    return past;
}

static size_t line_size(const char *text, size_t n) {
    const char *end = n ? memchr(text, '\n', n) : NULL;
    return end ? (size_t)(end - text) + 1 : 0;
}

/* Walks both texts: a line of the old one is the next of the new one, or was taken out. */
static void compare(const char *old, size_t n_old, const char *kept, size_t n_kept) {
    for (size_t n; (n = line_size(old, n_old)); old += n, n_old -= n) {
        bool stayed = n <= n_kept && !memcmp(old, kept, n);
        insist(stayed || !is_past(old, n - 1), "a line of the past is lost");
        if (!stayed) continue;
        ql_json *v;
        insist(!ql_bad(ql_json_parse(kept, n - 1, "line", 1, &v)), "a line that is no JSON was kept");
        insist(ql_json_int(ql_json_get(v, "step"), 0) <= STEP, "a line of the future was kept");
        ql_json_free(v);
        kept += n;
        n_kept -= n;
    }
    insist(n_kept == 0, "there is more than there was");
}

static bool target(void *ctx, const uint8_t *bytes, size_t n) {
    (void)ctx;
    ql_metrics m;
    ql_metrics_past past = {.step = STEP, .evaluated = true};
    const char *path = ql_fuzz_file("metrics.jsonl", bytes, n);
    ql_err e = ql_metrics_open(ql_fuzz_folder(), &past, &m);
    if (ql_bad(e)) insist(e.code == QL_DATA && strstr(ql_err_text(), "metrics.jsonl: "), "a refusal without the file's name");
    ql_metrics_close(&m);
    if (ql_bad(e)) return false;
    ql_str kept;
    insist(!ql_bad(ql_file_read(path, SIZE_MAX, &kept)), "the file");
    compare((const char *)bytes, n, kept.data ? kept.data : "", kept.size);
    ql_str_free(&kept);
    return true;
}

int main(int argc, char **argv) {
    ql_str seeds[QL_LEN(seed)] = {0};
    for (size_t i = 0; i < QL_LEN(seed); i++) ql_str_puts(&seeds[i], seed[i]);
    int status = ql_fuzz_main(argc, argv, seeds, QL_LEN(seed), target, NULL);
    for (size_t i = 0; i < QL_LEN(seed); i++) ql_str_free(&seeds[i]);
    return status;
}
