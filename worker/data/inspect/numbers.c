/* Numbers about all rows and records. */
#include <stdio.h>
#include <string.h>

#include "worker/data/inspect/view.h"

int64_t ql_used_records(const ql_corpus *c) {
    int64_t used = 0;
    for (size_t i = 0; i < c->documents; i++) used += c->document[i].before == 0;
    return c->pairs ? used / 2 : used;
}

double ql_percent(int64_t part, int64_t whole) {
    return whole ? 100.0 * (double)part / (double)whole : 0.0;
}

ql_number ql_grouped(int64_t n) {
    char      digits[24];
    ql_number out = {{0}};
    int       length = snprintf(digits, sizeof digits, "%lld", (long long)n);
    size_t    at = 0;
    for (int i = 0; i < length; i++) {
        if (i > 0 && digits[i - 1] != '-' && (length - i) % 3 == 0) out.text[at++] = ',';
        out.text[at++] = digits[i];
    }
    return out;
}

static void count_bar(ql_histogram *h, int64_t bar, int64_t count) {
    h->bar[bar].count += count;
    h->most = ql_max(h->most, h->bar[bar].count);
}

/* ---- lengths ---- */

/* The smallest of 1, 2, 5, 10, 20, 50 ... with which `bars` steps reach `longest`. */
static int64_t round_step(int64_t longest, int64_t bars) {
    static const int factor[] = {1, 2, 5};
    for (int64_t ten = 1;; ten *= 10)
        for (size_t k = 0; k < QL_LEN(factor); k++)
            if (ten * factor[k] * bars >= longest) return ten * factor[k];
}

/* What was read, if the audit counted it, else what is left. */
static int64_t longest_of(const ql_corpus *c) {
    int64_t longest = 1;
    for (size_t n = 0; n < c->audit.lengths; n++)
        if (c->audit.of_length[n] > 0) longest = ql_max(longest, (int64_t)n);
    for (size_t i = 0; i < c->documents && c->audit.lengths == 0; i++) longest = ql_max(longest, c->document[i].length);
    return longest;
}

static void name_length_bars(ql_histogram *h, int64_t step, int64_t longest, int64_t max_length) {
    for (int64_t k = 0; k < h->bars; k++) {
        int64_t first = k * step + 1;
        h->bar[k].beyond = first > max_length;
        if (k + 1 == h->bars && longest > h->bars * step)
            snprintf(h->bar[k].name, sizeof h->bar[k].name, "from %s", QL_GROUPED(first));
        else if (step == 1)
            snprintf(h->bar[k].name, sizeof h->bar[k].name, "%s", QL_GROUPED(first));
        else
            snprintf(h->bar[k].name, sizeof h->bar[k].name, "%s-%s", QL_GROUPED(first), QL_GROUPED(first + step - 1));
    }
}

void ql_lengths(const ql_inspection *i, ql_histogram *out) {
    enum { BARS = 16 };
    const ql_corpus *c = i->corpus;
    int64_t          longest = longest_of(c), room = i->rows->max_length;
    int64_t          top = longest / 2 < room ? longest : 2 * room; /* a few giants do not make the others invisible */
    int64_t          step = round_step(top, BARS);
    *out = (ql_histogram){.bars = ql_ceil_div(top, step), .step = step};
    name_length_bars(out, step, longest, room);
    for (size_t n = 0; n < c->audit.lengths; n++)
        count_bar(out, ql_min(ql_max((int64_t)n - 1, 0) / step, out->bars - 1), c->audit.of_length[n]);
    for (size_t k = 0; k < c->documents && c->audit.lengths == 0; k++)
        count_bar(out, ql_min((c->document[k].length - 1) / step, out->bars - 1), 1);
}

/* ---- rows ---- */

void ql_fills(const ql_inspection *i, ql_histogram *out) {
    static const int         from[] = {0, 50, 75, 90, 95, 98, 99, 100};
    static const char *const name[] = {"0-50", "50-75", "75-90", "90-95", "95-98", "98-99", "99-100", "full"};
    *out = (ql_histogram){.bars = QL_LEN(from)};
    for (size_t k = 0; k < QL_LEN(from); k++) snprintf(out->bar[k].name, sizeof out->bar[k].name, "%s", name[k]);
    for (int64_t r = 0; r < i->rows->rows; r++) {
        double percent = ql_percent(ql_row_tokens(i->corpus, i->rows, r), i->rows->max_length);
        size_t k = QL_LEN(from) - 1;
        while (k > 0 && percent < from[k]) k--;
        count_bar(out, (int64_t)k, 1);
    }
}
