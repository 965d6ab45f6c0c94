/* Reading: records are taken from the files in batches, each batch is parsed and tokenised by all
 * threads, and the results are appended in input order; so neither the number of threads nor
 * their luck can be seen in the corpus, and the first mistake in the file is the one reported. */
#include "worker/data/dataset.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/pulse.h"
#include "worker/data/corpus_build.h"
#include "worker/data/files.h"
#include "worker/data/prepared.h"
#include "worker/data/reader.h"
#include "worker/data/target.h"
#include "worker/data/unique.h"

enum { BATCH_RECORDS = 1024, BATCH_BYTES = 16 << 20, CHUNK = 4 /* records a thread takes at once */ };
static const double patience = 2.0; /* seconds before progress is worth a line */

/* What became of one record. */
typedef struct {
    ql_span span;
    ql_tokens tokens;
    ql_err verdict;
    char *sentence; /* of a bad verdict */
} outcome;

/* One of each for every thread. */
typedef struct {
    ql_encoder *encoder;
    ql_record record;
} bench;

typedef enum { TOO_LONG_DROP, TOO_LONG_TRUNCATE, TOO_LONG_ERROR } too_long;

typedef struct {
    const ql_corpus_options *o;
    ql_corpus *corpus;
    ql_store *store; /* of the current set */
    ql_prepared *prepared; /* its cache; NULL: none */
    too_long strategy;
    bench *bench; /* [threads] */
    int threads;
    outcome *batch; /* [BATCH_RECORDS] */
    int batched;
    double began;
    int64_t left; /* records that may still be taken of the current set */
    /* of the current file */
    const char *path;
    ql_field_names names;
    const ql_record_format *format; /* NULL before its first record */
    bool completion_only;
    int64_t prompts, prompts_changed;
    size_t first_changed_line;
} builder;

static ql_err choose_format(builder *b, const ql_json *record, const ql_span *s) {
    QL_TRY(ql_err_prefix(ql_record_format_of(record, &b->names, &b->format), "%s:%zu", b->path, s->line));
    ql_tristate wish = b->o->config->completion_only_loss;
    QL_CHECK(b->format->has_prompt || wish != QL_TRUE, QL_USAGE,
             "%s:%zu: completion_only_loss is true, but text records have no completion; set it to auto, or give "
             "records with a prompt",
             b->path, s->line);
    b->completion_only = b->format->has_prompt && wish != QL_FALSE;
    ql_set_facts *facts = &b->store->facts;
    facts->completion_only |= b->completion_only;
    bool another = facts->format[0] && strcmp(facts->format, b->format->name) != 0;
    snprintf(facts->format, sizeof facts->format, "%s", another ? "several formats" : b->format->name);
    return ql_ok();
}

