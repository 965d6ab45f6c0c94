/* qlora-worker: one process per device. The story of a run, and the only place that turns a
 * verdict into an exit status. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/crash.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/hook.h"
#include "base/json.h"
#include "base/log.h"
#include "base/private.h"
#include "base/pulse.h"
#include "checkpoint/checkpoint.h"
#include "collective/recorder.h"
#include "worker/common_folder.h"
#include "worker/device_choice.h"
#include "worker/early_stop.h"
#include "worker/eval.h"
#include "worker/gate.h"
#include "worker/job.h"
#include "worker/links.h"
#include "worker/options.h"
#include "worker/output_folder.h"
#include "worker/planned.h"
#include "worker/probe.h"
#include "worker/reach.h"
#include "worker/stop.h"
#include "worker/tool/tool.h"
#include "worker/train.h"
#include "worker/watchdog.h"

static void say_notes(ql_str *notes) {
    for (char *line = notes->data, *end; line && *line; line = end) {
        end = strchr(line, '\n');
        if (end) *end++ = 0;
        ql_info("note: %s", line);
    }
    ql_str_free(notes);
}

/* The Hugging Face habit counts rows per rank: what that comes to is said, and is what counts from
 * here on, in config.yaml and in checkpoints, so that the run can go on with other ranks. Ranks that
 * will stand by count, too: what a command computes does not depend on the devices that are there. */
static void resolve_rows(ql_job *j) {
    ql_config *c = &j->config;
    int64_t    rows = ql_config_rows_per_step(c, j->place.size);
    if (c->global_batch_size == 0 && c->gradient_accumulation_steps > 0)
        ql_info("note: global_batch_size is %lld: per_device_train_batch_size x gradient_accumulation_steps x %d rank%s",
                (long long)rows, j->place.size, j->place.size == 1 ? "" : "s");
    c->global_batch_size = rows;
    c->gradient_accumulation_steps = 0;
}

/* An adapter that is continued or scored keeps its shape, whatever the configuration says of it. */
static ql_err adopt_adapter(ql_config *c) {
    int64_t r = c->lora_r;
    double  alpha = c->lora_alpha;
    QL_TRY(ql_adapter_adopt(c->adapter_name_or_path, c));
    if (r != c->lora_r || alpha != c->lora_alpha)
        ql_info("note: lora_r %lld, lora_alpha %g and target_modules are those of the adapter %s", (long long)c->lora_r,
                c->lora_alpha, c->adapter_name_or_path);
    return ql_ok();
}

static ql_err read_config(ql_job *j, const ql_options *o) {
    ql_str notes = {0};
    ql_err e = ql_config_read(o->config, o->overrides, o->n_overrides, &j->config, &notes);
    if (ql_bad(e)) {
        ql_str_free(&notes);
        return e;
    }
    say_notes(&notes);
    resolve_rows(j);
    if (o->adapter) {
        free(j->config.adapter_name_or_path);
        j->config.adapter_name_or_path = ql_strdup(o->adapter);
    }
    return j->config.adapter_name_or_path ? adopt_adapter(&j->config) : ql_ok();
}

/* A run can do without a log, but not with one that somebody has led elsewhere. */
static ql_err open_log(const ql_job *j, const char *path) {
    ql_err e = ql_log_open(path, j->place.rank, j->place.size);
    if (e.code == QL_DENIED) return e;
    if (ql_bad(e)) ql_warn("%s; the run goes on without it", ql_err_text());
    return ql_ok();
}

/* All ranks go on, or none: because one failed, or because one was asked to stop. */
static ql_err agree(ql_job *j, ql_err e, const char *doing) {
    QL_TRY(ql_agree(j->world, e, doing));
    return ql_stop_early(j);
}

static ql_err claim_output(ql_job *j) {
    if (j->place.rank != 0) return ql_ok();
    QL_TRY(ql_output_folder(j->config.output_dir));
    return ql_claim_take(j->config.output_dir, &j->claim);
}

static ql_err open_run_files(ql_job *j) {
    QL_TRY(ql_output_folder(j->config.output_dir));
    char  *run = ql_path_join(j->config.output_dir, "run"), *log = ql_path_join(j->config.output_dir, "run.log");
    ql_err e = open_log(j, log);
    if (!ql_bad(e)) ql_recorder_publish(run);
    free(run);
    free(log);
    return e;
}

