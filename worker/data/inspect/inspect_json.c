/* For programs: a row a line. */
#include "worker/data/inspect/view.h"

typedef struct {
    const ql_view *view;
    ql_row_view    row;
    ql_str         text; /* of the row at hand; written when the row is complete */
} line;

static void put_ids(line *l, bool labels) {
    const char *comma = "";
    for (int64_t k = l->row.first; k < l->row.end; k++) {
        const ql_document *d = ql_view_document(l->view, k);
        for (int64_t i = 0; i < d->length; i++, comma = ", ")
            ql_str_printf(&l->text, "%s%d", comma, !labels || (i > 0 && d->is_target[i]) ? d->ids[i] : -100);
    }
}

static void put_documents(line *l) {
    int64_t start = 0;
    for (int64_t k = l->row.first; k < l->row.end; k++) {
        const ql_document *d = ql_view_document(l->view, k);
        ql_str_printf(&l->text, "%s{\"record\": %lld, \"start\": %lld, \"length\": %d}", k > l->row.first ? ", " : "",
                      (long long)d->record, (long long)start, d->length);
        start += d->length;
    }
}

static ql_err put_row(line *l, int64_t number, FILE *out) {
    l->text.size = 0;
    l->row = ql_view_row(l->view, number);
    ql_str_printf(&l->text, "{\"row\": %lld, \"input_ids\": [", (long long)number);
    put_ids(l, false);
    ql_str_puts(&l->text, "], \"labels\": [");
    put_ids(l, true);
    ql_str_puts(&l->text, "], \"documents\": [");
    put_documents(l);
    ql_str_puts(&l->text, "]}\n");
    if (fwrite(l->text.data, 1, l->text.size, out) != l->text.size) return ql_fail_errno("the rows cannot be written");
    return ql_ok();
}

ql_err ql_inspect_json(const ql_inspection *i, FILE *out) {
    ql_view v;
    QL_TRY(ql_view_open(i, &v));
    line   l = {.view = &v};
    ql_err e = ql_ok();
    for (int64_t row = i->from; row < v.to && !ql_bad(e); row++) e = put_row(&l, row, out);
    ql_str_free(&l.text);
    ql_view_close(&v);
    if (!ql_bad(e) && fflush(out) != 0) e = ql_fail_errno("the rows cannot be written");
    return e;
}
