#include "collective/recorder.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "collective/recorder_copy.h"

#define PUT(field, value) atomic_store_explicit(&(field), (uint64_t)(value), memory_order_relaxed)
#define GET(field)        atomic_load_explicit(&(field), memory_order_relaxed)

/* What the ranks tell each other. */
typedef struct {
    int64_t  pid, fd;    /* fd -1: it cannot be mapped by others  */
    uint64_t key, house; /* equal houses: one machine, one set of process numbers */
    char     host[64];
} address;

static ql_ring           unseen; /* where there is nothing better */
static ql_ring          *mine = &unseen;
static int               mine_fd = -1;
static ql_recorder_peer *peers;
static _Atomic int       n_peers;

/* ---- opening ---- */

static uint64_t nanoseconds(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static uint64_t draw_key(void) {
    uint64_t key = 0;
    if (getrandom(&key, sizeof key, GRND_NONBLOCK) != sizeof key) key = nanoseconds(CLOCK_REALTIME) ^ (uint64_t)getpid() << 40;
    return key | 1;
}

/* Sealed: who maps it need not fear that it shrinks under him. */
static ql_ring *shared_memory(int *fd) {
    *fd = memfd_create("qlora-ring", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (*fd < 0) return NULL;
    void *p = MAP_FAILED;
    if (ftruncate(*fd, sizeof(ql_ring)) == 0 && fcntl(*fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
        p = mmap(NULL, sizeof(ql_ring), PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
    if (p != MAP_FAILED) return p;
    close(*fd);
    *fd = -1;
    return NULL;
}

/* Until the ranks have met; 0: nobody told. */
static int rank_by_environment(void) {
    static const char *const name[] = {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"};
    for (size_t i = 0; i < QL_LEN(name); i++) {
        const char *text = getenv(name[i]);
        if (text && *text) return atoi(text) > 0 ? atoi(text) : 0;
    }
    return 0;
}

void ql_recorder_open(void) {
    if (mine != &unseen) return;
    ql_ring *r = shared_memory(&mine_fd);
    if (r) mine = r;
    memcpy(mine->magic, "qlora ring", 10);
    mine->version = QL_RING_VERSION;
    mine->bytes = sizeof *mine;
    mine->key = draw_key();
    mine->pid = (uint64_t)getpid();
    mine->monotonic = nanoseconds(CLOCK_MONOTONIC);
    mine->wall = nanoseconds(CLOCK_REALTIME);
    gethostname(mine->host, sizeof mine->host - 1);
    PUT(mine->rank, rank_by_environment());
    PUT(mine->size, GET(mine->rank) + 1);
    ql_pulses_move(&mine->pulses);
}

ql_ring *ql_recorder_mine(void) {
    return mine;
}

/* ---- events ---- */

void ql_recorder_enter(ql_ring_what what, size_t count) {
    uint64_t       n = GET(mine->entered) + 1;
    ql_ring_event *e = &mine->event[n % QL_RING_EVENTS];
    PUT(e->number, 0);
    atomic_thread_fence(memory_order_release);
    PUT(e->what, what);
    PUT(e->count, count);
    PUT(e->step, GET(mine->pulses.step));
    PUT(e->begin, nanoseconds(CLOCK_MONOTONIC));
    PUT(e->end, 0);
    atomic_store_explicit(&e->number, n, memory_order_release);
    atomic_store_explicit(&mine->entered, n, memory_order_release);
}

void ql_recorder_leave(void) {
    PUT(mine->event[GET(mine->entered) % QL_RING_EVENTS].end, nanoseconds(CLOCK_MONOTONIC));
}

void ql_recorder_place(ql_place place) {
    PUT(mine->rank, place.rank);
    PUT(mine->size, place.size);
}

void ql_recorder_generation(int64_t generation) {
    PUT(mine->generation, generation);
}

void ql_recorder_end(ql_ring_state state, int milliseconds) {
    PUT(mine->state, state);
    ql_recorder_copy_now(milliseconds);
}

/* ---- meeting ---- */

static uint64_t hash_link(const char *path, uint64_t seed) {
    char    text[256];
    ssize_t n = readlink(path, text, sizeof text);
    return n > 0 ? ql_hash64(text, (size_t)n, seed) : seed;
}

/* Process numbers mean the same where the kernel was started at the same time and the namespace is the same. */
static uint64_t house_of(void) {
    char    boot[64];
    int     fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, boot, sizeof boot) : -1;
    if (fd >= 0) close(fd);
    return hash_link("/proc/self/ns/pid", ql_hash64(boot, n > 0 ? (size_t)n : 0, mine->key * (n <= 0)));
}

static bool is_sealed_ring(int fd) {
    int seals = fcntl(fd, F_GET_SEALS);
    return seals >= 0 && (seals & F_SEAL_SHRINK) && lseek(fd, 0, SEEK_END) == (off_t)sizeof(ql_ring);
}

/* NULL: not to be had, as in a container that hides the processes of others. */
static const ql_ring *map_ring(const address *a) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%lld/fd/%lld", (long long)a->pid, (long long)a->fd);
    int   fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    void *p = fd >= 0 && is_sealed_ring(fd) ? mmap(NULL, sizeof(ql_ring), PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
    if (fd >= 0) close(fd);
    if (p == MAP_FAILED) return NULL;
    const ql_ring *r = p;
    if (r->key == a->key) return r;
    munmap(p, sizeof(ql_ring));
    return NULL;
}

static void look_up(const address *all, int size, uint64_t house) {
    peers = QL_NEW_ARRAY(ql_recorder_peer, (size_t)size);
    for (int r = 0; r < size; r++) {
        ql_recorder_peer *p = &peers[r];
        p->rank = r;
        p->pid = all[r].pid;
        memcpy(p->host, all[r].host, sizeof p->host - 1);
        const ql_ring *ring = NULL;
        if (all[r].key == mine->key) ring = mine;
        else if (all[r].house == house && all[r].fd >= 0) ring = map_ring(&all[r]);
        p->ring = ring;
        p->is_near = ring != NULL;
        if (!ring) ql_recorder_copy_expect(p, all[r].key);
    }
    atomic_store_explicit(&n_peers, size, memory_order_release);
}

/* Nobody goes on before all have looked: a ring is found as long as its process is there. */
ql_err ql_recorder_meet(ql_world *w) {
    ql_place place = ql_world_place(w);
    ql_recorder_place(place);
    if (place.size == 1) return ql_ok();
    uint64_t house = house_of();
    address  here = {.pid = getpid(), .fd = mine_fd, .key = mine->key, .house = house}, *all = QL_NEW_ARRAY(address, (size_t)place.size);
    memcpy(here.host, mine->host, sizeof here.host);
    ql_err e = ql_share_bytes(w, &here, sizeof here, all);
    if (!ql_bad(e)) look_up(all, place.size, house);
    free(all);
    return ql_bad(e) ? e : ql_barrier(w);
}

int ql_recorder_peers(const ql_recorder_peer **out) {
    int n = atomic_load_explicit(&n_peers, memory_order_acquire);
    *out = n > 0 ? peers : NULL; /* before there are any, they are being written */
    return n;
}
