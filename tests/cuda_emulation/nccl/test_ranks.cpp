#include "test_ranks.h"
#include "tests/cuda_emulation/emulation.h"
#include <functional>
#include <map>
#include <math.h>
#include <mpi.h>
#include <nccl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <string>
#include <time.h>
#include <unistd.h>
#include <vector>

/* For a build with sanitizers: MPI keeps memory until the end. */
extern "C" const char *__asan_default_options(void);
const char *__asan_default_options(void) {
    return "detect_leaks=0";
}

static int rank, ranks;
static cudaStream_t stream;

#define require(condition) require_at((condition), #condition, __LINE__)
static void require_at(bool condition, const char *text, int line) {
    if (condition) return;
    fprintf(stderr, "rank %d: line %d: not so: %s (%s)\n", rank, line, text, ncclGetLastError(nullptr));
    _exit(1);
}
#define ok(CALL) require((CALL) == 0)

/* ---- with patience, as the product asks ---- */

static bool is_over(double seconds) {
    static double begun;
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    double now = static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
    if (seconds < 0) begun = now;
    return now - begun > seconds;
}
static const double patience = getenv("PATIENCE") ? atof(getenv("PATIENCE")) : 60;

/* What a call has come to, when it no longer is in progress; ncclInProgress: patience is over. `asked`: how often. */
static ncclResult_t settle(ncclComm_t comm, ncclResult_t answer, int *asked = nullptr) {
    is_over(-1);
    int n = 0;
    while (answer == ncclInProgress && !is_over(patience)) {
        ok(ncclCommGetAsyncError(comm, &answer));
        n++;
        usleep(100);
    }
    if (asked) *asked = n;
    return answer;
}
/* ncclSuccess when all that is queued is done. */
static ncclResult_t wait_for_stream(ncclComm_t comm) {
    is_over(-1);
    while (!is_over(patience)) {
        cudaError_t e = cudaStreamQuery(stream);
        if (e == cudaSuccess) return ncclSuccess;
        require(e == cudaErrorNotReady);
        ncclResult_t error;
        ok(ncclCommGetAsyncError(comm, &error));
        if (error != ncclSuccess && error != ncclInProgress) return error;
        usleep(100);
    }
    return ncclInProgress;
}

static ncclUniqueId shared_id(int root) {
    ncclUniqueId id;
    if (rank == root) ok(ncclGetUniqueId(&id));
    MPI_Bcast(&id, sizeof id, MPI_BYTE, root, MPI_COMM_WORLD);
    return id;
}
static ncclResult_t try_to_meet(ncclComm_t *comm, int *asked = nullptr) {
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    ncclResult_t r = ncclCommInitRankConfig(comm, ranks, shared_id(0), rank, &config);
    require(r == ncclInProgress);
    return settle(*comm, r, asked);
}
static ncclComm_t meet() {
    ncclComm_t comm;
    ok(try_to_meet(&comm));
    return comm;
}
static void part(ncclComm_t comm) {
    ok(settle(comm, ncclCommFinalize(comm)));
    ok(ncclCommDestroy(comm));
}

/* ---- sums ---- */

template <typename T> static T *on_device(const std::vector<T> &data) {
    T *p;
    ok(cudaMalloc(reinterpret_cast<void **>(&p), data.size() * sizeof(T) + 1));
    ok(cudaMemcpy(p, data.data(), data.size() * sizeof(T), cudaMemcpyHostToDevice));
    return p;
}
template <typename T> static std::vector<T> on_host(const T *p, size_t n) {
    std::vector<T> data(n);
    ok(cudaMemcpy(data.data(), p, n * sizeof(T), cudaMemcpyDeviceToHost));
    return data;
}
template <typename T> static T element(int of_rank, size_t i) {
    return static_cast<T>((i * 2654435761u) % 1000003) * static_cast<T>(of_rank + 1) - static_cast<T>(7 * of_rank);
}
template <typename T> static std::vector<T> elements(int of_rank, size_t n) {
    std::vector<T> data(n);
    for (size_t i = 0; i < n; i++) data[i] = element<T>(of_rank, i);
    return data;
}

