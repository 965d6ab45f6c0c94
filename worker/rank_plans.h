/* The plans of all ranks of a run. Ranks with the same plan are one group; as a rule there is one. */
#pragma once
#include "worker/job.h"

/* What a rank has. */
typedef struct {
    uint64_t limit, host_limit; /* as in ql_memory_question */
    char     device[128], host[64]; /* for people           */
} ql_rank_room;

typedef struct {
    ql_memory_question question; /* of that rank of the group which has the least memory */
    ql_memory_plan     plan;
    bool               fits; /* else `plan` is that of the last rung */
    char               device[128];
    int               *rank; /* in ascending order */
    size_t             ranks, ranks_capacity;
} ql_rank_group;

/* Collective. The room of each of the `j->place.size` ranks, which need not exist yet: then devices of this machine are asked in
 * turn. QL_USAGE when their arithmetic would not be the same. Caller frees. */
QL_RESULT ql_rank_rooms(ql_job *j, ql_rank_room **out);
/* Plans `q` in each of the rooms. Returns how many groups there are; in the order of their first ranks. */
size_t ql_rank_groups(const ql_memory_question *q, const ql_rank_room *room, int ranks, ql_rank_group **out);
void   ql_rank_groups_free(ql_rank_group *group, size_t groups);
