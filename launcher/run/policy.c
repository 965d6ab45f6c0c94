#include "launcher/run/policy.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* Times and addresses differ between two failures that are the same. */
static char *without_numbers(const char *text) {
    char *out = ql_strdup(text), *to = out;
    for (const char *p = text; *p; p++)
        if (!isdigit((unsigned char)*p) && *p != '.') *to++ = *p;
    *to = 0;
    return out;
}

/* Usage, input and security. */
static bool is_refusal(const ql_ending *e) {
    return e->status == QL_USAGE || e->status == QL_DATA || e->status == QL_DENIED;
}

/* What ends a run before its first step may be anything, and be gone a second later. */
static bool is_repeated(const ql_policy *p, const ql_ending *e, const char *words) {
    return p->has_failed && e->step > 0 && p->step == e->step && p->status == e->status && !strcmp(p->words, words);
}

static void remember(ql_policy *p, const ql_ending *e, char *words) {
    free(p->words);
    p->words = words;
    p->has_failed = true;
    p->status = e->status;
    p->step = e->step;
}

static void note_progress(ql_policy *p, int64_t checkpoint) {
    if (checkpoint + 1 <= p->checkpoint) return;
    p->checkpoint = checkpoint + 1;
    p->restarts = 0;
}

ql_decision ql_policy_decide(ql_policy *p, const ql_ending *e, double *pause) {
    static const double pauses[] = {1, 5, 25};
    if (e->is_done) return QL_ENDS_DONE;
    if (e->status == QL_STOPPED || e->was_asked) return QL_ENDS_STOPPED;
    if (is_refusal(e)) return QL_ENDS_REFUSED;
    note_progress(p, e->checkpoint);
    char *words = without_numbers(e->words);
    bool  repeated = is_repeated(p, e, words);
    remember(p, e, words);
    if (repeated) return QL_ENDS_REPEATED;
    if (p->restarts >= p->max_restarts) return QL_ENDS_STUCK;
    *pause = pauses[p->restarts < (int)QL_LEN(pauses) ? p->restarts : (int)QL_LEN(pauses) - 1];
    p->restarts++;
    return QL_STARTS_AGAIN;
}

void ql_policy_free(ql_policy *p) {
    free(p->words);
    p->words = NULL;
}
