/* The memory plan: every byte that a rank takes, known from headers alone before anything is
 * loaded, and the choices that make it fit. When memory is short a ladder of rungs is walked down in
 * the order of least cost, as far as needed; no rung changes a bit of the result. */
#pragma once
#include "base/config/config.h"
#include "worker/graph/plan.h"
#include "worker/model/adapter.h"

typedef struct {
    const ql_graph         *graph;
    const ql_weight        *weights; /* per slot, described or loaded                        */
    const ql_adapter_shape *adapter; /* NULL: none                                           */
    const char             *device;  /* its kind                                             */
    ql_device_needs         needs;
    size_t                  weight_bytes, table_bytes;
    uint64_t                data_bytes;    /* corpora, rows and their order                  */
    const char             *data_detail;
    int64_t                 vocab;
    int64_t                 longest_row;  /* tokens                                          */
    int64_t                 rows_at_most; /* that one rank can get in a step                 */
    int64_t                 micro_rows;   /* wanted; 0: choose                               */
    int                     ranks;
    ql_tristate             recompute;
    bool                    training;
    uint64_t                limit;        /* bytes of the device's memory                    */
    uint64_t                host_limit;   /* where the device's memory is not the host's     */
} ql_memory_question;

/* What may be chosen. */
typedef struct {
    int64_t      micro_rows, logit_rows;
    ql_recompute recompute;
    int          deep_layers;   /* see ql_plan_request                                        */
    bool         paged_moments; /* AdamW's moments lie on the host                            */
    bool         host_borders;  /* inputs of layers wait on the host for backward             */
    int          shadow_layers; /* of the graph's, from 0: their matrices are kept decoded, too */
} ql_memory_choice;

enum { QL_MEMORY_PARTS = 20, QL_RUNGS_MAX = 64 };
typedef enum { QL_ON_DEVICE, QL_OUTSIDE_ARENA, QL_ON_HOST } ql_memory_place;
typedef struct {
    const char     *name;
    char            detail[96];
    ql_memory_place place; /* QL_OUTSIDE_ARENA: on the device, but no buffer of ours          */
    uint64_t        bytes;
} ql_memory_part;

typedef struct {
    ql_memory_choice choice;
    int64_t          micro_tokens;
    int              rung; /* of the ladder; 0: everything is kept                            */
    ql_memory_part   part[QL_MEMORY_PARTS];
    int              parts;
    uint64_t         total;       /* what is compared with the limit: the device's, and on a CPU
                                     the host's with it                                       */
    uint64_t         limit;
    uint64_t         host_total;  /* of the host alone                                        */
    uint64_t         waiting_bytes; /* of it, what waits there for the device: what ql_host_new takes */
    uint64_t         arena_bytes; /* all buffers: what ql_device_reserve takes                */
    ql_plan          train, score; /* schedules; train is empty when not training             */
    size_t           run_bytes;    /* the buffer that the schedules work in                   */
} ql_memory_plan;

/* The first rung that fits; what it leaves of an accelerator's memory is used for decoded copies of weights.
 * QL_USAGE when even the last rung does not fit: names the smallest memory that would do. */
QL_RESULT ql_memory_plan_make(const ql_memory_question *q, ql_memory_plan *out);
/* The same for somebody who wants to see it even if it does not fit: false, and the plan of the last rung. */
bool ql_memory_plan_try(const ql_memory_question *q, ql_memory_plan *out);
/* Of a plan that does not fit: what is needed and what is there, of the device or of the host; and the same as QL_USAGE. */
void ql_memory_shortage(const ql_memory_question *q, const ql_memory_plan *p, char need[32], char have[32], bool *on_host);
QL_RESULT ql_memory_refusal(const ql_memory_question *q, const ql_memory_plan *p);
/* What ql_memory_plan_make would come to, found with less work: whether there is a plan; whether there is one with
 * q->micro_rows at a time, and no fewer. */
bool ql_memory_fits(const ql_memory_question *q);
bool ql_memory_keeps_rows(const ql_memory_question *q);
void ql_memory_plan_free(ql_memory_plan *p);
/* The plan of one choice, whatever the limit. */
void ql_memory_evaluate(const ql_memory_question *q, const ql_memory_choice *c, ql_memory_plan *out);

/* A rung, taken in full. */
typedef struct {
    int              number; /* ql_memory_plan.rung                                           */
    ql_memory_choice choice;
    char             name[64];
    uint64_t         total;
    double           extra_time; /* share of a step, estimated, against the first rung        */
} ql_rung;
/* The rungs, in the order in which they are taken; returns how many. Those that would save nothing here
 * are left out; they are never taken. */
int ql_memory_ladder(const ql_memory_question *q, ql_rung rung[QL_RUNGS_MAX]);

/* Of the rung that a plan has taken. */
void ql_memory_rung_name(const ql_memory_question *q, int number, char name[64]);

/* As a table for people, with the ladder, or as the members of an object of JSON, without its braces. */
void ql_memory_plan_text(const ql_memory_question *q, const ql_memory_plan *p, ql_str *out);
void ql_memory_plan_json(const ql_memory_question *q, const ql_memory_plan *p, ql_str *out);
/* "2 rows (2048 tokens) at a time, nothing recomputed" */
void ql_memory_choice_text(const ql_memory_question *q, const ql_memory_choice *c, ql_str *out);
