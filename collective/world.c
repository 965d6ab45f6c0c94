#include "collective/collective.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/pulse.h"
#include "collective/recorder.h"
#include "collective/vote.h"
#include "collective/wire.h"

struct ql_world {
    ql_place place;
    char     kind[64];
    bool     wired;       /* there is a wire, even if this rank works alone */
    bool     stands_by;
    int     *standing_by; /* ranks among all; NULL: nobody                  */
    int      n_standing_by;
    int      first_working; /* its rank among all                           */
    int64_t *table;         /* ql_world_table                               */
};

static bool alone(const ql_world *w) {
    return w->place.size == 1;
}

ql_err ql_world_open(int *argc, char ***argv, ql_world **out) {
    *out = NULL;
    ql_world world = {.place = {.size = 1, .local_size = 1}, .kind = "single process"};
    ql_launch launch = ql_launch_find();
    world.wired = launch.size != 1;
    if (world.wired) QL_TRY(ql_wire_open(argc, argv, launch, &world.place, world.kind));
    world.table = QL_NEW_ARRAY(int64_t, (size_t)world.place.size * (QL_VOTE_HEADER + QL_VOTE_NUMBERS));
    *out = QL_NEW(ql_world);
    **out = world;
    return ql_ok();
}

ql_place ql_world_place(const ql_world *w) {
    return w->place;
}

const char *ql_world_kind(const ql_world *w) {
    return w->kind;
}

void ql_world_library(char name[64]) {
    ql_wire_library(name);
}

/* ---- exchanges: everything that ranks do together goes through here, in the same order on all of them ---- */

static ql_pulse_kind enter(ql_ring_what what, size_t count) {
    ql_recorder_enter(what, count);
    return ql_pulse_wait();
}

static void leave(ql_pulse_kind before) {
    ql_recorder_leave();
    ql_pulse_go_on(before);
}

static ql_err reduce_pieces(int64_t *data, size_t n, ql_wire_op op) {
    const size_t piece = QL_WIRE_PIECE / sizeof *data;
    for (size_t done = 0; done < n; done += piece) {
        QL_TRY(ql_wire_reduce_i64(data + done, n - done < piece ? n - done : piece, op));
        ql_pulse_beat();
    }
    return ql_ok();
}

static ql_err reduce(ql_world *w, int64_t *data, size_t n, ql_wire_op op) {
    static const ql_ring_what what[] = {[QL_WIRE_SUM] = QL_RING_SUM, [QL_WIRE_MAX] = QL_RING_MAX, [QL_WIRE_MIN] = QL_RING_MIN};
    if (alone(w)) return ql_ok();
    ql_pulse_kind before = enter(what[op], n);
    ql_err        e = reduce_pieces(data, n, op);
    leave(before);
    return e;
}

ql_err ql_sum_i64(ql_world *w, int64_t *data, size_t n) {
    return reduce(w, data, n, QL_WIRE_SUM);
}

size_t ql_sum_buffer_bytes(size_t n, int ranks) {
    size_t bytes = n * sizeof(int64_t);
    return ranks == 1 ? 0 : bytes < QL_WIRE_PIECE ? bytes : QL_WIRE_PIECE;
}

ql_err ql_max_i64(ql_world *w, int64_t *data, size_t n) {
    return reduce(w, data, n, QL_WIRE_MAX);
}

ql_err ql_min_i64(ql_world *w, int64_t *data, size_t n) {
    return reduce(w, data, n, QL_WIRE_MIN);
}

static ql_err receive_all(ql_world *w, const void *mine, size_t n, void *all) {
    for (int from = 1; from < w->place.size; from++) {
        QL_TRY(ql_wire_send(&w->place, from, mine, w->place.rank == 0 ? (char *)all + (size_t)from * n : NULL, n));
        ql_pulse_beat();
    }
    return ql_ok();
}

