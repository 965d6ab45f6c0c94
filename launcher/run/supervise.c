#include "launcher/run/supervise.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "launcher/devices.h"
#include "launcher/run/attend.h"
#include "launcher/run/diagnosis.h"
#include "launcher/run/policy.h"
#include "launcher/run/record.h"

typedef struct {
    const ql_run *run;
    ql_requests  *requests;
    ql_policy     policy;
    int64_t       n_ranks; /* of the next start */
    bool          goes_on; /* it has something to go on from: what an earlier one began */
    ql_relay      said;    /* by the last one   */
    ql_ending     ending;
    ql_decision   decision;
    double        pause;
} supervision;

/* ---- one start ---- */

static bool uses_mpirun(const supervision *s) {
    return s->n_ranks > 1 || s->run->hosts.count > 0;
}

static ql_err start_once(supervision *s, int *status) {
    const ql_run *r = s->run;
    bool          several = uses_mpirun(s);
    char *const  *words = s->goes_on ? r->words_again : r->words;
    char        **command = several ? ql_mpi_command(&r->mpi, s->n_ranks, &r->hosts, words) : NULL;
    ql_start      start = {several ? command : words, several, r->hosts.count > 0, r->saves};
    ql_relay_free(&s->said);
    ql_err e = ql_attend(&start, s->requests, &s->said, status);
    if (several) ql_mpi_command_free(command);
    return e;
}

static bool is_clear(const ql_ending *e) {
    return e->is_done || e->status == QL_STOPPED || e->status == QL_USAGE || e->status == QL_DATA || e->status == QL_DENIED;
}

/* Checkpoints are looked at only where something depends on them: that reads all of them. */
static void judge(supervision *s, const ql_record *before, int status) {
    const ql_run *r = s->run;
    ql_record     now;
    ql_record_read(r->output_dir, &now);
    s->goes_on |= now.generation != before->generation;
    s->ending = (ql_ending){.status = status,
                            .is_done = now.done != before->done,
                            .was_asked = s->requests->asked != 0,
                            .step = now.step,
                            .checkpoint = QL_NO_STEP,
                            .words = s->said.n_words > 0 ? s->said.words[0] : ""};
    if (!is_clear(&s->ending) && ql_bad(ql_record_newest(r->output_dir, r->words[0], &s->ending.checkpoint))) ql_warn("%s", ql_err_text());
    s->decision = ql_policy_decide(&s->policy, &s->ending, &s->pause);
}

static ql_err start_and_judge(supervision *s) {
    ql_record before;
    int       status;
    ql_record_read(s->run->output_dir, &before);
    QL_TRY(start_once(s, &status));
    judge(s, &before, status);
    return ql_ok();
}

/* ---- and another ---- */

/* "rank 1 made no progress ..., exit status 75 ..., after step 12" */
static char *failure_text(const supervision *s) {
    const ql_ending *e = &s->ending;
    char            *how = ql_status_text(e->status), *text;
    const char      *comma = e->words[0] ? ", " : "";
    if (e->step > 0) text = ql_format("%s%s%s, after step %" PRId64, e->words, comma, how, e->step);
    else text = ql_format("%s%s%s, before the first step", e->words, comma, how);
    free(how);
    return text;
}

static void say_restart(const supervision *s) {
    char *failure = failure_text(s), from[64];
    if (s->ending.checkpoint > 0) snprintf(from, sizeof from, "from step %" PRId64, s->ending.checkpoint);
    else snprintf(from, sizeof from, "from the beginning");
    ql_warn("the workers ended: %s", failure);
    ql_warn("starting them again %s, in %.0f s (restart %d of %d without a newer checkpoint)", from, s->pause, s->policy.restarts,
            s->policy.max_restarts);
    free(failure);
}

