#include "worker/early_stop.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "checkpoint/checkpoint.h"
#include "worker/stop.h"

/* The checkpoint from which the next start will go on; NULL: none, or none that is good. */
static char *checkpoint_at_hand(const ql_config *c) {
    const char *how = c->resume_from_checkpoint;
    char       *path = NULL;
    if (!strcmp(how, "false")) return NULL;
    if (strcmp(how, "auto") && strcmp(how, "true")) return ql_bad(ql_checkpoint_verify(how)) ? NULL : ql_strdup(how);
    return ql_bad(ql_checkpoint_newest(c->output_dir, &path)) ? NULL : path;
}

static void say_once(int sig) {
    static bool said;
    if (!said) ql_info("%s: stops before the first step, as soon as there is a checkpoint to go on from", ql_stop_name(sig));
    said = true;
}

ql_err ql_stop_early(ql_job *j) {
    int64_t sig = ql_stop_wish(j->world);
    QL_TRY(ql_max_i64(j->world, &sig, 1));
    if (sig == 0) return ql_ok();
    char *path = j->place.rank == 0 ? checkpoint_at_hand(&j->config) : NULL;
    bool  there = path != NULL;
    ql_err e = ql_broadcast(j->world, &there, sizeof there, 0);
    if (!ql_bad(e) && there)
        e = ql_fail(QL_STOPPED, "%s: stopped before the first step of this start; %s is verified; run the same command to go on",
                    ql_stop_name((int)sig), path ? path : "the checkpoint");
    else if (!ql_bad(e)) say_once((int)sig);
    free(path);
    return e;
}
