#include "launcher/mpi/flavour.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "launcher/child.h"

/* OUR_OWN: no scheduler may ask mpirun to end; UNCHOSEN: several hosts, and nobody has named an interface */
typedef enum { ALWAYS, ONE_MACHINE, SEVERAL, OUR_OWN, UNCHOSEN } occasion;
typedef struct {
    const char *name, *value;
    occasion    when;
} setting;

typedef struct words words;
struct ql_flavour {
    const char *name;
    const char *library;       /* how the workers' library begins its name; a family shares its way to start */
    const char *sign, *after;  /* of what it says of itself, and what stands before its version */
    int         low, high;     /* its major versions; high 0: any */
    const char *count;         /* the word before the number of ranks */
    void (*oversubscribe)(words *);
    void (*place)(words *, const ql_hosts *);
    void (*pass_on)(words *);  /* variables, to other hosts; NULL: all of them are by default */
    bool           even_only;  /* all hosts have the same number of slots */
    const setting *settings;   /* ends with a row of NULLs */
};

struct words {
    char **word;
    size_t count, capacity;
};

static void put(words *w, const char *word) {
    QL_PUSH(w->word, w->count, w->capacity, ql_strdup(word));
}

/* ---- words ---- */

/* "a:1,b:2", or without the slots */
static void put_hosts(words *w, const ql_hosts *hosts, bool with_slots) {
    ql_str list = {0};
    for (size_t i = 0; i < hosts->count; i++) {
        ql_str_printf(&list, "%s%s", i ? "," : "", hosts->host[i].name);
        if (with_slots) ql_str_printf(&list, ":%lld", (long long)hosts->host[i].slots);
    }
    put(w, list.data);
    ql_str_free(&list);
}

static void map_over(words *w) {
    put(w, "--map-by");
    put(w, ":OVERSUBSCRIBE");
}

static void place_open(words *w, const ql_hosts *hosts) {
    put(w, "--host");
    put_hosts(w, hosts, true);
}

static void place_mpich(words *w, const ql_hosts *hosts) {
    put(w, "-hosts");
    put_hosts(w, hosts, true);
}

static void place_intel(words *w, const ql_hosts *hosts) {
    char *each = ql_format("%lld", (long long)hosts->host[0].slots);
    put(w, "-ppn");
    put(w, each);
    put(w, "-hosts");
    put_hosts(w, hosts, false);
    free(each);
}

/* What workers and their libraries listen to; the devices of a machine are its own. Open MPI passes its own settings on by itself. */
static bool is_heard(const char *word) {
    static const char *const beginnings[] = {"QLORA_", "NCCL_", "HDF5_", "OMP_", "GOMP_", "UCX_", "LD_LIBRARY_PATH=", "XDG_CACHE_HOME="};
    for (size_t i = 0; i < QL_LEN(beginnings); i++)
        if (!strncmp(word, beginnings[i], strlen(beginnings[i]))) return true;
    return false;
}

static void pass_on_open(words *w) {
    for (char **word = environ; *word; word++) {
        if (!is_heard(*word)) continue;
        char *name = ql_strndup(*word, strcspn(*word, "="));
        put(w, "-x");
        put(w, name);
        free(name);
    }
}

/* ---- settings: ranks are bound to no core; a lost machine is noticed within 20 s; mpirun ends ranks at once, since whoever asks for
 * a stop asks the ranks; no listening sockets on one machine, and none between hosts on bridges that containers and virtual machines have
 * with the same address on every host, which is where Open MPI else may wait for itself ---- */

static const char bridges[] = "127.0.0.1/8,sppp,lo,docker0,podman0,cni0,lxcbr0,lxdbr0,virbr0";

