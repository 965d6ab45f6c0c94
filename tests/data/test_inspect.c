/* The three ways in which `qlora inspect` shows rows. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "tests/data/fixture.h"
#include "worker/data/inspect/inspect.h"

static const char records[] = "{\"question\": \"1+1?\", \"answer\": \"2\"}\n"
                              "{\"question\": \"\\u001b[31mred\\u009b?\", \"answer\": \"\xc3\xa9\\n3\"}\n"
                              "{\"question\": \"a\", \"answer\": \"b\"}\n";

/* A reading with all that an inspection needs. */
typedef struct {
    reading       r;
    ql_row_set    rows;
    ql_tokenizer *tokenizer;
    ql_inspection i;
} shown_set;

static void show(shown_set *s, const char *text, int64_t max_length, const char *strategy) {
    s->r = reading_of(file_of_text(0, text));
    s->r.config.max_length = max_length;
    s->r.config.packing = strategy != NULL;
    s->r.config.packing_strategy = (char *)(uintptr_t)strategy;
    s->r.config.dataset = (ql_datasets){.item = s->r.spec, .count = 1};
    read_with(&s->r, "");
    if (ql_bad(s->r.verdict)) fail_msg("%s", ql_err_text());
    ql_corpus_pack(&s->r.corpus, &s->r.config, true, &s->rows);
    assert_false(ql_bad(ql_tokenizer_open("", &s->tokenizer)));
    s->i = (ql_inspection){
        .config = &s->r.config, .corpus = &s->r.corpus, .rows = &s->rows, .tokenizer = s->tokenizer, .rows_per_step = 2, .to = -1};
}

static void done_showing(shown_set *s) {
    ql_tokenizer_close(s->tokenizer);
    ql_row_set_free(&s->rows);
    done_with(&s->r);
}

static char *as_json(const shown_set *s) {
    char  *text = NULL;
    size_t n = 0;
    FILE  *f = open_memstream(&text, &n);
    if (ql_bad(ql_inspect_json(&s->i, f))) fail_msg("%s", ql_err_text());
    fclose(f);
    return text;
}

static char *as_text(const shown_set *s, ql_look look) {
    char  *text = NULL;
    size_t n = 0;
    FILE  *f = open_memstream(&text, &n);
    if (ql_bad(ql_inspect_text(&s->i, &look, f))) fail_msg("%s", ql_err_text());
    fclose(f);
    return text;
}

/* ---- for programs ---- */

static void test_json(void **state) {
    (void)state;
    shown_set s;
    show(&s, records, 18, "bfd");
    char *text = as_json(&s);
    /* Row order is a permutation: here row 0 of step 1 is the second that was packed. */
    assert_int_equal(strncmp(text, "{\"row\": 0, \"input_ids\": [", 25), 0);
    assert_non_null(strstr(
        text, "[256, 49, 43, 49, 63, 10, 50, 257, 256, 97, 10, 98, 257], \"labels\": "
              "[-100, -100, -100, -100, -100, -100, 50, 257, -100, -100, -100, 98, 257], \"documents\": "
              "[{\"record\": 0, \"start\": 0, \"length\": 8}, {\"record\": 2, \"start\": 8, \"length\": 5}]}\n"));
    int64_t row = 0;
    for (char *at = text; *at; row++) {
        char    *end = strchr(at, '\n');
        ql_json *v;
        assert_false(ql_bad(ql_json_parse(at, (size_t)(end - at), "row", 1, &v)));
        assert_int_equal(ql_json_int(ql_json_get(v, "row"), -1), row);
        assert_int_equal(ql_json_size(ql_json_get(v, "input_ids")), ql_json_size(ql_json_get(v, "labels")));
        ql_json_free(v);
        at = end + 1;
    }
    assert_int_equal(row, 2);
    free(text);
    done_showing(&s);
}

static void test_json_in_training_order(void **state) {
    (void)state;
    shown_set s;
    show(&s, records, 18, NULL);
    char   *text = as_json(&s);
    int64_t order[3];
    ql_row_order(&s.rows, 42, 0, order);
    const char *at = text;
    for (int i = 0; i < 3; i++) {
        char want[40];
        snprintf(want, sizeof want, "\"documents\": [{\"record\": %d,", (int)order[i]);
        const char *end = strchr(at, '\n'), *found = strstr(at, want);
        assert_true(found && found < end);
        at = end + 1;
    }
    free(text);
    done_showing(&s);
}

