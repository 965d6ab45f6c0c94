/* The memory plan: every byte that a rank takes on its device, known from headers alone, and the
 * choices that make it fit. When memory is short the ladder is walked in the order of least
 * cost: keep all activations; recompute layers; fewer rows at a time; fewer logits at a time.
 * No rung changes a bit of the result. */
#pragma once
#include "base/config/config.h"
#include "worker/graph/plan.h"
#include "worker/model/adapter.h"

typedef struct {
    const ql_graph         *graph;
    const ql_adapter_shape *adapter;      /* NULL: none                                      */
    size_t                  weight_bytes, table_bytes;
    uint64_t                scratch_bytes; /* of the device's back end                        */
    int64_t                 vocab;
    int64_t                 longest_row;  /* tokens                                          */
    int64_t                 rows_at_most; /* that one rank can get in a step                 */
    int64_t                 micro_rows;   /* wanted; 0: choose                               */
    ql_tristate             recompute;
    bool                    training, dropout;
    uint64_t                limit; /* bytes */
} ql_memory_question;

enum { QL_MEMORY_PARTS = 11 };
typedef struct {
    const char *name, *detail;
    uint64_t    bytes;
} ql_memory_part;
typedef struct {
    int64_t        micro_rows, micro_tokens, logit_rows;
    bool           recompute;
    int            rung; /* 0: everything is kept */
    ql_memory_part part[QL_MEMORY_PARTS];
    int            parts;
    uint64_t       total, limit;
    ql_plan        train, score; /* schedules; train is empty when not training */
    size_t         arena_bytes;
} ql_memory_plan;

/* QL_USAGE when even the last rung does not fit: names the smallest memory that would do. */
QL_RESULT ql_memory_plan_make(const ql_memory_question *q, ql_memory_plan *out);
void      ql_memory_plan_free(ql_memory_plan *p);
/* As a table for people, or as one line of JSON. */
void ql_memory_plan_text(const ql_memory_plan *p, ql_str *out);
void ql_memory_plan_json(const ql_memory_plan *p, ql_str *out);
