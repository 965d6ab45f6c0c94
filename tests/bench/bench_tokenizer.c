/* How fast text becomes ids, on one thread:
 *   bench_tokenizer MODEL_FOLDER FILE.jsonl [PASSES]
 * Every string value of every line is one text. Prints the time to open the folder, and the best
 * pass in MB/s. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "worker/data/tokenizer/tokenizer.h"

typedef struct {
    ql_str text;
    size_t *end;
    size_t n, capacity;
} corpus;

static void collect(corpus *c, const ql_json *object) {
    for (void *it = ql_json_first(object); it; it = ql_json_next(object, it)) {
        size_t n;
        const char *text = ql_json_text(ql_json_value(it), &n);
        if (!text) continue;
        ql_str_put(&c->text, text, n);
        QL_PUSH(c->end, c->n, c->capacity, c->text.size);
    }
}

static ql_err read_corpus(const char *path, corpus *c) {
    ql_map map;
    QL_TRY(ql_map_open(path, &map));
    const char *p = (const char *)map.data, *end = p + map.size;
    ql_err e = ql_ok();
    for (size_t line = 1; p < end && !ql_bad(e); line++) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        if (!stop) stop = end;
        ql_json *value = NULL;
        e = ql_json_parse(p, (size_t)(stop - p), path, line, &value);
        collect(c, value);
        ql_json_free(value);
        p = stop + (stop < end);
    }
    ql_map_close(&map);
    return e;
}

static ql_err pass(ql_encoder *encoder, const corpus *c, ql_ids *ids, double *seconds) {
    double begin = ql_seconds();
    size_t start = 0;
    ids->count = 0;
    for (size_t i = 0; i < c->n; i++) {
        QL_TRY(ql_encode(encoder, c->text.data + start, c->end[i] - start, true, ids));
        start = c->end[i];
    }
    *seconds = ql_seconds() - begin;
    return ql_ok();
}

static ql_err run(const char *folder, const char *file, int passes) {
    corpus c = {0};
    ql_tokenizer *tokenizer;
    ql_ids ids = {0};
    double best = 1e30, first = 0, seconds;
    QL_TRY(read_corpus(file, &c));
    double begin = ql_seconds();
    QL_TRY(ql_tokenizer_open(folder, &tokenizer));
    double opened = ql_seconds() - begin;
    for (int i = 0; i < passes; i++) {
        ql_encoder *encoder = ql_encoder_open(tokenizer); /* a new one: no pass has a warm cache */
        QL_TRY(pass(encoder, &c, &ids, &seconds));
        ql_encoder_close(encoder);
        if (i == 0) first = seconds;
        if (seconds < best) best = seconds;
    }
    double mb = (double)c.text.size / 1e6;
    printf("{\"texts\": %zu, \"bytes\": %zu, \"ids\": %zu, \"open_seconds\": %.3f, \"first_mb_per_s\": %.2f, "
           "\"mb_per_s\": %.2f}\n",
           c.n, c.text.size, ids.count, opened, mb / first, mb / best);
    ql_tokenizer_close(tokenizer);
    free(ids.id);
    free(c.end);
    ql_str_free(&c.text);
    return ql_ok();
}

int main(int argc, char **argv) {
    if (argc < 3) {
        fprintf(stderr, "usage: bench_tokenizer MODEL_FOLDER FILE.jsonl [PASSES]\n");
        return QL_USAGE;
    }
    ql_err e = run(argv[1], argv[2], argc > 3 ? atoi(argv[3]) : 3);
    if (ql_bad(e)) fprintf(stderr, "qlora: error: %s\n", ql_err_text());
    return e.code;
}