static void test_ranges(void **state) {
    (void)state;
    shown_set s;
    show(&s, records, 18, NULL);
    FILE *sink = fopen("/dev/null", "w");
    s.i.from = 3;
    assert_int_equal(ql_inspect_json(&s.i, sink).code, QL_USAGE);
    assert_non_null(strstr(ql_err_text(), "there are rows 0:3"));
    s.i.from = -1;
    assert_int_equal(ql_inspect_json(&s.i, sink).code, QL_USAGE);
    fclose(sink);
    s.i.from = 1, s.i.to = 2;
    char *text = as_json(&s);
    assert_int_equal(strncmp(text, "{\"row\": 1, ", 11), 0);
    assert_null(strstr(text, "{\"row\": 2, "));
    free(text);
    s.i.to = 1;
    text = as_json(&s);
    assert_string_equal(text ? text : "", "");
    free(text);
    done_showing(&s);
}

static void test_write_failure(void **state) {
    (void)state;
    shown_set s;
    show(&s, records, 24, "bfd");
    FILE *full = fopen("/dev/full", "w");
    assert_non_null(full);
    assert_int_equal(ql_inspect_json(&s.i, full).code, QL_IO);
    fclose(full);
    assert_int_equal(ql_inspect_page(&s.i, "/nowhere/page.html").code, QL_IO);
    done_showing(&s);
}

/* ---- for people at a terminal ---- */

static void test_plain_text(void **state) {
    (void)state;
    shown_set s;
    show(&s, records, 18, NULL);
    char *text = as_text(&s, (ql_look){false, false, 80});
    assert_non_null(strstr(text, "question+answer"));
    assert_non_null(strstr(text, "3 read, 3 used"));
    assert_non_null(strstr(text, "{<s>}1+1?\\n\n[[2{</s>}]]\n"));
    assert_non_null(strstr(text, "{<s>}\\x1b[31mred\\x9b?\\n\n[[\xc3\xa9\\n\n3{</s>}]]\n")); /* a terminal is not driven by data */
    assert_non_null(strstr(text, "record 0  "));
    assert_non_null(strstr(text, "records-0.jsonl:1  8 tokens, 2 targets\n"));
    for (const char *c = text; *c; c++) assert_true(*c != '\033' && ((unsigned char)*c < 0x80 || strchr("\xc3\xa9", *c)));
    free(text);
    s.i.boundaries = true;
    text = as_text(&s, (ql_look){false, false, 80});
    assert_non_null(strstr(text, "{<s>}|1|+|1|?|\\n\n|[[2|{</s>}]]\n"));
    free(text);
    done_showing(&s);
}

/* The columns of a line, without the codes of colours. */
static int columns_of(const char *line, const char *end) {
    int columns = 0;
    for (; line < end; line++) {
        if (*line == '\033') line += strcspn(line, "m");
        else columns += ((unsigned char)*line & 0xc0) != 0x80;
    }
    return columns;
}

static void test_lines_fit(void **state) {
    (void)state;
    shown_set s;
    show(&s, "{\"question\": \"many words that go on and on, and do not stop before the line does, some of them longlonglonglonglonglonglonglonglong\", "
             "\"answer\": \"yes\\tand no\"}\n{\"question\": \"b\", \"answer\": \"c\"}\n", 300, NULL);
    for (int width = 40; width < 90; width += 7) {
        char *text = as_text(&s, (ql_look){true, true, width});
        for (const char *at = text, *end; (end = strchr(at, '\n')); at = end + 1) assert_in_range(columns_of(at, end), 0, width);
        assert_non_null(strstr(text, "\033[35;7m<s>"));
        assert_non_null(strstr(text, "\033[32;7m</s>"));
        if (width == 40) assert_non_null(strstr(text, "many words that go on and on, and")); /* words stay whole */
        free(text);
    }
    done_showing(&s);
}

static void test_cuts_are_shown(void **state) {
    (void)state;
    static const char two[] = "{\"text\": \"abcdefgh\"}\n{\"text\": \"xyz\"}\n";
    static char       truncate[] = "truncate";
    shown_set         s;
    show(&s, two, 6, "wrapped");
    char *text = as_text(&s, (ql_look){false, false, 80});
    assert_non_null(strstr(text, "... 3 tokens after, in another piece of this record\n"));
    assert_non_null(strstr(text, "... 6 tokens before, in another piece of this record\n"));
    free(text);
    for (s.i.most_tokens = 1; s.i.most_tokens < 17; s.i.most_tokens++) { /* what is left out is said to be */
        text = as_text(&s, (ql_look){false, false, 80});
        bool whole = strstr(text, "rows 0 to 2 of 3.") && !strstr(text, "not shown");
        assert_int_equal(whole, s.i.most_tokens >= (int64_t)s.r.corpus.count);
        free(text);
    }
    done_showing(&s);
    reading r = reading_of(file_of_text(0, two));
    r.config.excess_length_strategy = truncate;
    r.config.max_length = 6;
    read_with(&r, "");
    assert_int_equal(r.corpus.document[0].after, 3);
    assert_int_equal(r.corpus.document[1].after, 0);
    done_with(&r);
}

