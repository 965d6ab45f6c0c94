/* Runs a planned graph on one micro-batch. All local. */
#pragma once
#include "worker/graph/plan.h"
#include "worker/graph/rule.h"

/* One LoRA module on the device: views into the flat arrays of the adapter (model/adapter.h). */
typedef struct {
    ql_weight a, b;          /* f32 [r, in], [out, r]                                   */
    ql_tensor sum_a, sum_b;  /* i64, same shapes: gradients of the step                 */
    ql_tensor flaws;         /* i32 [1, 1]: what was wrong with them, ql_grad_flaw      */
    float     scale;         /* lora_alpha / r, or / sqrt(r)                            */
    uint32_t  id;            /* names its dropout numbers: the index of the module      */
} ql_site;

/* A micro-batch on the device: packed rows, one after another. */
typedef struct {
    int64_t   tokens, rows, documents, targets;
    ql_tensor ids, positions;         /* i32 [tokens, 1]                                */
    ql_tensor row_start, row_id;      /* i32 [rows + 1, 1], [rows, 1]                   */
    ql_tensor doc_start;              /* i32 [documents + 1, 1]                         */
    ql_tensor predictor, target;      /* i32 [targets, 1]: token that predicts, id predicted */
    ql_tensor coef;                   /* f32 [targets, 1]: d loss / d log p             */
    ql_tensor logp;                   /* f32 [targets, 1]: result                       */
} ql_device_batch;

/* Keys and values of one growing text, for generation. */
typedef struct {
    ql_tensor *k, *v;      /* per attention node, in graph order: act [capacity, kv width] */
    int64_t    length;     /* tokens before this batch                                  */
    ql_tensor  k_start;    /* i32 [2, 1]: 0, length + tokens                            */
    int        next_layer; /* which attention node runs next; reset by the caller       */
} ql_kv_cache;

struct ql_run {
    ql_device       *device;
    const ql_graph  *graph;
    const ql_plan   *plan;
    ql_buffer       *arena;   /* plan->bytes                                            */
    void            *host;    /* plan->host_bytes, of ql_host_new; NULL where nothing waits there */
    const ql_weight *weights; /* per slot; vectors are dense [1, n]                     */
    const ql_site   *sites;   /* NULL: the adapter is off                               */
    ql_dtype         act;      /* of activations: ql_device_needs                        */
    ql_dtype         operands; /* of all products, attention's too                       */
    ql_tensor        rope_cos, rope_sin;
    int64_t          step_rows; /* of the step on all ranks: what limits their gradients */
    int              loss_scale; /* batch->coef is multiplied by 2^this: sums of gradients are not */
    /* of this micro-batch */
    const ql_device_batch *batch;
    ql_kv_cache           *cache; /* NULL unless generating                             */
    float                  dropout;
    uint64_t               dropout_key;
    uint32_t               step;
    /* Called when all gradients of a module from this micro-batch are queued; NULL: nobody asks. */
    ql_err (*module_done)(void *listener, int module);
    void *listener;
};

/* Executes the schedule of the plan. With a training plan: adds the gradient of
 * sum(coef * log p) to the sites' sums. Fills batch->logp. Marks the phases forward, head and
 * backward (phase.h). */
QL_RESULT ql_run_batch(ql_run *r);
/* For rules: the same place for elements of an activation. What is saved and scratch have room for f32, and come
 * as such. */
static inline ql_tensor ql_as_activation(const ql_run *r, ql_tensor t) {
    t.dtype = r->act;
    return t;
}
