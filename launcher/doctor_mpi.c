/* Whether several ranks can be started here: two workers are, which meet and leave. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "launcher/child.h"
#include "launcher/doctor.h"
#include "launcher/flavour.h"

enum { SECONDS = 60 };

static const ql_hosts here = {0};

/* mpirun's own complaint: its frames of dashes and empty lines say nothing. Caller frees. */
static char *complaint_of(const ql_answer *a) {
    const char *const texts[] = {a->errors.data, a->text.data};
    char             *fallback = NULL;
    for (size_t i = 0; i < QL_LEN(texts); i++)
        for (const char *p = texts[i]; *p; p += *p == '\n') {
            size_t      n = strcspn(p, "\r\n");
            const char *ours = "qlora: error: ";
            if (n > strlen(ours) && !strncmp(p, ours, strlen(ours))) {
                free(fallback);
                return ql_strndup(p + strlen(ours), n - strlen(ours));
            }
            if (!fallback && n > 0 && p[0] != '-' && p[0] != '=') fallback = ql_strndup(p, n);
            p += n;
            p += *p == '\r';
        }
    return fallback ? fallback : ql_strdup("it said nothing");
}

/* Of "{"ranks": 2, ...}"; 0: it said something else. */
static int ranks_that_met(const ql_answer *a) {
    ql_json *said = NULL;
    int      ranks = 0;
    if (a->status == 0 && !ql_bad(ql_json_parse(a->text.data, strcspn(a->text.data, "\n"), "the ranks", 1, &said))) ranks = (int)ql_json_int(ql_json_get(said, "ranks"), 0);
    ql_json_free(said);
    return ranks;
}

static void tell_meeting(const ql_patient *p, const ql_mpi *m, const ql_answer *a, double seconds) {
    bool  needed = p->ranks > 1;
    char *said = complaint_of(a);
    if (a->is_late)
        ql_trouble(needed, "a firewall on the loopback interface, a full /tmp, or a host name that is not resolved makes mpirun wait",
                   "%s: two workers did not find each other within %d s (%s)", m->version, SECONDS, said);
    else if (a->status != 0) ql_trouble(needed, "docs/troubleshooting.md lists what mpirun says, and what to do", "%s does not start two workers: %s", m->version, said);
    else if (ranks_that_met(a) != 2)
        ql_trouble(needed, "use the mpirun of the MPI that qlora-worker was built with", "%s started two workers, each of which believes to be alone", m->version);
    else ql_fine("%s started two workers that found each other, in %.1f s", m->version, seconds);
    free(said);
}

/* This is a process of its own: what is set here is for the two workers alone. */
static void allow_root(void) {
    if (geteuid() != 0) return;
    setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 0);
    setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 0);
}

static void meet(const ql_patient *p, const ql_mpi *m) {
    char *const words[] = {p->worker, (char *)(uintptr_t)"--do", (char *)(uintptr_t)"meet", NULL};
    ql_answer   a;
    allow_root();
    ql_mpi_set_environment(m, &here, NULL);
    char **command = ql_mpi_command(m, 2, &here, words);
    double start = ql_seconds();
    ql_asking("mpirun with two workers");
    if (ql_bad(ql_child_ask((const char *const *)(uintptr_t)command, SECONDS, &a))) ql_mistake(QL_TEMP, NULL, "%s", ql_err_text());
    else tell_meeting(p, m, &a, ql_seconds() - start);
    ql_answer_free(&a);
    ql_mpi_command_free(command);
}

void ql_check_mpi(const ql_patient *p) {
    ql_mpi      m;
    const char *library = ql_json_text(ql_json_get(p->probe, "mpi"), NULL);
    if (!p->worker || !p->probe) return;
    if (!library || !*library) {
        ql_trouble(p->ranks > 1, "install libopenmpi-dev and openmpi-bin, and build again", "this build has no MPI: a run has one rank");
        return;
    }
    ql_asking("mpirun --version");
    ql_err e = ql_mpi_find(p->worker, &m);
    if (ql_bad(e) && p->ranks == 1) ql_remark("only for more than one rank", "%s", ql_err_text());
    else if (ql_bad(e)) ql_mistake(QL_TEMP, NULL, "%s", ql_err_text());
    else meet(p, &m);
    ql_mpi_free(&m);
}
