/* Rows out of documents.
 *
 * Best fit decreasing: documents by falling length (ties in input order), each into the open row
 * with the least room that still holds it (the oldest among equals), else into a new row. Of many documents there are usually two
 * that fill a row exactly, which pair.h looks for. Whichever makes fewer rows is taken, best fit if both make as many. */
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "worker/data/dataset.h"
#include "worker/data/pack/cut.h"
#include "worker/data/pack/pair.h"
#include "worker/data/pack/room.h"

/* documents by falling length, stable: a counting sort */
static void sort_by_length(const ql_corpus *c, int64_t longest, int64_t *sorted) {
    int64_t *begin = QL_NEW_ARRAY(int64_t, (size_t)longest + 2);
    for (size_t i = 0; i < c->documents; i++) begin[longest - c->document[i].length + 1]++;
    for (int64_t l = 0; l < longest; l++) begin[l + 1] += begin[l];
    for (size_t i = 0; i < c->documents; i++) sorted[begin[longest - c->document[i].length]++] = (int64_t)i;
    free(begin);
}

static int64_t longest_document(const ql_corpus *c) {
    int64_t longest = 0;
    for (size_t i = 0; i < c->documents; i++) longest = ql_max(longest, c->document[i].length);
    return longest;
}

/* row_of[k]: the row of document sorted[k]. Returns the number of rows. */
static int64_t assign_rows(const ql_corpus *c, const int64_t *sorted, int64_t max_length, int64_t *row_of) {
    int64_t rows = 0;
    /* No row can hold more than everything: keeps absurd lengths from costing memory. */
    int64_t capacity = ql_min(max_length, (int64_t)c->count);
    ql_rooms *open = ql_rooms_open(capacity, (int64_t)c->documents);
    for (size_t k = 0; k < c->documents; k++) {
        int64_t length = ql_min(c->document[sorted[k]].length, capacity), room;
        int64_t row = ql_rooms_take(open, length, &room);
        if (row < 0) row = rows++, room = capacity;
        ql_rooms_put(open, row, room - length);
        row_of[k] = row;
    }
    ql_rooms_close(open);
    return rows;
}

static void fill_rows(const int64_t *sorted, const int64_t *row_of, size_t documents, ql_row_set *out) {
    out->start = QL_NEW_ARRAY(int64_t, (size_t)out->rows + 2);
    for (size_t k = 0; k < documents; k++) out->start[row_of[k] + 2]++;
    for (int64_t r = 0; r < out->rows; r++) out->start[r + 2] += out->start[r + 1];
    /* start[r + 1] is the next free place of row r, and ends as the start of row r + 1 */
    for (size_t k = 0; k < documents; k++) out->document[out->start[row_of[k] + 1]++] = sorted[k];
}

/* Best fit, whose rows are those of TRL (which packs a thousand records at a time), unless fewer rows will do by pairs. */
static int64_t fewest_rows(const ql_corpus *c, const int64_t *sorted, int64_t max_length, int64_t *row_of) {
    int64_t *by_pairs = QL_NEW_ARRAY(int64_t, c->documents);
    int64_t  rows = assign_rows(c, sorted, max_length, row_of), fewer = ql_fill_by_pairs(c, sorted, max_length, by_pairs);
    if (fewer < rows) {
        memcpy(row_of, by_pairs, c->documents * sizeof *row_of);
        rows = fewer;
    }
    free(by_pairs);
    return rows;
}

static void pack_documents(const ql_corpus *c, ql_row_set *out) {
    int64_t *sorted = QL_NEW_ARRAY(int64_t, c->documents);
    int64_t *row_of = QL_NEW_ARRAY(int64_t, c->documents);
    sort_by_length(c, longest_document(c), sorted);
    out->rows = fewest_rows(c, sorted, out->max_length, row_of);
    fill_rows(sorted, row_of, c->documents, out);
    free(sorted);
    free(row_of);
}

static void one_a_row(const ql_corpus *c, ql_row_set *out) {
    out->rows = (int64_t)c->documents;
    out->start = QL_NEW_ARRAY(int64_t, c->documents + 1);
    for (int64_t i = 0; i < out->rows; i++) out->start[i + 1] = i + 1, out->document[i] = i;
}

