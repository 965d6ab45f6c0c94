/* Command lines, checked before anything starts. Nothing here goes through a shell. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/config/nearest.h"
#include "base/config/value.h"
#include "base/mem.h"
#include "launcher/launcher.h"

static const ql_option *option_named(const ql_command *c, const char *word, size_t n) {
    for (const ql_option *o = c->options; o && o->name; o++)
        if (strlen(o->name) == n && !strncmp(o->name, word, n)) return o;
    return NULL;
}

static ql_err unknown_option(const ql_command *c, const char *word) {
    const char *names[32];
    size_t      n = 0;
    for (const ql_option *o = c->options; o && o->name && n < QL_LEN(names); o++) names[n++] = o->name;
    const char *nearest = ql_nearest(word, names, n);
    return ql_fail(QL_USAGE, "qlora %s: unknown option '%s'%s%s%s; see qlora %s --help", c->name, word,
                   nearest ? "; did you mean " : "", nearest ? nearest : "", nearest ? "?" : "", c->name);
}

/* "A:B", "A:", ":B" or "A", rows from 0. */
static bool is_row_range(const char *text) {
    enum { DIGITS = 18 };
    size_t      n = strspn(text, "0123456789");
    const char *second = text + n + (text[n] == ':');
    size_t      m = strspn(second, "0123456789");
    return *text && n <= DIGITS && m <= DIGITS && !second[m];
}

static bool is_choice(const char *choices, const char *text) {
    size_t n = strlen(text);
    for (const char *p = choices; *p; p += *p == '|') {
        size_t length = strcspn(p, "|");
        if (length == n && !strncmp(p, text, n)) return true;
        p += length;
    }
    return false;
}

static bool in_range(const ql_option *o, double v) {
    return v >= o->low && (o->high == 0 || v <= o->high);
}

static ql_err check_value(const ql_command *c, const ql_option *o, const char *text) {
    int64_t whole;
    double  real;
    bool    good = *text != 0;
    switch (o->kind) {
        case QL_ARG_WHOLE: good = ql_value_whole(text, &whole) && in_range(o, (double)whole); break;
        case QL_ARG_REAL: good = ql_value_number(text, &real) && in_range(o, real); break;
        case QL_ARG_ROWS: good = is_row_range(text); break;
        case QL_ARG_CHOICE: good = is_choice(o->value, text); break;
        default: break;
    }
    if (good) return ql_ok();
    return ql_fail(QL_USAGE, "qlora %s: %s is '%s'; expected %s: %s", c->name, o->name, text, o->value, o->meaning);
}

static void push(ql_arguments *a, const char *word) {
    QL_PUSH(a->word, a->count, a->capacity, ql_strdup(word));
}

/* Takes words[*i], and its value from "--x=value" or from the next word. */
static ql_err read_option(ql_arguments *a, char **words, size_t n, size_t *i) {
    const ql_command *c = a->command;
    const char       *word = words[*i], *equals = strchr(word, '=');
    size_t            length = equals ? (size_t)(equals - word) : strlen(word);
    const ql_option  *o = option_named(c, word, length);
    if (!o) return unknown_option(c, word);
    push(a, o->name);
    if (o->kind == QL_ARG_FLAG) {
        QL_CHECK(!equals, QL_USAGE, "qlora %s: %s takes no value", c->name, o->name);
        return ql_ok();
    }
    QL_CHECK(equals || *i + 1 < n, QL_USAGE, "qlora %s: %s needs a value: %s", c->name, o->name, o->value);
    const char *value = equals ? equals + 1 : words[++*i];
    QL_TRY(check_value(c, o, value));
    push(a, value);
    return ql_ok();
}

static ql_err check_rest(const ql_arguments *a) {
    const ql_command *c = a->command;
    size_t            n = a->count - a->first_rest;
    char            **rest = a->word + a->first_rest;
    if (c->rest == QL_REST_CONFIGS) return ql_ok();
    if (c->rest == QL_REST_FOLDER) {
        QL_CHECK(n == 1, QL_USAGE, "qlora %s: expected one folder; usage: %s", c->name, c->form);
        return ql_ok();
    }
    if (c->rest == QL_REST_NONE) {
        QL_CHECK(n == 0, QL_USAGE, "qlora %s: '%s' is one word too many; usage: %s", c->name, rest[0], c->form);
        return ql_ok();
    }
    if (c->rest == QL_REST_MAY_CONFIG && n == 0) return ql_ok();
    QL_CHECK(n > 0, QL_USAGE, "qlora %s: %s is missing; usage: %s", c->name, c->rest == QL_REST_CONFIG ? "the config file" : "the prompt", c->form);
    bool   config_first = c->rest != QL_REST_PROMPT;
    size_t from = config_first, to = config_first ? n : n - 1;
    for (size_t i = from; i < to; i++) {
        const char *equals = strchr(rest[i], '=');
        QL_CHECK(equals && equals != rest[i], QL_USAGE, "qlora %s: '%s' is not KEY=VALUE; usage: %s", c->name, rest[i], c->form);
    }
    return ql_ok();
}

