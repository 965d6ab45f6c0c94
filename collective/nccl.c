/* Sums between the memories of GPUs, by NCCL, on a stream of their own.
 *
 * The communicator does not block: a call that is not done answers ncclInProgress, and ncclCommGetAsyncError is asked
 * until it is, always with a deadline (NVIDIA NCCL user guide: "Fault Tolerance", "Using multiple NCCL communicators").
 * A peer that dies on the same machine is reported by nobody, so the deadline is what notices it. Then nothing is
 * aborted, since aborting can hang, too: the process leaves, and takes the others with it. */
#include <nccl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "collective/plane.h"
#include "kernels/cuda/native.h"

enum { OLDEST_VERSION = 21400, INIT_SECONDS = 120, FAREWELL_SECONDS = 10, MOST_CHANNELS = 8 };

typedef struct {
    ql_device   *device;
    ncclComm_t   comm;
    int          rank;
    cudaStream_t stream;
    cudaEvent_t  ready; /* the work queued before a sum is done */
    cudaEvent_t  done;  /* the sums are                         */
    bool         begun; /* there is something to wait for       */
    bool         broken; /* nothing may be asked of it any more */
} nccl_plane;

#define ASK(CALL, DOING) QL_TRY(ql_cuda_verdict((CALL), (DOING)))

static double seconds_from(const char *text, double otherwise) {
    if (!text || !*text) return otherwise;
    char  *end;
    double s = strtod(text, &end);
    return *end == 0 && s > 0 ? s : otherwise;
}

/* How long to wait: what the environment says, or `otherwise`. */
static double patience_or(double otherwise) {
    return seconds_from(getenv("QLORA_NCCL_TIMEOUT"), otherwise);
}

static void pause_for(double seconds) {
    struct timespec t = {0, (long)(seconds * 1e9)};
    nanosleep(&t, NULL);
}

static ql_err failed(nccl_plane *p, ncclResult_t r, const char *doing) {
    const char *more = p->comm ? ncclGetLastError(p->comm) : NULL;
    p->broken = true;
    return ql_fail(QL_TEMP,
                   "NCCL, rank %d, %s: %s%s%s; a peer, a GPU or the network is gone: see the messages of the other ranks "
                   "(NCCL_DEBUG=WARN tells more), and start again to go on from the last checkpoint",
                   p->rank, doing, ncclGetErrorString(r), more && *more ? ": " : "", more ? more : "");
}

static ql_err too_late(nccl_plane *p, double patience, const char *doing) {
    p->broken = true;
    return ql_fail(QL_TEMP,
                   "NCCL, rank %d, %s: not done after %.0f s; a rank hangs or is gone: see the messages of the other ranks, and "
                   "start again to go on from the last checkpoint (QLORA_NCCL_TIMEOUT=SECONDS waits longer)",
                   p->rank, doing, patience);
}

/* Waits until the library is done with the last call. */
static ql_err settle(nccl_plane *p, ncclResult_t answer, double patience, const char *doing) {
    double       deadline = ql_seconds() + patience;
    ncclResult_t state = answer;
    QL_CHECK(!p->broken, QL_TEMP, "NCCL, rank %d, %s: it failed before; start again to go on from the last checkpoint", p->rank, doing);
    for (double pause = 2e-5; state == ncclInProgress; pause = pause < 1e-3 ? 2 * pause : 1e-3) {
        ncclResult_t asked = ncclCommGetAsyncError(p->comm, &state);
        if (asked != ncclSuccess) return failed(p, asked, doing);
        if (state != ncclInProgress) break;
        if (ql_seconds() > deadline) return too_late(p, patience, doing);
        pause_for(pause);
    }
    return state == ncclSuccess ? ql_ok() : failed(p, state, doing);
}

static void version_text(int v, char name[64]) {
    bool old = v < 10000; /* before 2.9: 2804 is 2.8.4 */
    int  unit = old ? 1000 : 10000;
    snprintf(name, 64, "NCCL %d.%d.%d", v / unit, v % unit / 100, v % 100);
}

static void nccl_name(char name[64]) {
    int v = 0;
    (void)ncclGetVersion(&v);
    version_text(v, name);
}

/* ---- opening ---- */

static ql_err check_versions(ql_world *w) {
    int mine = 0;
    (void)ncclGetVersion(&mine);
    int64_t range[2] = {mine, -mine};
    char    name[64], least[64], most[64];
    QL_TRY(ql_max_i64(w, range, QL_LEN(range)));
    version_text(mine, name);
    version_text((int)-range[1], least);
    version_text((int)range[0], most);
    QL_CHECK(-range[1] >= OLDEST_VERSION, QL_USAGE, "%s: version 2.14 or later is needed on all ranks; install it, or use device: cpu",
             least);
    QL_CHECK(range[0] == -range[1], QL_USAGE,
             "NCCL is not of the same version on all ranks: from %s to %s, here %s; install the same on all machines", least, most,
             name);
    return ql_ok();
}

static ql_err make_id(nccl_plane *p, ncclUniqueId *id) {
    ncclResult_t r = ncclGetUniqueId(id);
    return r == ncclSuccess ? ql_ok() : failed(p, r, "opening a port for the other ranks");
}