/* The first record of a file decides its format, before the threads look at the others. */
static ql_err detect_format(builder *b, const ql_span *s) {
    ql_json *record;
    QL_TRY(ql_span_parse(s, b->path, &record));
    ql_err e = choose_format(b, record, s);
    ql_json_free(record);
    return e;
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

static ql_err tokenise(const builder *b, bench *own, const ql_json *record, outcome *out) {
    const ql_tokenizer *t = b->o->tokenizer;
    ql_record_clear(&own->record);
    QL_TRY(ql_err_prefix(b->format->read(record, &b->names, &own->record), "%s:%zu", b->path, out->span.line));
    ql_err e = ql_tokens_make(own->encoder, ql_tokenizer_eos(t), ql_tokenizer_eos_id(t), &own->record,
                              b->completion_only, &out->tokens);
    QL_TRY(ql_err_prefix(e, "%s:%zu", b->path, out->span.line));
    return check_vocabulary(b, &out->tokens.ids, &out->span);
}

static ql_err work_on(const builder *b, bench *own, outcome *out) {
    ql_json *record;
    QL_TRY(ql_span_parse(&out->span, b->path, &record));
    ql_err e = tokenise(b, own, record, out);
    ql_json_free(record);
    return e;
}

static void work_on_batch(builder *b) {
    int threads = (int)ql_min(b->threads, ql_ceil_div(b->batched, CHUNK));
#pragma omp parallel for schedule(dynamic, CHUNK) num_threads(threads) if (threads > 1)
    for (int i = 0; i < b->batched; i++) {
        outcome *out = &b->batch[i];
        bench *own = &b->bench[omp_get_thread_num()];
        if (!own->encoder) own->encoder = ql_encoder_open(b->o->tokenizer);
        out->verdict = work_on(b, own, out);
        /* the sentence belongs to this thread; carry it over */
        ql_pulse_beat();
        if (ql_bad(out->verdict)) out->sentence = ql_strdup(ql_err_text());
    }
}

static char *place_of(const builder *b, const outcome *x) {
    return ql_format("%s:%zu", b->path, x->span.line);
}

/* Applies excess_length_strategy; `keep` is false where the record is dropped. */
static ql_err fit_length(builder *b, outcome *x, bool *keep) {
    size_t limit = (size_t)ql_min(b->o->config->max_length, INT32_MAX);
    *keep = true;
    if (x->tokens.ids.count <= limit) return ql_ok();
    QL_CHECK(b->strategy != TOO_LONG_ERROR, QL_DATA,
             "%s:%zu: the record has %zu tokens, more than max_length %zu; raise max_length, or set "
             "excess_length_strategy to drop or truncate",
             b->path, x->span.line, x->tokens.ids.count, limit);
    if (b->strategy == TOO_LONG_TRUNCATE) {
        x->tokens.ids.count = limit;
        b->store->facts.truncated++;
        return ql_ok();
    }
    *keep = false;
    b->store->facts.dropped_long++;
    if (!b->store->facts.first_long) b->store->facts.first_long = place_of(b, x);
    return ql_ok();
}

static void note_prompt(builder *b, const outcome *x) {
    b->prompts++;
    if (x->tokens.prompt_changed && b->prompts_changed++ == 0) b->first_changed_line = x->span.line;
}

static ql_err append(builder *b, outcome *x) {
    ql_set_facts *facts = &b->store->facts;
    int64_t record = facts->records++;
    note_prompt(b, x);
    size_t whole = x->tokens.ids.count;
    bool keep;
    QL_TRY(fit_length(b, x, &keep));
    if (!keep) return ql_ok();
    size_t n = x->tokens.ids.count;
    if (ql_count_targets(x->tokens.is_target, n) == 0) {
        facts->without_targets++;
        if (!facts->first_untargeted) facts->first_untargeted = place_of(b, x);
        keep = b->o->keep_untargeted && n > 0;
        if (!keep && n < whole) facts->truncated--; /* "truncated" counts what is kept */
    }
    if (keep) ql_store_add(b->store, record, x->tokens.ids.id, x->tokens.is_target, n);
    return ql_ok();
}

static ql_err append_batch(builder *b) {
    ql_err e = ql_ok();
    for (int i = 0; i < b->batched; i++) {
        outcome *x = &b->batch[i];
        if (!ql_bad(e)) e = ql_bad(x->verdict) ? ql_fail(x->verdict.code, "%s", x->sentence) : append(b, x);
        ql_tokens_free(&x->tokens);
        free(x->sentence);
        *x = (outcome){0};
    }
    b->batched = 0;
    return e;
}

/* Takes records until the batch is full. A damaged array is reported after the records before it. */
static ql_err collect(builder *b, ql_reader *r, bool *more) {
    size_t bytes = 0;
    *more = b->left > 0;
    while (*more && b->batched < BATCH_RECORDS && bytes < BATCH_BYTES) {
        QL_TRY(ql_reader_next(r, &b->batch[b->batched].span, more));
        if (!*more) break;
        bytes += b->batch[b->batched++].span.size;
        *more = --b->left > 0;
    }
    return ql_ok();
}

static void show_progress(const builder *b, const ql_reader *r, bool last) {
    if (ql_seconds() - b->began < patience) return;
    char text[64];
    snprintf(text, sizeof text, "%3.0f %%, %lld records", 100.0 * ql_reader_part(r), (long long)b->store->facts.records);
    ql_prepared_tell(b->prepared, text);
    ql_progress(last, "reading %s: %3.0f %%, %lld records, %zu tokens", b->path,
                100.0 * ql_reader_part(r), (long long)(b->corpus->records + b->store->facts.records), b->corpus->count + b->store->count);
}

static ql_err read_records(builder *b, ql_reader *r) {
    for (bool more = true; more;) {
        ql_err reading = collect(b, r, &more);
        char *sentence = ql_bad(reading) ? ql_strdup(ql_err_text()) : NULL;
        ql_err e = b->batched && !b->format ? detect_format(b, &b->batch[0].span) : ql_ok();
        if (!ql_bad(e)) {
            work_on_batch(b);
            e = append_batch(b);
        }
        b->batched = 0;
        if (!ql_bad(e) && sentence) e = ql_fail(reading.code, "%s", sentence);
        free(sentence);
        QL_TRY(e);
        ql_reader_release(r);
        ql_pulse_beat();
        show_progress(b, r, !more);
    }
    return ql_ok();
}

static void warn_of_changed_prompts(builder *b) {
    if (b->prompts_changed == 0) return;
    ql_set_facts *facts = &b->store->facts;
    char *warning = ql_format(
        "%s:%zu: the prompt's last token changes when the completion follows (%lld of %lld records); the model will "
        "be used with another context than it learns; end prompts where a word or a line ends",
        b->path, b->first_changed_line, (long long)b->prompts_changed, (long long)b->prompts);
    QL_PUSH(facts->warning, facts->warnings, facts->warnings_capacity, warning);
}

static ql_err read_file(builder *b, const ql_dataset_spec *d, const char *path) {
    b->path = path;
    ql_pulse_what(path);
    b->names = ql_field_names_of(d, b->o->config);
    b->format = NULL;
    b->prompts = b->prompts_changed = 0;
    int64_t before = b->store->facts.records;
    ql_reader reader;
    ql_reader_options how = ql_reader_options_of(d, b->o->config);
    QL_TRY(ql_reader_open(path, &how, &reader));
    ql_err e = read_records(b, &reader);
    ql_reader_close(&reader);
    QL_TRY(e);
    QL_CHECK(b->store->facts.records > before, QL_DATA, "%s:1: holds no records; expected at least one", path);
    warn_of_changed_prompts(b);
    return ql_ok();
}

/* Every rank reads the same data and would say the same. */
static void say_warnings(const ql_set_facts *f) {
    for (size_t i = 0; i < f->warnings && ql_log_rank() == 0; i++) ql_warn("%s", f->warning[i]);
}

static void take_set(builder *b, const ql_dataset_spec *d, ql_unique *unique) {
    size_t before = b->corpus->documents;
    bool deduplicate = b->o->training && b->o->config->deduplicate;
    ql_corpus_take(b->corpus, b->store, deduplicate ? unique : NULL);
    if (b->o->training) ql_corpus_weigh(b->corpus, before, ql_dataset_weight(d), b->o->config->seed);
    say_warnings(&b->store->facts);
}

static ql_err read_files(builder *b, const ql_dataset_spec *d, const ql_file_list *files) {
    ql_err e = ql_ok();
    b->store = ql_store_new();
    b->left = ql_dataset_max_records(d);
    ql_prepared_begin(b->prepared, b->store);
    for (size_t i = 0; i < files->count && b->left > 0 && !ql_bad(e); i++) e = read_file(b, d, files->path[i]);
    if (!ql_bad(e)) ql_prepared_keep(b->prepared, b->store);
    else ql_store_free(b->store);
    return e;
}

static ql_err read_set(builder *b, const ql_dataset_spec *d, ql_unique *unique) {
    ql_file_list files;
    ql_err e = ql_ok();
    QL_TRY(ql_files_of(d->path, &files));
    b->path = d->path;
    ql_pulse_what(d->path);
    b->prepared = ql_prepared_open(b->o, d, &files);
    b->store = b->prepared ? ql_prepared_find(b->prepared) : NULL;
    if (!b->store) e = read_files(b, d, &files);
    if (!ql_bad(e)) take_set(b, d, unique);
    ql_prepared_close(b->prepared);
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
        "have no token to train on; raise max_length, or set excess_length_strategy to truncate",
        longs, (long long)c->records, (long long)c->dropped_long, (long long)b->o->config->max_length,
        (long long)c->without_targets);
}

