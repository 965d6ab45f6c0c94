/* Compressed files: the same records and lines as those of the plain file, and one line for what is wrong with them. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/data/fixture.h"
#include "tests/data/pack_file.h"
#include "worker/data/read/reader.h"

#define GOOD "{\"text\": \"good\"}\n"

static const struct {
    pack_file  *pack;
    const char *name;
    const char *damaged; /* by what is wrong at the end of a small member: zlib has given its text out by then, zstd has not */
} way[] = {{as_gzip, "gzip", "bad.jsonl:6: the gzip data are damaged ("}, {as_zstd, "zstd", "bad.jsonl:3: the zstd data are damaged ("}};

static ql_str packed(size_t w, const char *text) {
    ql_str out = {0};
    way[w].pack(text, strlen(text), &out);
    return out;
}

static void test_same_as_plain(void **state) {
    (void)state;
    static const char *const text[] = {"\xef\xbb\xbf\r\n" GOOD "\n{\"text\": \"two\"}", "[" GOOD ",\n" GOOD "]\n", GOOD};
    for (size_t i = 0; i < QL_LEN(text); i++) {
        char *plain = shown_file(file_of_text(0, text[i]));
        for (size_t w = 0; w < QL_LEN(way); w++) {
            ql_str bytes = packed(w, text[i]);
            expect_file(named_file("any.name", bytes.data, bytes.size), plain);
            ql_str_free(&bytes);
        }
        free(plain);
    }
}

/* Records of all lengths, so that windows end everywhere in them; several members or frames, cut anywhere. */
static ql_str many_records(bool array) {
    ql_str text = {0};
    for (int i = 0; i < 3000; i++) {
        ql_str_printf(&text, "%s{\"text\": \"%d", array ? i ? ",\n" : "[" : i % 7 ? "\n" : "\n\r\n ", i);
        for (int k = 0; k < i % 997; k++) ql_str_printf(&text, "%s", k % 5 ? "x" : "\\\"]},");
        ql_str_puts(&text, "\"}");
    }
    ql_str_puts(&text, array ? "\n]" : "\n");
    return text;
}

static void expect_same_records(const char *plain_path, const char *packed_path) {
    const ql_reader_options o = {"text", QL_SAMPLE_LINE};
    ql_reader a, b;
    ql_span   x, y;
    assert_false(ql_bad(ql_reader_open(plain_path, &o, &a)));
    assert_false(ql_bad(ql_reader_open(packed_path, &o, &b)));
    for (bool more = true, other = true; more;) {
        assert_false(ql_bad(ql_reader_next(&a, &x, &more)));
        assert_false(ql_bad(ql_reader_next(&b, &y, &other)));
        assert_int_equal(more, other);
        if (!more) break;
        assert_int_equal(x.line, y.line);
        assert_int_equal(x.size, y.size);
        assert_memory_equal(x.text, y.text, x.size);
        ql_reader_release(&b);
    }
    ql_reader_close(&a);
    ql_reader_close(&b);
}

static void test_windows_and_members(void **state) {
    (void)state;
    for (int array = 0; array < 2; array++) {
        ql_str text = many_records(array);
        for (size_t w = 0; w < QL_LEN(way); w++) {
            ql_str bytes = {0};
            for (size_t at = 0, n; at < text.size; at += n) {
                n = (size_t)ql_min((int64_t)(text.size - at), 199999);
                way[w].pack(text.data + at, n, &bytes);
            }
            expect_same_records(file_of(0, text.data, text.size), file_of(1, bytes.data, bytes.size));
            ql_str_free(&bytes);
        }
        ql_str_free(&text);
    }
}

static void test_cut_off(void **state) {
    (void)state;
    for (size_t w = 0; w < QL_LEN(way); w++) {
        ql_str bytes = packed(w, GOOD GOOD "{\"text\": \"the last\"}\n");
        char  *sentence = ql_format("the %s data end too soon", way[w].name);
        for (size_t n = 4; n < bytes.size; n++) expect_refused_file(named_file("cut.jsonl", bytes.data, n), "cut.jsonl:", sentence, NULL);
        free(sentence);
        ql_str_free(&bytes);
    }
}

/* The line is that of the first record that could not be read. */
static void test_line_of_damage(void **state) {
    (void)state;
    for (size_t w = 0; w < QL_LEN(way); w++) {
        ql_str bytes = packed(w, GOOD GOOD);
        way[w].pack(GOOD GOOD GOOD, strlen(GOOD GOOD GOOD), &bytes);
        bytes.data[bytes.size - 2] ^= 1; /* of the check sum or length */
        expect_refused_file(named_file("bad.jsonl", bytes.data, bytes.size), way[w].damaged, NULL);
        ql_str_free(&bytes);
    }
}

