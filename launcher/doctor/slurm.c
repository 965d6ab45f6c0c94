/* Slurm: what it is here, and inside a job whether srun starts workers that find each other. */
#include <stdlib.h>
#include <string.h>

#include "launcher/doctor/doctor.h"
#include "launcher/doctor/ranks.h"
#include "launcher/doctor/text.h"

static bool check_pmix(void) {
    const char *argv[] = {"srun", "--mpi=list", NULL};
    ql_answer   a;
    ql_asking("srun --mpi=list");
    bool  asked = !ql_bad(ql_child_ask(argv, 10, &a)), speaks = asked && (ql_srun_speaks_pmix(a.text.data) || ql_srun_speaks_pmix(a.errors.data));
    char *said = ql_answer_first_line(&a.errors);
    if (speaks) ql_fine("srun speaks PMIx: srun --mpi=pmix starts workers");
    else if (asked && a.is_late) ql_warning("see whether the controller answers: scontrol ping", "srun --mpi=list: no answer within 10 s");
    else if (asked && a.status != 0) ql_remark("only for use with Slurm: this machine needs the cluster's slurm.conf (SLURM_CONF)", "srun is here, and Slurm is not set up: %s", said);
    else ql_warning("start workers by mpirun inside the job; or ask for Slurm's PMIx plugin", "srun --mpi=list knows no pmix: workers that srun starts cannot find each other");
    free(said);
    ql_answer_free(&a);
    return speaks;
}

static bool is_program(const char *name) {
    const char *argv[] = {name, "--version", NULL};
    ql_answer   a;
    ql_asking("%s --version", name);
    bool there = !ql_bad(ql_child_ask(argv, 10, &a)) && a.status != QL_CHILD_ABSENT;
    ql_answer_free(&a);
    return there;
}

static void check_allocation(void) {
    if (!getenv("SLURM_JOB_ID")) return;
    ql_remark(NULL, "this is inside Slurm job %s: what is found is this node's", getenv("SLURM_JOB_ID"));
    if (getenv("SLURM_GPUS_PER_TASK")) ql_warning("ask for --gpus-per-node instead", "the job has --gpus-per-task: under mpirun, ranks on all nodes but the first would share one GPU");
}

static void tell_meeting(const ql_answer *a, long tasks) {
    static const char cure[] = "start workers by mpirun inside the job (qlora submit --mpi mpirun), or ask who runs the cluster about PMIx";
    char    *said = ql_ranks_complaint(a);
    ql_json *met = ql_ranks_met(a);
    if (met && ql_json_int(ql_json_get(met, "ranks"), 0) == tasks) ql_fine("srun --mpi=pmix started %ld workers that found each other", tasks);
    else if (a->is_late) ql_warning(cure, "srun --mpi=pmix: %ld workers did not find each other within 60 s (%s)", tasks, said);
    else ql_warning(cure, "srun --mpi=pmix does not start %ld workers that find each other: %s", tasks, met ? "each believes to be alone" : said);
    ql_json_free(met);
    free(said);
}

/* With the job's own number of tasks; in a task of srun there would be no room for others. */
static void meet_by_srun(const ql_patient *p) {
    const char *job_tasks = getenv("SLURM_NTASKS");
    long        tasks = job_tasks ? strtol(job_tasks, NULL, 10) : 0;
    if (!getenv("SLURM_JOB_ID") || ql_ranks_in_step() || tasks < 2 || !p->worker) return;
    const char *argv[] = {"srun", "--mpi=pmix", "--cpu-bind=none", "-K1", "--wait=10", p->worker, "--do", "meet", NULL};
    ql_answer   a;
    ql_asking("srun --mpi=pmix");
    if (ql_bad(ql_child_ask(argv, 60, &a))) ql_mistake(QL_TEMP, NULL, "%s", ql_err_text());
    else tell_meeting(&a, tasks);
    ql_answer_free(&a);
}

void ql_check_slurm(const ql_patient *p) {
    check_allocation();
    if (!is_program("srun")) {
        ql_fine("not here");
        return;
    }
    if (check_pmix()) meet_by_srun(p);
    static const char *const others[] = {"sbatch", "scontrol", "scancel"};
    for (size_t i = 0; i < QL_LEN(others); i++)
        if (!is_program(others[i])) ql_warning("install Slurm's client programs", "%s is not here: %s", others[i], i == 1 ? "jobs cannot requeue themselves" : "jobs cannot be submitted or cancelled");
}
