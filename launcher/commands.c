/* The table of commands. Whatever needs a model is handed over to qlora-worker. */
#include "launcher/launcher.h"

static const ql_option run_options[] = {
    {"-n", "N", "number of workers; default: the slots of all hosts, else the GPUs that work, else 1", .kind = QL_ARG_WHOLE, .low = 1, .high = 4096},
    {"--hosts", "A,B:N", "hosts to run on, with the slots (workers) of each; default 1", .kind = QL_ARG_TEXT},
    {"--hostfile", "FILE", "the same as lines: NAME slots=N", .kind = QL_ARG_TEXT},
    {"--device", "auto|cuda|cpu", "where to compute", .kind = QL_ARG_CHOICE},
    {"--threads", "N", "threads of each worker", .kind = QL_ARG_WHOLE, .low = 1, .high = 1024},
    {"--max-memory", "SIZE", "of each worker, such as 15GiB", .kind = QL_ARG_TEXT},
    {"--jobs", "N", "of several CONFIGs, so many at a time; default: as many as there are GPUs for", .kind = QL_ARG_WHOLE, .low = 1, .high = 4096},
    {"--json", NULL, "what came of it, a JSON object for each CONFIG, to standard output", .kind = QL_ARG_FLAG},
    {"--check", NULL, "everything up to the first step, then stop", .kind = QL_ARG_FLAG},
    {"--dry-run", NULL, "print the command that would start the workers, and what its environment has, and stop", .kind = QL_ARG_FLAG},
    {"--allow-root", NULL, "start more than one worker as root outside a container", .kind = QL_ARG_FLAG},
    {0},
};
static const ql_option plan_options[] = {
    {"-n", "N", "number of workers to plan for; default: as many as qlora run would start here, with --gpu 1", .kind = QL_ARG_WHOLE, .low = 1, .high = 4096},
    {"--gpu", "NAME", "for a card that is not there: T4, RTX3090, RTX4090, A100-40, A100-80, H100, H200", .kind = QL_ARG_TEXT},
    {"--json", NULL, "one JSON object instead of a table", .kind = QL_ARG_FLAG},
    {"--device", "auto|cuda|cpu", "where to compute", .kind = QL_ARG_CHOICE},
    {"--threads", "N", "threads of each worker", .kind = QL_ARG_WHOLE, .low = 1, .high = 1024},
    {"--max-memory", "SIZE", "of each worker, such as 15GiB", .kind = QL_ARG_TEXT},
    {"--hosts", "A,B:N", "plan on these machines, as qlora run takes them", .kind = QL_ARG_TEXT},
    {"--hostfile", "FILE", "the same as lines: NAME slots=N", .kind = QL_ARG_TEXT},
    {"--allow-root", NULL, "start more than one worker as root outside a container", .kind = QL_ARG_FLAG},
    {0},
};
static const ql_option checkpoints_options[] = {
    {"--json", NULL, "one JSON object per checkpoint", .kind = QL_ARG_FLAG},
    {"--newest", NULL, "stop at the first good one", .kind = QL_ARG_FLAG},
    {0},
};
static const ql_option inspect_options[] = {
    {"--rows", "A:B", "rows from A up to, but not with, B; default 0:3, 0:20 with --html, all with --json", .kind = QL_ARG_ROWS},
    {"--html", "FILE", "writes a page for a browser that needs no other file", .kind = QL_ARG_TEXT},
    {"--tokens", NULL, "show where tokens end", .kind = QL_ARG_FLAG},
    {"--json", NULL, "one JSON object per row", .kind = QL_ARG_FLAG},
    {0},
};
static const ql_option tokenize_options[] = {
    {"--model", "DIR", "folder with the tokenizer", .kind = QL_ARG_TEXT, .required = true},
    {"--no-special", NULL, "add no special tokens", .kind = QL_ARG_FLAG},
    {0},
};
static const ql_option detokenize_options[] = {
    {"--model", "DIR", "folder with the tokenizer", .kind = QL_ARG_TEXT, .required = true},
    {0},
};
static const ql_option template_options[] = {
    {"--model", "DIR", "folder with the chat template", .kind = QL_ARG_TEXT, .required = true},
    {"--name", "NAME", "another template than the default one", .kind = QL_ARG_TEXT},
    {"--chat-template", "TEMPLATE", "a file, or a built-in template, as the key chat_template", .kind = QL_ARG_TEXT},
    {"--generation-prompt", NULL, "end with what makes the model answer", .kind = QL_ARG_FLAG},
    {0},
};
static const ql_option quantize_options[] = {
    {"--model", "DIR", "folder to read", .kind = QL_ARG_TEXT, .required = true},
    {"--out", "DIR", "folder to write", .kind = QL_ARG_TEXT, .required = true},
    {"--type", "nf4|fp4", "the 4-bit code; default nf4", .kind = QL_ARG_CHOICE},
    {"--no-double-quant", NULL, "keep the scales in float32", .kind = QL_ARG_FLAG},
    {0},
};
static const ql_option generate_options[] = {
    {"--model", "DIR", "folder of the base model", .kind = QL_ARG_TEXT, .required = true},
    {"--adapter", "DIR", "folder of a PEFT adapter", .kind = QL_ARG_TEXT},
    {"--max-new-tokens", "N", "most tokens to add; default 128", .kind = QL_ARG_WHOLE, .low = 1, .high = 1 << 20},
    {"--temperature", "T", "0, the default, is greedy", .kind = QL_ARG_REAL, .low = 0, .high = 100},
    {"--top-p", "P", "sample from the most likely tokens that make up P; default 1", .kind = QL_ARG_REAL, .low = 1e-6, .high = 1},
    {"--seed", "S", "of sampling; default 42", .kind = QL_ARG_WHOLE, .low = 0, .high = 0x1p53},
    {"--json", NULL, "one JSON object: prompt, text, tokens", .kind = QL_ARG_FLAG},
    {"--device", "auto|cuda|cpu", "where to compute", .kind = QL_ARG_CHOICE},
    {"--threads", "N", "threads", .kind = QL_ARG_WHOLE, .low = 1, .high = 1024},
    {0},
};

