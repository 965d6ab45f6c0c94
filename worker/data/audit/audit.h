/* The audit gate: what in data, template, tokenizer and model would teach something that nobody meant.
 *
 * A check is one row of the table in audit.c. What is wrong with a record is found where its tokens are made, by threads
 * (audit_record.h), and counted in input order when records are appended; other checks are of a whole set, or of the job.
 * How bad a finding is depends on how many records have it, and is judged when it is shown: counts are kept in caches, limits
 * are the configuration's. All local; every rank comes to the same. */
#pragma once
#include "base/config/config.h"
#include "base/json.h"

typedef enum {
    /* of a record's tokens or text */
    QL_AUDIT_END_UNTRAINED,
    QL_AUDIT_END_MISSING,
    QL_AUDIT_END_NOT_STOP,
    QL_AUDIT_TWO_BOS,
    QL_AUDIT_SYSTEM_LOST,
    QL_AUDIT_TEXT_LOST,
    QL_AUDIT_CALLS_LOST,
    QL_AUDIT_TOOLS_LOST,
    QL_AUDIT_THINKING_LOST,
    QL_AUDIT_KEY_LOST,
    QL_AUDIT_FIELD_LOST,
    QL_AUDIT_CLOCK,
    QL_AUDIT_STRAY,
    QL_AUDIT_SPECIAL_IN_TEXT,
    QL_AUDIT_PROMPT_CHANGED,
    QL_AUDIT_EMPTY_COMPLETION,
    QL_AUDIT_EMPTY_PROMPT,
    QL_AUDIT_RECORD_CHECKS,
    /* of what became of a record */
    QL_AUDIT_NO_TARGETS = QL_AUDIT_RECORD_CHECKS,
    QL_AUDIT_LOST,
    QL_AUDIT_IN_TRAIN,
    QL_AUDIT_DUPLICATE,
    QL_AUDIT_POSITIONS,
    QL_AUDIT_JOB_CHECKS,
    /* of the job */
    QL_AUDIT_NO_EOS = QL_AUDIT_JOB_CHECKS,
    QL_AUDIT_EOS_DIFFERS,
    QL_AUDIT_BOS_DIFFERS,
    QL_AUDIT_VOCAB_SMALL,
    QL_AUDIT_VOCAB_LARGE,
    QL_AUDIT_CHECKS
} ql_audit_check;

typedef enum { QL_AUDIT_NOTE, QL_AUDIT_WARNING, QL_AUDIT_ERROR, QL_AUDIT_NOTHING = -1 } ql_severity;

/* What is wrong with one record. Zero-initialise. */
typedef struct {
    uint32_t bits;                            /* 1 << ql_audit_check */
    char    *example[QL_AUDIT_RECORD_CHECKS]; /* a few words of the record, such as "<|im_end|>"; NULL: none; owned */
} ql_findings;
/* Notes a finding. `example` may be NULL; else n bytes of it are copied, shortened and without line breaks. */
void ql_findings_add(ql_findings *f, ql_audit_check c, const char *example, size_t n);
void ql_findings_free(ql_findings *f);

enum { QL_AUDIT_PLACES = 3, QL_AUDIT_LONGEST = 1 << 20 };
typedef struct {
    int64_t count;                  /* records; of the job: 1 */
    char   *place[QL_AUDIT_PLACES]; /* of the first ones, "FILE:LINE"; owned; NULL: there are fewer */
    char   *example;                /* of the first one; may be NULL; owned */
} ql_finding;

/* Zero-initialise. */
typedef struct {
    int64_t    records; /* looked at */
    ql_finding of[QL_AUDIT_CHECKS];
    int64_t   *of_length; /* [lengths], room included: how many records have that many tokens, before any is dropped or truncated; what is longer
                           * than QL_AUDIT_LONGEST counts as that */
    size_t     lengths;
} ql_audit;
void ql_audit_free(ql_audit *a);
/* One more record, with what was found in it. */
void ql_audit_record(ql_audit *a, const ql_findings *f, size_t tokens, const char *path, size_t line);
/* One more record of check `c`, which was counted by ql_audit_record. */
void ql_audit_place(ql_audit *a, ql_audit_check c, const char *path, size_t line);
/* The same where the place is known already; it is copied, and may be NULL. */
void ql_audit_place_text(ql_audit *a, ql_audit_check c, const char *place);
/* A finding that no record has: `where` is a file, `example` what is in it; either may be NULL. */
void ql_audit_fact(ql_audit *a, ql_audit_check c, const char *where, const char *example);
/* Adds what was found later in the input. */
void ql_audit_add(ql_audit *a, const ql_audit *later);
/* The smallest number of tokens that `share` of the records do not exceed; 0: there are none. */
int64_t ql_audit_length(const ql_audit *a, double share);

/* One value, {"records": ..., "findings": ..., "lengths": ...}. */
void ql_audit_put_json(const ql_audit *a, ql_str *out);
/* `out` is overwritten. QL_DATA: it is not what ql_audit_put_json writes. */
QL_RESULT ql_audit_read_json(const ql_json *json, ql_audit *out);

/* ---- what is made of it ---- */

typedef struct {
    const char *name; /* in files, such as "no-targets" */
    const char *what; /* follows a number of records: "have no token to train on" */
    const char *cure;
    ql_severity rare, common; /* up to, and above, the share that `limit` says */
    enum { QL_LIMIT_HUNDREDTH, QL_LIMIT_UNTARGETED, QL_LIMIT_LOST } limit;
} ql_audit_rule;
const ql_audit_rule *ql_audit_rule_of(ql_audit_check c);
/* QL_AUDIT_NOTHING: nothing was found. */
ql_severity ql_audit_severity(const ql_audit *a, ql_audit_check c, const ql_config *config);

/* What was looked at; `name` stands before its findings: "" (training data), "eval". */
typedef struct {
    const char     *name;
    const ql_audit *audit;
    bool            texts; /* plain ones, which may be cut anywhere */
} ql_audited;
/* The table that people see: lines, each ended by a line feed. */
void ql_audit_table(const ql_audited *set, size_t n, const ql_config *c, ql_str *out);
/* The same as one JSON object. */
void ql_audit_report(const ql_audited *set, size_t n, const ql_config *c, ql_str *out);
/* QL_DATA, with the worst finding, where one is an error and the configuration does not say audit: warn. */
QL_RESULT ql_audit_verdict(const ql_audited *set, size_t n, const ql_config *c);
