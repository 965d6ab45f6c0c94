/* Regular expressions, normalizers and pre-tokenizers one by one against Hugging Face:
 * tests/golden/tokenizer.py. */
#include "tests/tokenizer/setup.h"
#include "worker/data/tokenizer/part.h"
#include "worker/data/tokenizer/text.h"

static size_t characters(const char *text, size_t n) {
    size_t count = 0;
    uint32_t c;
    for (size_t at = 0; at < n; count++) at += ql_utf8_get(text + at, &c);
    return count;
}

/* Golden offsets count characters; empty matches are not in them. */
static void check_matches(const ql_pattern *p, const char *regex, const ql_json *text, const ql_json *want) {
    ql_matcher *m = ql_matcher_open();
    size_t n = 0, size;
    bool found;
    const char *all = ql_json_text(text, &size);
    ql_search s = ql_search_begin(p, m, all, size);
    for (;;) {
        good(ql_search_next(p, m, &s, &found));
        if (!found) break;
        if (s.start == s.end) continue;
        const ql_json *span = ql_json_at(want, n++);
        size_t start = characters(s.text, s.start), end = characters(s.text, s.end);
        if (ql_json_int(ql_json_at(span, 0), -1) != (int64_t)start ||
            ql_json_int(ql_json_at(span, 1), -1) != (int64_t)end) {
            fail_msg("/%s/ in '%s': match %zu is %zu to %zu", regex, s.text, n, start, end);
        }
    }
    if (n != ql_json_size(want)) fail_msg("/%s/ in '%s': %zu matches", regex, s.text, n);
    ql_matcher_close(m);
}

static void regexes_match(void **state) {
    (void)state;
    ql_json *document = golden("regex.json");
    const ql_json *cases = ql_json_get(document, "cases"), *texts = ql_json_get(document, "texts");
    assert_true(ql_json_size(cases) > 50);
    for (size_t i = 0; i < ql_json_size(cases); i++) {
        size_t n;
        const ql_json *one = ql_json_at(cases, i), *matches = ql_json_get(one, "matches");
        const char *regex = ql_json_text(ql_json_get(one, "regex"), &n);
        ql_pattern *p;
        good(ql_pattern_regex(regex, n, regex, &p));
        for (size_t k = 0; k < ql_json_size(texts); k++) {
            check_matches(p, regex, ql_json_at(texts, k), ql_json_at(matches, k));
        }
        ql_pattern_free(p);
    }
    ql_json_free(document);
}

static void check_normalizer(const ql_pipeline *line, ql_matcher *m, const ql_json *text, const ql_json *want,
                             size_t i) {
    ql_pieces p = {0};
    p.text.data = ql_json_text(text, &p.text.size);
    for (size_t k = 0; k < line->n; k++) good(line->part[k].kind->normalize(&line->part[k], m, &p.text));
    size_t n;
    const char *expected = ql_json_text(want, &n);
    if (p.text.size != n || memcmp(p.text.data, expected, n) != 0) {
        fail_msg("part %zu: '%s' becomes '%.*s', expected '%s'", i, ql_json_text(text, NULL), (int)p.text.size,
                 p.text.data, expected);
    }
    ql_pieces_free(&p);
}

static void check_pieces(const ql_pieces *p, const ql_json *text, const ql_json *want, size_t i) {
    size_t k = 0;
    for (size_t j = 0; j < p->n_piece; j++) {
        size_t n, size = p->piece[j].end - p->piece[j].start;
        const char *expected = ql_json_text(ql_json_at(want, k++), &n), *got = p->text.data + p->piece[j].start;
        if (!expected || size != n || memcmp(got, expected, n) != 0) {
            fail_msg("part %zu: '%s': piece %zu is '%.*s', expected '%s'", i, ql_json_text(text, NULL), k, (int)size,
                     got, expected);
        }
    }
    if (k != ql_json_size(want)) fail_msg("part %zu: '%s': %zu pieces", i, ql_json_text(text, NULL), k);
}

