#include "launcher/doctor/ranks.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher/run/workers.h"

/* Nothing is trained: what root's mpirun is warned of does not happen here. */
static void allow_root(void) {
    if (geteuid() != 0) return;
    setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 0);
    setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 0);
}

ql_err ql_ranks_ask(const ql_patient *p, const ql_mpi *m, int64_t n, char *const *words, double seconds, ql_answer *out) {
    allow_root();
    ql_mpi_set_environment(m, &p->hosts);
    char **command = ql_mpi_command(m, n, &p->hosts, words);
    ql_workers_mark();
    ql_err e = ql_child_ask((const char *const *)(uintptr_t)command, seconds, out);
    ql_workers_end(); /* an mpirun that was ended leaves the ssh or srun of its own behind */
    ql_mpi_command_free(command);
    return e;
}

/* mpirun's frames of dashes and empty lines say nothing. */
char *ql_ranks_complaint(const ql_answer *a) {
    static const char ours[] = "qlora: error: ";
    const char *const texts[] = {a->errors.data, a->text.data};
    char             *fallback = NULL;
    for (size_t i = 0; i < QL_LEN(texts); i++)
        for (const char *p = texts[i]; *p; p += *p == '\n') {
            size_t n = strcspn(p, "\n"), length = n - (n > 0 && p[n - 1] == '\r');
            if (!strncmp(p, ours, strlen(ours))) {
                free(fallback);
                return ql_strndup(p + strlen(ours), length - strlen(ours));
            }
            if (!fallback && length > 0 && p[0] != '-' && p[0] != '=') fallback = ql_strndup(p, length);
            p += n;
        }
    return fallback ? fallback : ql_strdup("it said nothing");
}

ql_json *ql_ranks_met(const ql_answer *a) {
    ql_json *said = NULL;
    if (a->status != 0) return NULL;
    return ql_bad(ql_json_parse(a->text.data, strcspn(a->text.data, "\n"), "the ranks", 1, &said)) ? NULL : said;
}

/* Numbers above are those of the batch script, of interactive shells and of what comes from outside. */
bool ql_ranks_in_step(void) {
    const char *step = getenv("SLURM_STEP_ID");
    return step && *step && strtoul(step, NULL, 10) < 0xfffffff0;
}