ql_err ql_gather_bytes(ql_world *w, const void *mine, size_t n, void *all) {
    if (w->place.rank == 0 && n > 0) memmove(all, mine, n);
    if (alone(w)) return ql_ok();
    ql_pulse_kind before = enter(QL_RING_GATHER, n);
    ql_err        e = receive_all(w, mine, n, all);
    leave(before);
    return e;
}

/* No exchange: those are counted, and all ranks make all of them. */
ql_err ql_move_bytes(ql_world *w, int from, int to, void *data, size_t n) {
    QL_CHECK(from != to && n <= QL_WIRE_PIECE, QL_BUG, "%zu bytes from rank %d to rank %d", n, from, to);
    ql_pulse_beat();
    return ql_wire_move(&w->place, from, to, data, n);
}

static ql_err broadcast_pieces(void *data, size_t n, int root) {
    for (size_t done = 0; done < n; done += QL_WIRE_PIECE) {
        QL_TRY(ql_wire_broadcast((char *)data + done, n - done < QL_WIRE_PIECE ? n - done : QL_WIRE_PIECE, root));
        ql_pulse_beat();
    }
    return ql_ok();
}

ql_err ql_broadcast(ql_world *w, void *data, size_t n, int root) {
    QL_CHECK(root >= 0 && root < w->place.size, QL_BUG, "broadcast from rank %d in a world of %d", root, w->place.size);
    if (alone(w)) return ql_ok();
    ql_pulse_kind before = enter(QL_RING_BROADCAST, n);
    ql_err        e = broadcast_pieces(data, n, root);
    leave(before);
    return e;
}

ql_err ql_barrier(ql_world *w) {
    if (alone(w)) return ql_ok();
    ql_pulse_kind before = enter(QL_RING_BARRIER, 0);
    ql_err        e = ql_wire_barrier();
    leave(before);
    return e;
}

ql_err ql_share_bytes(ql_world *w, const void *mine, size_t n, void *all) {
    if (alone(w) && n > 0) memmove(all, mine, n);
    if (alone(w)) return ql_ok();
    ql_pulse_kind before = enter(QL_RING_VOTE, n);
    ql_err        e = ql_wire_share(mine, n, all);
    leave(before);
    return e;
}

int64_t *ql_world_table(ql_world *w) {
    return w->table;
}

/* ---- agreement ---- */

ql_err ql_agree(ql_world *w, ql_err mine, const char *doing) {
    return ql_vote(w, mine, doing, NULL, 0, NULL);
}

/* "1", "1, 3", "1, 2, 5, ..." : the ranks whose value is not that of rank 0. */
static void list_others(const uint64_t *value, int size, ql_str *out) {
    int named = 0;
    for (int r = 1; r < size; r++) {
        if (value[r] == value[0]) continue;
        if (named++ == 8) {
            ql_str_puts(out, ", ...");
            return;
        }
        ql_str_printf(out, "%s%d", out->size ? ", " : "", r);
    }
}

ql_err ql_same_everywhere(ql_world *w, uint64_t value, const char *what) {
    int size = w->place.size;
    uint64_t *all = QL_NEW_ARRAY(uint64_t, (size_t)size);
    ql_str others = {0};
    ql_err e;
    QL_TRY_TO(out, e, ql_share_bytes(w, &value, sizeof value, all));
    list_others(all, size, &others);
    if (others.size)
        e = ql_fail(QL_DATA,
                    "%s is not the same on all ranks: rank %s differ%s from rank 0; give all ranks the same files and "
                    "settings",
                    what, others.data, strchr(others.data, ',') ? "" : "s");
out:
    ql_str_free(&others);
    free(all);
    return e;
}

/* Whether all ranks bring exactly this code. */
static ql_err all_bring(ql_world *w, ql_code code, bool *yes) {
    int64_t range[2] = {(int64_t)code, -(int64_t)code};
    QL_TRY(ql_max_i64(w, range, QL_LEN(range)));
    *yes = range[0] == -range[1];
    return ql_ok();
}