template <typename T>
static void check_reduction(ncclComm_t comm, ncclDataType_t type, ncclRedOp_t op, size_t n, bool in_place) {
    T *from = on_device(elements<T>(rank, n)), *to = in_place ? from : on_device(std::vector<T>(n));
    ok(settle(comm, ncclAllReduce(from, to, n, type, op, comm, stream)));
    ok(wait_for_stream(comm));
    std::vector<T> got = on_host(to, n);
    for (size_t i = 0; i < n; i++) {
        T wanted = element<T>(0, i);
        for (int r = 1; r < ranks; r++) {
            T next = element<T>(r, i);
            wanted = op == ncclSum   ? wanted + next
                     : op == ncclMax ? (next > wanted ? next : wanted)
                                     : (next < wanted ? next : wanted);
        }
        require(got[i] == wanted);
    }
    ok(cudaFree(from));
    if (!in_place) ok(cudaFree(to));
}

static void reductions() {
    ncclComm_t comm = meet();
    int count, me, device;
    ok(ncclCommCount(comm, &count));
    ok(ncclCommUserRank(comm, &me));
    ok(ncclCommCuDevice(comm, &device));
    require(count == ranks && me == rank && device == rank);
    for (ncclRedOp_t op : {ncclSum, ncclMax, ncclMin})
        for (bool in_place : {false, true}) {
            check_reduction<int64_t>(comm, ncclInt64, op, 1001, in_place);
            check_reduction<int32_t>(comm, ncclInt32, op, 7, in_place);
            check_reduction<float>(comm, ncclFloat32, op, 100, in_place);
        }
    check_reduction<int64_t>(comm, ncclInt64, ncclSum, 500000, true);
    part(comm);
}

static void broadcasts() {
    ncclComm_t comm = meet();
    for (int root = 0; root < ranks; root++) {
        int32_t *p = on_device(elements<int32_t>(rank, 33));
        ok(settle(comm, ncclBroadcast(p, p, 33, ncclInt32, root, comm, stream)));
        ok(wait_for_stream(comm));
        require(on_host(p, 33) == elements<int32_t>(root, 33));
    }
    part(comm);
}

/* Several sums queued at once, and in a group. */
static void buckets() {
    ncclComm_t comm = meet();
    std::vector<int64_t *> bucket;
    for (int i = 0; i < 6; i++) bucket.push_back(on_device(elements<int64_t>(rank + i, 50)));
    ok(ncclGroupStart());
    for (int i = 0; i < 3; i++) ok(ncclAllReduce(bucket[i], bucket[i], 50, ncclInt64, ncclSum, comm, stream));
    ok(settle(comm, ncclGroupEnd()));
    for (int i = 3; i < 6; i++) ok(ncclAllReduce(bucket[i], bucket[i], 50, ncclInt64, ncclSum, comm, stream));
    ok(wait_for_stream(comm));
    for (int i = 0; i < 6; i++) {
        int64_t wanted = 0;
        for (int r = 0; r < ranks; r++) wanted += element<int64_t>(r + i, 49);
        require(on_host(bucket[i], 50)[49] == wanted);
    }
    part(comm);
}

/* Nothing is queued before the first collective has been asked about; in between other calls are refused. */
static void progress_is_asked_for() {
    ncclComm_t comm;
    int asked;
    ok(try_to_meet(&comm, &asked));
    require(asked > 3);
    int64_t *p = on_device(elements<int64_t>(rank, 5));
    require(ncclAllReduce(p, p, 5, ncclInt64, ncclSum, comm, stream) == ncclInProgress);
    require(ncclAllReduce(p, p, 5, ncclInt64, ncclSum, comm, stream) == ncclInvalidArgument);
    require(strstr(ncclGetLastError(comm), "before the previous operation"));
    ok(cudaStreamSynchronize(stream));
    require(on_host(p, 5) == elements<int64_t>(rank, 5));
    ok(settle(comm, ncclInProgress));
    ok(ncclAllReduce(p, p, 5, ncclInt64, ncclMax, comm, stream));
    ok(wait_for_stream(comm));
    part(comm);
}

