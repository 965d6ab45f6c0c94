/* For people at a terminal. */
#include <string.h>

#include "worker/data/inspect/screen.h"
#include "worker/data/inspect/units.h"
#include "worker/data/inspect/view.h"

enum { NAME_COLUMNS = 12 };

typedef struct {
    ql_view   view;
    ql_screen screen;
    ql_units  units;
    FILE     *file;
} page;

static ql_err flush(page *p) {
    ql_str *text = &p->screen.text;
    bool    fine = fwrite(text->data ? text->data : "", 1, text->size, p->file) == text->size;
    text->size = 0;
    if (!fine || ferror(p->file)) return ql_fail_errno("the rows cannot be written");
    return ql_ok();
}

/* ---- summary ---- */

static void put_name(ql_screen *s, const char *name) {
    ql_screen_printf(s, QL_FAINT, "%-*s", NAME_COLUMNS, name);
    s->indent = NAME_COLUMNS;
}

static void put_fact(void *context, const char *name, const char *text) {
    ql_screen *s = context;
    put_name(s, name);
    ql_screen_quote(s, QL_PLAIN, text, strlen(text));
    ql_screen_end_line(s);
}

static void put_counts(page *p) {
    ql_screen        *s = &p->screen;
    const ql_row_set *r = p->view.i->rows;
    const ql_corpus  *c = p->view.i->corpus;
    put_name(s, "rows");
    ql_screen_put(s, QL_STRONG, QL_GROUPED(r->rows));
    ql_screen_printf(s, QL_PLAIN, ", %.2f %% full, %.1f records a row", ql_percent(r->tokens, r->rows * r->max_length),
                     r->rows ? (double)c->documents / (double)r->rows : 0.0);
    if (p->view.i->rows_per_step > 0) {
        int64_t steps = ql_ceil_div(r->rows, p->view.i->rows_per_step);
        ql_screen_printf(s, QL_PLAIN, "; %s step%s of %s an epoch", QL_GROUPED(steps), steps == 1 ? "" : "s", QL_GROUPED(p->view.i->rows_per_step));
    }
    ql_screen_end_line(s);
    put_name(s, "tokens");
    ql_screen_put(s, QL_STRONG, QL_GROUPED(r->tokens));
    ql_screen_put(s, QL_PLAIN, ", of which ");
    ql_screen_printf(s, QL_TARGET, "%s targets (%.1f %%)", QL_GROUPED(r->targets), ql_percent(r->targets, r->tokens));
    ql_screen_end_line(s);
}

static void put_histogram(page *p, const char *title, const ql_histogram *h) {
    enum { COUNT_COLUMNS = 11, LABEL_COLUMNS = 16 };
    ql_screen *s = &p->screen;
    int        room = (int)ql_max(8, ql_min(60, s->look.width - NAME_COLUMNS - LABEL_COLUMNS - COUNT_COLUMNS - 3));
    ql_screen_end_line(s);
    ql_screen_put(s, QL_STRONG, title);
    ql_screen_end_line(s);
    s->indent = 0;
    for (int64_t k = 0; k < h->bars; k++) {
        ql_screen_printf(s, QL_FAINT, "%*s", NAME_COLUMNS + LABEL_COLUMNS - 2, h->bar[k].name);
        ql_screen_printf(s, QL_PLAIN, "%*s  ", COUNT_COLUMNS, QL_GROUPED(h->bar[k].count));
        ql_screen_bar(s, h->bar[k].beyond ? QL_ALARM : QL_PLAIN, h->bar[k].count, h->most, room);
        ql_screen_end_line(s);
    }
}

