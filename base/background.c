#include "base/background.h"

#include <signal.h>
#include <stdlib.h>

#include "base/mem.h"

static void *run(void *background) {
    ql_background *b = background;
    ql_err         e = b->work(b->self);
    b->code = e.code;
    b->sentence = ql_bad(e) ? ql_strdup(ql_err_text()) : NULL;
    atomic_store(&b->ended, true);
    return NULL;
}

void ql_background_start(ql_background *b, ql_err (*work)(void *self), void *self) {
    b->work = work;
    b->self = self;
    atomic_store(&b->ended, false);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* the new thread inherits it */
    b->has_thread = pthread_create(&b->thread, NULL, run, b) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    b->started = true;
    if (!b->has_thread) run(b);
}

bool ql_background_ended(const ql_background *b) {
    return b->started && atomic_load(&b->ended);
}

ql_err ql_background_take(ql_background *b) {
    if (b->has_thread) pthread_join(b->thread, NULL);
    b->started = false;
    ql_err e = b->code == QL_OK ? ql_ok() : ql_fail(b->code, "%s", b->sentence);
    free(b->sentence);
    b->sentence = NULL;
    return e;
}