static const setting open_4[] = {
    {"OMPI_MCA_hwloc_base_binding_policy", "none", ALWAYS},
    {"OMPI_MCA_odls_base_sigkill_timeout", "0", OUR_OWN},
    {"OMPI_MCA_oob_tcp_keepalive_time", "9", ALWAYS},
    {"OMPI_MCA_oob_tcp_keepalive_intvl", "2", ALWAYS},
    {"OMPI_MCA_oob_tcp_keepalive_probes", "5", ALWAYS},
    {"OMPI_MCA_btl", "self,vader", ONE_MACHINE},
    {"OMPI_MCA_btl", "self,vader,tcp", SEVERAL},
    {"OMPI_MCA_btl_tcp_if_exclude", bridges, UNCHOSEN},
    {"OMPI_MCA_btl_vader_single_copy_mechanism", "none", ALWAYS},
    {"OMPI_MCA_btl_base_warn_component_unused", "0", ALWAYS},
    {0},
};
static const setting open_5[] = {
    {"PRTE_MCA_hwloc_default_binding_policy", "none", ALWAYS},
    {"PRTE_MCA_odls_base_sigkill_timeout", "0", OUR_OWN},
    {"PRTE_MCA_oob_tcp_keepalive_time", "9", ALWAYS},
    {"PRTE_MCA_oob_tcp_keepalive_intvl", "2", ALWAYS},
    {"PRTE_MCA_oob_tcp_keepalive_probes", "5", ALWAYS},
    {"OMPI_MCA_btl", "self,sm", ONE_MACHINE},
    {"OMPI_MCA_btl", "self,sm,tcp", SEVERAL},
    {"OMPI_MCA_btl_tcp_if_exclude", bridges, UNCHOSEN},
    {"OMPI_MCA_btl_base_warn_component_unused", "0", ALWAYS},
    {0},
};
static const setting mpich[] = {{0}}; /* binds nothing, and ends ranks at once */
static const setting intel[] = {
    {"I_MPI_PIN", "0", ALWAYS},
    {"I_MPI_FABRICS", "shm", ONE_MACHINE},
    {0},
};
static const setting of_all[] = {
    {"HDF5_USE_FILE_LOCKING", "FALSE", ALWAYS},
    {"NCCL_DEBUG", "WARN", ALWAYS},
    {0},
};

static const ql_flavour flavours[] = {
    {"Open MPI", "Open MPI", "(Open", ") ", 1, 4, "-np", map_over, place_open, pass_on_open, false, open_4},
    {"Open MPI", "Open MPI", "(Open", ") ", 5, 0, "-np", map_over, place_open, pass_on_open, false, open_5},
    {"Intel MPI", "Intel", "Intel(R) MPI Library", "Version ", 0, 0, "-n", NULL, place_intel, NULL, true, intel},
    {"MPICH", "MPICH", "HYDRA", "Version:", 0, 0, "-n", NULL, place_mpich, NULL, false, mpich},
};

/* ---- which one ---- */

/* MPICH and those that descend from it start each other's programs. */
static bool is_family(const char *a, const char *b) {
    return !strncmp(a, "Open", 4) == !strncmp(b, "Open", 4);
}

static bool is_it(const ql_flavour *f, const char *said, const char **version) {
    const char *sign = strstr(said, f->sign);
    const char *after = sign ? strstr(sign, f->after) : NULL;
    if (!after) return false;
    *version = after + strlen(f->after);
    *version += strspn(*version, " \t");
    int major = atoi(*version);
    return major >= f->low && (f->high == 0 || major <= f->high);
}

static bool recognise(const char *said, ql_mpi *out) {
    const char *version;
    for (size_t i = 0; i < QL_LEN(flavours); i++) {
        if (!is_it(&flavours[i], said, &version)) continue;
        out->flavour = &flavours[i];
        out->version = ql_format("%s %.*s", flavours[i].name, (int)strspn(version, "0123456789."), version);
        return true;
    }
    return false;
}

/* What a program says when it is asked for its version; NULL: it is not there. The caller frees it. */
static char *ask(const char *program, char **first_line) {
    enum { SECONDS = 30 };
    const char *argv[] = {program, "--version", NULL};
    ql_answer   a;
    ql_err      e = ql_child_ask(argv, SECONDS, &a);
    bool        there = !ql_bad(e) && a.status != QL_CHILD_ABSENT;
    char       *text = there ? ql_strdup(a.text.data) : NULL;
    *first_line = ql_answer_first_line(&a.text);
    ql_answer_free(&a);
    return text;
}

/* "Open MPI 4.1.4", the second line of what the worker says; "": it does not say. The caller frees it. */
static char *library_of(const char *worker) {
    char       *first, *text = ask(worker, &first);
    const char *second = text ? strchr(text, '\n') : NULL;
    char       *name = second ? ql_strndup(second + 1, strcspn(second + 1, "\n")) : ql_strdup("");
    free(first);
    free(text);
    return name;
}

