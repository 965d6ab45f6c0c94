/* Templates that would take all time, memory or stack, or that are broken: each is refused with one clear sentence. */
#include <stdlib.h>
#include <string.h>

#include "tests/support/check.h"
#include "worker/data/template/template.h"

static const char variables[] = "{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}], \"l\": [1, 2, 3]}";

static ql_err render(const char *source, size_t size, ql_str *text, ql_ranges *spans) {
    ql_template *t;
    ql_json *v;
    ok(ql_json_parse(variables, sizeof variables - 1, "variables", 1, &v));
    ql_err e = ql_template_parse(source, size, "chat_template", &t);
    if (!ql_bad(e)) e = ql_template_render(t, NULL, v, 0, text, spans);
    ql_template_free(t);
    ql_json_free(v);
    return e;
}

static void refused_bytes(const char *source, size_t size, const char *sentence) {
    ql_str text = {0};
    ql_err e = render(source, size, &text, NULL);
    if (!ql_bad(e)) fail_msg("not refused: %.60s", source);
    assert_int_equal(e.code, QL_DATA);
    if (!strstr(ql_err_text(), sentence)) fail_msg("%.60s: \"%s\" does not say \"%s\"", source, ql_err_text(), sentence);
    ql_str_free(&text);
}
static void refused(const char *source, const char *sentence) { refused_bytes(source, strlen(source), sentence); }

static char *repeated(const char *before, const char *what, size_t times, const char *after) {
    ql_str s = {0};
    ql_str_puts(&s, before);
    for (size_t i = 0; i < times; i++) ql_str_puts(&s, what);
    ql_str_puts(&s, after);
    return s.data;
}

static void refused_repeated(const char *before, const char *what, size_t times, const char *after, const char *sentence) {
    char *source = repeated(before, what, times, after);
    refused(source, sentence);
    free(source);
}

static void test_time(void **state) {
    (void)state;
    refused("{% set r = range(10000) %}{% for a in r %}{% for b in r %}{% endfor %}{% endfor %}", "chat_template:1: the template does not end within");
    refused("{% set s = 'ab' * 1000000 %}{% for a in range(100000) %}{% if s.find('ba' * 10 ~ 'c') > 0 %}{% endif %}{% endfor %}", "steps");
    refused("{% set s = 'a' * 1000000 %}{% for a in range(100000) %}{% if s[999990:] in s[:99] %}{% endif %}{% if s.upper() %}{% endif %}{% endfor %}", "");
    refused("{{ range(100001) }}", "a range of more than 100000");
    refused("{% set s = 'a' * 10000000 %}{% for a in range(100000) %}{% set x = s.rfind('b') %}{% endfor %}", "steps");
}

static void test_memory(void **state) {
    (void)state;
    refused("{{ 'x' * 1000000000 }}", "chat_template:1: a string of more than 32 MiB");
    refused("{% set ns = namespace(s='x') %}{% for i in range(100) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}", "a string of more than 32 MiB");
    refused("{% for i in range(100000) %}{{ 'x' * 1000 }}{% endfor %}", "a string of more than 32 MiB");
    refused("{% set ns = namespace(l=[1]) %}{% for i in range(100) %}{% set ns.l = ns.l + ns.l %}{% endfor %}", "");
    refused("{{ ([0] * 100000000) | length }}", "");
    refused("{% set ns = namespace(s='y') %}{% for i in range(30) %}{% set ns.s = ns.s.replace('y', 'yyyyyyyyyy') %}{% endfor %}", "more than");
    refused("{{ 'x'.replace('', 'y' * 20000000) * 2 }}", "more than");
    refused("{{ (['y' * 10000000] * 10) | join }}", "more than");
    refused("{{ 'a\nb' | indent(1000000000) }}", "more than");
    refused("{{ l | tojson(indent=1000000000) }}", "more than");
}

