#include "worker/output_folder.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/private.h"

/* What a run reads or writes there, by name or by the beginning of it. What else lies there is the user's. */
static bool is_of_a_run(const char *name) {
    static const char *const whole[] = {
        "run", "run.log", "metrics.jsonl", "config.yaml", "adapter_config.json", "adapter_model.safetensors"};
    static const char *const beginning[] = {"checkpoint-", ".tmp-checkpoint-"};
    for (size_t i = 0; i < QL_LEN(whole); i++)
        if (!strcmp(name, whole[i])) return true;
    for (size_t i = 0; i < QL_LEN(beginning); i++)
        if (!strncmp(name, beginning[i], strlen(beginning[i]))) return true;
    return false;
}

static bool is_any(const char *name) {
    return name[0];
}

ql_err ql_output_folder(const char *output_dir) {
    QL_TRY(ql_private_folder(output_dir));
    QL_TRY(ql_private_no_links(output_dir, is_of_a_run));
    char *run = ql_path_join(output_dir, "run");
    ql_err e = ql_private_folder(run);
    if (!ql_bad(e)) e = ql_private_no_links(run, is_any);
    free(run);
    return e;
}