/* Each into the row of the one before, if it holds it. */
static void one_after_the_other(const ql_corpus *c, ql_row_set *out) {
    int64_t room = 0;
    out->start = QL_NEW_ARRAY(int64_t, c->documents + 1);
    for (size_t i = 0; i < c->documents; i++) {
        int64_t length = c->document[i].length;
        if (length > room) out->rows++, room = out->max_length;
        room -= length;
        out->document[i] = (int64_t)i;
        out->start[out->rows] = (int64_t)i + 1;
    }
}

static void count_all(const ql_corpus *c, ql_row_set *out) {
    for (int64_t k = 0; k < out->start[out->rows]; k++) out->targets += c->document[out->document[k]].targets;
    for (int64_t r = 0; r < out->rows; r++) {
        int64_t tokens = ql_row_tokens(c, out, r);
        out->tokens += tokens;
        out->longest = ql_max(out->longest, tokens);
    }
}

void ql_pack(const ql_corpus *c, int64_t max_length, bool packing, ql_row_set *out) {
    *out = (ql_row_set){.max_length = max_length, .document = QL_NEW_ARRAY(int64_t, c->documents)};
    if (packing)
        pack_documents(c, out);
    else
        one_a_row(c, out);
    count_all(c, out);
}

static void wrap(ql_corpus *c, int64_t max_length, ql_row_set *out) {
    ql_corpus_wrap(c, max_length);
    *out = (ql_row_set){.max_length = max_length, .document = QL_NEW_ARRAY(int64_t, c->documents)};
    one_after_the_other(c, out);
    count_all(c, out);
}

static int64_t row_targets(const ql_corpus *c, const ql_row_set *r, int64_t row) {
    int64_t targets = 0;
    for (int64_t k = r->start[row]; k < r->start[row + 1]; k++) targets += c->document[r->document[k]].targets;
    return targets;
}

/* A row of nothing but pieces of prompts teaches nothing, and a step of such rows would have no mean. */
static void leave_out_untargeted(const ql_corpus *c, ql_row_set *r) {
    int64_t rows = 0, documents = 0;
    for (int64_t row = 0; row < r->rows; row++) {
        int64_t from = r->start[row], to = r->start[row + 1];
        if (row_targets(c, r, row) == 0) {
            r->tokens -= ql_row_tokens(c, r, row);
            continue;
        }
        r->start[rows++] = documents;
        while (from < to) r->document[documents++] = r->document[from++];
    }
    r->rows = rows;
    r->start[rows] = documents;
}

static bool has_strategy(const ql_config *c, const char *name) {
    return c->packing && c->packing_strategy && !strcmp(c->packing_strategy, name);
}

bool ql_packing_cuts(const ql_config *c) {
    return has_strategy(c, "bfd_split") || has_strategy(c, "wrapped");
}

void ql_corpus_pack(ql_corpus *c, const ql_config *config, bool training, ql_row_set *out) {
    bool cuts = ql_packing_cuts(config), wraps = training && has_strategy(config, "wrapped");
    if (cuts && !wraps) ql_corpus_split_long(c, config->max_length);
    if (wraps)
        wrap(c, config->max_length, out);
    else
        ql_pack(c, config->max_length, config->packing, out);
    if (cuts && training) leave_out_untargeted(c, out);
}

void ql_row_set_free(ql_row_set *r) {
    free(r->start);
    free(r->document);
    free(r->length);
    *r = (ql_row_set){0};
}

int64_t ql_row_tokens(const ql_corpus *c, const ql_row_set *r, int64_t row) {
    int64_t tokens = 0;
    for (int64_t k = r->start[row]; k < r->start[row + 1]; k++) tokens += c->document[r->document[k]].length;
    return tokens;
}

size_t ql_row_set_bytes(const ql_corpus *c, const ql_row_set *r) {
    size_t lengths = r->length ? (size_t)r->rows * sizeof *r->length : 0;
    return ((size_t)(2 * r->rows + 1) + c->documents) * sizeof(int64_t) + lengths;
}

void ql_row_set_group(const ql_corpus *c, int64_t rows_per_step, ql_row_set *r) {
    r->stretch = ql_stretch_of(r->rows, rows_per_step);
    r->length = QL_NEW_ARRAY(int32_t, (size_t)r->rows);
    for (int64_t row = 0; row < r->rows; row++) r->length[row] = (int32_t)ql_row_tokens(c, r, row);
}

void ql_row_order(const ql_row_set *r, int64_t seed, uint32_t epoch, int64_t *order) {
    ql_permutation((uint64_t)seed, epoch, r->rows, order);
    if (r->length) ql_group_by_length(order, r->rows, r->length, r->stretch);
}
