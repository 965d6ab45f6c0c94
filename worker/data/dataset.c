/* Reading: records are taken from the files in batches, each batch is parsed and tokenised by all
 * threads, and the results are appended in input order; so neither the number of threads nor
 * their luck can be seen in the corpus, and the first mistake in the file is the one reported. */
#include "worker/data/dataset.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/pulse.h"
#include "worker/data/audit/audit_record.h"
#include "worker/data/corpus_build.h"
#include "worker/data/read/files.h"
#include "worker/data/read/reader.h"
#include "worker/data/record/wording.h"
#include "worker/data/store/prepared.h"
#include "worker/data/store/progress.h"
#include "worker/data/target/target.h"
#include "worker/data/unique.h"

enum { BATCH_RECORDS = 1024, BATCH_BYTES = 16 << 20, CHUNK = 4 /* records a thread takes at once */ };
static const double patience = 2.0; /* seconds before progress is worth a line */

/* What became of one record. */
typedef struct {
    ql_span span;
    ql_tokens tokens[2]; /* of the record; of a pair: of its better answer and its worse one */
    int sides;
    ql_findings findings;
    ql_err verdict;
    char *sentence; /* of a bad verdict */
} outcome;

/* A verdict that waits until it is its turn. */
typedef struct {
    ql_code code;
    char *sentence;
} later;

/* Records on their way: collected, then worked on by all threads, then appended. */
typedef struct {
    outcome *item; /* [BATCH_RECORDS] */
    int n;
    later reading; /* what is wrong behind them in the file */
    ql_reader_mark end;
    double part; /* of the file, up to here */
} batch;

/* One of each for every thread. */
typedef struct {
    ql_encoder *encoder;
    ql_record record;
} bench;

typedef enum { TOO_LONG_DROP, TOO_LONG_TRUNCATE, TOO_LONG_ERROR } too_long;

typedef struct {
    const ql_corpus_options *o;
    ql_target_rules rules;
    ql_corpus *corpus;
    ql_store *store; /* of the current set */
    ql_prepared *prepared; /* its cache; NULL: none */
    ql_unique seen;  /* in the current set */
    too_long strategy;
    bench *bench; /* [threads] */
    int threads, most_threads;
    batch batch[2]; /* one is worked on, while what is ready of the other is appended and the next one is collected there */
    ql_set_progress progress;
    int64_t left; /* records that may still be taken of the current set */
    ql_template *wording; /* of the current set; NULL: the usual one */
    /* of the current file */
    const char *path;
    ql_field_names names;
    const ql_record_format *format; /* NULL before its first record */
    double part;                    /* of it that is in the store     */
} builder;

/* Whether of texts without a prompt only a part is asked for, which there is not. */
static ql_err check_wish(const builder *b, size_t line) {
    ql_train_on on = b->rules.train_on;
    QL_CHECK(b->format->has_prompt || b->o->config->completion_only_loss != QL_TRUE, QL_USAGE,
             "%s:%zu: completion_only_loss is true, but text records have no completion; set it to auto, or give "
             "records with a prompt",
             b->path, line);
    QL_CHECK(b->format->has_prompt || on == QL_TRAIN_AUTO || on == QL_TRAIN_ALL, QL_USAGE,
             "%s:%zu: train_on is %s, but text records have no answers; set it to auto or all, or give records with answers", b->path, line,
             b->o->config->train_on);
    return ql_ok();
}

static ql_err check_cuts(const builder *b, size_t line) {
    QL_CHECK(!b->format->read_rejected || !ql_packing_cuts(b->o->config), QL_USAGE,
             "%s:%zu: packing_strategy is %s, but the answers of a preference pair cannot be cut; set it to bfd", b->path, line,
             b->o->config->packing_strategy);
    return ql_ok();
}