static void a_blocking_communicator() {
    ncclComm_t comm;
    ok(ncclCommInitRank(&comm, ranks, shared_id(ranks - 1), rank));
    int64_t *p = on_device(elements<int64_t>(rank, 5));
    ok(ncclAllReduce(p, p, 5, ncclInt64, ncclSum, comm, stream));
    ok(cudaStreamSynchronize(stream));
    ok(ncclCommFinalize(comm));
    ok(ncclCommDestroy(comm));
}

/* Ranks 1... without rank 0. */
static void a_part_of_the_world() {
    ncclUniqueId id = shared_id(1);
    if (rank == 0) return;
    ncclComm_t comm;
    ok(ncclCommInitRank(&comm, ranks - 1, id, rank - 1));
    int32_t *p = on_device(std::vector<int32_t>(3, rank));
    ok(ncclAllReduce(p, p, 3, ncclInt32, ncclSum, comm, stream));
    ok(cudaStreamSynchronize(stream));
    require(on_host(p, 3)[2] == ranks * (ranks - 1) / 2);
    ok(ncclCommDestroy(comm));
}

/* ---- what goes wrong ---- */

static void all_on_one_device() {
    ok(cudaSetDevice(0));
    ncclComm_t comm;
    require(try_to_meet(&comm) == ncclInvalidUsage);
    require(strstr(ncclGetLastError(comm), "Duplicate GPU detected : rank 0 and rank 1"));
    ok(ncclCommAbort(comm));
}

static void versions() {
    int v;
    ok(ncclGetVersion(&v));
    require(v == (rank == 1 ? 21300 : NCCL_VERSION_CODE));
    ncclComm_t comm;
    require(try_to_meet(&comm) == ncclInvalidUsage);
}

static void nobody_comes() {
    ncclComm_t comm;
    require(try_to_meet(&comm) == ncclInProgress);
    ok(ncclCommAbort(comm));
}

static void it_fails_at_the_meeting() {
    ncclComm_t comm;
    require(try_to_meet(&comm) == (rank == 1 ? ncclSystemError : ncclSuccess));
}

/* The third sum of rank 1 comes to nothing. */
static void third_sum(ncclResult_t mine, ncclResult_t of_others) {
    ncclComm_t comm = meet();
    int64_t *p = on_device(elements<int64_t>(rank, 5));
    for (int i = 1; i <= 2; i++) {
        ok(settle(comm, ncclAllReduce(p, p, 5, ncclInt64, ncclSum, comm, stream)));
        ok(wait_for_stream(comm));
    }
    (void)ncclAllReduce(p, p, 5, ncclInt64, ncclSum, comm, stream);
    require(wait_for_stream(comm) == (rank == 1 ? mine : of_others));
    ok(ncclCommAbort(comm));
    ok(cudaStreamSynchronize(stream)); /* no longer waits for anybody */
}
static void a_rank_hangs() {
    third_sum(ncclInProgress, ncclInProgress);
}
static void an_error_on_the_way() {
    third_sum(ncclRemoteError, ncclInProgress);
}

static void different_sums() {
    ncclComm_t comm = meet();
    int64_t *p = on_device(elements<int64_t>(rank, 5));
    ok(settle(comm, ncclAllReduce(p, p, 5, ncclInt64, rank == 1 ? ncclSum : ncclMax, comm, stream)));
    wait_for_stream(comm);
    _exit(0);
}

static void memory_of_the_host() {
    ncclComm_t comm = meet();
    int64_t p[5];
    (void)ncclAllReduce(p, p, 5, ncclInt64, ncclSum, comm, stream);
}

int run_rank(int argc, char **argv) {
    const std::map<std::string, std::function<void()>> acts = {
        {"reductions", reductions},
        {"broadcasts", broadcasts},
        {"buckets", buckets},
        {"progress", progress_is_asked_for},
        {"blocking", a_blocking_communicator},
        {"part", a_part_of_the_world},
        {"one-device", all_on_one_device},
        {"versions", versions},
        {"nobody", nobody_comes},
        {"failing-meeting", it_fails_at_the_meeting},
        {"hang", a_rank_hangs},
        {"error", an_error_on_the_way},
        {"different", different_sums},
        {"host-memory", memory_of_the_host},
    };
    int level;
    MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &level);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    ok(cudaSetDevice(rank));
    ok(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    acts.at(argv[1])();
    MPI_Finalize();
    return 0;
}
