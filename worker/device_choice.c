#include "worker/device_choice.h"

#include <omp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/log.h"
#include "worker/device_share.h"

static int allowed_cpus(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    return CPU_COUNT(&set) > 0 ? CPU_COUNT(&set) : 1;
}

/* mpirun binds each rank of a small job to a core of its own; then the allowed ones are not shared. */
static int fair_share(int local_size) {
    int n = allowed_cpus();
    return n >= local_size ? n / local_size : 1;
}

static bool is_built(const char *wanted) {
    bool        built;
    const char *kind;
    for (int i = 0; (kind = ql_device_kind(i, &built)); i++)
        if (!strcmp(kind, wanted)) return built;
    return true; /* unknown: opening it says so */
}

/* Tensor cores know bf16 since compute capability 8.0. */
ql_err ql_operands_on(const ql_device_info *info, const char *wanted, ql_dtype *out) {
    bool has_bf16 = info->capability >= 80;
    *out = !strcmp(wanted, "float32") ? QL_F32 : has_bf16 && strcmp(wanted, "float16") ? QL_BF16 : QL_F16;
    QL_CHECK(has_bf16 || strcmp(wanted, "bfloat16"), QL_USAGE,
             "bnb_4bit_compute_dtype: bfloat16: %s has no arithmetic for it (compute capability %d.%d); use float16 or auto",
             info->name, info->capability / 10, info->capability % 10);
    return ql_ok();
}

static ql_err operands_on_gpu(ql_job *j) {
    ql_device_info info = {.capability = 90}; /* of a card that nobody named */
    if (j->card) info = ql_card_info(j->card, 0);
    if (j->device) QL_TRY(ql_device_describe(j->device, &info));
    return ql_operands_on(&info, j->config.bnb_4bit_compute_dtype, &j->operands);
}

/* auto means the same on every CPU, whatever it is good at: the choice decides bits. */
static ql_dtype operands_on_cpu(const char *compute_dtype) {
    if (!strcmp(compute_dtype, "bfloat16")) return QL_BF16;
    if (!strcmp(compute_dtype, "float16"))
        ql_info("note: bnb_4bit_compute_dtype: float16: the CPU computes in float32; bfloat16 is the faster choice");
    return QL_F32;
}

/* What "auto" is in this build, and how many of it this process sees; if none, why. Planning, and "auto", go on
 * without one. */
static ql_err look_around(const char **kind, bool only_planning, int *count, char why[256]) {
    bool automatic = !strcmp(*kind, "auto");
    if (automatic) *kind = ql_device_preferred();
    *count = 0;
    if (automatic && !strcmp(*kind, "cpu")) {
        snprintf(why, 256, "this build has no accelerator back end");
        return ql_ok();
    }
    if (only_planning && !is_built(*kind)) return ql_ok();
    QL_TRY(ql_device_count(*kind, count, why));
    QL_CHECK(*count > 0 || automatic || only_planning, QL_USAGE, "device: %s: %s; use device: cpu or auto", *kind, why);
    return ql_ok();
}

static const char *fall_back(const char *why) {
    ql_info("device: auto: %s; computing on the CPU", why);
    return "cpu";
}

static const char *wanted_kind(const ql_job *j, const char *kind) {
    return kind ? kind : j->config.device;
}

ql_err ql_choose_device(ql_job *j, const char *kind, int threads, bool only_planning) {
    kind = wanted_kind(j, kind);
    j->threads_alone = threads > 0 ? threads : allowed_cpus();
    if (threads == 0) threads = fair_share(j->place.local_size);
    omp_set_num_threads(threads); /* for reading data and quantising, which know no device */
    bool automatic = !strcmp(kind, "auto");
    int  n;
    char why[256] = "";
    QL_TRY(look_around(&kind, only_planning, &n, why));
    if (automatic && n == 0) kind = fall_back(why);
    j->device_kind = kind;
    j->threads = threads;
    /* A plan for so much memory may be one for another card. */
    bool asks = !only_planning || ((automatic || n > 0) && j->config.max_memory == 0 && !j->card);
    if (asks) QL_TRY(ql_device_open(kind, j->ordinal, threads, &j->device));
    if (strcmp(kind, "cpu")) return operands_on_gpu(j);
    j->operands = operands_on_cpu(j->config.bnb_4bit_compute_dtype);
    return ql_ok();
}