static ql_err read_all(builder *b, const ql_datasets *files) {
    QL_TRY(choose_strategy(b->o->config, &b->strategy));
    QL_CHECK(files->count > 0, QL_USAGE, "no data set is given; set dataset to a file of records");
    if (!ql_tokenizer_eos(b->o->tokenizer) && ql_log_rank() == 0)
        ql_warn(
            "the tokenizer has no eos_token, so nothing teaches the model to stop; name one in tokenizer_config.json");
    ql_unique unique = {0};
    ql_err e = ql_ok();
    for (size_t i = 0; i < files->count && !ql_bad(e); i++) e = read_set(b, &files->item[i], &unique);
    ql_unique_free(&unique);
    QL_TRY(e);
    return check_something_is_left(b);
}

static void free_builder(builder *b) {
    for (int i = 0; i < b->threads; i++) {
        if (b->bench[i].encoder) ql_encoder_close(b->bench[i].encoder);
        ql_record_free(&b->bench[i].record);
    }
    free(b->bench);
    free(b->batch);
}

ql_err ql_corpus_read(const ql_datasets *files, const ql_corpus_options *o, ql_corpus *out) {
    *out = (ql_corpus){0};
    int threads = omp_get_max_threads();
    builder b = {.o = o,
                 .corpus = out,
                 .bench = QL_NEW_ARRAY(bench, (size_t)threads),
                 .threads = threads,
                 .batch = QL_NEW_ARRAY(outcome, BATCH_RECORDS),
                 .began = ql_seconds()};
    ql_err e = read_all(&b, files);
    free_builder(&b);
    if (ql_bad(e))
        ql_corpus_free(out);
    else
        ql_corpus_seal(out);
    return e;
}
