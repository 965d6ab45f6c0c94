#include "worker/machines.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "collective/recorder.h"

typedef struct {
    char     name[64];
    uint64_t boot; /* of the kernel; in containers names may be alike */
} machine;

static machine this_machine(void) {
    machine m = {0};
    char    text[64];
    gethostname(m.name, sizeof m.name - 1);
    int     fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text) : -1;
    if (fd >= 0) close(fd);
    m.boot = ql_hash64(text, n > 0 ? (size_t)n : 0, 0);
    return m;
}

static int find(const ql_machines *m, const machine *all, const machine *wanted) {
    for (int i = 0; i < m->count; i++)
        if (!memcmp(&all[m->first[i]], wanted, sizeof *wanted)) return i;
    return -1;
}

static void sort(const machine *all, int ranks, const machine *mine, ql_machines *out) {
    out->first = QL_NEW_ARRAY(int, (size_t)ranks);
    for (int r = 0; r < ranks; r++)
        if (find(out, all, &all[r]) < 0) out->first[out->count++] = r;
    out->name = ql_alloc_array((size_t)out->count, sizeof *out->name);
    for (int i = 0; i < out->count; i++) memcpy(out->name[i], all[out->first[i]].name, sizeof *out->name);
    out->mine = find(out, all, mine);
}

ql_err ql_machines_meet(ql_world *w, ql_machines *out) {
    int      ranks = ql_world_place(w).size;
    machine  mine = this_machine(), *all = QL_NEW_ARRAY(machine, (size_t)ranks);
    *out = (ql_machines){0};
    ql_err   e = ql_share_bytes(w, &mine, sizeof mine, all);
    if (!ql_bad(e)) sort(all, ranks, &mine, out);
    free(all);
    return e;
}

void ql_machines_free(ql_machines *m) {
    free(m->first);
    free(m->name);
    *m = (ql_machines){0};
}

void ql_machines_name(void) {
    const ql_recorder_peer *peer;
    static char             mine[64];
    int                     n = ql_recorder_peers(&peer);
    gethostname(mine, sizeof mine - 1);
    for (int r = 0; r < n; r++)
        if (strcmp(peer[r].host, mine) != 0) ql_log_host(mine);
}
