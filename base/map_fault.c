#include "base/map_fault.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

/* A place in the list is used again and never freed: the handler may be looking at it. */
typedef struct mapping mapping;
struct mapping {
    _Atomic(const uint8_t *) data; /* NULL: free */
    size_t size;
    char *path;
    ql_file_mark mark;
    mapping *next;
};

static _Atomic(mapping *) all;
static pthread_mutex_t changing = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction before;

static const mapping *mapping_at(const uint8_t *address) {
    for (const mapping *m = atomic_load(&all); m; m = m->next) {
        const uint8_t *data = atomic_load(&m->data);
        if (data && address >= data && address < data + m->size) return m;
    }
    return NULL;
}

/* ql_file_mark_read is stat(), which a handler may call. */
static QL_NORETURN void give_up(const mapping *m) {
    ql_file_mark now;
    bool cut = ql_file_mark_read(m->path, &now) && now.inode == m->mark.inode && now.size < m->mark.size;
    const char *const part[] = {m->path,
                                cut ? ": was cut short while it was being read; put the whole file back and start again"
                                    : ": cannot be read any more; look after the disk or network it lies on"};
    ql_error_parts(part, QL_LEN(part));
    _exit(cut ? QL_DATA : QL_IO);
}

static void on_bus_error(int sig, siginfo_t *info, void *context) {
    (void)context;
    const mapping *m = info->si_code > 0 ? mapping_at(info->si_addr) : NULL;
    if (m) give_up(m);
    sigaction(sig, &before, NULL);
    if (info->si_code <= 0) raise(sig); /* else the access is repeated, and faults as it would have without us */
}

/* Others set theirs when they are started (MPI does), so that ours may be gone by the next file. */
static void keep_handler(void) {
    struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO}, now;
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGBUS, NULL, &now) != 0 || now.sa_sigaction == on_bus_error) return;
    before = now;
    sigaction(SIGBUS, &action, NULL);
}

static mapping *free_place(void) {
    mapping *m = atomic_load(&all);
    while (m && atomic_load(&m->data)) m = m->next;
    if (m) return m;
    m = QL_NEW(mapping);
    m->next = atomic_load(&all);
    atomic_store(&all, m);
    return m;
}

void ql_map_watch(const ql_map *map) {
    pthread_mutex_lock(&changing);
    keep_handler();
    mapping *m = free_place();
    m->size = map->size;
    m->path = ql_strdup(map->path);
    m->mark = map->mark;
    atomic_store(&m->data, map->data);
    pthread_mutex_unlock(&changing);
}

void ql_map_unwatch(const ql_map *map) {
    pthread_mutex_lock(&changing);
    mapping *m = atomic_load(&all);
    while (m && atomic_load(&m->data) != map->data) m = m->next;
    if (m) {
        atomic_store(&m->data, NULL);
        free(m->path);
    }
    pthread_mutex_unlock(&changing);
}
