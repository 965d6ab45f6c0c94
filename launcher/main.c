/* qlora COMMAND ...: looks the command up and hands over. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/config/nearest.h"
#include "base/log.h"
#include "launcher/launcher.h"

static void print_help(void) {
    printf("qlora %s: QLoRA fine-tuning of causal language models\n\nusage: qlora COMMAND [OPTIONS] ...\n\ncommands:\n", QL_VERSION);
    for (size_t i = 0; i < ql_n_commands; i++) printf("  %-12s %s\n", ql_commands[i].name, ql_commands[i].summary);
    printf("\nqlora COMMAND --help tells more; qlora-worker --help-config lists the keys of a configuration.\n");
}

static const ql_command *command_named(const char *name) {
    for (size_t i = 0; i < ql_n_commands; i++)
        if (!strcmp(ql_commands[i].name, name)) return &ql_commands[i];
    return NULL;
}

static ql_err unknown_command(const char *word) {
    const char *names[32];
    size_t      n = 0;
    while (n < ql_n_commands && n < QL_LEN(names)) {
        names[n] = ql_commands[n].name;
        n++;
    }
    const char *nearest = ql_nearest(word, names, n);
    return ql_fail(QL_USAGE, "unknown command '%s'%s%s%s; see qlora --help", word, nearest ? "; did you mean " : "",
                   nearest ? nearest : "", nearest ? "?" : "");
}

/* A sentence may hold several lines, one mistake each. To have stopped on request is none. */
static int report(ql_err e) {
    if (!ql_bad(e)) return 0;
    for (const char *p = ql_err_text(); *p; p += *p == '\n') {
        size_t n = strcspn(p, "\n");
        if (e.code == QL_STOPPED) ql_info("%.*s", (int)n, p);
        else ql_error("%.*s", (int)n, p);
        p += n;
    }
    return (int)e.code;
}

static ql_err run_command(const ql_command *command, char **words, size_t n) {
    ql_arguments a;
    ql_err       e = ql_arguments_read(command, words, n, &a);
    if (!ql_bad(e) && a.wants_help) ql_command_help(command);
    else if (!ql_bad(e)) e = command->start(&a);
    ql_arguments_free(&a);
    return e;
}

int main(int argc, char **argv) {
    if (argc < 2) {
        print_help();
        return QL_USAGE;
    }
    const char *word = argv[1];
    if (!strcmp(word, "--help") || !strcmp(word, "-h") || !strcmp(word, "help")) print_help();
    else if (!strcmp(word, "--version")) printf("qlora %s\n", QL_VERSION);
    else {
        const ql_command *command = command_named(word);
        return report(command ? run_command(command, argv + 2, (size_t)argc - 2) : unknown_command(word));
    }
    return fflush(stdout) == 0 ? 0 : QL_IO;
}