static void test_pairs(void **state) {
    (void)state;
    static const char pairs[] = "{\"prompt\": \"p\", \"chosen\": \"a\", \"rejected\": \"b\"}\n{\"prompt\": \"q\", \"chosen\": \"c\", \"rejected\": \"d\"}\n";
    shown_set         s;
    show(&s, pairs, 30, NULL);
    char *text = as_text(&s, (ql_look){false, false, 80});
    assert_non_null(strstr(text, "2 read, 2 used"));
    assert_non_null(strstr(text, "record 1, chosen  "));
    assert_non_null(strstr(text, "record 1, rejected  "));
    assert_non_null(strstr(text, "\n{<s>}q[[c{</s>}]]\n"));
    assert_non_null(strstr(text, "\n{<s>}q[[d{</s>}]]\n"));
    free(text);
    done_showing(&s);
    reading r = reading_of(file_of_text(0, pairs));
    r.config.packing = true;
    r.config.packing_strategy = (char *)(uintptr_t)"wrapped";
    read_with(&r, "");
    assert_int_equal(r.verdict.code, QL_USAGE);
    assert_non_null(strstr(ql_err_text(), "the answers of a preference pair cannot be cut"));
    done_with(&r);
}

/* ---- for people with a browser ---- */

static const char hostile[] =
    "{\"question\": \"<script>alert(1)</script> & </article>\", \"answer\": \"\\\" onmouseover=x ' </mark> ]]> <!--\"}\n"
    "{\"question\": \"\\u202eevil \\u0000\\u0007\\u2066\\ufeff\", \"answer\": \"\xf0\x9f\x98\x80 \xe5\xa5\xb9\\n\\tx\"}\n"
    "{\"question\": \"\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa9\", \"answer\": \"ab\\n\\nab\"}\n{\"question\": \"e\", \"answer\": \"f\"}\n";

/* Every tag is closed, by the right one. */
static void check_tags(const char *html) {
    const char *open[64];
    size_t      depth = 0;
    for (const char *at = strchr(html, '<'); at; at = strchr(at + 1, '<')) {
        const char *end = strchr(at, '>');
        assert_non_null(end);
        if (at[1] == '!' || end[-1] == '/') continue;
        if (at[1] != '/') {
            assert_true(isalpha((unsigned char)at[1]) && depth < QL_LEN(open));
            open[depth++] = at + 1;
            if (!strncmp(at, "<style", 6) || !strncmp(at, "<script", 7)) at = strstr(at, "</") - 1;
            continue;
        }
        size_t n = strcspn(at + 2, ">");
        assert_true(depth > 0);
        if (strncmp(open[--depth], at + 2, n) != 0) fail_msg("%.30s is closed by %.20s", open[depth], at);
    }
    assert_int_equal(depth, 0);
}

static size_t count_of(const char *text, const char *what) {
    size_t n = 0;
    for (const char *at = strstr(text, what); at; at = strstr(at + 1, what)) n++;
    return n;
}

typedef struct {
    int64_t id;
    bool    marked;
} page_token;

/* The tokens of the page in their order, and whether they are marked as targets. */
static size_t tokens_of(const char *html, page_token *token, size_t most) {
    size_t n = 0;
    bool   marked = false;
    for (const char *at = strstr(html, "<section class=\"row\""); at && *at; at++) {
        if (!strncmp(at, "<mark>", 6)) marked = true;
        if (!strncmp(at, "</mark>", 7)) marked = false;
        if (strncmp(at, "data-i=\"", 8) != 0) continue;
        char *next = (char *)(uintptr_t)at + 8;
        do {
            assert_true(n < most);
            token[n].marked = marked;
            token[n++].id = strtol(next, &next, 10);
        } while (*next == ' ');
    }
    return n;
}

