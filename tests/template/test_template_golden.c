/* Templates and expressions against what Jinja2 made of them (tests/golden/template.py). */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "tests/support/check.h"
#include "worker/data/template/template.h"

static ql_json *expected;
static int64_t now;

static int load(void **state) {
    (void)state;
    setenv("TZ", "UTC", 1);
    tzset();
    ok(ql_json_read(QL_TEST_DATA "/template/expected.json", 64 << 20, &expected));
    now = ql_json_int(ql_json_get(expected, "now"), 0);
    return 0;
}

static int unload(void **state) {
    (void)state;
    ql_json_free(expected);
    return 0;
}

static bool is_error(const ql_json *want, const char *name) {
    const char *kind = ql_json_text(ql_json_get(want, "error"), NULL), *words = ql_json_text(ql_json_get(want, "message"), NULL);
    if (!kind) fail_msg("%s: refused, and should not be: %s", name, ql_err_text());
    const char *said = ql_err_text();
    assert_int_equal(strncmp(said, "chat_template:", 14), 0);
    /* raise_exception speaks for itself. */
    if (!strcmp(kind, "TemplateError")) assert_string_equal(strchr(said + 14, ':') + 2, words);
    return true;
}

static void spans_are(const ql_ranges *spans, const ql_json *want) {
    assert_int_equal(spans->n, ql_json_size(want));
    for (size_t i = 0; i < spans->n; i++) {
        assert_int_equal(spans->at[i].from, ql_json_int(ql_json_at(ql_json_at(want, i), 0), -1));
        assert_int_equal(spans->at[i].to, ql_json_int(ql_json_at(ql_json_at(want, i), 1), -1));
    }
}

static void check(const char *name, const char *source, size_t size, const ql_json *variables, const ql_json *want) {
    ql_template *t;
    ql_str text = {0};
    ql_ranges spans = {0};
    ql_err e = ql_template_parse(source, size, "chat_template", &t);
    if (!ql_bad(e)) e = ql_template_render(t, NULL, variables, now, &text, &spans);
    if (ql_bad(e)) {
        assert_int_equal(e.code, QL_DATA);
        is_error(want, name);
    } else {
        size_t n;
        const char *right = ql_json_text(ql_json_get(want, "text"), &n);
        if (!right) fail_msg("%s: rendered, and should be refused: %s", name, text.data);
        if (n != text.size || memcmp(text.data, right, n) != 0) fail_msg("%s: rendered\n%s\ninstead of\n%s", name, text.data, right);
        spans_are(&spans, ql_json_get(want, "spans"));
    }
    ql_template_free(t);
    ql_ranges_free(&spans);
    ql_str_free(&text);
}

static void test_expressions(void **state) {
    (void)state;
    const ql_json *list = ql_json_get(expected, "expressions");
    assert_true(ql_json_size(list) >= 150);
    for (size_t i = 0; i < ql_json_size(list); i++) {
        const char *expression = ql_json_text(ql_json_get(ql_json_at(list, i), "expression"), NULL);
        char *source = ql_format("{{ %s }}", expression);
        check(expression, source, strlen(source), ql_json_get(expected, "variables"), ql_json_at(list, i));
        free(source);
    }
}

static void test_templates(void **state) {
    (void)state;
    const ql_json *templates = ql_json_get(expected, "templates"), *conversations = ql_json_get(expected, "conversations");
    assert_true(ql_json_size(templates) >= 15);
    for (void *t = ql_json_first(templates); t; t = ql_json_next(templates, t)) {
        char *path = ql_format("%s/template/%s", QL_TEST_DATA, ql_json_key(t));
        ql_str source;
        ok(ql_file_read(path, 1 << 20, &source));
        const ql_json *results = ql_json_value(t);
        for (void *c = ql_json_first(results); c; c = ql_json_next(results, c)) {
            char *name = ql_format("%s with %s", ql_json_key(t), ql_json_key(c));
            check(name, source.data ? source.data : "", source.size, ql_json_get(conversations, ql_json_key(c)), ql_json_value(c));
            free(name);
        }
        ql_str_free(&source);
        free(path);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_expressions), cmocka_unit_test(test_templates)};
    return cmocka_run_group_tests(tests, load, unload);
}