/* The first records of a file decide its format, before the threads look at them. */
static ql_err choose_format(builder *b, const batch *sample) {
    ql_span first[QL_FORMAT_SAMPLE];
    size_t  n = (size_t)ql_min(sample->n, QL_FORMAT_SAMPLE);
    for (size_t i = 0; i < n; i++) first[i] = sample->item[i].span;
    QL_TRY(ql_record_format_detect(first, n, b->path, &b->names, &b->format));
    if (b->wording) QL_TRY(ql_wording_check(first, b->path, &b->names, b->format));
    QL_TRY(check_wish(b, first->line));
    QL_TRY(check_cuts(b, first->line));
    ql_set_facts *facts = &b->store->facts;
    bool pairs = b->format->read_rejected != NULL;
    QL_CHECK(!facts->format[0] || facts->pairs == pairs, QL_DATA,
             "%s:%zu: the record is of format %s, those of another file of this data set are %s; pairs and other records cannot be trained on "
             "together: name one kind",
             b->path, first->line, b->format->name, facts->format);
    facts->pairs = pairs;
    facts->completion_only |= b->format->has_prompt && b->rules.train_on != QL_TRAIN_ALL;
    bool another = facts->format[0] && strcmp(facts->format, b->format->name) != 0;
    snprintf(facts->format, sizeof facts->format, "%s", another ? QL_SEVERAL_FORMATS : b->format->name);
    return ql_ok();
}

/* A token that the model has no row for would read memory that is not its own. */
static ql_err check_vocabulary(const builder *b, const ql_ids *ids, const ql_span *s) {
    for (size_t i = 0; i < ids->count; i++) {
        if (ids->id[i] >= 0 && (b->o->vocab_size <= 0 || ids->id[i] < b->o->vocab_size)) continue;
        size_t n = 0;
        const char *piece = ql_tokenizer_piece(b->o->tokenizer, ids->id[i], &n);
        return ql_fail(QL_DATA,
                       "%s:%zu: token %d (\"%.*s\") is beyond the model's vocabulary of %lld; the tokenizer belongs to "
                       "another model, or tokens were added to it and not to the model",
                       b->path, s->line, ids->id[i], (int)ql_min((int64_t)n, 60), piece ? piece : "",
                       (long long)b->o->vocab_size);
    }
    return ql_ok();
}

/* Where the wording is ours, fields hold nothing but words. */
static bool are_plain_words(const builder *b) {
    return (b->format == &ql_format_alpaca || b->format == &ql_format_question) && !b->wording;
}

typedef ql_err reader_of_side(const ql_json *record, const ql_field_names *f, ql_record *out);

static ql_err tokenise_side(const builder *b, bench *own, reader_of_side *read, const ql_json *record, outcome *x, ql_tokens *out) {
    ql_record_clear(&own->record);
    QL_TRY(ql_err_prefix(read(record, &b->names, &own->record), "%s:%zu", b->path, x->span.line));
    ql_audit_texts(&own->record, &x->findings);
    if (b->wording) ql_audit_wording(record, &b->names, &own->record, &x->findings);
    ql_target_rules rules = b->rules;
    if (b->format->read_rejected) rules.train_on = QL_TRAIN_AUTO; /* the answers of pairs, whatever else is wished */
    ql_err e = ql_tokens_make(own->encoder, &rules, &own->record, out);
    QL_TRY(ql_err_prefix(e, "%s:%zu", b->path, x->span.line));
    ql_audit_tokens(b->o->facts, are_plain_words(b), &own->record, out, &x->findings);
    return check_vocabulary(b, &out->ids, &x->span);
}

static ql_err tokenise(const builder *b, bench *own, const ql_json *record, outcome *x) {
    x->sides = b->format->read_rejected ? 2 : 1;
    QL_TRY(tokenise_side(b, own, b->format->read, record, x, &x->tokens[0]));
    if (x->sides == 1) return ql_ok();
    QL_TRY(tokenise_side(b, own, b->format->read_rejected, record, x, &x->tokens[1]));
    ql_tokens_align(&x->tokens[0], &x->tokens[1]);
    return ql_ok();
}

static ql_err work_on(const builder *b, bench *own, outcome *out) {
    ql_json *record;
    QL_TRY(ql_span_parse(&out->span, b->path, &record));
    ql_err e = tokenise(b, own, record, out);
    ql_json_free(record);
    return e;
}

