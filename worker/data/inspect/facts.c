/* The settings that decide what is shown. */
#include <string.h>

#include "worker/data/inspect/view.h"
#include "worker/data/pack/cut.h"
#include "worker/data/target/target.h"

static bool is(const char *value, const char *name) {
    return value && !strcmp(value, name);
}

static void put_sets(const ql_datasets *sets, ql_str *out) {
    for (size_t i = 0; i < sets->count; i++) {
        const ql_dataset_spec *d = &sets->item[i];
        ql_str_printf(out, "%s%s", i ? ", " : "", d->path);
        if (d->weight) ql_str_printf(out, " (weight %s)", d->weight);
        if (d->max_records) ql_str_printf(out, " (the first %s records)", d->max_records);
    }
}

static const char *packing_of(const ql_config *c) {
    if (!c->packing) return c->group_by_length ? "one record a row, rows of similar length together" : "one record a row";
    if (is(c->packing_strategy, "bfd_split")) return "records share rows; longer ones are cut into pieces";
    if (is(c->packing_strategy, "wrapped")) return "one record after the other, cut where rows end";
    return "records share rows and stay whole";
}

static const char *too_long_of(const ql_config *c) {
    if (ql_packing_cuts(c)) return "cut into pieces";
    if (is(c->excess_length_strategy, "truncate")) return "truncated";
    return is(c->excess_length_strategy, "error") ? "refused" : "dropped";
}

static void put_records(const ql_inspection *i, ql_str *out) {
    const ql_corpus *c = i->corpus;
    ql_str_printf(out, "%s read, %s used", QL_GROUPED(c->records + i->held_out), QL_GROUPED(ql_used_records(c)));
    struct {
        int64_t     n;
        const char *what;
    } lost[] = {{i->held_out, "held out for evaluation"},
                {c->dropped_long, "dropped as too long"},
                {c->truncated, "truncated"},
                {c->without_targets, "without targets"},
                {c->duplicates, "left out as like another"},
                {ql_corpus_severed(c), "pieces of answers without their prompt"}};
    for (size_t k = 0; k < QL_LEN(lost); k++)
        if (lost[k].n > 0) ql_str_printf(out, ", %s %s", QL_GROUPED(lost[k].n), lost[k].what);
}

void ql_facts(const ql_inspection *i, ql_fact_writer write, void *context) {
    const ql_config *c = i->config;
    const ql_corpus *corpus = i->corpus;
    ql_str           text = {0};
    put_sets(&c->dataset, &text);
    if (c->dataset.count > 0) write(context, "data", text.data);
    write(context, "format", corpus->format);
    if (corpus->conversations && i->chat) write(context, "template", i->chat);
    text.size = 0;
    ql_str_printf(&text, "%s, each with the token that ends it", ql_train_on_text(ql_train_on_of(c), corpus->format));
    write(context, "trained on", text.data);
    text.size = 0;
    put_records(i, &text);
    write(context, "records", text.data);
    write(context, "packing", packing_of(c));
    text.size = 0;
    ql_str_printf(&text, "%s tokens a row; what is longer is %s", QL_GROUPED(i->rows->max_length), too_long_of(c));
    write(context, "max_length", text.data);
    ql_str_free(&text);
}

ql_err ql_audit_findings(const ql_inspection *i, ql_json **out) {
    *out = NULL;
    if (i->audits == 0) return ql_ok();
    ql_str text = {0};
    ql_audit_report(i->audited, i->audits, i->config, &text);
    ql_err e = ql_json_parse(text.data, text.size, "audit", 1, out);
    ql_str_free(&text);
    return e;
}
