/* The values of a batch script. Whoever submits may be a program that got them from somebody else, so that each has a form that leaves
 * nothing to a shell, to sbatch's reader of comments, or to the eye. */
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/config/value.h"
#include "launcher/submit/submit.h"

typedef struct {
    const char *option, *otherwise, *form, *expected;
} rule;

#define WORD     "^[A-Za-z0-9_][A-Za-z0-9._/@:+-]{0,250}$"
#define WORD_SAY "letters, digits and . _ / @ : + -"
static const rule rules[] = {
    {"--job-name", "qlora", "^[A-Za-z0-9_][A-Za-z0-9._@:+-]{0,100}$", "letters, digits and . _ @ : + -"},
    {"--partition", NULL, "^[A-Za-z0-9_][A-Za-z0-9._,-]{0,250}$", "names of partitions, with commas between them"},
    {"--account", NULL, WORD, WORD_SAY},
    {"--qos", NULL, WORD, WORD_SAY},
    {"--constraint", NULL, "^[A-Za-z0-9_([][]A-Za-z0-9._&|*,():[-]{0,250}$", "features of machines, with & | , * ( ) [ ] between them"},
    {"--mem", NULL, "^[0-9]{1,9}[KMGT]?$", "a number of MiB, or with K, M, G or T behind it"},
    {"--time", NULL, "^([0-9]{1,4}-[0-9]{1,2}|[0-9]{1,7})(:[0-9]{1,2}){0,2}$", "minutes, hours:minutes:seconds or days-hours:minutes:seconds"},
    {"--mail-user", NULL, "^[A-Za-z0-9][A-Za-z0-9._%+-]*@?[A-Za-z0-9.-]*$", "an address"},
    {"--nodes", "1", "^[0-9]{1,5}$", "a number"},
    {"--gpus-per-node", "1", "^[0-9]{1,4}$", "a number"},
    {"--cpus-per-task", NULL, "^[0-9]{1,5}$", "a number"},
    {"--chain", NULL, "^[0-9]{1,4}$", "a number"},
};

static bool has_form(const char *text, const char *form) {
    regex_t r;
    if (regcomp(&r, form, REG_EXTENDED | REG_NOSUB) != 0) return false;
    bool has = regexec(&r, text, 0, NULL, 0) == 0;
    regfree(&r);
    return has;
}

const char *ql_submit_value(const ql_arguments *a, const char *option) {
    const char *given = ql_arguments_value(a, option);
    for (size_t i = 0; i < QL_LEN(rules) && !given; i++)
        if (!strcmp(rules[i].option, option)) given = rules[i].otherwise;
    return given;
}

/* On one line, whatever is quoted. */
static ql_err refuse(const char *what, const char *text, const char *expected) {
    char *shown = ql_strdup(text);
    ql_hide_controls(shown, true);
    ql_err e = ql_fail(QL_USAGE, "qlora submit: %s is '%s'; %s", what, shown, expected);
    free(shown);
    return e;
}

static ql_err check_value(const ql_arguments *a, const rule *r) {
    const char *text = ql_arguments_value(a, r->option);
    if (!text || has_form(text, r->form)) return ql_ok();
    char  *expected = ql_format("expected %s", r->expected);
    ql_err e = refuse(r->option, text, expected);
    free(expected);
    return e;
}

ql_err ql_submit_check(const ql_arguments *a) {
    for (size_t i = 0; i < QL_LEN(rules); i++) QL_TRY(check_value(a, &rules[i]));
    bool chain = ql_arguments_value(a, "--chain"), requeue = ql_arguments_value(a, "--requeue"), no_requeue = ql_arguments_value(a, "--no-requeue");
    QL_CHECK(!requeue || (!chain && !no_requeue), QL_USAGE, "qlora submit: --requeue contradicts %s; give one of them",
             chain ? "--chain" : "--no-requeue");
    return ql_ok();
}

ql_err ql_submit_check_text(const char *what, const char *text) {
    bool plain = *text && *text != '-' && !strpbrk(text, "'\"`$\\;&|<>");
    for (const char *p = text; *p; p++) plain &= (unsigned char)*p >= ' ' && *p != 0x7f;
    if (plain) return ql_ok();
    return refuse(what, text, strchr(text, '=') ? "of a batch script such values are no part; put it into the config file"
                                                : "in a batch script it may not begin with - nor have quotes, control characters or $ ` \\ ; & | < >");
}

/* [days-]a[:b[:c]]: after days a counts hours; else one number is minutes, two are minutes and seconds. */
int64_t ql_submit_seconds(const ql_arguments *a) {
    const char *text = ql_arguments_value(a, "--time");
    if (!text) return 0;
    const char *dash = strchr(text, '-');
    int         part[3] = {0}, n = sscanf(dash ? dash + 1 : text, "%d:%d:%d", &part[0], &part[1], &part[2]);
    if (dash) return atoi(text) * INT64_C(86400) + part[0] * INT64_C(3600) + part[1] * INT64_C(60) + part[2];
    if (n == 3) return part[0] * INT64_C(3600) + part[1] * INT64_C(60) + part[2];
    return part[0] * INT64_C(60) + part[1];
}
