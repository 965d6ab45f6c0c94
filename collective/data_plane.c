#include "collective/data_plane.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "collective/recorder.h"
#include "collective/plane.h"

/* A program has the library that it was linked with; an absent one has no address. */
extern const ql_plane ql_plane_nccl __attribute__((weak));

struct ql_data_plane {
    const ql_plane *plane; /* NULL: one rank */
    void           *state;
    char            name[64];
    size_t          count; /* integers whose sums have begun and were not waited for */
};

static const ql_plane *plane_for(const char *kind) {
    bool fits = &ql_plane_nccl && !strcmp(ql_plane_nccl.device_kind, kind);
    return fits ? &ql_plane_nccl : &ql_plane_host;
}

ql_err ql_data_plane_open(ql_world *w, ql_device *d, const char *kind, ql_data_plane **out) {
    ql_data_plane *p = QL_NEW(ql_data_plane);
    *p = (ql_data_plane){.name = "none"};
    *out = p;
    if (ql_world_place(w).size == 1) return ql_ok();
    p->plane = plane_for(kind);
    p->plane->name(p->name);
    QL_TRY(ql_same_everywhere(w, p->plane->hides, "the build of this program (with NCCL, or without)"));
    return p->plane->open(w, d, &p->state);
}

void ql_data_plane_close(ql_data_plane *p) {
    if (!p) return;
    if (p->state) p->plane->close(p->state);
    free(p);
}

bool ql_data_plane_hides(const ql_data_plane *p) {
    return p && p->plane && p->plane->hides;
}

const char *ql_data_plane_name(const ql_data_plane *p) {
    return p->name;
}

void ql_data_plane_library(const char *kind, char name[64]) {
    const ql_plane *plane = plane_for(kind);
    name[0] = 0;
    if (plane->device_kind) plane->name(name);
}

ql_err ql_data_plane_begin(ql_data_plane *p, ql_tensor t) {
    QL_CHECK(t.dtype == QL_I64, QL_BUG, "a sum over ranks of %s", ql_dtype_name(t.dtype));
    if (ql_data_plane_hides(p)) p->count += (size_t)ql_count(t);
    return p->plane && ql_count(t) > 0 ? p->plane->begin(p->state, t) : ql_ok();
}

ql_err ql_data_plane_finish(ql_data_plane *p, double patience) {
    if (!p->plane) return ql_ok();
    if (!p->plane->hides) return p->plane->finish(p->state, patience);
    ql_recorder_enter(QL_RING_DEVICE_SUM, p->count);
    ql_pulse_kind before = ql_pulse_wait();
    ql_err        e = p->plane->finish(p->state, patience);
    ql_recorder_leave();
    ql_pulse_go_on(before);
    p->count = 0;
    return e;
}

static bool is_built(const char *kind) {
    bool        built;
    const char *known;
    for (int i = 0; (known = ql_device_kind(i, &built)); i++)
        if (!strcmp(known, kind)) return built;
    return false;
}

/* A device whose back end is not in this build is planned for as if its library were there. What it
 * takes it tells nobody: some 5 MiB for each of at most eight channels (nccl.c) and each neighbour. */
enum { LIBRARY_BYTES = 200 << 20 };

ql_data_plane_memory ql_data_plane_memory_of(const char *kind, const ql_device_needs *needs, size_t n, int ranks) {
    if (ranks == 1) return (ql_data_plane_memory){0};
    if (needs->is_host) return (ql_data_plane_memory){.host_bytes = ql_sum_buffer_bytes(n, ranks)};
    if (!is_built(kind) || plane_for(kind)->hides) return (ql_data_plane_memory){.device_bytes = LIBRARY_BYTES};
    return (ql_data_plane_memory){.host_bytes = QL_PLANE_PIECE + ql_sum_buffer_bytes(n, ranks)};
}
