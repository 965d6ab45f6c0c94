/* The exchange of a step's gradients: the integer sums of the adapter, bucket by bucket, over the ranks. Buckets go
 * from the last modules to the first, which is how the backward pass reaches them, and begin in that order on every
 * rank, whatever finishes first. */
#pragma once
#include "collective/data_plane.h"
#include "worker/model/adapter.h"

/* Neighbouring modules. */
typedef struct {
    size_t  first, modules;
    int64_t at, length; /* in the flat run of sums */
} ql_bucket;
/* Large enough for the way between devices, small enough that little is left when the last bucket begins. */
enum { QL_BUCKET_BYTES = 4 << 20 };
/* Cuts the run of sums into buckets of at most QL_BUCKET_BYTES, or one module if that is larger; in the order of
 * the modules. Caller frees *out. Returns how many. */
size_t ql_buckets_cut(const ql_adapter_shape *s, ql_bucket **out);

typedef struct {
    ql_data_plane *plane;
    ql_tensor      sum;
    ql_bucket     *bucket;
    size_t         buckets;
    size_t        *bucket_of; /* per module                                              */
    size_t        *missing;   /* per bucket: modules whose gradients are not queued yet  */
    size_t         to_begin;  /* buckets that have not begun: those with lower numbers   */
    bool           listens;   /* to ql_exchange_module_done                              */
    double         step_seconds; /* of the last step; 0: none yet                        */
} ql_exchange;

/* Collective. For the sums of `a`, which are all zero; a plane that hides is tried out with them, which connects
 * the ranks and takes the library's memory. */
QL_RESULT ql_exchange_open(ql_world *w, ql_device *d, const char *kind, ql_adapter *a, ql_exchange *out);
void      ql_exchange_close(ql_exchange *x);

/* Local. Nothing of a new step has begun. */
void ql_exchange_begin_step(ql_exchange *x);
/* Collective where the plane hides: from here until ql_exchange_finish, modules are told as they are done. */
void ql_exchange_listen(ql_exchange *x);
/* Local. All of a module's gradients of the step are queued. */
QL_RESULT ql_exchange_module_done(void *exchange, int module);
/* Collective. Begins what has not begun, and waits for all. */
QL_RESULT ql_exchange_finish(ql_exchange *x);
