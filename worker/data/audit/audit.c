/* The table of checks, and counting. */
#include "worker/data/audit/audit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BY_SHARE QL_AUDIT_WARNING, QL_AUDIT_ERROR, QL_LIMIT_UNTARGETED
#define IF_COMMON(severity) QL_AUDIT_NOTHING, severity, QL_LIMIT_HUNDREDTH
#define ALWAYS(severity) severity, severity, QL_LIMIT_HUNDREDTH

static const ql_audit_rule rule[QL_AUDIT_CHECKS] = {
    [QL_AUDIT_NO_TARGETS] = {"no-targets", "have no token to train on and are left out",
                             "give answers that are not empty; raise max_length where only the prompt fits; see train_on", BY_SHARE},
    [QL_AUDIT_LOST] = {"lost", "are longer than max_length, and dropped or truncated", "raise max_length", QL_AUDIT_NOTE, QL_AUDIT_ERROR,
                       QL_LIMIT_LOST},
    [QL_AUDIT_END_UNTRAINED] = {"end-untrained", "have an answer whose end token is not trained on, so that the model does not learn to stop",
                                "put the end token into the template's generation block, or into the completion", BY_SHARE},
    [QL_AUDIT_END_MISSING] = {"end-missing", "end in no end token, so that the model does not learn to stop",
                              "let the template end answers with the eos token, or correct eos_token in tokenizer_config.json", BY_SHARE},
    [QL_AUDIT_END_NOT_STOP] = {"end-not-stop", "end in a token that the model does not stop at",
                               "add its id to eos_token_id in the model's generation_config.json, or use the model's own template", BY_SHARE},
    [QL_AUDIT_TWO_BOS] = {"two-bos", "begin with two bos tokens",
                          "take the bos out of the texts or the template, or set add_bos_token: false in tokenizer_config.json", BY_SHARE},
    [QL_AUDIT_SYSTEM_LOST] = {"system-lost", "have a system message that the chat template leaves out",
                              "use a template that knows system messages, or put the text into the first message of the user", BY_SHARE},
    [QL_AUDIT_TEXT_LOST] = {"text-lost", "have a message that the chat template leaves out or changes", "use the model's own template, or another one",
                            BY_SHARE},
    [QL_AUDIT_CALLS_LOST] = {"calls-lost", "have calls of tools that the chat template leaves out", "use a template that knows tools",
                             ALWAYS(QL_AUDIT_WARNING)},
    [QL_AUDIT_TOOLS_LOST] = {"tools-lost", "have tools that the chat template leaves out", "use a template that knows tools",
                             ALWAYS(QL_AUDIT_WARNING)},
    [QL_AUDIT_THINKING_LOST] = {"thinking-lost", "have thoughts that the chat template leaves out of the last answer",
                                "use a template that knows reasoning_content, unless it is meant", ALWAYS(QL_AUDIT_NOTE)},
    [QL_AUDIT_KEY_LOST] = {"key-lost", "have messages with a key that the chat template does not write", "use a template that knows it, unless it is no text for the model",
                           ALWAYS(QL_AUDIT_NOTE)},
    [QL_AUDIT_FIELD_LOST] = {"field-lost", "have a field that instruction_template does not write", "write it there, where it belongs",
                             ALWAYS(QL_AUDIT_WARNING)},
    [QL_AUDIT_CLOCK] = {"clock", "are rendered with a date, that of the newest data file", "give one in chat_template_kwargs, if the template knows how",
                        ALWAYS(QL_AUDIT_NOTE)},
    [QL_AUDIT_PROMPT_CHANGED] = {"prompt-changed", "have a prompt whose last token changes when the completion follows",
                                 "end prompts where a word or a line ends; else the model is used with another context than it learns",
                                 ALWAYS(QL_AUDIT_WARNING)},
    [QL_AUDIT_EMPTY_PROMPT] = {"empty-prompt", "have an empty prompt", "see whether a field is missing", ALWAYS(QL_AUDIT_NOTE)},
    [QL_AUDIT_EMPTY_COMPLETION] = {"empty-completion", "have an empty completion: the model learns to say nothing",
                                   "remove them, or see whether a field is missing", ALWAYS(QL_AUDIT_WARNING)},
    [QL_AUDIT_STRAY] = {"stray-token", "hold what looks like a special token, which the tokenizer does not have",
                          "use the template and the tokenizer of one model, or add the token to both", IF_COMMON(QL_AUDIT_WARNING)},
    [QL_AUDIT_SPECIAL_IN_TEXT] = {"special-in-text", "have a special token in a text that people wrote",
                                  "take it out: the model takes it for the end or the beginning of a turn", ALWAYS(QL_AUDIT_WARNING)},
    [QL_AUDIT_IN_TRAIN] = {"in-train", "are trained on, too, so that their loss says little",
                           "take them out of one of the two, or use val_set_size, which keeps copies on one side", ALWAYS(QL_AUDIT_WARNING)},
    [QL_AUDIT_DUPLICATE] = {"duplicate", "are exact copies of others before them", "set deduplicate: true, unless it is meant", IF_COMMON(QL_AUDIT_NOTE)},
    [QL_AUDIT_POSITIONS] = {"positions", "are longer than the model was made for (max_position_embeddings)", "lower max_length",
                            ALWAYS(QL_AUDIT_NOTE)},
    [QL_AUDIT_EOS_DIFFERS] = {"eos-differs", "the tokenizer's eos is none that the model stops at",
                              "let eos_token in tokenizer_config.json and eos_token_id there name the same", ALWAYS(QL_AUDIT_WARNING)},
    [QL_AUDIT_BOS_DIFFERS] = {"bos-differs", "the tokenizer begins texts with another bos than the model knows",
                              "let bos_token in tokenizer_config.json and bos_token_id there name the same", ALWAYS(QL_AUDIT_WARNING)},
    [QL_AUDIT_VOCAB_SMALL] = {"small-vocabulary", "the tokenizer knows less than half of the model's tokens",
                              "see whether it belongs to this model", ALWAYS(QL_AUDIT_WARNING)},
    [QL_AUDIT_VOCAB_LARGE] = {"large-vocabulary", "the tokenizer knows tokens that the model does not", "records with such tokens are refused",
                              ALWAYS(QL_AUDIT_NOTE)},
    [QL_AUDIT_NO_EOS] = {"no-eos", "the tokenizer has no eos_token, so nothing teaches the model to stop",
                         "name one in tokenizer_config.json", ALWAYS(QL_AUDIT_WARNING)},
};

