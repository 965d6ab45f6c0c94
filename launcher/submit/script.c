/* The batch script: values of this submission, and below them the text of the template. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/submit/submit.h"
#include "launcher/submit/templates.h"

static void put_line(ql_str *out, const char *name, const char *value) {
    if (value) ql_str_printf(out, "#SBATCH --%s=%s\n", name, value);
}

/* Options that sbatch calls as we do. */
static void put_same(const ql_batch *b, ql_str *out) {
    static const char *const names[] = {"partition", "account", "qos", "constraint", "mem", "cpus-per-task", "time"};
    for (size_t i = 0; i < QL_LEN(names); i++) {
        char *option = ql_format("--%s", names[i]);
        put_line(out, names[i], ql_submit_value(b->arguments, option));
        free(option);
    }
}

/* One rank for each GPU, or for each machine without. */
static void put_size(const ql_batch *b, ql_str *out) {
    const char *gpus = ql_submit_value(b->arguments, "--gpus-per-node");
    bool        none = strtol(gpus, NULL, 10) == 0;
    put_line(out, "nodes", ql_submit_value(b->arguments, "--nodes"));
    put_line(out, "ntasks-per-node", none ? "1" : gpus);
    if (!none) put_line(out, "gpus-per-node", gpus);
}

static void put_ends(const ql_batch *b, ql_str *out) {
    const char *chain = ql_submit_value(b->arguments, "--chain"), *mail = ql_submit_value(b->arguments, "--mail-user");
    bool        requeues = !chain && !ql_arguments_value(b->arguments, "--no-requeue");
    ql_str_printf(out, "#SBATCH --output=%%x-%s.log\n#SBATCH --open-mode=append\n#SBATCH --%srequeue\n", chain ? "%A" : "%j", requeues ? "" : "no-");
    if (chain) ql_str_printf(out, "#SBATCH --array=1-%s%%1\n", chain);
    if (mail) ql_str_printf(out, "#SBATCH --mail-type=END,FAIL,REQUEUE\n#SBATCH --mail-user=%s\n", mail);
    ql_str_printf(out, "#SBATCH --signal=%sUSR1@%" PRId64 "\n", b->with_mpirun ? "B:" : "", b->lead);
}

/* Nothing in a checked text ends the quotes. */
static void put_value(ql_str *out, const char *name, const char *value) {
    ql_str_printf(out, "%s='%s'\n", name, value);
}

void ql_batch_write(const ql_batch *b, ql_str *out) {
    ql_str_printf(out, "#!/bin/bash\n# Written by qlora submit %s: the values of a run, and below them slurm/qlora-%s.sbatch.\n", QL_VERSION,
                  b->with_mpirun ? "mpirun" : "srun");
    put_line(out, "job-name", ql_submit_value(b->arguments, "--job-name"));
    ql_str_printf(out, "#SBATCH --chdir=\"%s\"\n", b->folder);
    put_size(b, out);
    put_same(b, out);
    put_ends(b, out);
    ql_str_puts(out, "\n");
    put_value(out, "worker", b->worker);
    put_value(out, "config", b->config);
    put_value(out, "output", b->output_dir);
    ql_str_puts(out, "settings=(");
    for (size_t i = 0; i < b->n_settings; i++) ql_str_printf(out, "%s'%s'", i ? " " : "", b->settings[i]);
    ql_str_puts(out, ")\n");
    if (b->with_mpirun) ql_str_printf(out, "grace=%" PRId64 "\n", b->grace);
    ql_str_puts(out, "\n");
    ql_str_puts(out, b->with_mpirun ? ql_template_mpirun : ql_template_srun);
}
