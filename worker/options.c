#include "worker/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/config/config.h"
#include "collective/collective.h"

static const char help[] =
    "qlora-worker fine-tunes a Hugging Face causal language model: QLoRA, one process per device.\n"
    "\n"
    "usage: qlora-worker [OPTIONS] CONFIG.yaml [KEY=VALUE ...]\n"
    "       mpirun -np N qlora-worker [OPTIONS] CONFIG.yaml [KEY=VALUE ...]\n"
    "\n"
    "  --plan [--json]      print the memory plan of each rank, whether it fits, and what else\n"
    "                       would, and stop; reads headers only\n"
    "    -n N               plan for N ranks, on this machine\n"
    "    --gpu NAME         for a card that is not there: T4, RTX3090, RTX4090, A100-40,\n"
    "                       A100-80, H100, H200; or --device cuda --max-memory 16GiB\n"
    "  --check [--json]     do everything up to the first step, show what is wrong with the data\n"
    "                       (--json: on standard output, as JSON), then stop\n"
    "  --eval               score eval_dataset (or dataset) and stop\n"
    "    --per-record       one line of JSON per record: {\"record\", \"nll\", \"tokens\"}\n"
    "    --adapter DIR      with this PEFT adapter\n"
    "  --device KIND        auto, cuda or cpu (overrides the key `device`)\n"
    "  --threads N          threads on the CPU; default: the allowed ones, shared by local ranks\n"
    "  --max-memory SIZE    of a rank, such as 15GiB (overrides the key max_memory)\n"
    "  --probe [--json]     print what this machine has and stop\n"
    "  --help-config        print every configuration key with type, default and meaning\n"
    "  --version, --help\n"
    "\n"
    "Exit status: 0 done; 64 usage or configuration; 65 bad input; 74 input/output; 75 temporary,\n"
    "can be restarted; 77 refused for security; 85 stopped on request with a verified checkpoint.\n"
    "Signals TERM, INT, HUP, USR1, USR2: finish the step, save, exit 85. INT twice: leave at once.\n";

ql_err ql_options_print(const ql_options *o) {
    if (!strcmp(o->text, "--version")) {
        char library[64];
        ql_world_library(library);
        printf("qlora-worker %s\n%s%s", QL_VERSION, library, library[0] ? "\n" : ""); /* the second line: launcher/mpi/flavour.c */
    } else if (!strcmp(o->text, "--help-config")) {
        ql_str text = {0};
        ql_config_help(&text, false);
        fwrite(text.data, 1, text.size, stdout);
        ql_str_free(&text);
    } else {
        fputs(help, stdout);
    }
    return ql_ok();
}

static ql_err set_mode(ql_options *o, ql_mode mode, const char *option) {
    QL_CHECK(o->mode == QL_MODE_TRAIN || o->mode == mode, QL_USAGE, "%s: does not go with the other mode given; choose one",
             option);
    o->mode = mode;
    return ql_ok();
}

static ql_err read_count(const char *option, const char *text, long most, int *out) {
    char *end;
    long  n = strtol(text, &end, 10);
    QL_CHECK(*text && !*end && n >= 1 && n <= most, QL_USAGE, "%s: \"%s\" is not a number from 1 to %ld", option, text, most);
    *out = (int)n;
    return ql_ok();
}

static ql_err set_max_memory(ql_options *o, const char *value) {
    QL_CHECK(!o->max_memory, QL_USAGE, "--max-memory: given twice");
    o->max_memory = ql_format("max_memory=%s", value);
    o->overrides[o->n_overrides++] = o->max_memory;
    return ql_ok();
}

static ql_err read_value(ql_options *o, const char *option, const char *value) {
    QL_CHECK(value, QL_USAGE, "%s: needs a value; see --help", option);
    if (!strcmp(option, "--threads")) return read_count(option, value, 1024, &o->threads);
    if (!strcmp(option, "-n")) return read_count(option, value, 4096, &o->ranks);
    if (!strcmp(option, "--max-memory")) return set_max_memory(o, value);
    if (!strcmp(option, "--gpu")) return ql_card_find(value, &o->card);
    if (!strcmp(option, "--adapter")) o->adapter = value;
    else o->device = value;
    return ql_ok();
}