static const ql_option doctor_options[] = {
    {"--hosts", "A,B:N", "examine what several machines need, too", .kind = QL_ARG_TEXT},
    {"--hostfile", "FILE", "the same as lines: NAME slots=N", .kind = QL_ARG_TEXT},
    {"--json", NULL, "one JSON object instead of lines", .kind = QL_ARG_FLAG},
    {0},
};

static const ql_option submit_options[] = {
    {"--nodes", "N", "machines; default 1", .kind = QL_ARG_WHOLE, .low = 1, .high = 65536},
    {"--gpus-per-node", "G", "GPUs of each, and ranks; default 1; 0: none, and one rank each", .kind = QL_ARG_WHOLE, .low = 0, .high = 1024},
    {"--time", "LIMIT", "how long a start may take, such as 4:00:00 or 2-12; default: what the partition gives", .kind = QL_ARG_TEXT},
    {"--partition", "P", "where to; several with commas", .kind = QL_ARG_TEXT},
    {"--account", "A", "on whose account", .kind = QL_ARG_TEXT},
    {"--qos", "Q", "quality of service", .kind = QL_ARG_TEXT},
    {"--constraint", "X", "features that the machines must have", .kind = QL_ARG_TEXT},
    {"--mem", "M", "memory of each machine, such as 64G", .kind = QL_ARG_TEXT},
    {"--cpus-per-task", "C", "processors of each rank", .kind = QL_ARG_WHOLE, .low = 1, .high = 65536},
    {"--job-name", "NAME", "name of job and log; default qlora", .kind = QL_ARG_TEXT},
    {"--mail-user", "ADDRESS", "who is told when it ends, fails or is requeued", .kind = QL_ARG_TEXT},
    {"--mpi", "srun|mpirun|auto", "what starts the ranks; auto: srun, if it has PMIx", .kind = QL_ARG_CHOICE},
    {"--requeue", NULL, "back into the queue until the run is done; the default", .kind = QL_ARG_FLAG},
    {"--no-requeue", NULL, "one start", .kind = QL_ARG_FLAG},
    {"--chain", "K", "where requeueing is not allowed: up to K jobs, one after the other", .kind = QL_ARG_WHOLE, .low = 2, .high = 1000},
    {"--dry-run", NULL, "prints the script; nothing else happens", .kind = QL_ARG_FLAG},
    {"--allow-root", NULL, "submit as root outside a container although mpirun starts the ranks", .kind = QL_ARG_FLAG},
    {"--output-script", "FILE", "writes the script there instead of submitting it", .kind = QL_ARG_TEXT},
    {0},
};

