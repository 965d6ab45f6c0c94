/* `qlora submit`: reads the configuration first, as `qlora run` does, then makes a batch script of checked values and hands it to sbatch. */
#include "launcher/submit/submit.h"

#include <inttypes.h>
#include <limits.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/config/config.h"
#include "base/file.h"
#include "base/log.h"
#include "launcher/child.h"

/* ---- what goes into the script ---- */

static ql_err check_words(const ql_arguments *a) {
    char **rest = a->word + a->first_rest;
    QL_TRY(ql_submit_check(a));
    QL_TRY(ql_submit_check_text("CONFIG.yaml", rest[0]));
    for (char **setting = rest + 1; *setting; setting++) QL_TRY(ql_submit_check_text("KEY=VALUE", *setting));
    return ql_ok();
}

static ql_err find_places(char **folder, char **worker) {
    char *found;
    *folder = getcwd(NULL, 0);
    if (!*folder) return ql_fail_errno("the current folder");
    QL_TRY(ql_submit_check_text("the current folder", *folder));
    QL_TRY(ql_worker_find(&found));
    *worker = realpath(found, NULL);
    free(found);
    if (!*worker) return ql_fail_errno("qlora-worker");
    return ql_submit_check_text("the path of qlora-worker", *worker);
}

/* srun, where it knows PMIx or is not there to be asked. */
static ql_err choose_launcher(const ql_arguments *a, bool *with_mpirun) {
    const char *given = ql_arguments_value(a, "--mpi"), *argv[] = {"srun", "--mpi=list", NULL};
    *with_mpirun = given && !strcmp(given, "mpirun");
    if (given && strcmp(given, "auto")) return ql_ok();
    ql_answer answer;
    ql_err    e = ql_child_ask(argv, 30, &answer);
    bool      has = strstr(answer.text.data, "pmix") || strstr(answer.errors.data, "pmix");
    *with_mpirun = !ql_bad(e) && answer.status == 0 && !has;
    if (*with_mpirun) ql_info("note: this cluster's srun has no PMIx; the ranks are started by mpirun (docs/slurm.md says what that costs)");
    ql_answer_free(&answer);
    return e;
}

/* With a short time even half of it is all that can be had. */
static void choose_times(const ql_arguments *a, const char *output_dir, ql_batch *b) {
    ql_slowness s = ql_slowness_of(output_dir);
    int64_t     limit = ql_submit_seconds(a), lead = ql_lead_time(&s);
    b->lead = limit > 0 && lead > limit / 2 ? ql_max(limit / 2, 1) : lead;
    b->grace = ql_grace_time(&s);
    ql_info("asks the run to save %" PRId64 " s before the time is up: 60 s + 2 x (%.3g s for a step + %.3g s for a save)%s", b->lead, s.step, s.save,
            s.known ? ", the longest of earlier starts" : ", as nothing is known of this run yet");
    if (b->lead != lead) ql_warn("that would be %" PRId64 " s; half of --time is taken instead, and Slurm may ask up to 60 s earlier; give it more time", lead);
}

static bool submits(const ql_arguments *a) {
    return !ql_arguments_value(a, "--dry-run") && !ql_arguments_value(a, "--output-script");
}

static ql_err write_script(const ql_arguments *a, const ql_config *c, ql_str *script) {
    char  **rest = a->word + a->first_rest, *folder = NULL, *worker = NULL;
    ql_batch b = {.arguments = a, .config = rest[0], .output_dir = c->output_dir, .settings = rest + 1, .n_settings = a->count - a->first_rest - 1};
    ql_err   e = ql_submit_check_text("output_dir", c->output_dir);
    if (!ql_bad(e)) e = find_places(&folder, &worker);
    if (!ql_bad(e)) e = choose_launcher(a, &b.with_mpirun);
    if (!ql_bad(e) && b.with_mpirun && submits(a)) e = ql_allow_root(a); /* sbatch passes our environment on */
    if (!ql_bad(e)) {
        choose_times(a, c->output_dir, &b);
        b.folder = folder;
        b.worker = worker;
        ql_batch_write(&b, script);
    }
    free(folder);
    free(worker);
    return e;
}

/* ---- handing it over ---- */

static bool is_job(const char *text) {
    regex_t r;
    bool    is = regcomp(&r, "^[0-9]{1,12}(;[A-Za-z0-9._-]{1,64})?$", REG_EXTENDED | REG_NOSUB) == 0 && regexec(&r, text, 0, NULL, 0) == 0;
    regfree(&r);
    return is;
}