static void test_depth(void **state) {
    (void)state;
    refused_repeated("{{ ", "(", 10000, "", "nested more than 100 deep");
    refused_repeated("{{ ", "[", 10000, "", "nested more than 100 deep");
    refused_repeated("{{ ", "{1:", 10000, "", "nested more than 100 deep");
    refused_repeated("{{ ", "f(", 10000, "", "nested more than 100 deep");
    refused_repeated("{{ ", "not ", 10000, "1 }}", "nested too deep");
    refused_repeated("{{ ", "-", 10000, "1 }}", "nested too deep");
    refused_repeated("{{ ", "1 if 1 else ", 10000, "1 }}", "nested too deep");
    refused_repeated("", "{% if 1 %}", 10000, "", "nested too deep");
    refused_repeated("", "{% for x in l %}", 10000, "", "nested too deep");
    refused_repeated("{{ 1", " + 1", 10000, " }}", "more than 1000 levels");
    refused_repeated("{{ l", "|list", 10000, " }}", "more than 1000 levels");
    refused_repeated("{{ l", "[0]", 10000, " }}", "more than 1000 levels");
    refused("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "a macro that calls itself");
    refused("{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}\n{{ a() }}", "levels deep");
    refused("{% set ns = namespace(l=[]) %}{% for i in range(5000) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l }}", "levels deep");
    refused("{% set ns = namespace(l=[]) %}{% for i in range(5000) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l | tojson }}", "levels deep");
    refused("{% set ns = namespace(l=[]) %}{% for i in range(5000) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l == [ns.l] }}", "levels deep");
    refused("{% set ns = namespace(l=(1,)) %}{% for i in range(5000) %}{% set ns.l = (ns.l,) %}{% endfor %}{{ {ns.l: 1} }}", "levels deep");
    refused("{% set ns = namespace() %}{% set ns.me = ns %}{{ ns }}", "levels deep");
    char *elif = repeated("{% if 0 %}", "{% elif 0 %}", 10000, "{% else %}x{% endif %}"); /* is no nesting */
    ql_str text = {0};
    ok(render(elif, strlen(elif), &text, NULL));
    assert_string_equal(text.data, "x");
    ql_str_free(&text);
    free(elif);
}

static void test_broken(void **state) {
    (void)state;
    static const struct {
        const char *source, *sentence;
    } cases[] = {
        {"a\nb {{ 1", "chat_template:2: a tag has no end: }} is missing"},
        {"{% if 1 %}\n\n{% for x in l %}", "chat_template:3: the block that begins here has no end: {% endfor %} is missing"},
        {"\n{# c", "chat_template:2: a comment has no end"},
        {"{% raw %}{{", "{% endraw %} is missing"},
        {"{{ 'a }}", "a string has no end"},
        {"{{ 1 + }}", "expected an expression, not }}"},
        {"{{ (1] }}", "closes nothing"},
        {"{{ 1 ! 2 }}", "has no meaning here"},
        {"{% include 'x' %}", "chat_template:1: the tag \"include\" does not belong here or is not supported"},
        {"{% import 'os' as os %}", "\"import\""},
        {"{% endif %}", "\"endif\""},
        {"{% for x in l recursive %}{% endfor %}", "recursive loops are not supported"},
        {"x\n{{ 1 | frob }}", "chat_template:2: the filter \"frob\" is not supported"},
        {"{{ 1 is frob }}", "the test \"frob\" is not supported"},
        {"{{ f(*l) }}", "*arguments"},
        {"{{ nothing.x }}", "\"nothing\" is undefined"},
        {"{{ messages[0].tool.name }}", "\"tool\" is undefined"},
        {"{{ nothing() }}", "\"nothing\" is undefined"},
        {"{{ l.append(4) }}", "a template cannot change a list"},
        {"{{ 'x'.format() }}", "\"format\" is undefined"},
        {"{{ '%s' % 1 }}", "formatting with % is not supported"},
        {"{{ 9223372036854775807 + 1 }}", "beyond 64 bits"},
        {"{{ -9223372036854775807 - 2 }}", "beyond 64 bits"},
        {"{{ (-9223372036854775807 - 1) // -1 }}", "beyond 64 bits"},
        {"{{ 99999999999999999999 }}", "beyond 64 bits"},
        {"{{ 1 / 0 }}", "division by zero"},
        {"{{ '\\ud800' }}", "no character"},
        {"{{ l | map('upper') }}", "a generator cannot be written"},
        {"{{ raise_exception('no, because') }}", "chat_template:1: no, because"},
        {"{{ l | sort(attribute='a,b') }}", "several attributes"},
        {"{{ strftime_now('%Q') }}", "%Q is not supported"},
    };
    for (size_t i = 0; i < QL_LEN(cases); i++) refused(cases[i].source, cases[i].sentence);
    refused_bytes("a\xff", 2, "not UTF-8");
    char *large = repeated("", "xxxxxxxxxxxxxxxx", (QL_TEMPLATE_SOURCE >> 4) + 1, "");
    refused(large, "more than 1 MiB");
    free(large);
}

static void test_spans(void **state) {
    (void)state;
    ql_str text = {0};
    ql_ranges spans = {0};
    static const char good[] = "a{% generation %}b\xc3\xa4{% endgeneration %}c{% generation %}{% endgeneration %}";
    ok(render(good, sizeof good - 1, &text, &spans));
    assert_string_equal(text.data, "ab\xc3\xa4" "c");
    assert_int_equal(spans.n, 2);
    assert_int_equal(spans.at[0].from, 1);
    assert_int_equal(spans.at[0].to, 4);
    assert_int_equal(spans.at[1].from, 5);
    assert_int_equal(spans.at[1].to, 5);
    static const char hidden[] = "{% macro m() %}{% generation %}b{% endgeneration %}{% endmacro %}{{ m() }}";
    assert_true(ql_bad(render(hidden, sizeof hidden - 1, &text, &spans)));
    assert_non_null(strstr(ql_err_text(), "a generation block inside a macro"));
    ok(render(hidden, sizeof hidden - 1, &text, NULL)); /* nobody asks where */
    assert_string_equal(text.data, "b");
    ql_template *t;
    ok(ql_template_parse(good, sizeof good - 1, "chat_template", &t));
    assert_true(ql_template_has_generation(t));
    ql_template_free(t);
    ql_ranges_free(&spans);
    ql_str_free(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_time), cmocka_unit_test(test_memory), cmocka_unit_test(test_depth),
                                       cmocka_unit_test(test_broken), cmocka_unit_test(test_spans)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