static ql_err check_required(const ql_arguments *a) {
    for (const ql_option *o = a->command->options; o && o->name; o++)
        QL_CHECK(!o->required || ql_arguments_value(a, o->name), QL_USAGE, "qlora %s: %s %s is missing; usage: %s", a->command->name,
                 o->name, o->value, a->command->form);
    return ql_ok();
}

static ql_err read_words(ql_arguments *a, char **words, size_t n) {
    char **rest = QL_NEW_ARRAY(char *, n);
    size_t n_rest = 0;
    bool   options_end = false;
    ql_err e = ql_ok();
    for (size_t i = 0; i < n && !ql_bad(e); i++) {
        const char *word = words[i];
        bool        is_option = !options_end && word[0] == '-' && word[1];
        if (is_option && !strcmp(word, "--")) options_end = true;
        else if (is_option && (!strcmp(word, "--help") || !strcmp(word, "-h"))) a->wants_help = true;
        else if (is_option) e = read_option(a, words, n, &i);
        else rest[n_rest++] = words[i];
    }
    a->first_rest = a->count;
    for (size_t i = 0; i < n_rest; i++) push(a, rest[i]);
    free(rest);
    return e;
}

static ql_err check(ql_arguments *a, char **words, size_t n) {
    QL_TRY(read_words(a, words, n));
    if (a->wants_help) return ql_ok();
    QL_TRY(check_required(a));
    return check_rest(a);
}

/* What is wrong with words is said on one line, whatever they hold. */
ql_err ql_arguments_read(const ql_command *command, char **words, size_t n, ql_arguments *out) {
    *out = (ql_arguments){.command = command};
    ql_err e = check(out, words, n);
    if (!ql_bad(e)) return e;
    char *sentence = ql_strdup(ql_err_text());
    ql_hide_controls(sentence, true);
    e = ql_fail(e.code, "%s", sentence);
    free(sentence);
    return e;
}

void ql_arguments_free(ql_arguments *a) {
    for (size_t i = 0; i < a->count; i++) free(a->word[i]);
    free(a->word);
    *a = (ql_arguments){0};
}

static bool is_among(const char *word, const char *const *names, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!strcmp(word, names[i])) return true;
    return false;
}

size_t ql_arguments_pass_on(const ql_arguments *a, const char *const *ours, size_t n_ours, char **words, size_t n) {
    for (size_t i = 0; i < a->first_rest; i++) {
        const ql_option *o = option_named(a->command, a->word[i], strlen(a->word[i]));
        bool             passes = !is_among(a->word[i], ours, n_ours), valued = o->kind != QL_ARG_FLAG;
        if (passes) words[n++] = a->word[i];
        if (valued && passes) words[n++] = a->word[i + 1];
        i += valued;
    }
    return n;
}

const char *ql_arguments_value(const ql_arguments *a, const char *option) {
    const char *value = NULL;
    for (size_t i = 0; i < a->first_rest; i++) {
        const ql_option *o = option_named(a->command, a->word[i], strlen(a->word[i]));
        if (!strcmp(a->word[i], option)) value = o->kind == QL_ARG_FLAG ? "" : a->word[i + 1];
        i += o->kind != QL_ARG_FLAG;
    }
    return value;
}

void ql_command_help(const ql_command *c) {
    printf("usage: %s\n\n%s\n", c->form, c->summary);
    if (c->options && c->options->name) printf("\noptions:\n");
    for (const ql_option *o = c->options; o && o->name; o++) {
        char *left = ql_format("%s%s%s", o->name, o->value ? " " : "", o->value ? o->value : "");
        printf("  %-22s %s\n", left, o->meaning);
        free(left);
    }
    bool takes_keys = c->rest == QL_REST_CONFIG || c->rest == QL_REST_MAY_CONFIG || c->rest == QL_REST_CONFIGS || c->rest == QL_REST_PROMPT;
    if (takes_keys) printf("\nKEY=VALUE sets a key of the configuration; qlora-worker --help-config lists them.\n");
}
