/* How long a step and a save take, from the metrics.jsonl of earlier starts. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "launcher/submit/submit.h"

enum { LONGEST_LINE = 1 << 20 };

static void take_line(const char *line, size_t n, ql_slowness *most) {
    ql_json *v;
    if (ql_bad(ql_json_parse(line, n, "metrics.jsonl", 1, &v))) return;
    double step = ql_json_number(ql_json_get(v, "step_seconds"), 0), save = ql_json_number(ql_json_get(v, "save_seconds"), 0);
    most->known |= step > 0;
    most->step = fmax(most->step, step);
    most->save = fmax(most->save, save);
    ql_json_free(v);
}

ql_slowness ql_slowness_of(const char *output_dir) {
    ql_slowness most = {0}, guess = {.step = 30, .save = 30};
    char       *path = ql_path_join(output_dir, "metrics.jsonl"), *line = NULL;
    size_t      room = 0;
    ssize_t     n;
    FILE       *file = fopen(path, "re");
    while (file && (n = getline(&line, &room, file)) > 0 && n <= LONGEST_LINE) take_line(line, (size_t)n, &most);
    if (file) fclose(file);
    free(line);
    free(path);
    return most.known ? most : guess;
}

int64_t ql_lead_time(const ql_slowness *s) {
    enum { EARLY = 60, MOST = 65535 }; /* what Slurm takes */
    return (int64_t)fmin(EARLY + ceil(2 * (s->step + s->save)), MOST);
}

int64_t ql_grace_time(const ql_slowness *s) {
    enum { GUESS = 10, MOST = 3600 };
    return s->known ? (int64_t)fmin(ceil(s->step + s->save) + 2, MOST) : GUESS;
}