static ql_err start_worker_tool(const ql_arguments *a) {
    const char *head[] = {"--do", a->command->name};
    return ql_become_worker(head, QL_LEN(head), a);
}

const ql_command ql_commands[] = {
    {"run", "qlora run [-n N] [OPTIONS] CONFIG.yaml ... [KEY=VALUE ...]",
     "Starts the workers of a training run, watches them, and starts them again after faults.", QL_REST_CONFIGS, run_options, ql_start_run},
    {"plan", "qlora plan [-n N] [--gpu NAME] [--hosts A,B:N] [--json] CONFIG.yaml [KEY=VALUE ...]",
     "Prints what a run will need of every rank's memory, whether it fits and what else would, reading headers only.",
     QL_REST_CONFIG, plan_options, ql_start_plan},
    {"inspect", "qlora inspect [--rows A:B] [--tokens] [--html FILE | --json] CONFIG.yaml [KEY=VALUE ...]",
     "Shows what will be trained on: rows, documents, tokens, which of them are targets.", QL_REST_CONFIG, inspect_options,
     start_worker_tool},
    {"prepare", "qlora prepare CONFIG.yaml [KEY=VALUE ...]", "Tokenises the data on all cores, ahead of the run, and keeps the result for it (dataset_cache).", QL_REST_CONFIG,
     NULL, start_worker_tool},
    {"checkpoints", "qlora checkpoints [--newest] [--json] OUTPUT_DIR",
     "Lists a run's checkpoints, newest first, their digests verified: good, or bad and why.", QL_REST_FOLDER, checkpoints_options,
     start_worker_tool},
    {"tokenize", "qlora tokenize --model DIR [--no-special]",
     "Standard input: one JSON string per line. Standard output: one JSON array of ids per line.", QL_REST_NONE, tokenize_options,
     start_worker_tool},
    {"detokenize", "qlora detokenize --model DIR",
     "Standard input: one JSON array of ids per line. Standard output: one JSON string per line.", QL_REST_NONE, detokenize_options,
     start_worker_tool},
    {"template", "qlora template --model DIR [--name NAME] [--chat-template TEMPLATE] [--generation-prompt]",
     "Standard input: one JSON list of messages, or object with messages and other variables, per line. Standard output: the text that "
     "the chat template makes of it, one JSON string per line.",
     QL_REST_NONE, template_options, start_worker_tool},
    {"quantize", "qlora quantize --model DIR --out DIR [--type nf4|fp4] [--no-double-quant]",
     "Writes a model folder in 4 bits that transformers with bitsandbytes loads, and that this program loads.", QL_REST_NONE,
     quantize_options, start_worker_tool},
    {"generate", "qlora generate --model DIR [--adapter DIR] [OPTIONS] [KEY=VALUE ...] PROMPT", "Continues a text.", QL_REST_PROMPT,
     generate_options, start_worker_tool},
    {"doctor", "qlora doctor [--json] [--hosts A,B:N] [CONFIG.yaml [KEY=VALUE ...]]",
     "Examines this machine, and a configuration on it: what is wrong or will go wrong, each with its cure.", QL_REST_MAY_CONFIG, doctor_options,
     ql_start_doctor},
    {"submit", "qlora submit [OPTIONS] CONFIG.yaml [KEY=VALUE ...]",
     "Makes a Slurm job of a run: saves before its time is up, goes back into the queue, goes on at the exact step.", QL_REST_CONFIG,
     submit_options, ql_start_submit},
};
const size_t ql_n_commands = QL_LEN(ql_commands);