static ql_err none_fits(const char *library, const char *seen) {
    static const char cure[] = "of Debian and Ubuntu: openmpi-bin";
    QL_CHECK(seen, QL_USAGE, "mpirun: is not there; more than one worker needs %s (package %s)", library[0] ? library : "Open MPI", cure);
    return ql_fail(QL_USAGE, "%s, and the workers were built with %s; put the mpirun of that into PATH (package %s)", seen,
                   library[0] ? library : "another", cure);
}

/* Whether it is one that starts these workers; `seen` becomes what to say of the first one that is not. */
static bool fits(const char *program, const char *library, ql_mpi *out, char **seen) {
    ql_mpi m = {.program = program};
    char  *first, *text = ask(program, &first);
    bool   known = text && recognise(text, &m);
    bool   good = known && (!library[0] || is_family(m.flavour->library, library));
    if (good) *out = m;
    else if (text && !*seen) *seen = known ? ql_format("%s is that of %s", program, m.version) : ql_format("%s: '%.60s' is no MPI that is known here", program, first);
    if (!good) ql_mpi_free(&m);
    free(first);
    free(text);
    return good;
}

ql_err ql_mpi_find(const char *worker, ql_mpi *out) {
    static const char *const programs[] = {"mpirun", "mpiexec", "mpirun.openmpi", "mpirun.mpich", "mpiexec.hydra"};
    *out = (ql_mpi){0};
    char *library = library_of(worker), *seen = NULL;
    bool  found = false;
    for (size_t i = 0; i < QL_LEN(programs) && !found; i++) found = fits(programs[i], library, out, &seen);
    ql_err e = found ? ql_ok() : none_fits(library, seen);
    free(seen);
    free(library);
    return e;
}

void ql_mpi_free(ql_mpi *m) {
    free(m->version);
    *m = (ql_mpi){0};
}

/* ---- the environment ---- */

static bool applies(occasion when, bool several) {
    switch (when) {
        case ONE_MACHINE: return !several;
        case SEVERAL: return several;
        case UNCHOSEN: return several && !getenv("OMPI_MCA_btl_tcp_if_include");
        case OUR_OWN: return !getenv("SLURM_JOB_ID");
        default: return true;
    }
}

void ql_mpi_set_environment(const ql_mpi *m, const ql_hosts *hosts) {
    const setting *const tables[] = {m->flavour->settings, of_all};
    for (size_t i = 0; i < QL_LEN(tables); i++)
        for (const setting *s = tables[i]; s->name; s++)
            if (applies(s->when, hosts->count > 0)) setenv(s->name, s->value, 0);
}

/* ---- the command ---- */

ql_err ql_mpi_check(const ql_mpi *m, int64_t n_ranks, const ql_hosts *hosts) {
    int64_t slots = ql_hosts_slots(hosts);
    if (hosts->count == 0) return ql_ok();
    QL_CHECK(n_ranks <= slots, QL_USAGE, "-n is %lld, but the hosts have %lld slot%s; name more, as HOST:N", (long long)n_ranks,
             (long long)slots, slots == 1 ? "" : "s");
    for (size_t i = 1; i < hosts->count && m->flavour->even_only; i++)
        QL_CHECK(hosts->host[i].slots == hosts->host[0].slots, QL_USAGE, "%s wants the same number of slots on every host", m->version);
    return ql_ok();
}

char **ql_mpi_command(const ql_mpi *m, int64_t n_ranks, const ql_hosts *hosts, char *const *program) {
    const ql_flavour *f = m->flavour;
    words             w = {0};
    char             *count = ql_format("%lld", (long long)n_ranks);
    put(&w, m->program);
    put(&w, f->count);
    put(&w, count);
    free(count);
    if (hosts->count == 0 && n_ranks > sysconf(_SC_NPROCESSORS_ONLN) && f->oversubscribe) f->oversubscribe(&w);
    if (hosts->count > 0) f->place(&w, hosts);
    if (hosts->count > 0 && f->pass_on) f->pass_on(&w);
    for (size_t i = 0; program[i]; i++) put(&w, program[i]);
    QL_PUSH(w.word, w.count, w.capacity, NULL);
    return w.word;
}

void ql_mpi_command_free(char **command) {
    for (size_t i = 0; command && command[i]; i++) free(command[i]);
    free(command);
}
