#include "worker/suspects.h"

#include <stdlib.h>

#include "worker/data/read/place.h"

/* ---- the list ---- */

static bool goes_before(ql_suspect a, ql_suspect b) {
    return a.weight != b.weight ? a.weight > b.weight : a.record < b.record;
}

static int64_t n_named(const ql_suspects *s) {
    return ql_min(s->count, QL_SUSPECTS_NAMED);
}

void ql_suspects_add(ql_suspects *s, int64_t record, int64_t weight) {
    ql_suspect one = {record, weight};
    int64_t    at = n_named(s);
    s->count++;
    while (at > 0 && goes_before(one, s->named[at - 1])) {
        if (at < QL_SUSPECTS_NAMED) s->named[at] = s->named[at - 1];
        at--;
    }
    if (at < QL_SUSPECTS_NAMED) s->named[at] = one;
}

static void add_all(ql_suspects *s, const ql_suspects *more) {
    for (int64_t i = 0; i < n_named(more); i++) ql_suspects_add(s, more->named[i].record, more->named[i].weight);
    s->count += more->count - n_named(more);
}

ql_err ql_suspects_gather(ql_world *w, ql_suspects *s) {
    int          ranks = ql_world_place(w).size;
    ql_suspects *all = QL_NEW_ARRAY(ql_suspects, (size_t)ranks);
    ql_err       e = ql_gather_bytes(w, s, sizeof *s, all);
    *s = (ql_suspects){0};
    for (int r = 0; r < ranks; r++) add_all(s, &all[r]);
    free(all);
    return ql_bad(e) ? e : ql_broadcast(w, s, sizeof *s, 0);
}

static int by_record(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* In the order of their names; the files are gone through once. */
static void find_places(const ql_suspects *s, const ql_datasets *sets, const ql_config *c, char *place[QL_SUSPECTS_NAMED]) {
    int64_t sorted[QL_SUSPECTS_NAMED], n = n_named(s);
    char   *found[QL_SUSPECTS_NAMED];
    for (int64_t i = 0; i < n; i++) sorted[i] = s->named[i].record;
    qsort(sorted, (size_t)n, sizeof *sorted, by_record);
    ql_record_places(sets, c, sorted, (size_t)n, found);
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; k < n; k++)
            if (sorted[k] == s->named[i].record) place[i] = found[k];
}

void ql_suspects_text(const ql_suspects *s, const ql_datasets *sets, const ql_config *c, ql_str *out) {
    int64_t n = n_named(s);
    char   *place[QL_SUSPECTS_NAMED];
    find_places(s, sets, c, place);
    for (int64_t i = 0; i < n; i++) {
        const char *before = i > 0 ? i + 1 == s->count ? " and " : ", " : n > 1 ? "records " : "record ";
        ql_str_printf(out, "%s%lld", before, (long long)s->named[i].record);
        if (place[i]) ql_str_printf(out, " (%s)", place[i]);
        free(place[i]);
    }
    if (s->count > n) ql_str_printf(out, " and %lld more", (long long)(s->count - n));
}

/* ---- who it is ---- */

/* The targets of one document after a run of j->host: from `at` on, up to the end that is returned. */
static int64_t weigh_document(const ql_job *j, int64_t at, bool *finite, int64_t *mean) {
    int64_t     document = j->host.target_document[at], end = at;
    ql_loss_sum sum = {0};
    while (end < j->host.targets && j->host.target_document[end] == document) end++;
    *finite = ql_loss_add_targets(&sum, j->objective, j->batch.logp + at, end - at);
    *mean = ql_loss_mean_fixed(sum, end - at);
    return end;
}

void ql_suspect_losses(const ql_job *j, const ql_corpus *c, ql_suspects *s) {
    bool    finite;
    int64_t mean;
    for (int64_t at = 0, end; at < j->host.targets; at = end) {
        end = weigh_document(j, at, &finite, &mean);
        if (!finite) ql_suspects_add(s, c->document[j->host.target_document[at]].record, 0);
    }
}

static void suspect_large_losses(const ql_job *j, ql_suspects *s) {
    bool    finite;
    int64_t mean;
    for (int64_t at = 0, end; at < j->host.targets; at = end) {
        end = weigh_document(j, at, &finite, &mean);
        ql_suspects_add(s, j->train.document[j->host.target_document[at]].record, mean);
    }
}

/* Documents as one row of the step; `flaws` are those of their gradient. */
static ql_err run_documents(ql_job *j, int64_t step, const int64_t *documents, int64_t n, int64_t index, int32_t *flaws) {
    QL_TRY(ql_zero(j->device, j->adapter.flaws));
    ql_host_batch_clear(&j->host);
    ql_host_batch_add(&j->host, &j->train, documents, n, index);
    QL_TRY(ql_job_run_host_batch(j, true, (uint32_t)step));
    return ql_job_gradient_flaws(j, flaws);
}

/* A row's gradient is one sum over its documents. The one that has the flaw alone is named, or all of them. */
static ql_err suspect_gradients(ql_job *j, int64_t step, const int64_t *documents, int64_t n, int64_t index,
                                ql_suspects *s) {
    int64_t before = s->count;
    int32_t flaws = n == 1;
    for (int64_t i = 0; i < n; i++) {
        if (n > 1) QL_TRY(run_documents(j, step, documents + i, 1, index, &flaws));
        if (flaws) ql_suspects_add(s, j->train.document[documents[i]].record, 0);
    }
    for (int64_t i = 0; i < n && s->count == before; i++) ql_suspects_add(s, j->train.document[documents[i]].record, 0);
    return ql_ok();
}

static ql_err look_at_row(ql_job *j, int64_t step, int64_t row, int64_t index, ql_trouble trouble, ql_suspects *s) {
    const int64_t *documents = j->train_rows.document + j->train_rows.start[row];
    int64_t        n = j->train_rows.start[row + 1] - j->train_rows.start[row];
    int32_t        flaws;
    QL_TRY(run_documents(j, step, documents, n, index, &flaws));
    if (trouble == QL_LOSS_SPIKE) suspect_large_losses(j, s);
    else if (flaws) return suspect_gradients(j, step, documents, n, index, s);
    return ql_ok();
}

ql_err ql_suspects_of_step(ql_job *j, int64_t step, const int64_t *rows, int64_t n, ql_trouble trouble, ql_suspects *out) {
    *out = (ql_suspects){0};
    ql_err e = ql_ok();
    ql_deal_begin(&j->deal);
    for (int64_t i = 0; i < n && !ql_bad(e); i++)
        if (ql_deal_next(&j->deal) == j->place.rank) e = look_at_row(j, step, rows[i], i, trouble, out);
    QL_TRY(ql_agree(j->world, e, "looking for the records to blame"));
    return ql_suspects_gather(j->world, out);
}
