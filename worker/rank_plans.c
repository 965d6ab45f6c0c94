#include "worker/rank_plans.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "worker/device_choice.h"

/* ---- what each has ---- */

static ql_err own_room(const ql_job *j, ql_rank_room *out) {
    *out = (ql_rank_room){.limit = j->question.limit, .host_limit = j->question.host_limit};
    ql_device_info info = {0};
    if (j->card) info = ql_card_info(j->card, 0);
    if (j->device) QL_TRY(ql_device_describe(j->device, &info));
    snprintf(out->device, sizeof out->device, "%s", info.name);
    gethostname(out->host, sizeof out->host - 1);
    return ql_ok();
}

static ql_err room_on(const ql_job *j, int ordinal, ql_rank_room *out) {
    ql_device     *d;
    ql_device_info info;
    ql_dtype       operands;
    QL_TRY(ql_device_open(j->device_kind, ordinal, j->threads, &d));
    ql_err e = ql_device_describe(d, &info);
    ql_device_close(d);
    QL_TRY(e);
    QL_TRY(ql_operands_on(&info, j->config.bnb_4bit_compute_dtype, &operands));
    QL_CHECK(operands == j->operands, QL_USAGE,
             "bnb_4bit_compute_dtype: %s: device 0 would compute in %s and device %d (%s) in %s; name one that both have, or hide one of the devices",
             j->config.bnb_4bit_compute_dtype, ql_dtype_name(j->operands), ordinal, info.name, ql_dtype_name(operands));
    out->limit = ql_job_limit(j, &info);
    snprintf(out->device, sizeof out->device, "%s", info.name);
    return ql_ok();
}

/* Of ranks that are not there yet. */
static ql_err rooms_of_devices(const ql_job *j, ql_rank_room *room) {
    int  n = 1, ranks = j->place.size;
    char why[256];
    bool has_devices = j->device && !j->question.needs.is_host;
    if (has_devices) QL_TRY(ql_device_count(j->device_kind, &n, why));
    if (has_devices && n < ranks)
        ql_info("note: %d device%s here: of %d ranks %d would stand by; planned as if there were more of the same", n,
                n == 1 ? "" : "s", ranks, ranks - n);
    QL_TRY(own_room(j, &room[0]));
    for (int r = 1; r < ranks; r++) {
        room[r] = room[r < n ? 0 : r % n];
        if (r < n) QL_TRY(room_on(j, r, &room[r]));
    }
    return ql_ok();
}

static ql_err rooms_of_ranks(const ql_job *j, ql_rank_room *room) {
    ql_rank_room mine;
    QL_TRY(ql_agree(j->world, own_room(j, &mine), "asking devices for their memory"));
    QL_TRY(ql_gather_bytes(j->world, &mine, sizeof mine, room));
    return ql_broadcast(j->world, room, (size_t)j->place.size * sizeof *room, 0);
}

ql_err ql_rank_rooms(ql_job *j, ql_rank_room **out) {
    bool   are_there = ql_world_place(j->world).size == j->place.size;
    *out = QL_NEW_ARRAY(ql_rank_room, (size_t)j->place.size);
    ql_err e = are_there ? rooms_of_ranks(j, *out) : rooms_of_devices(j, *out);
    if (!ql_bad(e)) return e;
    free(*out);
    *out = NULL;
    return e;
}

/* ---- groups ---- */

static bool same_choice(const ql_memory_choice *a, const ql_memory_choice *b) {
    return a->micro_rows == b->micro_rows && a->logit_rows == b->logit_rows && a->recompute == b->recompute &&
           a->deep_layers == b->deep_layers && a->paged_moments == b->paged_moments && a->host_borders == b->host_borders &&
           a->shadow_layers == b->shadow_layers;
}

static bool belongs(const ql_rank_group *g, const ql_rank_group *other) {
    return g->fits == other->fits && !strcmp(g->device, other->device) && same_choice(&g->plan.choice, &other->plan.choice);
}

static void take_in(ql_rank_group *g, int rank, const ql_rank_room *room) {
    QL_PUSH(g->rank, g->ranks, g->ranks_capacity, rank);
    g->question.limit = ql_min(g->question.limit, room->limit);
    g->question.host_limit = ql_min(g->question.host_limit, room->host_limit);
    g->plan.limit = g->question.limit;
}

static ql_rank_group group_of_one(const ql_memory_question *q, const ql_rank_room *room) {
    ql_rank_group g = {.question = *q};
    g.question.limit = room->limit;
    g.question.host_limit = room->host_limit;
    snprintf(g.device, sizeof g.device, "%s", room->device);
    g.fits = ql_memory_plan_try(&g.question, &g.plan);
    return g;
}

size_t ql_rank_groups(const ql_memory_question *q, const ql_rank_room *room, int ranks, ql_rank_group **out) {
    ql_rank_group *group = NULL;
    size_t         groups = 0, capacity = 0, in = 0;
    for (int r = 0; r < ranks; r++) {
        if (r == 0 || memcmp(&room[r], &room[r - 1], sizeof *room) != 0) {
            ql_rank_group alone = group_of_one(q, &room[r]);
            for (in = 0; in < groups && !belongs(&group[in], &alone); in++) {}
            if (in == groups) QL_PUSH(group, groups, capacity, alone);
            else ql_memory_plan_free(&alone.plan);
        }
        take_in(&group[in], r, &room[r]);
    }
    *out = group;
    return groups;
}

void ql_rank_groups_free(ql_rank_group *group, size_t groups) {
    for (size_t i = 0; i < groups; i++) {
        ql_memory_plan_free(&group[i].plan);
        free(group[i].rank);
    }
    free(group);
}
