/* The pieces of `qlora doctor`: checks that look at one thing each and say what they found, and what they know beforehand.
 * Every check runs in a process of its own with a deadline, so that none can hang the others; a finding is written down at once.
 * Nothing that a check makes stays. All local. */
#pragma once
#include "base/config/config.h"
#include "base/err.h"
#include "base/json.h"
#include "launcher/mpi/hosts.h"

/* Only an error fails; a warning is a run that starts and may suffer. */
typedef enum { QL_FINE, QL_REMARK, QL_WARNING, QL_ERROR } ql_severity;
typedef struct {
    const char *check; /* borrowed: the name of the check */
    ql_severity severity;
    ql_code     code;  /* of an error: what a run would end with */
    char       *what, *cure; /* one line each; cure "": none */
} ql_finding;
typedef struct {
    ql_finding *item;
    size_t      count, capacity;
} ql_findings;

/* What all checks may look at. */
typedef struct {
    const char *const *word; /* CONFIG and KEY=VALUEs */
    size_t             words;
    char              *worker; /* the path of qlora-worker; NULL: there is none */
    ql_json           *probe;  /* what qlora-worker --probe --json said; NULL: nothing that could be read */
    ql_json           *plan;   /* the same of --plan */
    bool               has_config;
    ql_config          config;
    ql_hosts           hosts; /* none: this machine */
    int                ranks; /* that a run would have on a machine */
} ql_patient;

/* Called by checks. */
void ql_fine(const char *fmt, ...) QL_PRINTF(1, 2);
void ql_remark(const char *cure, const char *fmt, ...) QL_PRINTF(2, 3);
void ql_warning(const char *cure, const char *fmt, ...) QL_PRINTF(2, 3);
void ql_mistake(ql_code code, const char *cure, const char *fmt, ...) QL_PRINTF(3, 4);
/* What a mistake of this severity comes to: an error where `fails`, else a warning. */
void ql_trouble(bool fails, const char *cure, const char *fmt, ...) QL_PRINTF(3, 4);
/* What is asked now: named when no answer comes. */
void ql_asking(const char *fmt, ...) QL_PRINTF(1, 2);

typedef struct {
    const char *name;
    void (*look)(const ql_patient *);
    double seconds;
    bool   of_job; /* only with a CONFIG */
} ql_check;
/* Runs one check apart and adds what it found. */
void ql_check_run(const ql_check *check, const ql_patient *p, ql_findings *out);
void ql_findings_free(ql_findings *f);
/* "ok" lines and remarks first, then what is wrong with its cure, then one line that counts. Returns the exit status. */
int ql_findings_print(const ql_findings *f, bool json);

void ql_check_worker(const ql_patient *);
void ql_check_driver(const ql_patient *);
void ql_check_gpus(const ql_patient *);
void ql_check_mpi(const ql_patient *);
void ql_check_slurm(const ql_patient *);
void ql_check_cpus(const ql_patient *);
void ql_check_memory(const ql_patient *);
void ql_check_limits(const ql_patient *);
void ql_check_shared_memory(const ql_patient *);
void ql_check_network(const ql_patient *);
void ql_check_environment(const ql_patient *);
void ql_check_user(const ql_patient *);
void ql_check_temporary(const ql_patient *);
void ql_check_cache(const ql_patient *);
void ql_check_config(const ql_patient *);
void ql_check_job(const ql_patient *);
void ql_check_plan(const ql_patient *);
void ql_check_output(const ql_patient *);
/* Whether the run is to compute on a GPU, whatever is there. */
bool ql_wants_gpu(const ql_patient *p);
/* The usable GPUs of the probe. */
int ql_gpus(const ql_patient *p);
