/* For people with a browser: page.html with its contents. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "worker/data/inspect/charts.h"
#include "worker/data/inspect/markup.h"
#include "worker/data/inspect/page.h"
#include "worker/data/inspect/units.h"
#include "worker/data/inspect/view.h"

typedef struct {
    ql_view  view;
    ql_units units;
    ql_str   out;
    ql_err   verdict; /* of the sections so far */
} page;

/* ---- above the rows ---- */

static void put_card(page *p, const char *name, const char *big, const char *unit, const char *more) {
    ql_str_printf(&p->out, "<div class=\"card\"><div class=\"name\">%s</div><div class=\"big\">%s <small>%s</small></div><div class=\"more\">%s</div></div>\n", name,
                  big, unit, more);
}

static void put_percent_card(page *p, const char *name, int64_t part, int64_t whole, const char *more) {
    char percent[32];
    snprintf(percent, sizeof percent, "%.1f", ql_percent(part, whole));
    put_card(p, name, percent, "%", more);
}

static void put_cards(page *p) {
    const ql_inspection *i = p->view.i;
    const ql_corpus     *c = i->corpus;
    const ql_row_set    *r = i->rows;
    char                 more[128];
    int64_t              used = ql_used_records(c), lost = c->dropped_long + c->without_targets;
    ql_str_puts(&p->out, "<div class=\"cards\">\n");
    snprintf(more, sizeof more, "of %s read; %s dropped, %s truncated", QL_GROUPED(c->records + i->held_out), QL_GROUPED(lost), QL_GROUPED(c->truncated));
    put_card(p, "Records", QL_GROUPED(used), "", more);
    snprintf(more, sizeof more, "of %s tokens, with %.1f documents each", QL_GROUPED(r->max_length), r->rows ? (double)c->documents / (double)r->rows : 0.0);
    put_card(p, "Rows", QL_GROUPED(r->rows), "", more);
    snprintf(more, sizeof more, "%s tokens in all", QL_GROUPED(r->tokens));
    put_percent_card(p, "Rows are full to", r->tokens, r->rows * r->max_length, more);
    snprintf(more, sizeof more, "%s targets", QL_GROUPED(r->targets));
    put_percent_card(p, "Tokens that are trained on", r->targets, r->tokens, more);
    if (i->rows_per_step > 0) {
        snprintf(more, sizeof more, "of %s rows each", QL_GROUPED(i->rows_per_step));
        put_card(p, "Steps in an epoch", QL_GROUPED(ql_ceil_div(r->rows, i->rows_per_step)), "", more);
    }
    ql_str_puts(&p->out, "</div>");
}

static void put_fact(void *context, const char *name, const char *text) {
    ql_str *out = context;
    ql_str_printf(out, "<dt>%s</dt><dd>", name);
    ql_html_puts(out, text);
    ql_str_puts(out, "</dd>\n");
}

static void put_facts(page *p) {
    ql_str_puts(&p->out, "<dl class=\"facts\">\n");
    ql_facts(p->view.i, put_fact, &p->out);
    ql_str_puts(&p->out, "</dl>");
}

static void put_member(page *p, const ql_json *finding, const char *key) {
    size_t      n = 0;
    const char *text = ql_json_text(ql_json_get(finding, key), &n);
    if (text) ql_html_put(&p->out, text, n);
}

static void put_finding(page *p, const ql_json *f) {
    const ql_json *places = ql_json_get(f, "places");
    const char    *severity = ql_json_text(ql_json_get(f, "severity"), NULL);
    ql_str_printf(&p->out, "<li><span class=\"badge %s\">%s</span><div><p>", severity, severity);
    put_member(p, f, "what");
    ql_str_puts(&p->out, "</p><p>");
    put_member(p, f, "cure");
    ql_str_puts(&p->out, "</p><p class=\"where\">");
    for (size_t i = 0; i < ql_json_size(places); i++) {
        if (i > 0) ql_str_puts(&p->out, ", ");
        ql_html_puts(&p->out, ql_json_text(ql_json_at(places, i), NULL));
    }
    ql_str_puts(&p->out, "</p></div></li>\n");
}

static void put_findings(page *p) {
    ql_json *report;
    p->verdict = ql_audit_findings(p->view.i, &report);
    if (ql_bad(p->verdict) || !report) return;
    const ql_json *findings = ql_json_get(report, "findings");
    ql_str_puts(&p->out, "<section class=\"card\" id=\"audit\"><h2>What the audit found</h2>\n<ul class=\"findings\">\n");
    for (size_t i = 0; i < ql_json_size(findings); i++) put_finding(p, ql_json_at(findings, i));
    if (ql_json_size(findings) == 0)
        ql_str_printf(&p->out, "<li><span class=\"badge fine\">fine</span><div><p>Nothing, in %s records.</p></div></li>\n",
                      QL_GROUPED(p->view.i->corpus->audit.records));
    ql_str_puts(&p->out, "</ul></section>");
    ql_json_free(report);
}

