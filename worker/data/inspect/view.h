/* What the writers of `qlora inspect` share: the rows to show, and numbers about all of them. */
#pragma once
#include "worker/data/inspect/inspect.h"

typedef struct {
    const ql_inspection *i;
    int64_t             *order; /* [rows] */
    int64_t              to;    /* the end of the rows that are shown        */
    int64_t              left;  /* tokens that may still be shown; INT64_MAX */
    int64_t             *record; /* [places] of the documents that are shown, ascending */
    char               **place;  /* [places] "FILE:LINE" or NULL */
    size_t               places;
} ql_view;

/* QL_USAGE when there is no such row. */
QL_RESULT ql_view_open(const ql_inspection *i, ql_view *out);
/* Looks for the places of the records that are shown, unless that would take long. */
void ql_view_find_places(ql_view *v);
void ql_view_close(ql_view *v);

/* Documents of row `number`, in training order: [first, end) for ql_view_document. */
typedef struct {
    int64_t first, end, tokens, targets;
} ql_row_view;
ql_row_view        ql_view_row(const ql_view *v, int64_t number);
const ql_document *ql_view_document(const ql_view *v, int64_t k);
/* Which answer of a preference pair it is: ", chosen" or ", rejected"; else nothing. */
const char *ql_view_side(const ql_view *v, int64_t k);
/* "FILE:LINE", or NULL: not known. */
const char *ql_view_place(const ql_view *v, int64_t record);

/* ---- numbers ---- */

/* Some stretches of lengths, with a name and a count each. */
enum { QL_BARS = 20 };
typedef struct {
    struct {
        char    name[72];
        int64_t count;
        bool    beyond; /* of records that no row has room for */
    } bar[QL_BARS];
    int64_t bars, most;
    int64_t step; /* bar k is of lengths from k * step + 1; 0: by name only */
} ql_histogram;
/* How long the records are in tokens, before any is dropped or cut. */
void ql_lengths(const ql_inspection *i, ql_histogram *out);
/* How full the rows are, in %. */
void ql_fills(const ql_inspection *i, ql_histogram *out);

int64_t ql_used_records(const ql_corpus *c);
double  ql_percent(int64_t part, int64_t whole); /* 0 of 0: 0 */
/* "1,234,567". */
typedef struct {
    char text[32];
} ql_number;
ql_number ql_grouped(int64_t n);
#define QL_GROUPED(n) (ql_grouped(n).text)

/* ---- settings, as lines of a name and a text ---- */

typedef void (*ql_fact_writer)(void *context, const char *name, const char *text);
void ql_facts(const ql_inspection *i, ql_fact_writer write, void *context);

/* What the audit found, as ql_audit_report has it; NULL: nothing was audited. Caller frees. */
QL_RESULT ql_audit_findings(const ql_inspection *i, ql_json **out);
