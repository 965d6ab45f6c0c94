#include "launcher/run/results.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"

typedef struct {
    ql_results *out;
    double      tokens;
} reading;

static void take_step(reading *r, const ql_json *v) {
    double seconds = ql_json_number(ql_json_get(v, "step_seconds"), 0);
    r->out->step = ql_json_int(ql_json_get(v, "step"), r->out->step);
    r->out->loss = ql_json_number(ql_json_get(v, "loss"), NAN);
    r->out->seconds += seconds;
    r->tokens += seconds * ql_json_number(ql_json_get(v, "tokens_per_second"), 0);
    r->out->peak_memory_bytes = ql_max(r->out->peak_memory_bytes, ql_json_int(ql_json_get(v, "peak_memory_bytes"), 0));
}

static void take_line(reading *r, const char *line, size_t n) {
    ql_json *v;
    if (n == 0 || ql_bad(ql_json_parse(line, n, "metrics.jsonl", 1, &v))) return;
    const char *event = ql_json_text(ql_json_get(v, "event"), NULL);
    if (event && !strcmp(event, "step")) take_step(r, v);
    if (event && !strcmp(event, "eval")) r->out->eval_loss = ql_json_number(ql_json_get(v, "eval_loss"), NAN);
    ql_json_free(v);
}

void ql_results_read(const char *output_dir, ql_results *out) {
    char   *path = ql_path_join(output_dir, "metrics.jsonl"), *line = NULL;
    size_t  capacity = 0;
    reading r = {.out = out};
    *out = (ql_results){.step = -1, .loss = NAN, .eval_loss = NAN, .tokens_per_second = NAN};
    FILE *file = fopen(path, "re");
    for (ssize_t n; file && (n = getline(&line, &capacity, file)) > 0;) take_line(&r, line, (size_t)(n - (line[n - 1] == '\n')));
    if (out->seconds > 0) out->tokens_per_second = r.tokens / out->seconds;
    if (file) fclose(file);
    free(line);
    free(path);
}