/* ---- ranks that stand by ---- */

static ql_err part(bool works, ql_place *place) {
    ql_pulse_kind before = enter(QL_RING_BARRIER, 0);
    ql_err        e = ql_wire_part(works, place);
    leave(before);
    return e;
}

ql_err ql_world_part(ql_world *w, bool works) {
    int    size = w->place.size;
    bool  *all = QL_NEW_ARRAY(bool, (size_t)size);
    ql_err e;
    QL_TRY_TO(out, e, ql_share_bytes(w, &works, sizeof works, all));
    w->standing_by = QL_NEW_ARRAY(int, (size_t)size);
    for (int r = size - 1; r >= 0; r--)
        if (all[r]) w->first_working = r;
        else w->standing_by[w->n_standing_by++] = r;
    if (w->n_standing_by == size) e = ql_fail(QL_BUG, "all ranks stand by");
    else if (w->n_standing_by > 0) e = part(works, &w->place);
    w->stands_by = !works;
    if (works) ql_recorder_place(w->place);
out:
    free(all);
    return e;
}

static void sleep_for(double seconds) {
    struct timespec t = {0, (long)(seconds * 1e9)};
    nanosleep(&t, NULL);
}

ql_err ql_world_stand_by(ql_world *w, int (*requested)(void)) {
    int32_t word = 0;
    int     passed_on = 0;
    (void)ql_pulse_begin(QL_PULSE_ASIDE, "");
    for (;;) {
        QL_TRY(ql_wire_hear(&word));
        if (word != 0) break;
        int request = requested();
        if (request != passed_on) QL_TRY(ql_wire_say(w->first_working, request));
        passed_on = request;
        sleep_for(0.02);
    }
    ql_code code = (ql_code)(word - 1);
    return code == QL_OK ? ql_ok() : ql_fail(code, "the working ranks %s", code == QL_STOPPED ? "stopped" : "failed");
}

int ql_world_request(ql_world *w) {
    int32_t word = 0;
    if (w->n_standing_by == 0 || w->place.rank != 0) return 0;
    return ql_bad(ql_wire_hear(&word)) ? 0 : word;
}

void ql_world_dismiss(const ql_world *w, ql_code code) {
    for (int i = 0; !w->stands_by && i < w->n_standing_by; i++) {
        ql_err ignored = ql_wire_say(w->standing_by[i], (int32_t)code + 1); /* 0 is silence */
        (void)ignored;
    }
}

/* ---- the end ---- */

/* Ends the wire if all ranks that work bring the same, and it is no failure; else says why not. */
static ql_err end_together(ql_world *w, ql_err status) {
    bool same = true;
    if (!w->stands_by && !alone(w)) QL_TRY(all_bring(w, status.code, &same));
    bool well = status.code == QL_OK || status.code == QL_STOPPED;
    if (!same || !well) {
        ql_err e = ql_agree(w, status, "ending the run");
        ql_world_dismiss(w, e.code);
        return e;
    }
    if (w->place.rank == 0) ql_world_dismiss(w, status.code);
    QL_TRY(ql_wire_close());
    return status;
}

ql_err ql_world_close(ql_world *w, ql_err status) {
    char  *sentence = ql_strdup(ql_err_text());
    (void)ql_pulse_begin(QL_PULSE_END, "the end of the run");
    ql_err e = w->wired ? end_together(w, status) : status;
    if (ql_bad(e) && e.code == status.code) (void)ql_fail(status.code, "%s", sentence);
    free(sentence);
    free(w->standing_by);
    free(w->table);
    free(w);
    return e;
}

void ql_world_leave(ql_code code) {
    fflush(stdout);
    fflush(stderr);
    ql_recorder_end(QL_RING_FAILED, 100);
    _exit(code == QL_OK ? QL_BUG : (int)code);
}
