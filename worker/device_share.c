#include "worker/device_share.h"

#include <stdlib.h>
#include <string.h>

/* Every rank looks for a device in turn. One that finds all of them taken asks the ranks that have them to take
 * another, so that a rank that sees one device only is not left without it by a rank that has the choice
 * (augmenting paths; Kuhn 1955). */
typedef struct {
    const ql_device_offer *offer;
    int                    ranks;
    int                   *ordinal;
    bool                  *asked; /* per rank, in the search for one rank */
} sharing;

/* -1: nobody. */
static int owner_of(const sharing *s, const char *id) {
    for (int r = 0; r < s->ranks; r++)
        if (s->ordinal[r] >= 0 && !strcmp(s->offer[r].id[s->ordinal[r]], id)) return r;
    return -1;
}

static int place_on_host(const sharing *s, int rank) {
    int place = 0;
    for (int r = 0; r < rank; r++) place += !strcmp(s->offer[r].host, s->offer[rank].host);
    return place;
}

static bool find_device(sharing *s, int rank) {
    const ql_device_offer *o = &s->offer[rank];
    int                    first = place_on_host(s, rank);
    s->asked[rank] = true;
    for (int asking = 0; asking <= 1; asking++)
        for (int i = 0; i < o->count; i++) {
            int device = (first + i) % o->count, owner = owner_of(s, o->id[device]);
            if (owner >= 0 && (!asking || s->asked[owner] || !find_device(s, owner))) continue;
            s->ordinal[rank] = device;
            return true;
        }
    return false;
}

int ql_devices_share(const ql_device_offer *offer, int ranks, int *ordinal) {
    sharing s = {offer, ranks, ordinal, NULL};
    int     computing = 0;
    for (int r = 0; r < ranks; r++) ordinal[r] = -1;
    for (int r = 0; r < ranks; r++) {
        s.asked = QL_NEW_ARRAY(bool, (size_t)ranks);
        computing += find_device(&s, r);
        free(s.asked);
    }
    return computing;
}

/* ---- what is said of it ---- */

static void put_visible(const ql_device_offer *o, ql_str *out) {
    if (o->visible[0]) ql_str_printf(out, " (CUDA_VISIBLE_DEVICES=%s)", o->visible);
}

static void put_reason(const ql_device_offer *offer, int ranks, const int *ordinal, int rank, ql_str *out) {
    const ql_device_offer *o = &offer[rank];
    ql_str_printf(out, "rank %d on %s", rank, o->host);
    if (o->count == 0) {
        ql_str_printf(out, " sees no device: %s", o->why);
        return;
    }
    ql_str_printf(out, " sees %d device%s", o->count, o->count == 1 ? "" : "s");
    put_visible(o, out);
    int owner = 0;
    while (owner < ranks && (ordinal[owner] < 0 || strcmp(offer[owner].id[ordinal[owner]], o->id[0]))) owner++;
    ql_str_printf(out, "%s %s is rank %d's", o->count == 1 ? ", and" : ", all taken:", o->id[0], owner);
    put_visible(&offer[owner], out);
}

void ql_devices_share_text(const ql_device_offer *offer, int ranks, const int *ordinal, ql_str *out) {
    enum { NAMED = 8 };
    int idle = 0, first = -1;
    for (int r = ranks - 1; r >= 0; r--)
        if (ordinal[r] < 0) {
            idle++;
            first = r;
        }
    ql_str_printf(out, "%d of %d ranks stand%s by (", idle, ranks, idle == 1 ? "s" : "");
    for (int r = first, named = 0; r < ranks && named <= NAMED; r++) {
        if (ordinal[r] >= 0) continue;
        if (named == NAMED) ql_str_puts(out, ", ...");
        else ql_str_printf(out, "%s%d", named ? ", " : "", r);
        named++;
    }
    ql_str_puts(out, "): ");
    put_reason(offer, ranks, ordinal, first, out);
    ql_str_puts(out, "; start one rank for each device (under Slurm and mpirun: --gpus-per-node, not --gpus-per-task)");
}