static void put_lengths(page *p) {
    ql_histogram h;
    ql_lengths(p->view.i, &h);
    ql_chart_columns(&h, p->view.i->rows->max_length, "Number of records by their tokens", &p->out);
    ql_str_printf(&p->out, "<p class=\"keys\">records by their number of tokens; a row has room for %s</p>", QL_GROUPED(p->view.i->rows->max_length));
}

static void put_space(page *p) {
    const ql_row_set *r = p->view.i->rows;
    int64_t           room = r->rows * r->max_length;
    ql_histogram      h;
    ql_chart_space(r, &p->out);
    ql_str_printf(&p->out, "<p class=\"keys\"><span><b class=\"t\"></b>targets %.1f %%</span> <span><b class=\"c\"></b>context %.1f %%</span> "
                  "<span><b class=\"e\"></b>empty %.1f %%</span></p>\n",
                  ql_percent(r->targets, room), ql_percent(r->tokens - r->targets, room), ql_percent(room - r->tokens, room));
    ql_fills(p->view.i, &h);
    ql_chart_columns(&h, 0, "Number of rows by how full they are", &p->out);
    ql_str_puts(&p->out, "<p class=\"keys\">rows by how full they are, in %</p>");
}

/* ---- rows ---- */

static void put_links(page *p) {
    for (int64_t row = p->view.i->from; row < p->view.to; row++)
        ql_str_printf(&p->out, "<a href=\"#r%lld\">%s</a>", (long long)row, QL_GROUPED(row));
}

static void put_unit(page *p, const ql_document *d, const ql_unit *u) {
    ql_str_printf(&p->out, "<i%s data-i=\"", u->special ? " class=\"s\"" : "");
    for (int32_t k = u->from; k < u->to; k++) ql_str_printf(&p->out, "%s%d", k > u->from ? " " : "", d->ids[k]);
    ql_str_puts(&p->out, "\">");
    ql_html_quote(&p->out, p->units.text.data + u->begin, u->end - u->begin);
    ql_str_puts(&p->out, "</i>");
}

static void put_units(page *p, const ql_document *d) {
    bool marked = false;
    for (size_t k = 0; k < p->units.n; k++) {
        const ql_unit *u = &p->units.at[k];
        if (u->target != marked) ql_str_puts(&p->out, marked ? "</mark>" : "<mark>");
        marked = u->target;
        put_unit(p, d, u);
    }
    if (marked) ql_str_puts(&p->out, "</mark>");
}

static void put_cut(page *p, int64_t tokens, const char *what) {
    if (tokens > 0)
        ql_str_printf(&p->out, "<span class=\"cut\">\xe2\x9c\x82 %s token%s %s</span>", QL_GROUPED(tokens), tokens == 1 ? "" : "s", what);
}

/* "FILE:LINE" without the folder, which shows when one points at it. */
static void put_place(page *p, const char *place) {
    const char *slash = strrchr(place, '/');
    ql_str_puts(&p->out, "<span class=\"meta place\" title=\"");
    ql_html_puts(&p->out, place);
    ql_str_puts(&p->out, "\">");
    ql_html_puts(&p->out, slash ? slash + 1 : place);
    ql_str_puts(&p->out, "</span>");
}

static void put_heading(page *p, int64_t row, int64_t k, const ql_document *d, const char *side) {
    const char *place = ql_view_place(&p->view, d->record);
    ql_str_printf(&p->out, "<article class=\"doc\" id=\"r%lldd%lld\" data-record=\"%lld\" data-n=\"%d\" data-targets=\"%d\"><header><h3><a href=\"#r%lldd%lld\">Record %s%s</a></h3>",
                  (long long)row, (long long)k, (long long)d->record, d->length, d->targets, (long long)row, (long long)k, QL_GROUPED(d->record), side);
    if (place) put_place(p, place);
    ql_str_printf(&p->out, "<span class=\"meta\">%s token%s, %s target%s</span>", QL_GROUPED(d->length), d->length == 1 ? "" : "s", QL_GROUPED(d->targets),
                  d->targets == 1 ? "" : "s");
    if (d->targets == 0) ql_str_puts(&p->out, "<span class=\"badge warning\">nothing to learn</span>");
    ql_str_puts(&p->out, "</header>\n");
}