static void check_against_json(const shown_set *s, const char *html) {
    enum { MOST = 4096 };
    page_token *token = QL_NEW_ARRAY(page_token, MOST);
    size_t      n = tokens_of(html, token, MOST), at = 0, documents = 0, rows = 0;
    char       *json = as_json(s);
    for (char *line = json, *end; (end = strchr(line, '\n')); line = end + 1, rows++) {
        ql_json *v;
        assert_false(ql_bad(ql_json_parse(line, (size_t)(end - line), "row", 1, &v)));
        const ql_json *ids = ql_json_get(v, "input_ids"), *labels = ql_json_get(v, "labels");
        documents += ql_json_size(ql_json_get(v, "documents"));
        for (size_t k = 0; k < ql_json_size(ids); k++, at++) {
            assert_true(at < n);
            assert_int_equal(token[at].id, ql_json_int(ql_json_at(ids, k), -1));
            assert_int_equal(token[at].marked, ql_json_int(ql_json_at(labels, k), 0) != -100);
        }
        ql_json_free(v);
    }
    assert_int_equal(at, n);
    assert_int_equal(count_of(html, "<section class=\"row\""), rows);
    assert_int_equal(count_of(html, "<article class=\"doc\""), documents);
    free(token);
    free(json);
}

static void check_nothing_from_elsewhere(const char *html) {
    static const char *const never[] = {"http:", "https:", "src=", "@import", "url(", "<link", "<script>alert", "onmouseover=x'"};
    for (size_t i = 0; i < QL_LEN(never); i++)
        if (strstr(html, never[i])) fail_msg("the page has %s", never[i]);
    assert_int_equal(count_of(html, "<script"), 1);
    assert_null(strstr(html, "{{"));
    for (const unsigned char *c = (const unsigned char *)html; *c; c++) assert_true(*c >= 0x20 || *c == '\n' || *c == '\t');
    assert_null(strstr(html, "\xe2\x80\xae")); /* U+202E would turn what follows */
    assert_null(strstr(html, "\xe2\x81\xa6"));
}

static void test_page(void **state) {
    (void)state;
    static const char *const strategy[] = {"bfd", "wrapped", NULL};
    for (size_t k = 0; k < QL_LEN(strategy); k++) {
        shown_set s;
        ql_str    html = {0};
        show(&s, hostile, k == 1 ? 20 : 120, strategy[k]);
        if (ql_bad(ql_inspect_html(&s.i, &html))) fail_msg("%s", ql_err_text());
        check_tags(html.data);
        check_nothing_from_elsewhere(html.data);
        check_against_json(&s, html.data);
        if (k != 1) assert_non_null(strstr(html.data, "data-i=\"60\">&lt;</i>"));
        if (k != 1) assert_non_null(strstr(html.data, "data-i=\"240 159 152 128\">\xf0\x9f\x98\x80</i>")); /* one character, four tokens */
        assert_non_null(strstr(html.data, "<u class=\"x\">U+202E</u>"));
        ql_str_free(&html);
        done_showing(&s);
    }
}

/* A page says what it leaves out. */
static void test_page_is_bounded(void **state) {
    (void)state;
    shown_set s;
    ql_str    html = {0};
    show(&s, hostile, 120, NULL);
    s.i.most_tokens = 20;
    assert_false(ql_bad(ql_inspect_html(&s.i, &html)));
    check_tags(html.data);
    page_token token[64];
    assert_int_equal(tokens_of(html.data, token, QL_LEN(token)), 20);
    assert_non_null(strstr(html.data, "not shown here"));
    assert_true(count_of(html.data, "<section class=\"row\"") < 4);
    ql_str_free(&html);
    done_showing(&s);
}

static void test_page_replaces_a_file(void **state) {
    (void)state;
    shown_set s;
    ql_str    page = {0}, html = {0};
    show(&s, records, 24, "bfd");
    const char *path = named_text("page.html", "old");
    if (ql_bad(ql_inspect_page(&s.i, path))) fail_msg("%s", ql_err_text());
    assert_false(ql_bad(ql_file_read(path, 1 << 20, &page)));
    assert_false(ql_bad(ql_inspect_html(&s.i, &html)));
    assert_string_equal(page.data, html.data); /* the same every time */
    ql_str_free(&page);
    ql_str_free(&html);
    done_showing(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json),       cmocka_unit_test(test_json_in_training_order), cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_plain_text), cmocka_unit_test(test_write_failure),          cmocka_unit_test(test_lines_fit),
        cmocka_unit_test(test_cuts_are_shown), cmocka_unit_test(test_pairs), cmocka_unit_test(test_page), cmocka_unit_test(test_page_is_bounded),
        cmocka_unit_test(test_page_replaces_a_file),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