/* A device that does not work any more would end the next start like this one; and where all are gone, a CPU would come to other bits. */
static ql_err choose_ranks(supervision *s) {
    ql_devices d;
    if (!s->run->on_devices) return ql_ok();
    QL_TRY(ql_devices_look(s->run->words[0], &d));
    ql_devices_hide_unusable(&d);
    s->n_ranks = ql_min(s->run->n_ranks, d.usable);
    bool few = s->n_ranks < s->run->n_ranks, enough = s->n_ranks >= s->run->min_ranks;
    if (few && enough) ql_warn("%s; going on with %" PRId64 " workers", d.problems ? d.problems : "a device is gone", s->n_ranks);
    ql_err e = enough ? ql_ok()
                      : ql_fail(QL_TEMP, "%s: %" PRId64 " devices work, and %" PRId64 " workers are the fewest allowed; repair it, or set min_ranks",
                                d.problems ? d.problems : "a device is gone", d.usable, s->run->min_ranks);
    free(d.problems);
    return e;
}

static ql_err prepare_restart(supervision *s) {
    say_restart(s);
    if (!ql_requests_pause(s->requests, s->pause)) return ql_ok();
    return choose_ranks(s);
}

/* ---- the end ---- */

/* What mpirun makes of an end that it brought about is none of ours. */
static int our_status(int status) {
    return status > 128 || status == 1 ? QL_TEMP : status;
}

/* The workers have said why; behind the words of an mpirun, that has to be said again. */
static ql_err end_as_said(const supervision *s, int code, int *status) {
    *status = code;
    const char *sentence = code == QL_STOPPED ? s->said.stopped : s->said.n_words > 0 ? s->said.words[0] : NULL;
    if (!uses_mpirun(s) || code == 0) return ql_ok();
    return ql_fail((ql_code)code, "%s", sentence ? sentence : "the workers were ended before they could say why; run the same command to go on");
}

static ql_err give_up(const supervision *s) {
    char  *failure = failure_text(s);
    ql_err e;
    ql_diagnosis_print(s->run->output_dir, &s->said);
    if (s->decision == QL_ENDS_REPEATED)
        e = ql_fail(QL_TEMP, "the run failed twice in the same way: %s; the same would happen again: remove the cause, then run the same command to go on "
                             "from the last checkpoint", failure);
    else
        e = ql_fail(QL_TEMP, "no newer checkpoint after %d restarts, last time: %s; remove the cause, then run the same command to go on (max_restarts, "
                             "save_steps)", s->policy.max_restarts, failure);
    free(failure);
    return e;
}

static ql_err finish(const supervision *s, int *status) {
    const ql_ending *e = &s->ending;
    switch (s->decision) {
        case QL_ENDS_DONE:
            if (e->status != 0) ql_warn("the run is done, though its processes ended with status %d", e->status);
            *status = 0;
            return ql_ok();
        case QL_ENDS_STOPPED: return end_as_said(s, e->status == 0 ? QL_TEMP : our_status(e->status), status);
        case QL_ENDS_REFUSED: return end_as_said(s, e->status, status);
        default: return give_up(s);
    }
}

/* Between two starts. */
static ql_err stopped_between(const supervision *s) {
    if (s->ending.checkpoint > 0)
        return ql_fail(QL_STOPPED, "stopped on request between two starts, with a verified checkpoint of step %" PRId64 " in %s; run the same command to go on",
                       s->ending.checkpoint, s->run->output_dir);
    return ql_fail(QL_TEMP, "stopped on request between two starts, with no checkpoint yet; run the same command to begin again");
}

static ql_err repeat(supervision *s, int *status) {
    for (;;) {
        QL_TRY(start_and_judge(s));
        if (s->decision != QL_STARTS_AGAIN) return finish(s, status);
        QL_TRY(prepare_restart(s));
        if (s->requests->asked) return stopped_between(s);
    }
}

ql_err ql_supervise(const ql_run *r, ql_requests *requests, int *status) {
    supervision s = {.run = r, .requests = requests, .policy = {.max_restarts = r->max_restarts}, .n_ranks = r->n_ranks, .said = {.from = -1}};
    ql_err      e;
    if (r->saves) e = repeat(&s, status);
    else e = start_once(&s, status);
    if (!ql_bad(e) && !r->saves) e = end_as_said(&s, our_status(*status), status);
    ql_relay_free(&s.said);
    ql_policy_free(&s.policy);
    return e;
}