/* The output folder, which rank 0 makes and the others find there, and the log in it. */
static ql_err open_output(ql_job *j) {
    QL_TRY(agree(j, claim_output(j), "opening output_dir"));
    QL_TRY(ql_common_folder(j->world, &j->machines, j->config.output_dir));
    QL_TRY(agree(j, open_run_files(j), "opening the log"));
    QL_TRY(ql_broadcast(j->world, &j->claim.generation, sizeof j->claim.generation, 0));
    ql_recorder_generation(j->claim.generation);
    return ql_ok();
}

static uint64_t facts_digest(const ql_config *c) {
    ql_config_fact *fact;
    size_t          n = ql_config_facts(c, &fact);
    uint64_t        digest = 0;
    for (size_t i = 0; i < n; i++) {
        digest = ql_hash64(fact[i].key, strlen(fact[i].key), digest);
        digest = ql_hash64(fact[i].value, strlen(fact[i].value), digest);
        free(fact[i].value);
    }
    free(fact);
    return digest;
}

/* Ranks that read different files must not train together. */
static ql_err compare_ranks(ql_job *j) {
    j->config_digest = facts_digest(&j->config);
    QL_TRY(ql_same_everywhere(j->world, j->config_digest, "the configuration"));
    QL_TRY(ql_same_everywhere(j->world, (uint64_t)j->operands, "the type of the arithmetic (bnb_4bit_compute_dtype)"));
    QL_TRY(ql_same_everywhere(j->world, j->model.fingerprint, "the model"));
    QL_TRY(ql_same_everywhere(j->world, j->train.fingerprint, "the data set"));
    return ql_same_everywhere(j->world, (uint64_t)j->total_steps, "the number of steps");
}

static void print_record(int64_t record, int64_t loss, int64_t targets) {
    ql_str line = {0};
    ql_str_printf(&line, "{\"record\": %lld, \"nll\": ", (long long)record);
    if (targets > 0 && loss != INT64_MAX) ql_json_put_double(&line, (double)loss / 0x1p32);
    else ql_str_puts(&line, "null"); /* dropped for its length, nothing to predict, or not finite */
    ql_str_printf(&line, ", \"tokens\": %lld}\n", (long long)targets);
    fwrite(line.data, 1, line.size, stdout);
    ql_str_free(&line);
}

static void print_summary(const ql_eval_result *r) {
    ql_str line = {0};
    ql_str_puts(&line, "{\"eval_loss\": ");
    ql_json_put_double(&line, r->loss);
    ql_str_puts(&line, ", \"perplexity\": ");
    ql_json_put_double(&line, r->perplexity);
    ql_str_printf(&line, ", \"target_tokens\": %lld}\n", (long long)r->targets);
    fwrite(line.data, 1, line.size, stdout);
    ql_str_free(&line);
}

static ql_err evaluate(ql_job *j, const ql_options *o) {
    size_t         n = (size_t)j->eval.records;
    int64_t       *loss = QL_NEW_ARRAY(int64_t, n), *targets = QL_NEW_ARRAY(int64_t, n);
    ql_eval_result r;
    (void)ql_pulse_begin(QL_PULSE_STEP, "evaluation");
    ql_err e = ql_evaluate(j, loss, targets, NULL, &r);
    (void)ql_pulse_begin(QL_PULSE_SAVE, "standard output");
    if (!ql_bad(e) && j->place.rank == 0) {
        if (o->per_record)
            for (size_t i = 0; i < n; i++) print_record((int64_t)i, loss[i], targets[i]);
        else
            print_summary(&r);
        ql_info("eval_loss %.6f, perplexity %.4f, %lld target tokens", r.loss, r.perplexity, (long long)r.targets);
    }
    free(loss);
    free(targets);
    return e;
}

/* Preference pairs are read, checked and shown. */
static ql_err check_trainable(const ql_job *j, const ql_options *o) {
    const ql_config *c = &j->config;
    if (!j->train.pairs && !j->eval.pairs) return ql_ok();
    const ql_datasets *d = j->train.pairs || !c->eval_dataset.count ? &c->dataset : &c->eval_dataset;
    const char *path = d->count ? d->item[0].path : "dataset";
    QL_CHECK(o->mode != QL_MODE_TRAIN && o->mode != QL_MODE_EVAL, QL_DATA,
             "%s: holds preference pairs (chosen+rejected); training on them comes in a later version: to train on the chosen answers, write records of "
             "\"prompt\" and \"completion\"",
             path);
    ql_info("note: %s holds preference pairs; they can be checked and shown, training on them comes in a later version", path);
    return ql_ok();
}

