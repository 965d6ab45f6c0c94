/* Whether several ranks can be started: workers are, two here or one for each slot of the hosts, which meet and leave. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "launcher/doctor/doctor.h"
#include "launcher/doctor/ranks.h"

enum { SECONDS = 60 };

/* ---- several hosts ---- */

static const char *text_of(const ql_json *object, const char *key) {
    const char *text = ql_json_text(ql_json_get(object, key), NULL);
    return text ? text : "";
}

static void check_place(const ql_json *first, const ql_json *place) {
    const char *host = text_of(place, "host"), *version = text_of(place, "version");
    double      ahead = ql_json_number(ql_json_get(place, "seconds_ahead"), 0);
    if (strcmp(version, QL_VERSION) != 0)
        ql_mistake(QL_TEMP, "install the same on all machines", "qlora-worker on %s is version %s, and this is qlora %s", host, version, QL_VERSION);
    if (fabs(ahead) > 1)
        ql_remark("set the clocks by NTP (chronyc tracking, timedatectl); qlora itself goes by no clock", "the clock of %s is %.1f s %s that of %s: times of files and of logs will not fit together",
                  host, fabs(ahead), ahead > 0 ? "ahead of" : "behind", text_of(first, "host"));
}

/* Once a host: ranks of one are neighbours. */
static void tell_places(const ql_json *places, ql_str *names) {
    const char *before = "";
    for (size_t i = 0; i < ql_json_size(places); i++) {
        const ql_json *place = ql_json_at(places, i);
        const char    *host = text_of(place, "host");
        if (!strcmp(host, before)) continue;
        ql_str_printf(names, "%s%s", names->size ? ", " : " on ", host);
        check_place(ql_json_at(places, 0), place);
        before = host;
    }
}

/* ---- */

static void tell_meeting(const ql_patient *p, const ql_mpi *m, int64_t n, const ql_answer *a, double seconds) {
    bool     needed = p->ranks > 1 || p->hosts.count > 0;
    char    *said = ql_ranks_complaint(a);
    ql_json *met = ql_ranks_met(a);
    ql_str   names = {0};
    if (a->is_late)
        ql_trouble(needed, "a firewall, an interface that leads nowhere, a full /tmp, or a host name without an address makes mpirun wait",
                   "%s: %lld workers did not find each other within %d s (%s)", m->version, (long long)n, SECONDS, said);
    else if (a->status != 0) ql_trouble(needed, "docs/troubleshooting.md lists what mpirun says, and what to do", "%s does not start %lld workers: %s", m->version, (long long)n, said);
    else if (!met || ql_json_int(ql_json_get(met, "ranks"), 0) != n)
        ql_trouble(needed, "use the mpirun of the MPI that qlora-worker was built with", "%s started %lld workers, each of which believes to be alone", m->version, (long long)n);
    else {
        if (p->hosts.count > 0) tell_places(ql_json_get(met, "places"), &names);
        ql_fine("%s started %lld workers%s that found each other, in %.1f s", m->version, (long long)n, names.data ? names.data : "", seconds);
    }
    ql_str_free(&names);
    ql_json_free(met);
    free(said);
}

static void meet(const ql_patient *p, const ql_mpi *m, int64_t n) {
    char *const words[] = {p->worker, (char *)(uintptr_t)"--do", (char *)(uintptr_t)"meet", NULL};
    ql_answer   a;
    double      start = ql_seconds();
    ql_asking("mpirun with %lld workers", (long long)n);
    if (ql_bad(ql_ranks_ask(p, m, n, words, SECONDS, &a))) ql_mistake(QL_TEMP, NULL, "%s", ql_err_text());
    else tell_meeting(p, m, n, &a, ql_seconds() - start);
    ql_answer_free(&a);
}

void ql_check_mpi(const ql_patient *p) {
    ql_mpi      m;
    const char *library = ql_json_text(ql_json_get(p->probe, "mpi"), NULL);
    int64_t     n = p->hosts.count > 0 ? ql_hosts_slots(&p->hosts) : 2;
    if (!p->worker || !p->probe) return;
    if (!library || !*library) {
        ql_trouble(p->ranks > 1 || p->hosts.count > 0, "install libopenmpi-dev and openmpi-bin, and build again", "this build has no MPI: a run has one rank");
        return;
    }
    if (ql_ranks_in_step()) {
        ql_remark("call qlora doctor in the batch script itself to have mpirun tried", "this is a task of srun, in which no mpirun can start workers");
        return;
    }
    ql_asking("mpirun --version");
    ql_err e = ql_mpi_find(p->worker, &m);
    if (!ql_bad(e)) e = ql_mpi_check(&m, n, &p->hosts);
    if (ql_bad(e) && p->ranks == 1 && p->hosts.count == 0) ql_remark("only for more than one rank", "%s", ql_err_text());
    else if (ql_bad(e)) ql_mistake(QL_TEMP, NULL, "%s", ql_err_text());
    else meet(p, &m, n);
    ql_mpi_free(&m);
}