/* Document number `k` of all, at place `at` of its row. */
static ql_err put_document(page *p, int64_t row, int64_t at, int64_t k) {
    const ql_document *d = ql_view_document(&p->view, k);
    int32_t limit = (int32_t)ql_min(p->view.left, d->length);
    bool    pieces = ql_packing_cuts(p->view.i->config);
    QL_TRY(ql_units_of(p->view.i->tokenizer, d, limit, &p->units));
    p->view.left -= limit;
    put_heading(p, row, at, d, ql_view_side(&p->view, k));
    ql_str_puts(&p->out, "<div class=\"text\" dir=\"auto\">");
    put_cut(p, d->before, "before, in another piece of this record");
    put_units(p, d);
    put_cut(p, d->length - limit, "not shown here");
    put_cut(p, d->after, pieces ? "after, in another piece of this record" : "cut off here, which are not trained on");
    ql_str_puts(&p->out, "</div></article>\n");
    return ql_ok();
}

static ql_err put_row(page *p, int64_t row) {
    ql_row_view r = ql_view_row(&p->view, row);
    int64_t     room = p->view.i->rows->max_length, step = p->view.i->rows_per_step, documents = r.end - r.first;
    ql_str_printf(&p->out, "<section class=\"row\" id=\"r%lld\"><header><h2><a href=\"#r%lld\">Row %s</a></h2><span class=\"meta\">", (long long)row, (long long)row,
                  QL_GROUPED(row));
    if (step > 0) ql_str_printf(&p->out, "step %s \xc2\xb7 ", QL_GROUPED(row / step + 1));
    ql_str_printf(&p->out, "%s of %s tokens (%.1f %%) \xc2\xb7 %s document%s \xc2\xb7 %s targets</span></header>\n", QL_GROUPED(r.tokens), QL_GROUPED(room),
                  ql_percent(r.tokens, room), QL_GROUPED(documents), documents == 1 ? "" : "s", QL_GROUPED(r.targets));
    ql_chart_row(&p->view, row, &p->out);
    for (int64_t k = r.first; k < r.end; k++) QL_TRY(put_document(p, row, k - r.first, k));
    ql_str_puts(&p->out, "</section>\n");
    return ql_ok();
}

static void put_rows(page *p) {
    for (int64_t row = p->view.i->from; row < p->view.to && !ql_bad(p->verdict); row++) p->verdict = put_row(p, row);
}

static void put_rest(page *p) {
    ql_str_printf(&p->out, "<p>Shown are rows %s to %s of %s, in the order in which the first epoch takes them; <code>qlora inspect --html FILE --rows A:B CONFIG.yaml</code> "
                  "shows others.</p>",
                  QL_GROUPED(p->view.i->from), QL_GROUPED(ql_max(p->view.i->from, p->view.to - 1)), QL_GROUPED(p->view.i->rows->rows));
}

/* ---- all ---- */

static const struct {
    const char *name;
    void (*put)(page *p);
} sections[] = {{"cards", put_cards}, {"facts", put_facts}, {"findings", put_findings}, {"lengths", put_lengths},
                {"space", put_space}, {"links", put_links}, {"rows", put_rows},         {"rest", put_rest}};

static void put_section(page *p, const char *name, size_t n) {
    for (size_t i = 0; i < QL_LEN(sections); i++)
        if (strlen(sections[i].name) == n && !memcmp(sections[i].name, name, n)) sections[i].put(p);
}

static ql_err put_page(page *p) {
    const char *at = ql_page;
    for (const char *mark; (mark = strstr(at, "{{")) && !ql_bad(p->verdict);) {
        const char *end = strstr(mark, "}}");
        ql_str_put(&p->out, at, (size_t)(mark - at));
        put_section(p, mark + 2, (size_t)(end - mark - 2));
        at = end + 2;
    }
    ql_str_puts(&p->out, at);
    return p->verdict;
}

ql_err ql_inspect_html(const ql_inspection *i, ql_str *out) {
    page p = {.verdict = ql_ok()};
    QL_TRY(ql_view_open(i, &p.view));
    ql_view_find_places(&p.view);
    ql_err e = put_page(&p);
    ql_str_put(out, p.out.data, p.out.size);
    ql_str_free(&p.out);
    ql_units_free(&p.units);
    ql_view_close(&p.view);
    return e;
}

ql_err ql_inspect_page(const ql_inspection *i, const char *path) {
    ql_str html = {0};
    ql_err e = ql_inspect_html(i, &html);
    if (!ql_bad(e)) e = ql_file_replace(path, html.data, html.size);
    ql_str_free(&html);
    return e;
}