/* How the rows' space is shared out. */
static void put_space(page *p) {
    const ql_row_set *r = p->view.i->rows;
    ql_screen        *s = &p->screen;
    int64_t           room = r->rows * r->max_length;
    int               width = (int)ql_max(10, ql_min(60, s->look.width - NAME_COLUMNS - 2));
    int               targets = room ? (int)(r->targets * width / room) : 0, tokens = room ? (int)(r->tokens * width / room) : 0;
    put_name(s, "space");
    for (int k = 0; k < width; k++) {
        if (k < targets) ql_screen_put(s, QL_TARGET, ql_sign(s, "\xe2\x96\x88", "#"));
        else if (k < tokens) ql_screen_put(s, QL_PLAIN, ql_sign(s, "\xe2\x96\x92", "-"));
        else ql_screen_put(s, QL_FAINT, ql_sign(s, "\xc2\xb7", "."));
    }
    ql_screen_newline(s);
    ql_screen_printf(s, QL_TARGET, "%.1f %% targets", ql_percent(r->targets, room));
    ql_screen_printf(s, QL_PLAIN, ", %.1f %% context, ", ql_percent(r->tokens - r->targets, room));
    ql_screen_printf(s, QL_FAINT, "%.1f %% empty", ql_percent(room - r->tokens, room));
    ql_screen_end_line(s);
}

static void put_text(ql_screen *s, ql_style style, const ql_json *text) {
    size_t      n = 0;
    const char *bytes = ql_json_text(text, &n);
    if (bytes) ql_screen_quote(s, style, bytes, n);
}

static void put_finding(ql_screen *s, const ql_json *f) {
    const char    *severity = ql_json_text(ql_json_get(f, "severity"), NULL);
    const ql_json *places = ql_json_get(f, "places");
    s->indent = NAME_COLUMNS;
    ql_screen_printf(s, strcmp(severity, "note") ? QL_ALARM : QL_PLAIN, "  %-*s", NAME_COLUMNS - 2, severity);
    put_text(s, QL_STRONG, ql_json_get(f, "what"));
    ql_screen_newline(s);
    put_text(s, QL_PLAIN, ql_json_get(f, "cure"));
    for (size_t i = 0; i < ql_json_size(places); i++) {
        ql_screen_newline(s);
        put_text(s, QL_FAINT, ql_json_at(places, i));
    }
    ql_screen_end_line(s);
}

static ql_err put_audit(page *p) {
    ql_screen *s = &p->screen;
    ql_json   *report;
    QL_TRY(ql_audit_findings(p->view.i, &report));
    if (!report) return ql_ok();
    const ql_json *findings = ql_json_get(report, "findings");
    ql_screen_end_line(s);
    ql_screen_put(s, QL_STRONG, "what the audit found");
    ql_screen_end_line(s);
    if (ql_json_size(findings) == 0) {
        put_name(s, "");
        ql_screen_printf(s, QL_PLAIN, "nothing, in %s records", QL_GROUPED(p->view.i->corpus->audit.records));
        ql_screen_end_line(s);
    }
    for (size_t i = 0; i < ql_json_size(findings); i++) put_finding(s, ql_json_at(findings, i));
    ql_json_free(report);
    return ql_ok();
}

/* ---- documents ---- */

static ql_style style_of(const ql_unit *u) {
    if (u->special) return u->target ? QL_SPECIAL_TARGET : QL_SPECIAL;
    return u->target ? QL_TARGET : QL_PLAIN;
}

/* Without colour, brackets tell what is a target and what is special. */
static void put_bracket(page *p, bool wanted, const char *bracket) {
    if (wanted && !p->screen.look.colour) ql_screen_put(&p->screen, QL_PLAIN, bracket);
}

static void put_units(page *p) {
    ql_screen     *s = &p->screen;
    const ql_unit *u = p->units.at;
    for (size_t k = 0; k < p->units.n; k++) {
        bool begins = u[k].target && (k == 0 || !u[k - 1].target), ends = u[k].target && (k + 1 == p->units.n || !u[k + 1].target);
        if (k > 0 && p->view.i->boundaries) ql_screen_put(s, QL_FAINT, ql_sign(s, "\xe2\x94\x82", "|"));
        put_bracket(p, begins, "[[");
        put_bracket(p, u[k].special, ql_sign(s, "\xe2\x80\xb9", "{"));
        ql_screen_quote(s, style_of(&u[k]), p->units.text.data + u[k].begin, u[k].end - u[k].begin);
        put_bracket(p, u[k].special, ql_sign(s, "\xe2\x80\xba", "}"));
        put_bracket(p, ends, "]]");
    }
}

