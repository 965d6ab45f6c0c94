/* One piece of work on a thread of its own, beside the thread that started it. No signal is delivered there: handlers
 * stay with the threads that know of them. Where the system gives no thread, the work is done at once. All local. */
#pragma once
#include <pthread.h>
#include <stdatomic.h>

#include "base/err.h"

typedef struct {
    ql_err (*work)(void *self);
    void       *self;
    pthread_t   thread;
    bool        started, has_thread; /* known to the starting thread only: work is not taken yet; it has its own */
    atomic_bool ended;
    ql_code     code;     /* the verdict, and its sentence; owned. To be read once it has ended */
    char       *sentence;
} ql_background;

/* Starts `work(self)`. `b` is all zero, or its last work has been taken. */
void ql_background_start(ql_background *b, ql_err (*work)(void *self), void *self);
/* Work has been started and its verdict not been taken. */
static inline bool ql_background_pending(const ql_background *b) { return b->started; }
/* The pending work has ended: taking it will not wait. */
bool ql_background_ended(const ql_background *b);
/* Waits for the pending work and returns its verdict, whose sentence becomes this thread's. */
QL_RESULT ql_background_take(ql_background *b);