static void test_what_follows(void **state) {
    (void)state;
    for (size_t w = 0; w < QL_LEN(way); w++) {
        ql_str bytes = packed(w, GOOD);
        ql_str_puts(&bytes, "more words");
        expect_refused_file(named_file("more.jsonl", bytes.data, bytes.size), "more.jsonl:2: something else follows the end of the ", NULL);
        ql_str_free(&bytes);
    }
    ql_str bytes = packed(0, GOOD);
    ql_str_put(&bytes, "\0\0\0\0\0", 5); /* of a tape's block */
    expect_file(named_file("zeros.jsonl", bytes.data, bytes.size), "<s>{good</s>}");
    ql_str_puts(&bytes, "x");
    expect_refused_file(named_file("zeros.jsonl", bytes.data, bytes.size), ":2: something else follows", NULL);
    ql_str_free(&bytes);
}

static void test_what_is_inside(void **state) {
    (void)state;
    static const struct {
        const char *text, *sentence;
    } inside[] = {{"", ":1: is empty"}, {"\x1f\x8b\x08", ":1: is compressed twice"}, {"\xff\xfe{", ":1: is UTF-16 text"},
                  {GOOD "{\"text\": 1}", ":2: the field \"text\" is an integer"}, {GOOD "\n{\"text\":", ":3: is not valid JSON"}};
    for (size_t i = 0; i < QL_LEN(inside); i++)
        for (size_t w = 0; w < QL_LEN(way); w++) {
            ql_str bytes = packed(w, inside[i].text);
            expect_refused_file(named_file("inside", bytes.data, bytes.size), inside[i].sentence, NULL);
            ql_str_free(&bytes);
        }
}

/* 256 MiB of the same in a few thousand bytes: as blank lines, which take no memory, and as one record, which is too large. */
static void test_bombs(void **state) {
    (void)state;
    enum { BYTES = 80 << 20 };
    char *bomb = ql_alloc(BYTES);
    for (size_t w = 0; w < QL_LEN(way); w++) {
        ql_str bytes = {0};
        memset(bomb, '\n', BYTES);
        memcpy(bomb, GOOD, strlen(GOOD));
        way[w].pack(bomb, BYTES, &bytes);
        expect_refused_file(named_file("bomb", bytes.data, bytes.size), "bomb:", "more than 500 to 1", "unpack the file first", NULL);
        bytes.size = 0;
        memset(bomb, 'x', BYTES);
        way[w].pack(bomb, BYTES, &bytes);
        expect_refused_file(named_file("bomb", bytes.data, bytes.size), "bomb:1: ", "to 1", NULL);
        ql_str_free(&bytes);
    }
    free(bomb);
}

static void test_large_windows(void **state) {
    (void)state;
    /* A frame's head that asks for a window of 2 GiB, and a raw block. */
    static const char frame[] = "\x28\xb5\x2f\xfd\x00\xa8\x09\x00\x00x";
    expect_refused_file(named_file("long", frame, sizeof frame - 1), "long:1: the zstd data need a window of more than 128 MiB", "--long=31", NULL);
}

static void test_changed_while_read(void **state) {
    (void)state;
    const ql_reader_options o = {"text", QL_SAMPLE_LINE};
    ql_reader r;
    ql_span   s;
    bool      more;
    const char *path = file_of_text(0, GOOD GOOD);
    assert_false(ql_bad(ql_reader_open(path, &o, &r)));
    assert_false(ql_bad(ql_reader_next(&r, &s, &more)));
    FILE *f = fopen(path, "a");
    assert_non_null(f);
    fputs(GOOD, f);
    fclose(f);
    assert_false(ql_bad(ql_reader_next(&r, &s, &more)));
    assert_int_equal(ql_reader_next(&r, &s, &more).code, QL_DATA);
    assert_non_null(strstr(ql_err_text(), "records-0.jsonl: was changed while it was being read (34 bytes then, 51 now)"));
    ql_reader_close(&r);
    assert_false(ql_bad(ql_reader_open(path, &o, &r)));
    assert_int_equal(remove(path), 0);
    for (int i = 0; i < 3; i++) assert_false(ql_bad(ql_reader_next(&r, &s, &more)));
    assert_int_equal(ql_reader_next(&r, &s, &more).code, QL_DATA);
    assert_non_null(strstr(ql_err_text(), "was removed while"));
    ql_reader_close(&r);
}

/* Its size is the same. */
static void test_written_over_while_read(void **state) {
    (void)state;
    const ql_reader_options o = {"text", QL_SAMPLE_LINE};
    const struct timespec   then[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    ql_reader   r;
    ql_span     s;
    bool        more = true;
    const char *path = file_of_text(0, GOOD);
    assert_false(ql_bad(ql_reader_open(path, &o, &r)));
    assert_false(ql_bad(ql_reader_next(&r, &s, &more)));
    assert_int_equal(utimensat(AT_FDCWD, path, then, 0), 0);
    assert_int_equal(ql_reader_next(&r, &s, &more).code, QL_DATA);
    assert_non_null(strstr(ql_err_text(), "was changed while"));
    ql_reader_close(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_as_plain),  cmocka_unit_test(test_windows_and_members), cmocka_unit_test(test_cut_off),
        cmocka_unit_test(test_line_of_damage), cmocka_unit_test(test_what_follows),        cmocka_unit_test(test_what_is_inside),
        cmocka_unit_test(test_bombs),          cmocka_unit_test(test_large_windows),       cmocka_unit_test(test_changed_while_read),
        cmocka_unit_test(test_written_over_while_read),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
