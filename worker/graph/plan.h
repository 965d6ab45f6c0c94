/* Which operation runs when, and where each of its matrices lies: the schedule of a micro-batch
 * and the layout of its arena, computed before anything is loaded.
 *
 * A training schedule is: forward of all nodes, the head (loss and its gradient), backward of
 * the nodes above the lowest adapter. What backward reads is kept, or, as far as the degree of
 * recomputation says, made again right before it is read. That changes no bits. */
#pragma once
#include "worker/graph/graph.h"
#include "worker/graph/rule.h"

typedef enum { QL_PLAN_SCORE, QL_PLAN_TRAIN, QL_PLAN_GENERATE } ql_plan_purpose;

typedef struct {
    ql_plan_purpose purpose;
    int64_t         max_tokens; /* of a micro-batch                                       */
    ql_recompute    recompute;  /* degree of the lowest `deep_layers` layers; the layers
                                   above have one degree less, and the last layer is never
                                   recomputed as a whole: its backward comes right after    */
    int             deep_layers; /* of the graph's, from 0; as many as it has: all          */
    int64_t         logit_rows;  /* tokens whose logits exist at a time                     */
    size_t          element;     /* bytes of an activation; what is `saved`, scratch and
                                    logits are f32. 0: 4                                    */
    bool            host_borders; /* training: what crosses a layer's border waits on the host
                                     until one layer before backward reads it; but what the
                                     two highest layers read stays, it would come right back */
} ql_plan_request;

enum { QL_ABSENT = -1 };
/* Transfers run beside the work, which goes on until an entry QL_STEP_AWAIT: what comes after it finds all transfers
 * before it done. */
typedef enum { QL_STEP_COMPUTE, QL_STEP_SEND, QL_STEP_FETCH, QL_STEP_AWAIT } ql_step_kind;
/* One entry of the schedule; places are byte offsets in the arena, QL_ABSENT where unused. */
typedef struct {
    ql_step_kind kind;
    int          node;     /* QL_STEP_SEND, QL_STEP_FETCH: whose result is moved                */
    bool         backward;
    int64_t      in[QL_MAX_INPUTS], out, saved, d_out, d_in[QL_MAX_INPUTS], scratch;
    int64_t      host;     /* place in the host's memory of what is moved from or to `out`      */
    bool         accumulate[QL_MAX_INPUTS];
} ql_plan_step;

typedef struct {
    ql_plan_request request;
    ql_plan_step   *step;
    size_t          steps, steps_capacity;
    size_t          head_step;   /* which of them is the head                             */
    size_t          bytes;       /* of the arena                                          */
    size_t          kept_bytes;  /* of it: activations kept for backward                  */
    size_t          host_bytes;  /* on the host, for what waits there                     */
    size_t          logits_at;   /* the chunk of logits [logit_rows, vocab]               */
    size_t          logits_bytes;
    int64_t         recomputed;  /* nodes that run forward twice                          */
} ql_plan;

void ql_plan_make(const ql_graph *g, const ql_plan_request *request, ql_plan *out);
void ql_plan_free(ql_plan *p);
/* FLOP per token of a step that runs no node twice; documents of `length` tokens. */
double ql_plan_work(const ql_graph *g, int64_t length);
/* Work of the nodes that run forward twice, as a share of that of the whole step; documents of
 * `length` tokens. */
double ql_plan_extra_work(const ql_graph *g, const ql_plan *p, int64_t length);