static void put_cut(page *p, int64_t tokens, const char *what) {
    ql_screen_printf(&p->screen, QL_ALARM, "%s %s token%s %s", ql_sign(&p->screen, "\xe2\x9c\x82", "..."), QL_GROUPED(tokens), tokens == 1 ? "" : "s", what);
}

static void put_cut_below(page *p, int64_t tokens, const char *what) {
    if (tokens == 0) return;
    ql_screen_newline(&p->screen);
    put_cut(p, tokens, what);
}

static void put_heading(page *p, const ql_document *d, const char *side) {
    ql_screen  *s = &p->screen;
    const char *place = ql_view_place(&p->view, d->record);
    s->indent = 2;
    s->fence = false;
    ql_screen_printf(s, QL_STRONG, "record %s%s", QL_GROUPED(d->record), side);
    if (place) {
        ql_screen_put(s, QL_PLAIN, "  ");
        ql_screen_quote(s, QL_FAINT, place, strlen(place));
    }
    ql_screen_printf(s, QL_PLAIN, "  %s token%s, ", QL_GROUPED(d->length), d->length == 1 ? "" : "s");
    ql_screen_printf(s, d->targets ? QL_TARGET : QL_ALARM, "%s target%s", QL_GROUPED(d->targets), d->targets == 1 ? "" : "s");
}

static ql_err put_document(page *p, int64_t k) {
    const ql_document *d = ql_view_document(&p->view, k);
    ql_screen *s = &p->screen;
    int32_t    limit = (int32_t)ql_min(p->view.left, d->length);
    bool       pieces = ql_packing_cuts(p->view.i->config);
    QL_TRY(ql_units_of(p->view.i->tokenizer, d, limit, &p->units));
    p->view.left -= limit;
    put_heading(p, d, ql_view_side(&p->view, k));
    s->fence = s->look.colour;
    s->indent = s->fence ? 2 : 0;
    ql_screen_newline(s);
    if (d->before > 0) {
        put_cut(p, d->before, "before, in another piece of this record");
        ql_screen_newline(s);
    }
    put_units(p);
    put_cut_below(p, d->length - limit, "not shown; name the row with --rows to see all");
    put_cut_below(p, d->after, pieces ? "after, in another piece of this record" : "cut off, which are not trained on");
    s->fence = false;
    ql_screen_end_line(s);
    return flush(p);
}

/* The documents of a row as blocks, in the width of the screen. */
static void put_row_bar(page *p, const ql_row_view *r) {
    ql_screen         *s = &p->screen;
    int64_t            width = ql_min(s->look.width, 100), room = p->view.i->rows->max_length, start = 0, k = r->first;
    const ql_document *d = ql_view_document(&p->view, k);
    bool               fresh = false;
    for (int64_t cell = 0; cell < width; cell++) {
        int64_t at = room / width * cell + room % width * cell / width;
        while (k < r->end && at >= start + d->length) {
            start += d->length;
            fresh = true;
            if (++k < r->end) d = ql_view_document(&p->view, k);
        }
        if (k == r->end) ql_screen_put(s, QL_FAINT, ql_sign(s, "\xc2\xb7", "."));
        else if (fresh) ql_screen_put(s, QL_PLAIN, "|");
        else if (at > start && d->is_target[at - start]) ql_screen_put(s, QL_TARGET, ql_sign(s, "\xe2\x96\x88", "#"));
        else ql_screen_put(s, QL_PLAIN, ql_sign(s, "\xe2\x96\x92", "-"));
        fresh = false;
    }
    ql_screen_end_line(s);
}