static bool takes_value(const char *option) {
    return !strcmp(option, "--adapter") || !strcmp(option, "--device") || !strcmp(option, "--threads") ||
           !strcmp(option, "--max-memory") || !strcmp(option, "--gpu") || !strcmp(option, "-n");
}

static bool prints_text(const char *option) {
    return !strcmp(option, "--help") || !strcmp(option, "-h") || !strcmp(option, "--version") || !strcmp(option, "--help-config");
}

static ql_err read_flag(ql_options *o, const char *option) {
    if (!strcmp(option, "--plan")) return set_mode(o, QL_MODE_PLAN, option);
    if (!strcmp(option, "--check")) return set_mode(o, QL_MODE_CHECK, option);
    if (!strcmp(option, "--eval")) return set_mode(o, QL_MODE_EVAL, option);
    if (!strcmp(option, "--probe")) return set_mode(o, QL_MODE_PROBE, option);
    if (!strcmp(option, "--json")) o->json = true;
    else if (!strcmp(option, "--per-record")) o->per_record = true;
    else return ql_fail(QL_USAGE, "%s: unknown option; see --help", option);
    return ql_ok();
}

static ql_err read_word(ql_options *o, char *word) {
    if (!o->config) {
        o->config = word;
        return ql_ok();
    }
    QL_CHECK(strchr(word, '='), QL_USAGE, "%s: is neither an option nor KEY=VALUE; see --help", word);
    o->overrides[o->n_overrides++] = word;
    return ql_ok();
}

static ql_err check_together(const ql_options *o) {
    if (o->mode == QL_MODE_TEXT || o->mode == QL_MODE_PROBE || o->mode == QL_MODE_TOOL) return ql_ok();
    QL_CHECK(o->config, QL_USAGE, "a configuration file is missing; usage: qlora-worker [OPTIONS] CONFIG.yaml [KEY=VALUE ...]");
    QL_CHECK(!o->ranks || o->mode == QL_MODE_PLAN, QL_USAGE, "-n: only with --plan; qlora run -n N starts several ranks");
    QL_CHECK(!o->card || o->mode == QL_MODE_PLAN, QL_USAGE, "--gpu: only with --plan; a run computes on the devices that there are");
    QL_CHECK(!o->card || !o->device || strcmp(o->device, "cpu"), QL_USAGE, "--gpu: does not go with --device cpu; leave one out");
    QL_CHECK(!o->per_record || o->mode == QL_MODE_EVAL, QL_USAGE, "--per-record: only with --eval");
    QL_CHECK(!o->adapter || o->mode == QL_MODE_EVAL, QL_USAGE,
             "--adapter: only with --eval; to continue training set adapter_name_or_path");
    return ql_ok();
}

ql_err ql_options_read(int argc, char **argv, ql_options *out) {
    *out = (ql_options){.overrides = QL_NEW_ARRAY(char *, (size_t)argc + 1)};
    for (int i = 1; i < argc; i++) {
        char *word = argv[i];
        if (!strcmp(word, "--do")) {
            QL_CHECK(argv[i + 1], QL_USAGE, "--do: needs the name of a tool");
            out->mode = QL_MODE_TOOL;
            out->tool = argv[i + 1];
            out->tool_argc = argc - i - 2;
            out->tool_argv = argv + i + 2;
            return ql_ok();
        }
        if (prints_text(word)) {
            out->mode = QL_MODE_TEXT;
            out->text = word;
            return ql_ok();
        }
        if (takes_value(word)) {
            QL_TRY(read_value(out, word, argv[i + 1]));
            i++;
        } else if (word[0] == '-' && word[1]) {
            QL_TRY(read_flag(out, word));
        } else {
            QL_TRY(read_word(out, word));
        }
    }
    QL_TRY(check_together(out));
    if (out->card) out->device = "cuda";
    return ql_ok();
}

void ql_options_free(ql_options *o) {
    free(o->overrides);
    free(o->max_memory);
    *o = (ql_options){0};
}
