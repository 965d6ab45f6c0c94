/* qlora prepare: makes the files of prepared data that a run would make at its start. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "worker/gate.h"
#include "worker/tool/data.h"
#include "worker/tool/tool.h"

static void print_store(const ql_store *s) {
    char bytes[32];
    printf("%s\n", s->origin ? s->origin : "a data set that is not kept");
    if (s->map.data) printf("          %s, %s\n", s->map.path, ql_text_bytes(bytes, s->map.size));
}

static void print_corpus(const char *name, const ql_corpus *c, const ql_row_set *r) {
    if (c->records == 0) return;
    printf("%s %lld records (%s): %lld documents, %lld tokens, of which %lld targets, in %lld rows\n", name, (long long)c->records, c->format,
           (long long)c->documents, (long long)r->tokens, (long long)r->targets, (long long)r->rows);
    printf("          dropped for length %lld, truncated %lld, without targets %lld, left out as like another %lld\n", (long long)c->dropped_long,
           (long long)c->truncated, (long long)c->without_targets, (long long)c->duplicates);
}

static void count_stores(const ql_corpus *c, size_t *stores, size_t *found, size_t *kept) {
    *stores += c->stores;
    for (size_t i = 0; i < c->stores; i++) {
        *found += c->store[i]->found;
        *kept += c->store[i]->map.data != NULL;
    }
}

/* QL_IO where something could not be kept; a line before it has said why. */
static ql_err report(const ql_job *j) {
    size_t stores = 0, found = 0, kept = 0;
    for (size_t i = 0; i < j->train.stores; i++) print_store(j->train.store[i]);
    for (size_t i = 0; i < j->eval.stores; i++) print_store(j->eval.store[i]);
    print_corpus("training ", &j->train, &j->train_rows);
    print_corpus("evaluation", &j->eval, &j->eval_rows);
    count_stores(&j->train, &stores, &found, &kept);
    count_stores(&j->eval, &stores, &found, &kept);
    QL_CHECK(kept == stores, QL_IO, "prepare: %zu of %zu data sets could not be kept; dataset_cache: FOLDER names another place", stores - kept, stores);
    if (found == stores) printf("nothing to do: all is prepared already\n");
    return ql_ok();
}

static ql_err prepare(char **words, size_t n, ql_job *j) {
    j->prepares = true;
    QL_TRY(ql_tool_read_config("prepare", words, n, j));
    QL_CHECK(strcmp(j->config.dataset_cache, "false"), QL_USAGE, "prepare: dataset_cache is false, so that nothing is kept; name a folder, or leave it out");
    QL_TRY(ql_tool_read_data(j));
    QL_TRY(report(j));
    if (fflush(stdout) != 0) return ql_fail_errno("the summary cannot be written");
    ql_gate_show(j);
    return ql_gate_judge(j); /* what is kept is what was read, good or bad */
}

ql_err ql_do_prepare(int argc, char **argv) {
    char **words = QL_NEW_ARRAY(char *, (size_t)argc + 1);
    size_t n;
    ql_job j = {0};
    ql_err e = ql_tool_arguments("prepare", argc, argv, NULL, 0, words, &n);
    if (!ql_bad(e)) e = prepare(words, n, &j);
    ql_job_close(&j);
    free(words);
    return e;
}