/* Scoring is not held up: whoever scores bad data has asked for that. */
static ql_err pass_gate(ql_job *j, const ql_options *o, ql_job_purpose purpose, bool writes) {
    ql_gate_show(j);
    if (o->mode == QL_MODE_CHECK && o->json) ql_gate_print(j);
    if (writes) QL_TRY(agree(j, ql_gate_keep(j), "writing the audit"));
    return purpose == QL_JOB_TRAIN ? agree(j, ql_gate_judge(j), "auditing the data") : ql_ok();
}

static ql_err prepare(ql_job *j, const ql_options *o, ql_job_purpose purpose) {
    bool writes = o->mode == QL_MODE_TRAIN;
    QL_TRY(ql_machines_meet(j->world, &j->machines));
    ql_pulse_what("opening the device");
    QL_TRY(agree(j, ql_choose_device(j, j->device_kind, o->threads, o->mode == QL_MODE_PLAN), "opening the device"));
    ql_pulse_what(j->config.model_name_or_path);
    QL_TRY(agree(j, ql_job_describe_model(j, purpose), "reading the model's headers"));
    ql_pulse_what("the data");
    ql_at("data", 0, j);
    if (o->mode != QL_MODE_PLAN) QL_TRY(agree(j, ql_job_read_data(j, purpose), "reading the data"));
    QL_TRY(check_trainable(j, o));
    QL_TRY(compare_ranks(j));
    ql_err planned = o->mode == QL_MODE_PLAN ? ql_job_ask_memory(j, purpose) : ql_job_plan(j, purpose);
    QL_TRY(agree(j, planned, "planning memory"));
    /* Only now: a run that was refused leaves nothing behind. */
    ql_pulse_what(j->config.output_dir);
    if (writes) QL_TRY(open_output(j));
    if (o->mode == QL_MODE_PLAN) return ql_ok();
    ql_job_report(j, purpose);
    QL_TRY(pass_gate(j, o, purpose, writes));
    ql_pulse_what("the links between hosts");
    QL_TRY(ql_links_examine(j->world, &j->machines, (size_t)j->adapter.shape.trainable * sizeof(int64_t)));
    if (j->machines.count > 1) ql_reach_watch();
    return ql_ok();
}

static int no_request(void) {
    return 0;
}

/* With fewer devices than ranks, some are left over; the others are a world of their own. */
static ql_err part_world(ql_job *j, const ql_options *o, bool *works) {
    QL_TRY(ql_share_devices(j, o->device, o->mode == QL_MODE_PLAN, works));
    QL_TRY(ql_world_part(j->world, *works));
    int rank = j->place.rank, all = j->place.size;
    if (*works && !o->ranks) j->place = ql_world_place(j->world);
    return ql_log_open(NULL, *works ? j->place.rank : rank > 0 ? rank : -1, all);
}

static ql_err work(ql_job *j, const ql_options *o) {
    ql_job_purpose purpose = o->mode == QL_MODE_EVAL ? QL_JOB_EVAL : QL_JOB_TRAIN;
    QL_TRY(prepare(j, o, purpose));
    if (o->mode == QL_MODE_PLAN) return agree(j, ql_print_plan(j, o->json), "printing the plan");
    if (o->mode == QL_MODE_CHECK) {
        ql_info("check: everything up to the first step is in order");
        return ql_ok();
    }
    ql_pulse_what(j->config.model_name_or_path);
    ql_at("load", 0, j);
    QL_TRY(agree(j, ql_job_load(j, purpose), "loading the model"));
    if (j->machines.count > 1) ql_reach_watch(); /* the data plane's, too */
    ql_info("base     %s", j->model.origin);
    if (ql_data_plane_hides(j->exchange.plane))
        ql_info("exchange %s, %zu bucket%s behind the backward pass", ql_data_plane_name(j->exchange.plane), j->exchange.buckets,
                j->exchange.buckets == 1 ? "" : "s");
    return o->mode == QL_MODE_EVAL ? evaluate(j, o) : ql_train(j);
}

