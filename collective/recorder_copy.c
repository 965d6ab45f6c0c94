#include "collective/recorder_copy.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"

/* A ring that is looked for in the run folder. Two places, so that nobody reads the one that is written to. */
typedef struct {
    ql_recorder_peer *peer;
    uint64_t          key;
    ql_ring           copy[2];
    int               next;
} far_ring;

static struct {
    char     *folder; /* NULL: not yet */
    char     *path;
    far_ring *far;
    size_t    n_far, capacity;
    _Atomic int     bell;        /* wakes the thread; -1: there is none */
    _Atomic int64_t asked, done; /* copies, counted  */
} copies = {.bell = -1};

void ql_recorder_copy_expect(ql_recorder_peer *p, uint64_t key) {
    far_ring f = {.peer = p, .key = key};
    QL_PUSH(copies.far, copies.n_far, copies.capacity, f);
}

/* ---- our own ---- */

static void copy_words(void *to, const void *from, size_t bytes) {
    _Atomic uint64_t       *out = to;
    const _Atomic uint64_t *in = from;
    for (size_t i = 0; i < bytes / sizeof *out; i++)
        atomic_store_explicit(&out[i], atomic_load_explicit(&in[i], memory_order_relaxed), memory_order_relaxed);
}

/* Events first: none may be newer than the number of the last exchange. */
static void take_snapshot(ql_ring *out) {
    const ql_ring *r = ql_recorder_mine();
    copy_words(out->event, r->event, sizeof r->event);
    atomic_thread_fence(memory_order_acquire);
    copy_words(out, r, offsetof(ql_ring, event));
}

/* Opened anew each time: what network file systems show to others is what was written before closing. */
static void write_copy(void) {
    ql_ring now;
    int     fd = open(copies.path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) return;
    take_snapshot(&now);
    ssize_t ignored = pwrite(fd, &now, sizeof now, 0);
    (void)ignored;
    close(fd);
}

void ql_recorder_copy_now(int milliseconds) {
    if (copies.bell < 0) return;
    int64_t  wanted = ++copies.asked;
    uint64_t one = 1;
    if (write(copies.bell, &one, sizeof one) != sizeof one) return;
    for (int waited = 0; waited < milliseconds && copies.done < wanted; waited++) nanosleep(&(struct timespec){0, 1000000}, NULL);
}

/* ---- those of others ---- */

static char *path_of(int rank) {
    char *name = ql_format("rank-%d.ring", rank), *path = ql_path_join(copies.folder, name);
    free(name);
    return path;
}

static void look_for(far_ring *f) {
    char    *path = path_of(f->peer->rank);
    ql_ring *there = &f->copy[f->next];
    if (!ql_bad(ql_ring_read(path, there)) && there->key == f->key) {
        f->peer->ring = there;
        f->next = !f->next;
    }
    free(path);
}

static void *keep_copying(void *unused) {
    (void)unused;
    enum { PAUSE = 1000 }; /* milliseconds */
    for (uint64_t rung;;) {
        int64_t asked = copies.asked;
        if (copies.path) write_copy();
        copies.done = asked;
        for (size_t i = 0; i < copies.n_far; i++) look_for(&copies.far[i]);
        struct pollfd bell = {.fd = copies.bell, .events = POLLIN};
        if (poll(&bell, 1, PAUSE) == 1 && read(copies.bell, &rung, sizeof rung) < 0) break;
    }
    return NULL;
}

/* ---- opening ---- */

/* Rings of an earlier run with more ranks would be taken for this one's. */
static void remove_others(int size) {
    for (int rank = size, missing = 0; missing < 64; rank++) {
        char *path = path_of(rank);
        missing = unlink(path) == 0 ? 0 : missing + 1;
        free(path);
    }
}

/* A new file each time, so that a link that somebody put there is not followed. */
static bool make_file(const char *path) {
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0) close(fd);
    return fd >= 0;
}

static void start_thread(void) {
    sigset_t  all, before;
    pthread_t thread;
    int       bell = eventfd(0, EFD_CLOEXEC);
    if (bell < 0) return;
    copies.bell = bell;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (pthread_create(&thread, NULL, keep_copying, NULL) == 0) pthread_detach(thread);
    else copies.bell = -1;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* Our rank among all: where nobody was met, the only one. */
static int own_rank(void) {
    const ql_recorder_peer *peer;
    int                     n = ql_recorder_peers(&peer);
    for (int r = 0; r < n; r++)
        if (peer[r].ring == ql_recorder_mine()) return r;
    return 0;
}

void ql_recorder_publish(const char *folder) {
    const ql_recorder_peer *peer;
    int                     size = ql_recorder_peers(&peer), rank = own_rank();
    if (copies.folder) return;
    copies.folder = ql_strdup(folder);
    char *path = path_of(rank);
    if (make_file(path)) copies.path = path;
    else free(path);
    if (rank == 0) remove_others(size > 0 ? size : 1);
    start_thread();
}