/* Its last sentence, without "sbatch: error: " or "sbatch: fatal: ". */
static char *sentence_of(const ql_answer *answer) {
    const char *last = "it said nothing", *text = answer->errors.data;
    for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n')
        if (*line != '\n') last = line;
    size_t      n = strcspn(last, "\n");
    const char *said = memmem(last, n, "error: ", 7);
    if (!said) said = memmem(last, n, "fatal: ", 7);
    if (said) n -= (size_t)(said + 7 - last);
    return ql_strndup(said ? said + 7 : last, n);
}

/* Slurm that does not answer may do so later; what it refuses it will always refuse. */
static ql_err judge_refusal(ql_answer *answer) {
    static const char *const passing[] = {"Unable to contact", "timed out", "temporarily", "Connection refused", "not responding"};
    ql_code                  code = answer->is_late ? QL_TEMP : QL_USAGE;
    for (size_t i = 0; i < QL_LEN(passing); i++)
        if (strstr(answer->errors.data, passing[i])) code = QL_TEMP;
    char  *said = answer->is_late ? ql_strdup("it did not answer for two minutes") : sentence_of(answer);
    ql_err e = ql_fail(code, "sbatch: %s; %s", said, code == QL_TEMP ? "try again when Slurm answers (sinfo)" : "nothing was submitted; sinfo -o '%P %l %D %G' shows partitions, limits, machines and GPUs");
    free(said);
    return e;
}

static void say_how_to_follow(const ql_arguments *a, const char *id) {
    const char *name = ql_submit_value(a, "--job-name");
    ql_info("follow it: squeue -j %s; tail -f %s-%s.log (once it runs)", id, name, id);
    ql_info("save now and requeue: scancel -b -s USR1 %s; end it: scancel %s", id, id);
}

/* What Slurm takes although no machine can ever serve it waits for ever. */
static void say_if_stuck(const char *id) {
    const char *argv[] = {"squeue", "--noheader", "--format=%r", "--jobs", id, NULL};
    ql_answer   answer;
    ql_err      e = ql_child_ask(argv, 10, &answer);
    char       *why = ql_answer_first_line(&answer.text);
    if (!ql_bad(e) && answer.status == 0 && !strncmp(why, "Partition", strlen("Partition")))
        ql_warn("job %s asks for more than its partition ever gives (%s) and will wait for ever: scancel %s, and see sinfo -o '%%P %%l %%D %%G'", id, why, id);
    free(why);
    ql_answer_free(&answer);
}

static ql_err take_job(const ql_arguments *a, char *id) {
    QL_CHECK(is_job(id), QL_TEMP, "sbatch: said '%s', which is no number of a job; look at squeue before submitting again", id);
    id[strcspn(id, ";")] = 0;
    printf("%s\n", id);
    fflush(stdout);
    say_how_to_follow(a, id);
    say_if_stuck(id);
    return ql_ok();
}

static ql_err judge(const ql_arguments *a, ql_answer *answer) {
    QL_CHECK(answer->status != QL_CHILD_ABSENT, QL_USAGE,
             "sbatch is not on this machine; submit on a login node of the cluster, or take the script there (--dry-run, --output-script FILE)");
    if (answer->is_late || answer->status != 0) return judge_refusal(answer);
    char  *id = ql_answer_first_line(&answer->text);
    ql_err e = take_job(a, id);
    free(id);
    return e;
}

static ql_err submit(const ql_arguments *a, const char *script) {
    const char *argv[] = {"sbatch", "--parsable", NULL};
    ql_answer   answer;
    ql_err      e = ql_child_tell(argv, script, 120, &answer);
    if (!ql_bad(e)) e = judge(a, &answer);
    ql_answer_free(&answer);
    return e;
}

static ql_err keep(const char *path, const ql_str *script) {
    QL_CHECK(!ql_file_exists(path), QL_USAGE, "%s: is there already; choose another name or remove it", path);
    QL_TRY(ql_file_replace(path, script->data, script->size));
    ql_info("written: %s; submit it with: sbatch %s", path, path);
    return ql_ok();
}

static ql_err hand_over(const ql_arguments *a, const ql_str *script) {
    const char *file = ql_arguments_value(a, "--output-script");
    if (ql_arguments_value(a, "--dry-run")) {
        fwrite(script->data, 1, script->size, stdout);
        return ql_ok();
    }
    return file ? keep(file, script) : submit(a, script->data);
}

ql_err ql_start_submit(const ql_arguments *a) {
    char    **rest = a->word + a->first_rest;
    ql_str    script = {0};
    ql_config config;
    QL_TRY(check_words(a));
    QL_TRY(ql_config_read(rest[0], rest + 1, a->count - a->first_rest - 1, &config, NULL));
    ql_err e = write_script(a, &config, &script);
    ql_config_free(&config);
    if (!ql_bad(e)) e = hand_over(a, &script);
    ql_str_free(&script);
    return e;
}
