/* A store in a file: what is kept beside the tokens, and files that lie. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/data/fixture.h"
#include "worker/data/store/store_file.h"

static void test_facts_are_kept(void **state) {
    (void)state;
    char first[] = "f:1", bare[] = "f:2";
    ql_set_facts f = {.records = 5, .dropped_long = 4, .truncated = 3, .without_targets = 2, .completion_only = true, .format = "text",
                      .conversations = true, .pairs = true, .first_long = first, .first_untargeted = bare}, g;
    ql_audit_fact(&f.audit, QL_AUDIT_TWO_BOS, "f:3", "a \"quote\"");
    ql_str text = {0}, again = {0};
    ql_json *json;
    ql_set_facts_write(&f, &text);
    assert_false(ql_bad(ql_json_parse(text.data, text.size, "facts", 1, &json)));
    assert_false(ql_bad(ql_set_facts_read(json, &g)));
    ql_set_facts_write(&g, &again);
    assert_string_equal(text.data, again.data);
    assert_int_equal(g.records + 10 * g.dropped_long + 100 * g.truncated + 1000 * g.without_targets, 2345);
    assert_true(g.conversations && g.pairs && g.completion_only);
    assert_int_equal(g.audit.of[QL_AUDIT_TWO_BOS].count, 1);
    ql_set_facts_free(&g);
    ql_json_free(json);
    ql_str_free(&text);
    ql_str_free(&again);
    ql_audit_free(&f.audit);
}

/* With all digests right: what a file says is compared with what can be. */
static void test_hostile(void **state) {
    (void)state;
    char *path = ql_format("%s/hostile", scratch());
    static const struct {
        const char *what;
        int64_t record;
        int32_t id;
        uint8_t first, second;
    } hostile[] = {{NULL, 0, 259, 0, 1}, {"id", 0, 260, 0, 1}, {"negative id", 0, -1, 0, 1}, {"first target", 0, 1, 1, 1}, {"targets", 0, 1, 0, 2}, {"record", 7, 1, 0, 1}};
    for (size_t i = 0; i < QL_LEN(hostile); i++) {
        ql_store *s = ql_store_new(), *back;
        ql_store_key key = {{1}};
        ql_str notes = {0};
        ql_json *json;
        s->facts.records = 7;
        assert_false(ql_bad(ql_store_writer_start(s, path)));
        ql_store_add(s, hostile[i].record, (int32_t[]){3, hostile[i].id}, (uint8_t[]){hostile[i].first, hostile[i].second}, 2);
        ql_str_puts(&notes, "{\"facts\": ");
        ql_set_facts_write(&s->facts, &notes);
        ql_str_puts(&notes, "}");
        assert_true(ql_store_writer_finish(s, &key, &notes));
        ql_err e = ql_store_open(path, &key, 260, &back, &json);
        if (ql_bad(e) != (hostile[i].what != NULL)) fail_msg("%s", hostile[i].what ? hostile[i].what : ql_err_text());
        ql_json_free(json);
        ql_store_free(back);
        ql_store_free(s);
        ql_str_free(&notes);
    }
    unlink(path);
    free(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_facts_are_kept), cmocka_unit_test(test_hostile)};
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
