#include "worker/data/inspect/charts.h"

#include <string.h>

#include "worker/data/inspect/markup.h"

/* ---- columns ---- */

enum { WIDTH = 440, HEIGHT = 190, TOP = 22, FLOOR = 160, BASE = 176 };

static double left_of(const ql_histogram *h, double column) {
    return column * WIDTH / (double)h->bars;
}

static void put_column(const ql_histogram *h, int64_t k, ql_str *out) {
    double tall = h->most ? (double)(FLOOR - TOP) * (double)h->bar[k].count / (double)h->most : 0;
    if (h->bar[k].count > 0 && tall < 1) tall = 1;
    ql_str_printf(out, "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" rx=\"1.5\"><title>%s: %s</title></rect>",
                  h->bar[k].beyond ? "b" : "n", left_of(h, (double)k) + 1, FLOOR - tall, left_of(h, 1) - 2, tall, h->bar[k].name, QL_GROUPED(h->bar[k].count));
    enum { ROOM_FOR_COUNTS = 12 };
    if (h->bars > ROOM_FOR_COUNTS || h->bar[k].count == 0) return;
    ql_str_printf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%s</text>", left_of(h, (double)k + .5), FLOOR - tall - 5,
                  QL_GROUPED(h->bar[k].count));
}

static void put_label(const ql_histogram *h, int64_t k, ql_str *out) {
    int64_t every = ql_ceil_div(h->bars, 6);
    if (h->step == 0)
        ql_str_printf(out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>", left_of(h, (double)k + .5), BASE, h->bar[k].name);
    else if (k % every == 0 && k < h->bars)
        ql_str_printf(out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"%s\">%s</text>", left_of(h, (double)k), BASE, k ? "middle" : "start", QL_GROUPED(k * h->step));
}

static void put_limit(const ql_histogram *h, int64_t limit, ql_str *out) {
    if (limit == 0 || limit > h->bars * h->step) return;
    double x = left_of(h, (double)limit / (double)h->step);
    ql_str_printf(out, "<line class=\"limit\" x1=\"%.1f\" x2=\"%.1f\" y1=\"6\" y2=\"%d\" /><text x=\"%.1f\" y=\"14\" text-anchor=\"%s\">max_length %s</text>", x, x,
                  FLOOR, x > WIDTH / 2.0 ? x - 5 : x + 5, x > WIDTH / 2.0 ? "end" : "start", QL_GROUPED(limit));
}

void ql_chart_columns(const ql_histogram *h, int64_t limit, const char *label, ql_str *out) {
    ql_str_printf(out, "<svg class=\"columns\" viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s\">", WIDTH, HEIGHT, label);
    for (int64_t k = 0; k < h->bars; k++) {
        put_column(h, k, out);
        put_label(h, k, out);
    }
    ql_str_printf(out, "<line class=\"axis\" x1=\"0\" x2=\"%d\" y1=\"%d\" y2=\"%d\" />", WIDTH, FLOOR, FLOOR);
    put_limit(h, limit, out);
    ql_str_puts(out, "</svg>\n");
}

/* ---- lines ---- */

static void put_part(const char *kind, int64_t x, int64_t width, const char *title, ql_str *out) {
    if (width <= 0) return;
    ql_str_printf(out, "<rect class=\"%s\" x=\"%lld\" y=\"0\" width=\"%lld\" height=\"22\">", kind, (long long)x, (long long)width);
    if (title) ql_str_printf(out, "<title>%s</title>", title);
    ql_str_puts(out, "</rect>");
}

static void begin_line(int64_t width, ql_str *out) {
    ql_str_printf(out, "<div class=\"bar\"><svg viewBox=\"0 0 %lld 22\" preserveAspectRatio=\"none\">", (long long)ql_max(1, width));
}

void ql_chart_space(const ql_row_set *r, ql_str *out) {
    int64_t room = r->rows * r->max_length;
    begin_line(room, out);
    put_part("t", 0, r->targets, "targets", out);
    put_part("c", r->targets, r->tokens - r->targets, "context", out);
    ql_str_puts(out, "</svg></div>\n");
}

/* A bar is drawn a thousandth of the row at a time, so that its size does not grow with the row's. */
static int64_t grain_of(int64_t room) {
    return ql_max(1, room / 1000);
}

static bool is_target(const ql_document *d, int64_t at) {
    return at > 0 && d->is_target[at];
}

static void put_parts(const ql_document *d, int64_t x, int64_t grain, ql_str *out) {
    for (int64_t from = 0, to; from < d->length; from = to) {
        for (to = from + grain; to < d->length && is_target(d, to) == is_target(d, from);) to += grain;
        to = ql_min(to, d->length);
        put_part(is_target(d, from) ? "t" : "c", x + from, to - from, NULL, out);
    }
}

void ql_chart_row(const ql_view *v, int64_t number, ql_str *out) {
    ql_row_view r = ql_view_row(v, number);
    int64_t     room = v->i->rows->max_length, x = 0, grain = grain_of(room);
    begin_line(room, out);
    for (int64_t k = r.first; k < r.end; k++) {
        const ql_document *d = ql_view_document(v, k);
        ql_str_printf(out, "<a href=\"#r%lldd%lld\"><title>record %lld: %s tokens, %s targets</title>", (long long)number, (long long)(k - r.first),
                      (long long)d->record, QL_GROUPED(d->length), QL_GROUPED(d->targets));
        put_parts(d, x, grain, out);
        ql_str_puts(out, "</a>");
        if (k > r.first) put_part("gap", x, ql_max(1, room / 400), NULL, out);
        x += d->length;
    }
    ql_str_puts(out, "</svg></div>\n");
}