/* ---- among ranks ---- */

/* What this rank sees. */
static ql_err make_offer(const char *kind, int count, ql_device_offer *o) {
    const char *visible = getenv("CUDA_VISIBLE_DEVICES");
    gethostname(o->host, sizeof o->host - 1);
    snprintf(o->visible, sizeof o->visible, "%s", visible ? visible : "");
    o->count = (int)ql_min(count, QL_OFFER_DEVICES);
    for (int i = 0; i < o->count; i++) {
        ql_device_info info;
        QL_TRY(ql_device_look(kind, i, &info));
        if (info.id[0]) snprintf(o->id[i], sizeof o->id[i], "%s", info.id);
        else snprintf(o->id[i], sizeof o->id[i], "%.30s#%d", o->host, i);
    }
    return ql_ok();
}

static ql_err gather_offers(ql_world *w, const ql_device_offer *mine, ql_device_offer *all) {
    QL_TRY(ql_gather_bytes(w, mine, sizeof *mine, all));
    return ql_broadcast(w, all, (size_t)ql_world_place(w).size * sizeof *all, 0);
}

static int most_devices(const ql_device_offer *offer, int ranks) {
    int most = 0;
    for (int r = 0; r < ranks; r++) most = (int)ql_max(most, offer[r].count);
    return most;
}

static void say_who_stands_by(const ql_device_offer *offer, int ranks, const int *ordinal) {
    ql_str line = {0};
    ql_devices_share_text(offer, ranks, ordinal, &line);
    ql_info("note: %s", line.data);
    ql_str_free(&line);
}

static ql_err share(ql_job *j, const char *kind, bool automatic, const ql_device_offer *mine, bool *works) {
    ql_place         place = ql_world_place(j->world);
    ql_device_offer *offer = QL_NEW_ARRAY(ql_device_offer, (size_t)place.size);
    int             *ordinal = QL_NEW_ARRAY(int, (size_t)place.size);
    ql_err           e = gather_offers(j->world, mine, offer);
    int              most = most_devices(offer, place.size);
    if (!ql_bad(e) && most == 0) {
        j->device_kind = automatic ? fall_back(mine->why) : kind;
    } else if (!ql_bad(e)) {
        int computing = ql_devices_share(offer, place.size, ordinal);
        if (computing < place.size) say_who_stands_by(offer, place.size, ordinal);
        j->device_kind = kind;
        j->ordinal = ordinal[place.rank];
        *works = j->ordinal >= 0;
    }
    free(offer);
    free(ordinal);
    return e;
}

ql_err ql_share_devices(ql_job *j, const char *kind, bool only_planning, bool *works) {
    kind = wanted_kind(j, kind);
    bool            automatic = !strcmp(kind, "auto");
    ql_device_offer mine = {.count = 0};
    int             count;
    *works = true;
    ql_err e = look_around(&kind, only_planning, &count, mine.why);
    bool   is_host = !strcmp(kind, "cpu") && !automatic; /* every rank has one */
    if (j->card) count = 0; /* whatever there is, it is not planned for */
    if (!ql_bad(e) && !is_host) e = make_offer(kind, count, &mine);
    QL_TRY(ql_agree(j->world, e, "looking for devices"));
    QL_TRY(ql_same_everywhere(j->world, ql_hash64(kind, strlen(kind), automatic), "the key device"));
    j->device_kind = kind;
    return is_host ? ql_ok() : share(j, kind, automatic, &mine, works);
}
