#include "worker/data/inspect/view.h"

#include <stdlib.h>
#include <string.h>

#include "worker/data/read/place.h"

/* The end of the rows of which something is shown. */
static int64_t end_of_rows(const ql_inspection *i, const int64_t *order) {
    int64_t end = i->to < 0 ? i->rows->rows : ql_min(i->to, i->rows->rows), tokens = 0;
    if (i->most_tokens == 0) return end;
    for (int64_t row = i->from; row < end; row++) {
        if (tokens >= i->most_tokens) return row;
        tokens += ql_row_tokens(i->corpus, i->rows, order[row]);
    }
    return end;
}

ql_err ql_view_open(const ql_inspection *i, ql_view *out) {
    int64_t rows = i->rows->rows;
    *out = (ql_view){.i = i, .left = i->most_tokens > 0 ? i->most_tokens : INT64_MAX};
    QL_CHECK(i->from >= 0 && i->from < rows && (i->to < 0 || i->from <= i->to), QL_USAGE,
             "rows %lld:%lld do not exist; there are rows 0:%lld", (long long)i->from, (long long)i->to, (long long)rows);
    out->order = QL_NEW_ARRAY(int64_t, (size_t)rows);
    ql_row_order(i->rows, i->config->seed, 0, out->order);
    out->to = end_of_rows(i, out->order);
    return ql_ok();
}

void ql_view_close(ql_view *v) {
    for (size_t k = 0; k < v->places; k++) free(v->place[k]);
    free(v->place);
    free(v->record);
    free(v->order);
    *v = (ql_view){0};
}

ql_row_view ql_view_row(const ql_view *v, int64_t number) {
    const ql_row_set *r = v->i->rows;
    int64_t           row = v->order[number];
    ql_row_view       out = {.first = r->start[row], .end = r->start[row + 1]};
    for (int64_t k = out.first; k < out.end; k++) {
        out.tokens += ql_view_document(v, k)->length;
        out.targets += ql_view_document(v, k)->targets;
    }
    return out;
}

const ql_document *ql_view_document(const ql_view *v, int64_t k) {
    return &v->i->corpus->document[v->i->rows->document[k]];
}

const char *ql_view_side(const ql_view *v, int64_t k) {
    if (!v->i->corpus->pairs) return "";
    return v->i->rows->document[k] % 2 == 0 ? ", chosen" : ", rejected";
}

/* ---- places ---- */

static int ascending(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void collect_records(ql_view *v) {
    size_t n = 0, capacity = 0;
    for (int64_t row = v->i->from; row < v->to; row++) {
        ql_row_view r = ql_view_row(v, row);
        for (int64_t k = r.first; k < r.end; k++) QL_PUSH(v->record, n, capacity, ql_view_document(v, k)->record);
    }
    if (n > 0) qsort(v->record, n, sizeof *v->record, ascending);
    for (size_t k = 0; k < n; k++)
        if (k == 0 || v->record[k] != v->record[k - 1]) v->record[v->places++] = v->record[k];
}

void ql_view_find_places(ql_view *v) {
    enum { MOST_TOKENS = 100 << 20 }; /* a few hundred megabytes of text, which are read in a second */
    if (v->i->corpus->count > MOST_TOKENS) return;
    collect_records(v);
    v->place = QL_NEW_ARRAY(char *, v->places);
    ql_record_places(&v->i->config->dataset, v->i->config, v->record, v->places, v->place);
}

const char *ql_view_place(const ql_view *v, int64_t record) {
    const int64_t *found = v->places ? bsearch(&record, v->record, v->places, sizeof record, ascending) : NULL;
    return found ? v->place[found - v->record] : NULL;
}