const ql_audit_rule *ql_audit_rule_of(ql_audit_check c) { return &rule[c]; }

enum { FEW_LOST = 2 }; /* are no error, however small the set */

ql_severity ql_audit_severity(const ql_audit *a, ql_audit_check c, const ql_config *config) {
    const double share[] = {
        [QL_LIMIT_HUNDREDTH] = 0.01, [QL_LIMIT_UNTARGETED] = config->audit_max_untargeted, [QL_LIMIT_LOST] = config->audit_max_lost};
    int64_t count = a->of[c].count;
    if (count == 0 || (c == QL_AUDIT_DUPLICATE && config->deduplicate)) return QL_AUDIT_NOTHING;
    if (c == QL_AUDIT_LOST && count <= FEW_LOST) return rule[c].rare;
    return (double)count > share[rule[c].limit] * (double)a->records ? rule[c].common : rule[c].rare;
}

/* ---- of a record ---- */

enum { EXAMPLE_BYTES = 60 };

/* Not within a character. */
static size_t shorter(const char *text, size_t n) {
    if (n <= EXAMPLE_BYTES) return n;
    for (n = EXAMPLE_BYTES; n > 0 && ((unsigned char)text[n] & 0xC0) == 0x80;) n--;
    return n;
}

void ql_findings_add(ql_findings *f, ql_audit_check c, const char *example, size_t n) {
    if (f->bits >> c & 1) return;
    f->bits |= 1u << c;
    if (!example) return;
    f->example[c] = ql_strndup(example, shorter(example, n));
    ql_hide_controls(f->example[c], true);
}

