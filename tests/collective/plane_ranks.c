#include "plane_ranks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "collective/data_plane.h"

/* For a build with sanitizers: MPI keeps memory until the end. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) {
    return "detect_leaks=0";
}

static ql_world      *world;
static ql_place       place;
static ql_device     *device;
static ql_data_plane *plane;

static void good_at(ql_err e, int line) {
    if (!ql_bad(e)) return;
    fprintf(stderr, "rank %d: line %d: %s\n", place.rank, line, ql_err_text());
    ql_world_leave(e.code);
}
static void require_at(bool so, const char *what, int line) {
    if (so) return;
    fprintf(stderr, "rank %d: line %d: not so: %s\n", place.rank, line, what);
    ql_world_leave((ql_code)1);
}
#define GOOD(CALL) good_at((CALL), __LINE__)
#define REQUIRE(SO) require_at((SO), #SO, __LINE__)

static int64_t element(int rank, int64_t i) {
    return (i * 2654435761) % 1000003 * (rank + 1) - 7 * rank;
}

static ql_tensor run_of(int64_t n) {
    ql_buffer *b;
    GOOD(ql_buffer_new(device, (size_t)n * sizeof(int64_t), &b));
    return (ql_tensor){b, 0, QL_I64, 1, n};
}

/* [at, at + n) of a run. */
static ql_tensor part_of(ql_tensor run, int64_t at, int64_t n) {
    run.offset += (size_t)at * sizeof(int64_t);
    run.cols = n;
    return run;
}

static void fill(ql_tensor run) {
    int64_t *x = QL_NEW_ARRAY(int64_t, (size_t)ql_count(run));
    for (int64_t i = 0; i < ql_count(run); i++) x[i] = element(place.rank, i);
    GOOD(ql_upload(device, run, x));
    GOOD(ql_sync(device));
    free(x);
}

static void expect_sums(ql_tensor run, int64_t from, int64_t to) {
    int64_t *x = QL_NEW_ARRAY(int64_t, (size_t)ql_count(run));
    GOOD(ql_download(device, x, run));
    for (int64_t i = 0; i < ql_count(run); i++) {
        int64_t sum = 0;
        for (int r = 0; r < place.size; r++) sum += element(r, i);
        REQUIRE(x[i] == (i >= from && i < to ? sum : element(place.rank, i)));
    }
    free(x);
}

/* Buckets from the last to the first, two steps, and an element at each end that stays; more than a piece. */
static void sums(void) {
    const int64_t n = 100000, piece = 32 << 17;
    ql_tensor     run = run_of(n), large = run_of(piece + 1001);
    for (int step = 0; step < 2; step++) {
        fill(run);
        GOOD(ql_data_plane_begin(plane, part_of(run, 65600, n - 65600 - 1)));
        GOOD(ql_data_plane_begin(plane, part_of(run, 64, 65536)));
        GOOD(ql_data_plane_begin(plane, part_of(run, 8, 56)));
        GOOD(ql_data_plane_begin(plane, part_of(run, 8, 0)));
        GOOD(ql_data_plane_finish(plane, 60));
        expect_sums(run, 8, n - 1);
    }
    fill(large);
    GOOD(ql_data_plane_begin(plane, large));
    GOOD(ql_data_plane_finish(plane, 60));
    expect_sums(large, 0, ql_count(large));
    GOOD(ql_data_plane_finish(plane, 60)); /* of nothing */
}

/* What is queued before a sum is in it, what is queued after the end sees it, with no waiting in between. */
static void order(void) {
    ql_tensor a = run_of(5000), b = run_of(5000);
    for (int turn = 0; turn < 3; turn++) {
        fill(a);
        GOOD(ql_copy(device, b, a));
        GOOD(ql_data_plane_begin(plane, b));
        GOOD(ql_zero(device, a)); /* goes on meanwhile */
        GOOD(ql_data_plane_finish(plane, 60));
        GOOD(ql_copy(device, a, b));
        expect_sums(a, 0, 5000);
    }
}

/* Rank 1 does not come. */
static void absent(void) {
    ql_tensor run = run_of(100);
    if (place.rank == 1) sleep(50);
    GOOD(ql_data_plane_begin(plane, run));
    GOOD(ql_data_plane_finish(plane, 60));
}

static void several(void) {
    ql_tensor run = run_of(100);
    for (int i = 0; i < 4; i++) {
        GOOD(ql_data_plane_begin(plane, part_of(run, 0, 40)));
        GOOD(ql_data_plane_begin(plane, part_of(run, 40, 60)));
        GOOD(ql_data_plane_finish(plane, 60));
    }
}

int run_rank(int argc, char **argv) {
    const char *kind = argv[1], *what = argv[2];
    GOOD(ql_world_open(&argc, &argv, &world));
    place = ql_world_place(world);
    GOOD(ql_device_open(kind, strcmp(kind, "cpu") ? place.local_rank : 0, 1, &device));
    GOOD(ql_data_plane_open(world, device, kind, &plane));
    if (!strcmp(what, "sums")) sums(), order();
    if (!strcmp(what, "absent")) absent();
    if (!strcmp(what, "several")) several();
    if (place.rank == 0) printf("%s, %s\n", ql_data_plane_name(plane), ql_data_plane_hides(plane) ? "hides" : "does not hide");
    ql_data_plane_close(plane);
    ql_device_close(device);
    GOOD(ql_world_close(world, ql_ok()));
    return 0;
}
