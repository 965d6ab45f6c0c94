/* CSV, TSV and plain text, damaged, plain and compressed: each row is a record of JSON, or the file is refused in one line. Both ways
 * of reading a file, by its map and through a window, come to the same. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/data/pack_file.h"
#include "tests/fuzz/common.h"
#include "worker/data/read/reader.h"

static const char *const seed[] = {
    "question,answer\r\n\"Wie hei\xc3\x9ft \"\"du\"\"?\",7\r\n\r\n\"two\nlines\",\"1,2\"\n,\n",
    "\xef\xbb\xbf\"a b\",c,\"\"\"d\"\"\"\n1,2,3\n\"\",\"\",\"\"\n x , \"y\",z\"z\"",
    "a\tb\n1\t\"2\t3\"\n\n4\t5\n",
    "one\r\n\n  two\nthree \xf0\x9f\x98\x80\n\n\n\nfour",
};
static const char *const name[] = {"a.csv", "a.tsv", "a.txt", "a.jsonl"};

static void insist(bool fact, const char *what) {
    if (fact) return;
    fprintf(stderr, "fuzz_csv: %s\n", what);
    abort();
}

static void check_refusal(const char *path) {
    insist(!strncmp(ql_err_text(), path, strlen(path)), "a refusal that does not begin with the file");
    insist(!strchr(ql_err_text(), '\n'), "a refusal of several lines");
}

static void check_record(const ql_span *s, const char *path) {
    ql_json *record;
    if (strstr(path, ".jsonl")) return; /* may hold anything */
    insist(!ql_bad(ql_span_parse(s, path, &record)), "a row that is not an object of JSON");
    ql_json_free(record);
}

static ql_err read_records(ql_reader *r, const char *path, ql_str *out) {
    ql_span s;
    size_t  line = 1;
    for (bool more = true; more;) {
        QL_TRY(ql_reader_next(r, &s, &more));
        if (!more) break;
        insist(s.line >= line, "lines that go backwards");
        line = s.line;
        check_record(&s, path);
        ql_str_printf(out, "%zu:", line);
        ql_str_put(out, s.text, s.size);
        if (line % 3 == 0) ql_reader_release(r);
    }
    return ql_ok();
}

/* What a file comes to: its records with their lines, or the sentence behind the path. */
static bool read_all(const char *path, ql_sample_by by, ql_str *out) {
    ql_reader r;
    out->size = 0;
    ql_err e = ql_reader_open(path, &(ql_reader_options){"text", by}, &r);
    if (!ql_bad(e)) {
        e = read_records(&r, path, out);
        ql_reader_close(&r);
    }
    if (ql_bad(e)) {
        check_refusal(path);
        insist(e.code == QL_DATA, "a refusal that is not QL_DATA");
        ql_str_puts(out, ql_err_text() + strlen(path));
    }
    return !ql_bad(e);
}

typedef struct {
    ql_str packed, plain, unpacked;
} fixture;

static bool is_compressed(const uint8_t *bytes, size_t n) {
    return (n >= 2 && !memcmp(bytes, "\x1f\x8b", 2)) || (n >= 4 && (!memcmp(bytes, "\x28\xb5\x2f\xfd", 4) || !memcmp(bytes, "\x50\x2a\x4d\x18", 4)));
}

static bool read_one(fixture *f, const char *file, ql_sample_by by, const uint8_t *bytes, size_t n) {
    bool good = read_all(ql_fuzz_file(file, bytes, n), by, &f->plain);
    if (is_compressed(bytes, n)) return good;
    f->packed.size = 0;
    (n % 2 ? as_gzip : as_zstd)(bytes, n, &f->packed);
    insist(read_all(ql_fuzz_file(file, f->packed.data, f->packed.size), by, &f->unpacked) == good, "a verdict that differs when compressed");
    insist(f->plain.size == f->unpacked.size && (!f->plain.size || !memcmp(f->plain.data, f->unpacked.data, f->plain.size)),
           "records that differ when compressed");
    return good;
}

static bool read_files(void *ctx, const uint8_t *bytes, size_t n) {
    bool good = false;
    for (size_t i = 0; i < QL_LEN(name); i++)
        for (int by = 0; by < (i == 2 ? 3 : 1); by++) good |= read_one(ctx, name[i], (ql_sample_by)by, bytes, n);
    return good;
}

int main(int argc, char **argv) {
    enum { N = QL_LEN(seed) };
    fixture f = {0};
    ql_str  seeds[N + 3] = {0};
    for (size_t i = 0; i < N; i++) ql_str_puts(&seeds[i], seed[i]);
    as_gzip(seed[0], strlen(seed[0]), &seeds[N]);
    as_gzip(seed[0], strlen(seed[0]), &seeds[N]);
    as_zstd(seed[0], strlen(seed[0]), &seeds[N + 1]);
    as_zstd(seed[0], strlen(seed[0]), &seeds[N + 1]);
    ql_str_put(&seeds[N + 2], "\x50\x2a\x4d\x18\4\0\0\0pack", 12); /* a frame to be left out, as pzstd writes it */
    as_zstd(seed[0], strlen(seed[0]), &seeds[N + 2]);
    int status = ql_fuzz_main(argc, argv, seeds, N + 3, read_files, &f);
    for (size_t i = 0; i < N + 3; i++) ql_str_free(&seeds[i]);
    ql_str_free(&f.packed), ql_str_free(&f.plain), ql_str_free(&f.unpacked);
    return status;
}