static void work_on_item(const builder *b, outcome *x) {
    bench *own = &b->bench[omp_get_thread_num()];
    if (!own->encoder) own->encoder = ql_encoder_open(b->o->tokenizer);
    x->verdict = work_on(b, own, x);
    ql_pulse_beat();
    /* the sentence belongs to this thread; carry it over */
    if (ql_bad(x->verdict)) x->sentence = ql_strdup(ql_err_text());
}

/* What else can be done about long records; plain text may be cut anywhere. */
static const char *other_cure(const builder *b) {
    return b->format == &ql_format_text ? ", or packing_strategy to wrapped, which cuts long texts" : "";
}

static char *place_of(const builder *b, const outcome *x) {
    return ql_format("%s:%zu", b->path, x->span.line);
}

static size_t longest_side(const outcome *x) {
    return x->sides == 2 && x->tokens[1].ids.count > x->tokens[0].ids.count ? x->tokens[1].ids.count : x->tokens[0].ids.count;
}

/* Applies excess_length_strategy; `keep` is false where the record is dropped. */
static ql_err fit_length(builder *b, outcome *x, bool *keep) {
    size_t limit = ql_packing_cuts(b->o->config) ? INT32_MAX : (size_t)ql_min(b->o->config->max_length, INT32_MAX), longest = longest_side(x);
    *keep = true;
    if (longest <= limit) return ql_ok();
    QL_CHECK(b->strategy != TOO_LONG_ERROR, QL_DATA,
             "%s:%zu: the record has %zu tokens, more than max_length %zu; raise max_length, or set "
             "excess_length_strategy to drop or truncate%s",
             b->path, x->span.line, longest, limit, other_cure(b));
    if (b->strategy == TOO_LONG_TRUNCATE) {
        for (int i = 0; i < x->sides; i++)
            if (x->tokens[i].ids.count > limit) x->tokens[i].ids.count = limit;
        b->store->facts.truncated++;
        return ql_ok();
    }
    *keep = false;
    b->store->facts.dropped_long++;
    if (!b->store->facts.first_long) b->store->facts.first_long = place_of(b, x);
    return ql_ok();
}

static bool has_targets(const outcome *x) {
    for (int i = 0; i < x->sides; i++)
        if (ql_count_targets(x->tokens[i].is_target, x->tokens[i].ids.count) == 0) return false;
    return true;
}

static void audit_kept(builder *b, const outcome *x) {
    ql_store *s = b->store;
    int64_t longest = ql_min((int64_t)longest_side(x), b->o->config->max_length);
    if (b->o->facts && longest > b->o->facts->positions) ql_audit_place(&s->facts.audit, QL_AUDIT_POSITIONS, b->path, x->span.line);
    if (ql_unique_seen(&b->seen, s->document[s->documents - 1].content)) ql_audit_place(&s->facts.audit, QL_AUDIT_DUPLICATE, b->path, x->span.line);
}

/* `whole` says how long the sides were before they were truncated. */
static void keep_record(builder *b, int64_t record, const outcome *x, const size_t whole[2]) {
    for (int i = 0; i < x->sides; i++) {
        size_t n = x->tokens[i].ids.count;
        ql_store_add(b->store, record, x->tokens[i].ids.id, x->tokens[i].is_target, n);
        b->store->document[b->store->documents - 1].after = (int32_t)(whole[i] - n);
    }
    if (x->sides == 2) ql_store_pair(b->store);
    audit_kept(b, x);
}