static ql_err put_row(page *p, int64_t number) {
    ql_screen  *s = &p->screen;
    ql_row_view r = ql_view_row(&p->view, number);
    int64_t     room = p->view.i->rows->max_length, documents = r.end - r.first;
    s->indent = 0;
    ql_screen_end_line(s);
    ql_screen_printf(s, QL_STRONG, "row %s", QL_GROUPED(number));
    if (p->view.i->rows_per_step > 0) ql_screen_printf(s, QL_PLAIN, "  step %s,", QL_GROUPED(number / p->view.i->rows_per_step + 1));
    ql_screen_printf(s, QL_PLAIN, "  %s of %s tokens (%.1f %%), %s document%s, ", QL_GROUPED(r.tokens), QL_GROUPED(room), ql_percent(r.tokens, room),
                     QL_GROUPED(documents), documents == 1 ? "" : "s");
    ql_screen_printf(s, QL_TARGET, "%s targets", QL_GROUPED(r.targets));
    ql_screen_end_line(s);
    put_row_bar(p, &r);
    int64_t k = r.first;
    for (; k < r.end && p->view.left > 0; k++) {
        QL_TRY(put_document(p, k));
        ql_screen_end_line(s);
    }
    if (k < r.end) {
        ql_screen_printf(s, QL_ALARM, "%s more of this row not shown; name the row with --rows to see all", QL_GROUPED(r.end - k));
        ql_screen_end_line(s);
    }
    return flush(p);
}

/* ---- all ---- */

static void put_legend(page *p) {
    ql_screen *s = &p->screen;
    bool       colour = s->look.colour;
    ql_screen_end_line(s);
    put_name(s, "legend");
    ql_screen_put(s, QL_PLAIN, "context, read only;  ");
    ql_screen_put(s, QL_TARGET, colour ? "target, trained on" : "[[target, trained on]]");
    ql_screen_put(s, QL_PLAIN, ";  ");
    ql_screen_put(s, QL_SPECIAL, colour ? "special token" : ql_sign(s, "\xe2\x80\xb9special token\xe2\x80\xba", "{special token}"));
    ql_screen_printf(s, QL_PLAIN, ";  %s line break%s", ql_sign(s, "\xe2\x86\xb5", "\\n"), p->view.i->boundaries ? ";  | between tokens" : "");
    ql_screen_end_line(s);
}

static void put_rest(page *p) {
    ql_screen *s = &p->screen;
    s->indent = 0;
    if (p->view.i->from >= p->view.to) return;
    ql_screen_printf(s, QL_FAINT, "Shown: rows %s to %s of %s. Others: --rows A:B. As a page for a browser: --html FILE.%s", QL_GROUPED(p->view.i->from),
                     QL_GROUPED(p->view.to - 1), QL_GROUPED(p->view.i->rows->rows), p->view.i->boundaries ? "" : " Where tokens end: --tokens.");
    ql_screen_end_line(s);
}

static ql_err put_all(page *p) {
    ql_histogram h;
    ql_facts(p->view.i, put_fact, &p->screen);
    put_counts(p);
    put_space(p);
    ql_lengths(p->view.i, &h);
    put_histogram(p, "tokens of a record", &h);
    ql_fills(p->view.i, &h);
    put_histogram(p, "how full the rows are, %", &h);
    QL_TRY(put_audit(p));
    put_legend(p);
    QL_TRY(flush(p));
    for (int64_t row = p->view.i->from; row < p->view.to; row++) QL_TRY(put_row(p, row));
    put_rest(p);
    return flush(p);
}

ql_err ql_inspect_text(const ql_inspection *i, const ql_look *look, FILE *out) {
    page p = {.file = out, .screen = {.look = *look}};
    QL_TRY(ql_view_open(i, &p.view));
    ql_view_find_places(&p.view);
    ql_err e = put_all(&p);
    ql_str_free(&p.screen.text);
    ql_units_free(&p.units);
    ql_view_close(&p.view);
    if (!ql_bad(e) && fflush(out) != 0) e = ql_fail_errno("the rows cannot be written");
    return e;
}
