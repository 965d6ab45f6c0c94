/* The rule of an operation: how it runs forward, what its gradient is, and what the gradient
 * must read. One file per rule (rule_*.c); the builders of graph.c name them. */
#pragma once
#include "kernels/ops.h"
#include "worker/graph/graph.h"

/* How much backward computes once more instead of keeping it, in the order of what it costs. */
typedef enum {
    QL_KEEP_ALL,
    QL_RECOMPUTE_CHEAP,     /* norms and gated activations: one pass over memory      */
    QL_RECOMPUTE_ATTENTION, /* and attention, from the kept q, k and v                 */
    QL_RECOMPUTE_LAYERS,    /* and everything else: only what crosses a layer's border is kept */
} ql_recompute;

/* What the operations of one micro-batch run on: see run.h. */
typedef struct ql_run ql_run;

/* The tensors of one node at one moment, all [tokens, width]; absent where unused. */
typedef struct {
    ql_tensor in[QL_MAX_INPUTS], out, saved;
    ql_tensor d_out;               /* backward: the gradient of out                      */
    ql_tensor d_in[QL_MAX_INPUTS]; /* backward: wanted gradients; absent: not wanted     */
    bool      accumulate[QL_MAX_INPUTS]; /* add to d_in instead of replacing it          */
    ql_tensor scratch;             /* [tokens, rule->scratch(...)]                       */
} ql_operands;

struct ql_rule {
    const char *name;
    ql_err (*forward)(ql_run *r, const ql_node *n, const ql_operands *o);
    ql_err (*backward)(ql_run *r, const ql_node *n, const ql_operands *o); /* NULL: no gradient passes */
    unsigned reads_in;        /* bit i: backward reads in[i]                             */
    bool     reads_only_for_adapter; /* ... but only where the node carries an adapter   */
    bool     reads_out;       /* backward reads out                                      */
    bool     can_accumulate;  /* backward can add to a gradient that is there already    */
    bool     writes_all;      /* backward makes all gradients at once: unwanted ones get a place, too */
    ql_recompute again;       /* from this degree on, `out` is made again instead of kept.
                                 Never QL_KEEP_ALL                                    */
    /* Work of the forward pass per token, in FLOP, in documents of `length` tokens. */
    double (*work)(const ql_graph *g, const ql_node *n, int64_t length);
    /* f32 columns of scratch in each pass; NULL: none. */
    int64_t (*scratch)(const ql_graph *g, const ql_node *n, bool backward);
};

/* Work of an operation that only passes over memory: an element takes as long as some 50 FLOP of a
 * product (measured on the CPU; it only serves to say what recomputation costs). */
double ql_work_of_elements(const ql_graph *g, const ql_node *n, int64_t length);

/* Columns for a matrix inside scratch, so that the next one starts on a 64-byte border. */
static inline int64_t ql_pad_columns(int64_t width) { return ql_ceil_div(width, 16) * 16; }

extern const ql_rule ql_rule_embed, ql_rule_rmsnorm, ql_rule_linear, ql_rule_rope, ql_rule_attention, ql_rule_swiglu,
    ql_rule_add, ql_rule_head;