static ql_err append(builder *b, outcome *x) {
    ql_set_facts *facts = &b->store->facts;
    int64_t record = facts->records++;
    facts->conversations |= x->tokens[0].conversation;
    size_t whole[2] = {x->tokens[0].ids.count, x->tokens[1].ids.count}, longest = longest_side(x);
    ql_audit_record(&facts->audit, &x->findings, longest, b->path, x->span.line);
    bool keep;
    QL_TRY(fit_length(b, x, &keep));
    if (!keep || longest_side(x) < longest) ql_audit_place(&facts->audit, QL_AUDIT_LOST, b->path, x->span.line);
    if (!keep) return ql_ok();
    if (!has_targets(x)) {
        facts->without_targets++;
        ql_audit_place(&facts->audit, QL_AUDIT_NO_TARGETS, b->path, x->span.line);
        if (!facts->first_untargeted) facts->first_untargeted = place_of(b, x);
        keep = b->o->keep_untargeted && x->tokens[0].ids.count > 0;
        if (!keep && longest_side(x) < longest) facts->truncated--; /* "truncated" counts what is kept */
    }
    if (keep) keep_record(b, record, x, whole);
    return ql_ok();
}

static void put_off(ql_err e, later *out) {
    if (ql_bad(e)) *out = (later){e.code, ql_strdup(ql_err_text())};
}

static ql_err due(later *v) {
    ql_err e = v->code == QL_OK ? ql_ok() : ql_fail(v->code, "%s", v->sentence);
    free(v->sentence);
    *v = (later){0};
    return e;
}

static void free_outcome(outcome *x) {
    for (int k = 0; k < 2; k++) ql_tokens_free(&x->tokens[k]);
    ql_findings_free(&x->findings);
    free(x->sentence);
    *x = (outcome){0};
}

static ql_err append_batch(builder *b, batch *done) {
    ql_err e = ql_ok();
    for (int i = 0; i < done->n; i++) {
        outcome *x = &done->item[i];
        if (!ql_bad(e)) e = ql_bad(x->verdict) ? ql_fail(x->verdict.code, "%s", x->sentence) : append(b, x);
        free_outcome(x);
    }
    done->n = 0;
    b->part = done->part;
    return ql_bad(e) ? e : due(&done->reading);
}

/* Takes records until the batch is full. */
static ql_err take_records(builder *b, ql_reader *r, batch *next, bool *more) {
    size_t bytes = 0;
    *more = b->left > 0;
    while (*more && next->n < BATCH_RECORDS && bytes < BATCH_BYTES) {
        QL_TRY(ql_reader_next(r, &next->item[next->n].span, more));
        if (!*more) break;
        bytes += next->item[next->n++].span.size;
        *more = --b->left > 0;
    }
    return ql_ok();
}

/* A damaged file is reported after the records before the damage. */
static void collect(builder *b, ql_reader *r, batch *next, bool *more) {
    ql_err e = take_records(b, r, next, more);
    if (ql_bad(e)) *more = false;
    put_off(e, &next->reading);
    next->end = ql_reader_here(r);
    next->part = ql_reader_part(r);
}

/* All threads work on `now`. One of them appends the other batch first, which is ready, and fills it again. */
static ql_err work_on_batch(builder *b, ql_reader *r, const batch *now, batch *other, bool *more) {
    int threads = (int)ql_max(1, ql_min(b->threads, ql_ceil_div(now->n, CHUNK)));
    later verdict = {0};
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
#pragma omp master
        {
            put_off(append_batch(b, other), &verdict);
            if (verdict.code == QL_OK && *more) collect(b, r, other, more);
        }
#pragma omp for schedule(dynamic, CHUNK)
        for (int i = 0; i < now->n; i++) work_on_item(b, &now->item[i]);
    }
    return due(&verdict);
}

static bool is_on_its_way(const batch *x) {
    return x->n > 0 || x->reading.code != QL_OK;
}

static void clear_batch(batch *x) {
    for (int i = 0; i < x->n; i++) free_outcome(&x->item[i]);
    x->n = 0;
    free(x->reading.sentence);
    x->reading = (later){0};
}

static double patience_of(const builder *b) {
    return b->o->prepares && ql_progress_is_bar() ? 0 : patience;
}

static void show_progress(builder *b) {
    ql_set_progress_show(&b->progress, b->part, b->store->facts.records, patience_of(b));
    ql_prepared_tell(b->prepared, b->progress.text);
}

