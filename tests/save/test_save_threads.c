/* A thread that writes checkpoints beside one that trains, for the thread sanitizer: built with -fsanitize=thread, with base/ and
 * checkpoint/ compiled in, and without OpenMP, which it does not understand. What both threads do at the same time is what a
 * run does: messages, progress, claims, errors of their own; and what only one may touch is handed over by starting and
 * taking the work. A race ends the program with a status that is not 0. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/background.h"
#include "base/file.h"
#include "base/log.h"
#include "base/pulse.h"
#include "tests/checkpoint/state.h"
#include "worker/claim.h"

enum { MODULES = 4, SAVES = 6 };

static void must(ql_err e) {
    if (!ql_bad(e)) return;
    fprintf(stderr, "%s\n", ql_err_text());
    exit(1);
}

typedef struct {
    test_state   *state;
    ql_save_order order;
    ql_claim      claim;
    ql_background writing;
    char         *path;
} run;

static ql_err still_ours(void *claim) {
    return ql_claim_check(claim);
}

static ql_err write_it(void *self) {
    run *r = self;
    ql_pulse_thread_is(QL_PULSE_WRITER);
    ql_pulse_state before = ql_pulse_begin(QL_PULSE_SAVE, "a checkpoint");
    ql_warn("step %lld is being written", (long long)r->state->s.counter[QL_COUNT_STEP]);
    ql_err e = ql_checkpoint_save(&r->order, &r->path);
    ql_pulse_end(&before);
    return e;
}

/* What training does meanwhile. */
static void train(int step) {
    ql_pulse_step(step);
    ql_pulse_beat();
    ql_progress(false, "step %d", step);
    ql_info("step %d", step);
    ql_err ignored = ql_fail(QL_DATA, "step %d", step);
    (void)ignored;
    free(ql_format("%d", step));
    usleep(500);
}

static void save_and_train(run *r, int step) {
    r->state->s.tensor[0].value[0] = (float)step; /* the copy, while nobody writes it */
    r->state->s.counter[QL_COUNT_STEP] = step;
    ql_background_start(&r->writing, write_it, r);
    for (int i = 0; !ql_background_ended(&r->writing); i++) train(i);
    must(ql_background_take(&r->writing));
    free(r->path);
}

int main(void) {
    char *folder = make_folder(), *control = ql_path_join(folder, "run");
    run   r = {.state = state_make(MODULES, 1)};
    must(ql_checkpoint_init());
    must(ql_dir_make(control));
    must(ql_claim_take(folder, &r.claim));
    r.order = state_order(folder, r.state, 2);
    r.order.may_publish = still_ours;
    r.order.self = &r.claim;
    if (!freopen("/dev/null", "w", stdout)) return 1;
    for (int step = 1; step <= SAVES; step++) save_and_train(&r, step);
    bool good = count_entries(folder, "checkpoint-") == 2;
    ql_claim_close(&r.claim);
    state_free(r.state);
    drop_folder(folder);
    free(control);
    return good ? 0 : 1;
}