static ql_err open_streams(nccl_plane *p) {
    int least = 0, greatest = 0;
    ASK(cudaDeviceGetStreamPriorityRange(&least, &greatest), "asking for priorities");
    ASK(cudaStreamCreateWithPriority(&p->stream, cudaStreamNonBlocking, greatest), "making a stream");
    ASK(cudaEventCreateWithFlags(&p->ready, cudaEventDisableTiming), "making an event");
    return ql_cuda_verdict(cudaEventCreateWithFlags(&p->done, cudaEventDisableTiming), "making an event");
}

/* Few channels are plenty for sums that hide behind the backward pass; they leave it processors and memory. */
static ql_err join(nccl_plane *p, ncclUniqueId id, ql_place place) {
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    config.maxCTAs = MOST_CHANNELS;
    ncclResult_t r = ncclCommInitRankConfig(&p->comm, place.size, id, place.rank, &config);
    return settle(p, r, patience_or(INIT_SECONDS), "meeting the other ranks");
}

static ql_err nccl_open(ql_world *w, ql_device *d, void **state) {
    ql_place    place = ql_world_place(w);
    nccl_plane *p = QL_NEW(nccl_plane);
    *p = (nccl_plane){.device = d, .rank = place.rank};
    *state = p;
    ncclUniqueId id = {{0}};
    QL_TRY(check_versions(w));
    ql_err e = open_streams(p);
    if (!ql_bad(e) && place.rank == 0) e = make_id(p, &id);
    QL_TRY(ql_agree(w, e, "preparing NCCL"));
    QL_TRY(ql_broadcast(w, &id, sizeof id, 0));
    return join(p, id, place);
}

/* ---- summing ---- */

static ql_err begin_piece(nccl_plane *p, int64_t *at, size_t n) {
    QL_TRY(settle(p, ncclInProgress, patience_or(INIT_SECONDS), "summing gradients"));
    ncclResult_t r = ncclAllReduce(at, at, n, ncclInt64, ncclSum, p->comm, p->stream);
    return r == ncclSuccess || r == ncclInProgress ? ql_ok() : failed(p, r, "summing gradients");
}

static ql_err nccl_begin(void *state, ql_tensor t) {
    nccl_plane  *p = state;
    int64_t     *at = ql_cuda_address(t);
    const size_t all = (size_t)ql_count(t), most = QL_PLANE_PIECE / sizeof(int64_t);
    p->begun = true; /* or failed, which nccl_finish must say again */
    ASK(cudaEventRecord(p->ready, ql_cuda_stream(p->device)), "ordering streams");
    ASK(cudaStreamWaitEvent(p->stream, p->ready, 0), "ordering streams");
    for (size_t done = 0; done < all; done += most)
        QL_TRY(begin_piece(p, at + done, all - done < most ? all - done : most));
    return ql_ok();
}

/* Work that is queued from now on must not start before the sums are there. */
static ql_err queue_the_end(nccl_plane *p) {
    ASK(cudaEventRecord(p->done, p->stream), "ordering streams");
    return ql_cuda_verdict(cudaStreamWaitEvent(ql_cuda_stream(p->device), p->done, 0), "ordering streams");
}

static ql_err nccl_finish(void *state, double patience) {
    nccl_plane *p = state;
    patience = patience_or(patience);
    double deadline = ql_seconds() + patience;
    if (!p->begun) return ql_ok();
    QL_TRY(settle(p, ncclInProgress, patience, "summing gradients"));
    QL_TRY(queue_the_end(p));
    for (double pause = 2e-5;; pause = pause < 1e-3 ? 1.1 * pause : 1e-3) {
        cudaError_t asked = cudaEventQuery(p->done);
        if (asked == cudaSuccess) break;
        if (asked != cudaErrorNotReady) ASK(asked, "waiting for the gradients of other ranks");
        ncclResult_t error = ncclSuccess, answer = ncclCommGetAsyncError(p->comm, &error);
        if (answer != ncclSuccess) return failed(p, answer, "summing gradients");
        if (error != ncclSuccess && error != ncclInProgress) return failed(p, error, "summing gradients");
        if (ql_seconds() > deadline) return too_late(p, patience, "summing gradients");
        pause_for(pause);
    }
    p->begun = false;
    return ql_ok();
}

/* ---- the end ---- */

/* All ranks say farewell together; one that does not answer is not waited for. */
static bool say_farewell(nccl_plane *p) {
    if (p->broken || !p->comm) return false;
    if (ql_bad(settle(p, ncclInProgress, FAREWELL_SECONDS, "ending"))) return false;
    if (ql_bad(settle(p, ncclCommFinalize(p->comm), FAREWELL_SECONDS, "ending"))) return false;
    return ncclCommDestroy(p->comm) == ncclSuccess;
}

/* What a broken communicator holds is given back when the process ends. */
static void nccl_close(void *state) {
    nccl_plane *p = state;
    if (say_farewell(p)) {
        (void)cudaEventDestroy(p->ready);
        (void)cudaEventDestroy(p->done);
        (void)cudaStreamDestroy(p->stream);
    }
    free(p);
}

extern const ql_plane ql_plane_nccl;
const ql_plane        ql_plane_nccl = {.device_kind = "cuda",
                                       .hides = true,
                                       .name = nccl_name,
                                       .open = nccl_open,
                                       .begin = nccl_begin,
                                       .finish = nccl_finish,
                                       .close = nccl_close};