static ql_err read_records(builder *b, ql_reader *r) {
    batch *now = &b->batch[0], *other = &b->batch[1];
    bool more = true;
    now->end = other->end = ql_reader_here(r);
    now->part = other->part = 0;
    collect(b, r, now, &more);
    ql_err e = now->n > 0 ? choose_format(b, now) : ql_ok();
    while (!ql_bad(e) && (is_on_its_way(now) || is_on_its_way(other))) {
        e = work_on_batch(b, r, now, other, &more);
        ql_reader_release_until(r, &now->end);
        batch *ready = now;
        now = other;
        other = ready;
        ql_pulse_beat();
        if (!ql_bad(e)) show_progress(b);
    }
    clear_batch(now);
    clear_batch(other);
    return e;
}

static ql_err read_file(builder *b, const ql_dataset_spec *d, const char *path) {
    b->path = path;
    ql_pulse_what(path);
    ql_set_progress_file(&b->progress, path);
    b->names = ql_field_names_of(d, b->o->config);
    b->names.wording = b->wording;
    b->format = NULL;
    int64_t before = b->store->facts.records;
    ql_reader reader;
    ql_reader_options how = ql_reader_options_of(d, b->o->config);
    QL_TRY(ql_reader_open(path, &how, &reader));
    ql_err e = read_records(b, &reader);
    ql_reader_close(&reader);
    QL_TRY(e);
    QL_CHECK(b->store->facts.records > before, QL_DATA, "%s:1: holds no records; expected at least one", path);
    return ql_ok();
}

static void take_set(builder *b, const ql_dataset_spec *d, ql_unique *unique) {
    size_t before = b->corpus->documents;
    bool deduplicate = b->o->training && b->o->config->deduplicate;
    ql_corpus_take(b->corpus, b->store, deduplicate ? unique : NULL);
    if (b->o->training) ql_corpus_weigh(b->corpus, before, ql_dataset_weight(d), b->o->config->seed);
}

static ql_err check_kind(const builder *b) {
    const ql_corpus *c = b->corpus;
    QL_CHECK(c->stores == 0 || c->pairs == b->store->facts.pairs, QL_DATA,
             "%s:1: the records are of format %s, those of another data set are %s; pairs and other records cannot be trained on together: name one "
             "kind",
             b->path, b->store->facts.format, c->format);
    return ql_ok();
}

static ql_err read_files(builder *b, const ql_dataset_spec *d, const ql_file_list *files) {
    ql_err e = ql_wording_open(d, b->o->config, &b->wording);
    b->store = ql_store_new();
    ql_unique_free(&b->seen);
    b->left = ql_dataset_max_records(d);
    ql_prepared_begin(b->prepared, b->store);
    b->threads = ql_prepared_is_alone(b->prepared) ? b->most_threads : omp_get_max_threads();
    ql_set_progress_start(&b->progress, d->path, files);
    for (size_t i = 0; i < files->count && b->left > 0 && !ql_bad(e); i++) e = read_file(b, d, files->path[i]);
    if (!ql_bad(e)) ql_set_progress_end(&b->progress, b->store->facts.records, patience_of(b));
    if (!ql_bad(e)) ql_prepared_keep(b->prepared, b->store);
    ql_template_free(b->wording);
    return e;
}

/* What is plainly no data is said at once, before a large file is read for its digest. */
static ql_err look_at_beginnings(const builder *b, const ql_dataset_spec *d, const ql_file_list *files) {
    ql_reader_options how = ql_reader_options_of(d, b->o->config);
    for (size_t i = 0; i < files->count; i++) {
        ql_reader reader;
        ql_span   first;
        bool      more;
        QL_TRY(ql_reader_open(files->path[i], &how, &reader));
        ql_err e = ql_reader_next(&reader, &first, &more);
        ql_reader_close(&reader);
        QL_TRY(e);
    }
    return ql_ok();
}

static ql_err find_or_read(builder *b, const ql_dataset_spec *d, const ql_file_list *files) {
    QL_TRY(look_at_beginnings(b, d, files));
    b->prepared = ql_prepared_open(b->o, d, files);
    b->store = b->prepared ? ql_prepared_find(b->prepared) : NULL;
    if (!b->store) QL_TRY(read_files(b, d, files));
    return check_kind(b);
}

