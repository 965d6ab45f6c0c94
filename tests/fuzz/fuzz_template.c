/* Chat templates, damaged: refused in one sentence with the template's name and a line, or rendered; twice, to the same text.
 * Spans of generation blocks lie in the text, in order. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "tests/fuzz/common.h"
#include "worker/data/template/template.h"

static const char conversation[] =
    "{\"messages\": [{\"role\": \"system\", \"content\": \" s \"}, {\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"\\u00e4b\"}]},"
    "{\"role\": \"assistant\", \"content\": \"<think>\\nx</think>y\\r\\nz\", \"tool_calls\": [{\"function\": {\"name\": \"f\", \"arguments\":"
    "{\"a\": 1.5, \"b\": [null, true]}}}]}], \"tools\": [{\"function\": {\"name\": \"f\", \"parameters\": {\"properties\": {\"q\": {\"type\":"
    "\"string\"}}, \"required\": [\"q\"]}}}], \"add_generation_prompt\": true, \"bos_token\": \"<s>\", \"i\": 7, \"s\": \"Hello World\","
    "\"l\": [3, 1, 2], \"ls\": [\"b\", \"A\"], \"d\": {\"b\": 1, \"a\": {\"x\": [1, 2.0]}}, \"people\": [{\"name\": \"Eva\", \"age\": 30}]}";

static const char *const seed_texts[] = {
    "{% for x in [1, 2, 3] if x != 2 %}{{ loop.index }}{{ loop.previtem }}{{ x ** 2 // 3 % 5 }}{{ -x | abs }}{% else %}none{% endfor %}"
    "{{ 'a\\x41\\u00e4' ~ 1.5e3 }}{{ s[1:-1:2] }}{{ l[::-1] }}{{ s.split('o', 1) }}{{ 1 if i > 3 else 2 }}{{ l | sort(reverse=true) | join(', ') }}",
    "{%- raw -%} {{ x }} {%- endraw +%}\n  {# c #}\n {%+ set a, b = (1, 2) %}{% set t | upper %}x{% endset %}{{ t }}{{ [d, l, (1,), none, 1e22] }}"
    "{% filter replace('a', 'b') %}aaa{% endfilter %}{% with q = 5 %}{{ q }}{% endwith %}{{ d | tojson(indent=2, sort_keys=true) }}{{ s | indent(2) | title }}",
    "{{ people | selectattr('age', 'gt', 3) | map(attribute='name') | list }}{{ ls | unique | list }}{{ l | sum }}{{ [l | min, l | max] }}"
    "{{ '12' | int + '1.5' | float }}{{ 2.675 | round(2) }}{{ '<' | e + '<' }}{{ s.replace('l', '') }}{{ s.find('o') }}{{ s.rsplit('l', 1) }}{{ 'x y'.split() }}"
    "{{ 'aXb'.strip('ab') }}{{ s.startswith(('H', 'x')) }}{{ 'a\nb'.splitlines() }}{{ d.items() | list }}{{ d | dictsort }}{{ d.get('q', 3) is divisibleby 3 }}",
    "{% macro m(v, n=0) %}{% if n < 3 %}{{ n }}{{ m(v, n=n + 1) }}{% endif %}{% endmacro %}{{ m(1) }}{% set ns = namespace(a=1) %}{% set ns.a = ns.a + 1 %}"
    "{{ ns.a }}{{ range(2, 9, 3) | list }}{{ dict(a=1) == {'a': 1.0} }}{{ 1 < 2 <= 2 != 3 }}{{ 'a' not in 'b' and not x is defined }}{{ strftime_now('%d %b %Y') }}",
};

static bool spans_fit(const ql_ranges *s, size_t size) {
    size_t at = 0;
    for (size_t i = 0; i < s->n; i++) {
        if (s->at[i].from < at || s->at[i].to < s->at[i].from) return false;
        at = s->at[i].to;
    }
    return at <= size;
}

static bool target(void *ctx, const uint8_t *bytes, size_t n) {
    ql_template *t;
    ql_str first = {0}, second = {0};
    ql_ranges spans = {0};
    ql_err e = ql_template_parse((const char *)bytes, n, "T", &t);
    if (!ql_bad(e)) e = ql_template_render(t, NULL, ctx, 1709651045, &first, &spans);
    if (ql_bad(e)) {
        if (e.code != QL_DATA || strncmp(ql_err_text(), "T:", 2) != 0) abort();
    } else {
        if (!spans_fit(&spans, first.size)) abort();
        if (ql_bad(ql_template_render(t, NULL, ctx, 1709651045, &second, &spans))) abort();
        if (first.size != second.size || (first.size && memcmp(first.data, second.data, first.size) != 0)) abort();
    }
    ql_template_free(t);
    ql_ranges_free(&spans);
    ql_str_free(&first);
    ql_str_free(&second);
    return !ql_bad(e);
}

static const char *const files[] = {"chatml", "tools", "thinking", "blanks", "scopes"};

int main(int argc, char **argv) {
    ql_json *variables;
    ql_str seeds[QL_LEN(seed_texts) + QL_LEN(files)] = {0};
    if (ql_bad(ql_json_parse(conversation, sizeof conversation - 1, "conversation", 1, &variables))) abort();
    for (size_t i = 0; i < QL_LEN(seed_texts); i++) ql_str_puts(&seeds[i], seed_texts[i]);
    for (size_t i = 0; i < QL_LEN(files); i++) {
        char *path = ql_format("%s/template/%s.jinja", QL_TEST_DATA, files[i]);
        if (ql_bad(ql_file_read(path, SIZE_MAX, &seeds[QL_LEN(seed_texts) + i]))) abort();
        free(path);
    }
    int status = ql_fuzz_main(argc, argv, seeds, QL_LEN(seeds), target, variables);
    for (size_t i = 0; i < QL_LEN(seeds); i++) ql_str_free(&seeds[i]);
    ql_json_free(variables);
    return status;
}