void ql_findings_free(ql_findings *f) {
    for (size_t i = 0; i < QL_LEN(f->example); i++) free(f->example[i]);
    *f = (ql_findings){0};
}

/* ---- of a set ---- */

static void free_finding(ql_finding *f) {
    for (size_t i = 0; i < QL_LEN(f->place); i++) free(f->place[i]);
    free(f->example);
}

void ql_audit_free(ql_audit *a) {
    for (size_t i = 0; i < QL_LEN(a->of); i++) free_finding(&a->of[i]);
    free(a->of_length);
    *a = (ql_audit){0};
}

static void count_length(ql_audit *a, size_t tokens, int64_t records) {
    if (tokens > QL_AUDIT_LONGEST) tokens = QL_AUDIT_LONGEST;
    if (tokens >= a->lengths) {
        size_t now = tokens + 1 > 2 * a->lengths ? tokens + 1 : 2 * a->lengths;
        a->of_length = ql_realloc(a->of_length, now * sizeof *a->of_length);
        memset(a->of_length + a->lengths, 0, (now - a->lengths) * sizeof *a->of_length);
        a->lengths = now;
    }
    a->of_length[tokens] += records;
}

void ql_audit_place(ql_audit *a, ql_audit_check c, const char *path, size_t line) {
    ql_finding *f = &a->of[c];
    if (f->count < QL_AUDIT_PLACES) f->place[f->count] = ql_format("%s:%zu", path, line);
    f->count++;
}

void ql_audit_place_text(ql_audit *a, ql_audit_check c, const char *place) {
    ql_finding *f = &a->of[c];
    for (size_t i = 0; place && i < QL_LEN(f->place); i++) {
        if (f->place[i]) continue;
        f->place[i] = ql_strdup(place);
        break;
    }
    f->count++;
}

void ql_audit_record(ql_audit *a, const ql_findings *f, size_t tokens, const char *path, size_t line) {
    a->records++;
    count_length(a, tokens, 1);
    for (int c = 0; c < QL_AUDIT_RECORD_CHECKS; c++) {
        if (!(f->bits >> c & 1)) continue;
        if (a->of[c].count == 0 && f->example[c]) a->of[c].example = ql_strdup(f->example[c]);
        ql_audit_place(a, (ql_audit_check)c, path, line);
    }
}

void ql_audit_fact(ql_audit *a, ql_audit_check c, const char *where, const char *example) {
    ql_finding *f = &a->of[c];
    if (f->count++ > 0) return;
    f->place[0] = where ? ql_strdup(where) : NULL;
    f->example = example ? ql_strdup(example) : NULL;
}

static void add_finding(ql_finding *f, const ql_finding *later) {
    for (int64_t i = f->count, k = 0; i < QL_AUDIT_PLACES && k < QL_AUDIT_PLACES && later->place[k]; i++, k++)
        f->place[i] = ql_strdup(later->place[k]);
    if (f->count == 0 && later->example) f->example = ql_strdup(later->example);
    f->count += later->count;
}

void ql_audit_add(ql_audit *a, const ql_audit *later) {
    a->records += later->records;
    for (size_t i = 0; i < QL_AUDIT_CHECKS; i++) add_finding(&a->of[i], &later->of[i]);
    for (size_t i = later->lengths; i-- > 0;)
        if (later->of_length[i] > 0) count_length(a, i, later->of_length[i]);
}

int64_t ql_audit_length(const ql_audit *a, double share) {
    int64_t wanted = (int64_t)ceil(share * (double)a->records), sum = 0;
    for (size_t i = 0; i < a->lengths; i++) {
        sum += a->of_length[i];
        if (sum >= wanted) return (int64_t)i;
    }
    return 0;
}