static ql_err read_set(builder *b, const ql_dataset_spec *d, ql_unique *unique) {
    ql_file_list files;
    QL_TRY(ql_files_of(d->path, &files));
    b->path = d->path;
    ql_pulse_what(d->path);
    b->store = NULL;
    ql_err e = find_or_read(b, d, &files);
    if (!ql_bad(e)) take_set(b, d, unique);
    else ql_store_free(b->store);
    ql_prepared_close(b->prepared);
    b->prepared = NULL;
    ql_file_list_free(&files);
    b->path = d->path;
    return e;
}

static ql_err choose_strategy(const ql_config *c, too_long *out) {
    const char *name = c->excess_length_strategy ? c->excess_length_strategy : "drop";
    if (!strcmp(name, "drop"))
        *out = TOO_LONG_DROP;
    else if (!strcmp(name, "truncate"))
        *out = TOO_LONG_TRUNCATE;
    else if (!strcmp(name, "error"))
        *out = TOO_LONG_ERROR;
    else
        return ql_fail(QL_USAGE, "excess_length_strategy is \"%s\"; expected drop, truncate or error", name);
    return ql_ok();
}

/* Nothing left to train on is a mistake in the data or the configuration, never a wish. */
static ql_err check_something_is_left(const builder *b) {
    const ql_corpus *c = b->corpus;
    if (c->documents > 0) return ql_ok();
    const char *longs = NULL, *bare = NULL;
    for (size_t i = c->stores; i-- > 0;) {
        if (c->store[i]->facts.first_long) longs = c->store[i]->facts.first_long;
        if (c->store[i]->facts.first_untargeted) bare = c->store[i]->facts.first_untargeted;
    }
    QL_CHECK(
        longs, QL_DATA,
        "%s: none of the %lld records has a token to train on, this one first; give completions that are not empty",
        bare ? bare : b->path, (long long)c->records);
    return ql_fail(
        QL_DATA,
        "%s: nothing is left of %lld records: %lld are longer than max_length %lld, this one first, and %lld "
        "have no token to train on; raise max_length, or set excess_length_strategy to truncate%s",
        longs, (long long)c->records, (long long)c->dropped_long, (long long)b->o->config->max_length,
        (long long)c->without_targets, other_cure(b));
}

static ql_err read_all(builder *b, const ql_datasets *files) {
    QL_TRY(choose_strategy(b->o->config, &b->strategy));
    QL_CHECK(files->count > 0, QL_USAGE, "no data set is given; set dataset to a file of records");
    ql_unique unique = {0};
    ql_err e = ql_ok();
    for (size_t i = 0; i < files->count && !ql_bad(e); i++) e = read_set(b, &files->item[i], &unique);
    ql_unique_free(&unique);
    QL_TRY(e);
    return check_something_is_left(b);
}

static void free_builder(builder *b) {
    for (int i = 0; i < b->most_threads; i++) {
        if (b->bench[i].encoder) ql_encoder_close(b->bench[i].encoder);
        ql_record_free(&b->bench[i].record);
    }
    ql_unique_free(&b->seen);
    free(b->bench);
    for (int i = 0; i < 2; i++) free(b->batch[i].item);
}

ql_err ql_corpus_read(const ql_datasets *files, const ql_corpus_options *o, ql_corpus *out) {
    *out = (ql_corpus){0};
    int most = (int)ql_max(omp_get_max_threads(), o->threads_alone);
    builder b = {.o = o,
                 .rules = {o->tokenizer, o->chat, ql_train_on_of(o->config), o->facts},
                 .corpus = out,
                 .bench = QL_NEW_ARRAY(bench, (size_t)most),
                 .most_threads = most,
                 .batch = {{.item = QL_NEW_ARRAY(outcome, BATCH_RECORDS)}, {.item = QL_NEW_ARRAY(outcome, BATCH_RECORDS)}}};
    ql_err e = read_all(&b, files);
    free_builder(&b);
    if (ql_bad(e))
        ql_corpus_free(out);
    else
        ql_corpus_seal(out);
    return e;
}
