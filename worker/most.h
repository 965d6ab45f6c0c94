/* What else a configuration could say: the longest rows and the most rows at a time that would still fit, of all ranks. */
#pragma once
#include "worker/rank_plans.h"

typedef struct {
    int64_t          value; /* 0: nothing fits */
    int              rung;  /* that is taken then: the lowest, of the rank that has to go lowest */
    char             rung_name[64];
    ql_memory_choice choice;
    char             text[256];  /* the choice in words */
    uint64_t         host_bytes; /* on the host then, of such a rank */
} ql_most_of;

typedef struct {
    ql_most_of length;          /* max_length, with one row at a time */
    ql_most_of rows;            /* per_device_train_batch_size with the configured max_length: of more, the planner would take fewer */
    ql_most_of rows_recomputed; /* the same with gradient_checkpointing: true; not looked for where it is configured */
} ql_most;

/* Each value has been found to fit and its successor not to, by asking the planner. For rows, a step is taken to have as many. */
ql_most ql_most_find(const ql_model *model, const ql_rank_group *group, size_t groups);
