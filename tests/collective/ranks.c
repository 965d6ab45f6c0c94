#include "ranks.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "collective/recorder.h"
#include "collective/vote.h"

/* For a build with sanitizers: MPI keeps memory until the end. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) {
    return "detect_leaks=0";
}

static ql_world *world;
static ql_place place;

#define REQUIRE(cond)                                                                                                  \
    do {                                                                                                               \
        if (!(cond)) {                                                                                                 \
            fprintf(stderr, "rank %d: %s:%d: not so: %s (%s)\n", place.rank, __FILE__, __LINE__, #cond,                \
                    ql_err_text());                                                                                    \
            ql_world_leave((ql_code)1);                                                                                \
        }                                                                                                              \
    } while (0)
#define GOOD(call) REQUIRE(!ql_bad(call))

static int64_t element(int rank, size_t i) {
    return (int64_t)((i * 2654435761u) % 1000003) * (rank + 1) - 7 * rank;
}

static void check_reduction(size_t n) {
    int64_t *sum = QL_NEW_ARRAY(int64_t, n + 1), *max = QL_NEW_ARRAY(int64_t, n + 1),
            *min = QL_NEW_ARRAY(int64_t, n + 1);
    for (size_t i = 0; i < n; i++) sum[i] = max[i] = min[i] = element(place.rank, i);
    sum[n] = max[n] = min[n] = 4711; /* must stay */
    GOOD(ql_sum_i64(world, sum, n));
    GOOD(ql_max_i64(world, max, n));
    GOOD(ql_min_i64(world, min, n));
    for (size_t i = 0; i < n; i++) {
        int64_t s = 0, high = INT64_MIN, low = INT64_MAX;
        for (int r = 0; r < place.size; r++) {
            s += element(r, i);
            high = ql_max(high, element(r, i));
            low = ql_min(low, element(r, i));
        }
        REQUIRE(sum[i] == s && max[i] == high && min[i] == low);
    }
    REQUIRE(sum[n] == 4711 && max[n] == 4711 && min[n] == 4711);
    free(sum), free(max), free(min);
}

static void check_gather(size_t n) {
    uint8_t *mine = QL_NEW_ARRAY(uint8_t, n + 1), *all = NULL;
    for (size_t i = 0; i < n; i++) mine[i] = (uint8_t)(i * 31 + (size_t)place.rank);
    if (place.rank == 0) all = QL_NEW_ARRAY(uint8_t, n * (size_t)place.size + 1);
    GOOD(ql_gather_bytes(world, mine, n, all));
    for (int r = 0; all && r < place.size; r++)
        for (size_t i = 0; i < n; i++) REQUIRE(all[(size_t)r * n + i] == (uint8_t)(i * 31 + (size_t)r));
    free(mine), free(all);
}

static void check_broadcast(size_t n, int root) {
    uint8_t *data = QL_NEW_ARRAY(uint8_t, n + 1);
    for (size_t i = 0; i < n; i++) data[i] = place.rank == root ? (uint8_t)(i * 7 + 3) : 0;
    GOOD(ql_broadcast(world, data, n, root));
    for (size_t i = 0; i < n; i++) REQUIRE(data[i] == (uint8_t)(i * 7 + 3));
    free(data);
}

/* Around the size of a piece: 32 MiB are 4,194,304 elements. */
static void sums(void) {
    static const size_t sizes[] = {0, 1, 2, 3, 1000, 4194303, 4194304, 4194305};
    for (size_t i = 0; i < QL_LEN(sizes); i++) check_reduction(sizes[i]);
    check_gather(0), check_gather(1), check_gather(33000001);
    for (int root = 0; root < place.size; root++) check_broadcast(0, root), check_broadcast(5, root);
    check_broadcast(33554433, place.size - 1);
    GOOD(ql_barrier(world));
}

static void agreement(void) {
    GOOD(ql_agree(world, ql_ok(), "doing nothing"));
    for (int bad = 0; bad < place.size; bad++) {
        ql_err e = place.rank >= bad ? ql_fail(QL_DATA, "tea.json:%d: is cold", place.rank) : ql_ok();
        char expected[64];
        if (place.rank >= bad)
            snprintf(expected, sizeof expected, "tea.json:%d: is cold", place.rank);
        else
            snprintf(expected, sizeof expected, "rank %d failed: tea.json:%d: is cold", bad, bad);
        e = ql_agree(world, e, "making tea");
        REQUIRE(e.code == QL_DATA);
        REQUIRE(strcmp(ql_err_text(), expected) == 0);
    }
    /* Several codes: those who did not fail take the lowest failing rank's. */
    if (place.size >= 3) {
        ql_err e = place.rank == 1 ? ql_fail(QL_IO, "disk") : place.rank == 2 ? ql_fail(QL_USAGE, "key") : ql_ok();
        e = ql_agree(world, e, "mixed");
        REQUIRE(e.code == (place.rank == 2 ? QL_USAGE : QL_IO));
    }
    ql_err e = ql_agree(world, ql_ok(), place.rank == 0 ? "this" : "that");
    REQUIRE(place.size == 1 ? !ql_bad(e) : e.code == QL_BUG);
}

