/* Finding, verifying and loading. */
#include "checkpoint/checkpoint.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/log.h"
#include "checkpoint/checkpoint_folder.h"
#include "checkpoint/checkpoint_read.h"
#include "checkpoint/h5.h"

ql_err ql_checkpoint_init(void) {
    return ql_h5_init();
}

ql_err ql_checkpoint_verify(const char *path) {
    ql_manifest m;
    QL_TRY(ql_manifest_read(path, &m));
    ql_err e = ql_manifest_lists(&m, path, QL_STATE_NAME);
    if (!ql_bad(e)) e = ql_manifest_check(&m, path, NULL);
    ql_manifest_free(&m);
    return e;
}

/* The digest of the file that is about to be opened; the step that the manifest speaks of. */
static ql_err verify_state(const char *path, int64_t *step) {
    ql_manifest m;
    QL_TRY(ql_manifest_read(path, &m));
    ql_err e = ql_manifest_check(&m, path, QL_STATE_NAME);
    *step = m.step;
    ql_manifest_free(&m);
    return e;
}

static ql_err check_one(const char *output_dir, int64_t step) {
    ql_manifest m;
    QL_TRY(ql_checkpoint_manifest(output_dir, step, &m));
    ql_manifest_free(&m);
    char *path = ql_checkpoint_path(output_dir, step);
    ql_err e = ql_checkpoint_verify(path);
    free(path);
    return e;
}

ql_err ql_checkpoint_newest(const char *output_dir, char **path) {
    int64_t *steps;
    size_t n;
    *path = NULL;
    ql_code code = QL_DATA;
    ql_err e = ql_checkpoint_list(output_dir, &steps, &n);
    for (size_t i = 0; i < n && !ql_bad(e) && !*path; i++) {
        ql_err bad = check_one(output_dir, steps[i]);
        if (bad.code == QL_DENIED) code = QL_DENIED;
        if (ql_bad(bad))
            ql_warn("checkpoint of step %" PRId64 " is skipped: %s", steps[i], ql_err_text());
        else
            *path = ql_checkpoint_path(output_dir, steps[i]);
    }
    free(steps);
    if (!ql_bad(e) && n > 0 && !*path)
        e = ql_fail(code,
                    "%s: holds checkpoints, but no good one; restore one, or use another output_dir or "
                    "resume_from_checkpoint: false",
                    output_dir);
    return e;
}

ql_err ql_checkpoint_load(const char *path, ql_state *s) {
    int64_t step;
    QL_TRY(verify_state(path, &step));
    char *state = ql_path_join(path, QL_STATE_NAME);
    ql_err e = ql_checkpoint_read_state(state, s);
    if (!ql_bad(e) && s->counter[QL_COUNT_STEP] != step)
        e = ql_fail(QL_DATA, "%s: is of step %" PRId64 ", its manifest of step %" PRId64, state, s->counter[QL_COUNT_STEP], step);
    free(state);
    return e;
}