static ql_err run_job(ql_job *j, const ql_options *o) {
    j->card = o->card;
    if (o->ranks) j->place = (ql_place){.size = o->ranks, .local_size = o->ranks};
    bool works;
    (void)ql_pulse_begin(QL_PULSE_LOAD, o->config);
    QL_TRY(agree(j, read_config(j, o), "reading the configuration"));
    ql_watchdog_configure(&j->config);
    QL_TRY(part_world(j, o, &works));
    if (!works) return ql_world_stand_by(j->world, o->mode == QL_MODE_TRAIN ? ql_stop_requested : no_request);
    ql_err e = work(j, o);
    if (ql_bad(e) && e.code != QL_STOPPED) ql_world_dismiss(j->world, e.code);
    return e;
}

static ql_err run_world(int *argc, char ***argv, const ql_options *o) {
    ql_job j = {0};
    /* Only training has something to save; everything else just ends on a signal. What it saves is its user's alone. */
    if (o->mode == QL_MODE_TRAIN) ql_stop_watch();
    if (o->mode == QL_MODE_TRAIN) umask(077);
    ql_recorder_open();
    (void)ql_pulse_begin(QL_PULSE_START, "");
    QL_TRY(ql_watchdog_start());
    ql_at("init", 0, NULL);
    ql_pulse_what("MPI_Init");
    QL_TRY(ql_world_open(argc, argv, &j.world));
    QL_TRY(ql_recorder_meet(j.world));
    ql_machines_name();
    j.place = ql_world_place(j.world);
    QL_TRY(ql_log_open(NULL, j.place.rank, j.place.size));
    ql_err e = run_job(&j, o);
    if (!ql_bad(e) || e.code == QL_STOPPED) {
        if (ql_bad(e)) ql_info("%s", ql_err_text()); /* once the first rank has left, mpirun may end us */
        ql_job_close(&j);                            /* the data plane says farewell while there is a world */
        e = ql_world_close(j.world, e);
    }
    if (!ql_bad(e) || e.code == QL_STOPPED) ql_recorder_end(QL_RING_ENDED, 1000);
    (void)ql_pulse_begin(QL_PULSE_IDLE, "");
    return e;
}

static ql_err run(int argc, char **argv, const ql_options *o) {
    if (o->mode != QL_MODE_TRAIN) ql_stop_release();
    QL_TRY(ql_checkpoint_init());
    if (o->mode == QL_MODE_TEXT) return ql_options_print(o);
    if (o->mode == QL_MODE_PROBE) return ql_probe(o->json);
    if (o->mode != QL_MODE_TOOL) return run_world(&argc, &argv, o);
    const ql_tool *tool = ql_tool_find(o->tool);
    QL_CHECK(tool, QL_USAGE, "--do: %s: unknown tool", o->tool);
    return tool->run(o->tool_argc, o->tool_argv);
}

/* A configuration may have several mistakes, one a line. */
static void say_errors(const char *text) {
    while (*text) {
        size_t n = strcspn(text, "\n");
        if (n > 0) ql_error("%.*s", (int)n, text);
        text += n + (text[n] == '\n');
    }
}

/* libgomp reads its waiting policy when it is loaded, and by default lets threads spin for so
 * long that on a busy machine they keep each other from working (measured: 20 times slower at a
 * load of 4 on two cores). So the program starts itself once more with threads that sleep. */
static void start_with_patient_threads(char **argv) {
    char    self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n <= 0 || getenv("GOMP_SPINCOUNT") || getenv("OMP_WAIT_POLICY")) return;
    self[n] = 0;
    setenv("OMP_WAIT_POLICY", "passive", 1);
    execv(self, argv); /* comes back only if it failed: then things are just slower */
}

/* mpirun ends the others as soon as one has left: what all of them fail with alike, all of them say before. */
static void let_others_speak(void) {
    if (ql_log_ranks() > 1) nanosleep(&(struct timespec){0, 100000000}, NULL);
}

int main(int argc, char **argv) {
    ql_stop_hold();
    ql_world_tie();
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error of writing, as a full disk is */
    start_with_patient_threads(argv);
    ql_crash_watch();
    ql_options o;
    ql_err     e = ql_options_read(argc, argv, &o);
    if (!ql_bad(e)) e = run(argc, argv, &o);
    ql_options_free(&o);
    if (!ql_bad(e) && (fflush(stdout) != 0 || ferror(stdout))) e = ql_fail_errno("standard output");
    if (!ql_bad(e)) return 0;
    if (e.code != QL_STOPPED) say_errors(ql_err_text()); /* whoever stopped has said so */
    let_others_speak();
    /* A rank that fails alone must take the others down: no finalising, no exit handlers. */
    ql_world_leave(e.code);
}
