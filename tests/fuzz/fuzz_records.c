/* Files of records, damaged: read, packed and shown, or refused in one line with the file's name. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "tests/fuzz/common.h"
#include "worker/data/inspect/inspect.h"
#include "worker/data/record/conversation.h"

static const char *const seed[] = {
    "{\"question\": \"Wie hei\xc3\x9ft du?\", \"answer\": \"\\u00e9\\ud83d\\ude00 7\\n#### 7\"}\r\n"
    "\n{\"answer\": \"</s>\", \"question\": \"\"}\n{\"question\": \"ab\", \"answer\": \"ab\", \"id\": [1, 2.5e3, "
    "{\"x\": null}]}",
    "\xef\xbb\xbf[\n  {\"instruction\": \"Say [it]\", \"input\": \"\", \"output\": \"\\\"ho\\\\\\\"\"},\n"
    "  {\"instruction\": \"Add\", \"input\": \"1, 2\", \"output\": \"}],[{\"}, "
    "{\"instruction\":\"a\",\"output\":\"b\"}\n]\n",
    "{\"text\": \"plain\\u0000text\", \"n\": true}\n{\"text\": \"\"}\n{\"text\": \"three\"}\n{\"text\": \"four\"}\n",
    "{\"system\": \"s\", \"conversations\": [{\"from\": \"human\", \"value\": \"a\"}, {\"from\": \"gpt\", \"value\": \"b\"}, "
    "{\"role\": \"tool\", \"content\": \"c\"}], \"weight\": 1}",
    "[{\"prompt\": \"p\", \"completion\": \"c\"}, {\"completion\": \"dd\", \"prompt\": \"x\\n\"}]",
};

static void insist(bool fact, const char *what) {
    if (fact) return;
    fprintf(stderr, "fuzz_records: %s\n", what);
    abort();
}

static void check_refusal(ql_err e, const char *path) {
    insist(e.code == QL_DATA, "a refusal that is not QL_DATA");
    insist(!strncmp(ql_err_text(), path, strlen(path)), "a refusal that does not begin with the file");
    insist(!strchr(ql_err_text(), '\n'), "a refusal of several lines");
}

static void check_corpus(const ql_config *c, const ql_corpus *corpus, const ql_tokenizer *t, FILE *sink) {
    insist(corpus->records == (int64_t)corpus->documents + corpus->dropped_long + corpus->without_targets,
           "records got lost");
    size_t tokens = 0;
    for (size_t i = 0; i < corpus->documents; i++) {
        const ql_document *d = &corpus->document[i];
        insist(d->length >= 2 && d->length <= c->max_length && d->targets > 0 && !d->is_target[0],
               "a document that cannot be");
        tokens += (size_t)d->length;
    }
    ql_row_set rows;
    ql_pack(corpus, c->max_length, true, &rows);
    insist(rows.longest <= c->max_length && rows.tokens == (int64_t)tokens, "rows that cannot be");
    ql_inspection i = {.config = c, .corpus = corpus, .rows = &rows, .tokenizer = t, .to = -1};
    ql_look       look = {true, true, 50};
    ql_str        page = {0};
    insist(!ql_bad(ql_inspect_text(&i, &look, sink)), "inspect fails");
    insist(!ql_bad(ql_inspect_json(&i, sink)), "inspect --json fails");
    insist(!ql_bad(ql_inspect_html(&i, &page)), "inspect --html fails");
    insist(strstr(strstr(page.data, "</script>") + 1, "<script") == NULL, "a script of a record");
    ql_str_free(&page);
    ql_row_set_free(&rows);
}

/* What the audit found can be kept, and comes back. */
static void check_audit(const ql_audit *a) {
    ql_str text = {0}, again = {0};
    ql_json *json;
    ql_audit read;
    ql_audit_put_json(a, &text);
    insist(!ql_bad(ql_json_parse(text.data, text.size, "audit", 1, &json)), "an audit that is not JSON");
    insist(!ql_bad(ql_audit_read_json(json, &read)), "an audit that cannot be read");
    ql_audit_put_json(&read, &again);
    insist(!strcmp(text.data, again.data), "an audit that comes back as another");
    ql_json_free(json);
    ql_audit_free(&read);
    ql_str_free(&text);
    ql_str_free(&again);
}

typedef struct {
    ql_config config;
    ql_tokenizer *tokenizer;
    ql_audit_facts facts;
    FILE *sink;
} fixture;

/* A record that is a conversation becomes a list of messages that is JSON. */
static bool read_conversation(const uint8_t *bytes, size_t n) {
    ql_json *record, *list;
    ql_str messages = {0};
    if (ql_bad(ql_json_parse((const char *)bytes, n, "record", 1, &record))) return false;
    bool good = !ql_bad(ql_conversation_messages(record, "conversations", "system", &messages));
    if (good) {
        insist(!ql_bad(ql_json_parse(messages.data, messages.size, "messages", 1, &list)), "messages that are not JSON");
        insist(ql_json_is(list, QL_JSON_ARRAY) && ql_json_size(list) > 0, "no messages");
        ql_json_free(list);
    } else {
        insist(!strchr(ql_err_text(), '\n'), "a refusal of several lines");
    }
    ql_json_free(record);
    ql_str_free(&messages);
    return good;
}

static bool read_records(void *ctx, const uint8_t *bytes, size_t n) {
    fixture *f = ctx;
    const char *path = ql_fuzz_file("records.jsonl", bytes, n);
    ql_dataset_spec spec = {.path = (char *)(uintptr_t)path};
    ql_datasets files = {.item = &spec, .count = 1};
    ql_corpus_options o = {.config = &f->config, .tokenizer = f->tokenizer, .vocab_size = 260, .facts = &f->facts};
    ql_corpus corpus;
    ql_err e = ql_corpus_read(&files, &o, &corpus);
    if (ql_bad(e))
        check_refusal(e, path);
    else
        check_corpus(&f->config, &corpus, f->tokenizer, f->sink);
    if (!ql_bad(e)) check_audit(&corpus.audit);
    ql_corpus_free(&corpus);
    return !ql_bad(e) | read_conversation(bytes, n);
}

int main(int argc, char **argv) {
    static char truncate[] = "truncate";
    fixture f = {.config = {.max_length = 150, .completion_only_loss = QL_AUTO, .excess_length_strategy = truncate}};
    ql_err e = ql_log_open(NULL, 1, 2); /* as another rank than the first: it says nothing */
    if (!ql_bad(e)) e = ql_tokenizer_open("", &f.tokenizer);
    if (!ql_bad(e)) e = ql_audit_facts_open("", f.tokenizer, 260, 100, &f.facts);
    f.sink = fopen("/dev/null", "w");
    if (ql_bad(e) || !f.sink) return 2;
    ql_str seeds[QL_LEN(seed)] = {0};
    for (size_t i = 0; i < QL_LEN(seed); i++) ql_str_puts(&seeds[i], seed[i]);
    int status = ql_fuzz_main(argc, argv, seeds, QL_LEN(seed), read_records, &f);
    for (size_t i = 0; i < QL_LEN(seed); i++) ql_str_free(&seeds[i]);
    ql_audit_facts_close(&f.facts);
    ql_tokenizer_close(f.tokenizer);
    fclose(f.sink);
    return status;
}
