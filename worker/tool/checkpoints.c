/* What of a run's output_dir it could go on from: every checkpoint that has been published there, newest first, each with its
 * files' digests verified. Reads only.
 *
 *   120 good
 *   110 bad: .../checkpoint-00000110: state.h5 has another SHA-256 than MANIFEST.json says */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/checkpoint_folder.h"
#include "worker/tool/tool.h"

typedef struct {
    const char *output_dir;
    bool        json, newest; /* as JSON lines; up to the first good one */
} question;

static void print_text(int64_t step, const char *problem) {
    printf("%" PRId64 " %s%s\n", step, problem ? "bad: " : "good", problem ? problem : "");
}

static void print_json(int64_t step, const char *path, const char *problem) {
    ql_str line = {0};
    ql_str_printf(&line, "{\"step\": %" PRId64 ", \"path\": ", step);
    ql_json_put_string(&line, path, strlen(path));
    ql_str_printf(&line, ", \"good\": %s", problem ? "false, \"problem\": " : "true");
    if (problem) ql_json_put_string(&line, problem, strlen(problem));
    printf("%s}\n", line.data);
    ql_str_free(&line);
}

static bool print_one(const question *q, int64_t step) {
    char       *path = ql_checkpoint_path(q->output_dir, step);
    bool        good = !ql_bad(ql_checkpoint_verify(path));
    const char *problem = good ? NULL : ql_err_text();
    if (q->json) print_json(step, path, problem);
    else print_text(step, problem);
    free(path);
    return good;
}

static ql_err print_all(const question *q) {
    int64_t *steps;
    size_t   n;
    QL_TRY(ql_checkpoint_init());
    QL_TRY(ql_checkpoint_list(q->output_dir, &steps, &n));
    bool enough = false;
    for (size_t i = 0; i < n && !enough; i++) enough = print_one(q, steps[i]) && q->newest;
    free(steps);
    return ql_ok();
}

ql_err ql_do_checkpoints(int argc, char **argv) {
    question             q = {0};
    const ql_tool_option options[] = {{"--json", NULL, &q.json}, {"--newest", NULL, &q.newest}};
    char               **words = QL_NEW_ARRAY(char *, (size_t)argc + 1);
    size_t               n;
    ql_err               e = ql_tool_arguments("checkpoints", argc, argv, options, QL_LEN(options), words, &n);
    if (!ql_bad(e)) e = n == 1 ? ql_ok() : ql_fail(QL_USAGE, "checkpoints: expected one folder, the output_dir of a run");
    if (!ql_bad(e)) q.output_dir = words[0];
    free(words);
    return ql_bad(e) ? e : print_all(&q);
}