static void votes(void) {
    int64_t mine[3] = {place.rank, -5, INT64_MIN + place.rank % 2}, all[3 * 64];
    char    who[64];
    REQUIRE(place.size <= 64);
    GOOD(ql_vote(world, ql_ok(), "voting", mine, 3, all));
    for (int r = 0; r < place.size; r++)
        REQUIRE(all[3 * r] == r && all[3 * r + 1] == -5 && all[3 * r + 2] == INT64_MIN + r % 2);
    REQUIRE(!ql_vote_differs(all, place.size, 3, 1, who));
    REQUIRE(ql_vote_differs(all, place.size, 3, 2, who) == (place.size > 1));
    if (place.size == 1) return;
    REQUIRE(!strcmp(who, place.size < 4 ? "rank 1" : "ranks 1, 3"));
    /* What was brought arrives beside a failure, too. */
    int  last = place.size - 1;
    char expected[64];
    snprintf(expected, sizeof expected, place.rank == last ? "cold" : "rank %d failed: cold", last);
    ql_err e = ql_vote(world, place.rank == last ? ql_fail(QL_IO, "cold") : ql_ok(), "voting", mine, 3, all);
    REQUIRE(e.code == QL_IO && !strcmp(ql_err_text(), expected) && all[3 * last] == last);
    /* One that has had an exchange of its own: all refuse, then all have had it. */
    if (place.rank == last) ql_recorder_enter(QL_RING_SUM, 1), ql_recorder_leave();
    e = ql_agree(world, ql_ok(), "voting");
    snprintf(expected, sizeof expected, "is another one on rank %d:", last);
    REQUIRE(e.code == QL_TEMP && strstr(ql_err_text(), expected));
    if (place.rank != last) ql_recorder_enter(QL_RING_SUM, 1), ql_recorder_leave();
    GOOD(ql_agree(world, ql_ok(), "voting"));
}

static void sameness(void) {
    GOOD(ql_same_everywhere(world, UINT64_MAX - 5, "the seed"));
    ql_err e = ql_same_everywhere(world, place.rank == place.size - 1 ? 1u << 31 : 0, "the configuration");
    if (place.size == 1) {
        REQUIRE(!ql_bad(e));
        return;
    }
    char expected[128];
    snprintf(expected, sizeof expected, "the configuration is not the same on all ranks: rank %d differs from rank 0;",
             place.size - 1);
    REQUIRE(e.code == QL_DATA);
    REQUIRE(strncmp(ql_err_text(), expected, strlen(expected)) == 0);
}

static int asked_at_once(void) {
    return 12;
}

/* Every second rank stands by; rank 1 of them passes a request on. The others are a world of their own. */
static ql_err part(const char *end) {
    bool works = place.rank % 2 == (place.size == 2);
    int  among_all = place.rank;
    GOOD(ql_world_part(world, works));
    if (!works) return ql_world_stand_by(world, asked_at_once);
    place = ql_world_place(world);
    REQUIRE(place.rank == among_all / 2 && place.local_rank == place.rank);
    sums(), agreement(), votes(), sameness();
    if (place.rank == 0)
        while (ql_world_request(world) != 12) continue;
    REQUIRE(place.rank == 0 || ql_world_request(world) == 0);
    GOOD(ql_barrier(world));
    if (!strcmp(end, "part-stopped")) return ql_fail(QL_STOPPED, "asked to stop");
    if (!strcmp(end, "part-failed")) {
        ql_world_dismiss(world, QL_DATA);
        for (;;) pause(); /* the ranks that stand by leave with this code, not because others have gone */
    }
    return ql_ok();
}

static ql_err last_word(const char *what) {
    if (!strcmp(what, "stopped")) return ql_fail(QL_STOPPED, "asked to stop");
    if (!strcmp(what, "bad-end") && place.rank == 1) return ql_fail(QL_IO, "rank 1 cannot write");
    return ql_ok();
}

int run_rank(int argc, char **argv) {
    const char *what = argv[1];
    if (!strcmp(what, "leave-before") && atoi(getenv("OMPI_COMM_WORLD_RANK")) == 1) ql_world_leave(QL_USAGE);
    ql_err e = ql_world_open(&argc, &argv, &world);
    if (ql_bad(e)) {
        fprintf(stderr, "%s\n", ql_err_text());
        ql_world_leave(e.code);
    }
    place = ql_world_place(world);
    if (!strcmp(what, "talk")) sums(), agreement(), votes(), sameness();
    if (!strcmp(what, "leave") && place.rank == 1) ql_world_leave(QL_DATA);
    if (!strcmp(what, "leave")) GOOD(ql_barrier(world));
    ql_err parted = ql_ok();
    if (!strncmp(what, "part", 4)) parted = part(what);
    if (parted.code == QL_DATA) ql_world_leave(QL_DATA);
    printf("%d of %d, %d of %d here, %s\n", place.rank, place.size, place.local_rank, place.local_size,
           ql_world_kind(world));
    e = ql_world_close(world, ql_bad(parted) ? parted : last_word(what));
    if (e.code != QL_OK && e.code != QL_STOPPED) {
        fprintf(stderr, "%s\n", ql_err_text());
        ql_world_leave(e.code);
    }
    return (int)e.code;
}