static void check_pre_tokenizer(const ql_pipeline *line, ql_matcher *m, const ql_json *text, const ql_json *want,
                                size_t i) {
    ql_pieces p = {0};
    p.text.data = ql_json_text(text, &p.text.size);
    ql_piece whole = {0, (uint32_t)p.text.size, true};
    if (p.text.size) QL_PUSH(p.piece, p.n_piece, p.piece_capacity, whole);
    for (size_t k = 0; k < line->n; k++) good(line->part[k].kind->split(&line->part[k], m, &p));
    check_pieces(&p, text, want, i);
    ql_pieces_free(&p);
}

static void parts_match(void **state) {
    (void)state;
    ql_json *document = golden("parts.json");
    const ql_json *cases = ql_json_get(document, "cases"), *texts = ql_json_get(document, "texts");
    ql_matcher *m = ql_matcher_open();
    assert_true(ql_json_size(cases) > 50);
    for (size_t i = 0; i < ql_json_size(cases); i++) {
        const ql_json *part = ql_json_get(ql_json_at(cases, i), "part");
        const ql_json *results = ql_json_get(ql_json_at(cases, i), "results");
        ql_pipeline normalizer = {0}, pre_tokenizer = {0};
        good(ql_pipeline_load(&ql_normalizers, part, "part", &normalizer));
        good(ql_pipeline_load(&ql_pre_tokenizers, part, "part", &pre_tokenizer));
        assert_true(normalizer.n + pre_tokenizer.n > 0);
        for (size_t k = 0; k < ql_json_size(texts); k++) {
            const ql_json *text = ql_json_at(texts, k), *want = ql_json_at(results, k);
            if (normalizer.n)
                check_normalizer(&normalizer, m, text, want, i);
            else
                check_pre_tokenizer(&pre_tokenizer, m, text, want, i);
        }
        ql_pipeline_free(&normalizer);
        ql_pipeline_free(&pre_tokenizer);
    }
    ql_matcher_close(m);
    ql_json_free(document);
}

static void bytes_have_stand_ins(void **state) {
    (void)state;
    for (int b = 0; b < 256; b++) assert_int_equal(ql_char_to_byte(ql_byte_to_char((uint8_t)b)), b);
    assert_int_equal(ql_byte_to_char(' '), 0x120);
    assert_int_equal(ql_byte_to_char('\n'), 0x10A);
    assert_int_equal(ql_char_to_byte(0x144), -1);
    assert_int_equal(ql_char_to_byte(' '), -1);
}

static void lossy_is(const char *bytes, size_t n, const char *want) {
    ql_str out = {0};
    ql_utf8_lossy(&out, bytes, n);
    assert_string_equal(out.data, want);
    ql_str_free(&out);
}

/* One U+FFFD for each maximal part, as Unicode recommends and Rust does. */
static void broken_utf8_is_replaced(void **state) {
    (void)state;
#define R "\xEF\xBF\xBD"
    lossy_is("a\xFFz", 3, "a" R "z");
    lossy_is("\xF0\x9F\x98", 3, R);
    lossy_is("\xF0\x9F\x98!", 4, R "!");
    lossy_is("\xE0\x80\x80", 3, R R R);
    lossy_is("\xED\xA0\x80", 3, R R R);
    lossy_is("\xC0\xAF\xF4\x90\x80\x80", 6, R R R R R R);
    lossy_is("\xC3\xC3\xA9", 3, R "\xC3\xA9");
    assert_int_equal(ql_utf8_check("ab\xC3\xA9\xF0\x9F\x98\x80x", 9), 9);
    assert_int_equal(ql_utf8_check("12345678\xC3", 9), 8);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(regexes_match), cmocka_unit_test(parts_match),
                                       cmocka_unit_test(bytes_have_stand_ins),
                                       cmocka_unit_test(broken_utf8_is_replaced)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
