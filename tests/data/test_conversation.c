/* ShareGPT's conversations as messages, and what is wrong with them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "worker/data/record/conversation.h"

static ql_err convert(const char *text, ql_str *out) {
    ql_json *record;
    assert_false(ql_bad(ql_json_parse(text, strlen(text), "record", 1, &record)));
    ql_err e = ql_conversation_messages(record, "conversations", "system", out);
    ql_json_free(record);
    return e;
}

static void expect(const char *text, const char *messages) {
    ql_str out = {0};
    if (ql_bad(convert(text, &out))) fail_msg("%s", ql_err_text());
    assert_string_equal(out.data, messages);
    ql_str_free(&out);
}

static void refuse(const char *text, const char *sentence) {
    ql_str out = {0};
    if (convert(text, &out).code != QL_DATA) fail_msg("accepted: %s", text);
    if (!strstr(ql_err_text(), sentence)) fail_msg("\"%s\" lacks \"%s\"", ql_err_text(), sentence);
    ql_str_free(&out);
}

static void test_roles(void **state) {
    (void)state;
    expect("{\"conversations\": [{\"from\": \"human\", \"value\": \"a\\n\\\"b\\\"\"}, {\"from\": \"gpt\", \"value\": \"c\"}]}",
           "[{\"role\": \"user\", \"content\": \"a\\n\\\"b\\\"\"}, {\"role\": \"assistant\", \"content\": \"c\"}]");
    expect("{\"system\": \"be kind\", \"conversations\": [{\"from\": \"user\", \"value\": \"a\"}, {\"from\": \"function\", \"value\": \"f\"},"
           "{\"from\": \"observation\", \"value\": \"o\"}, {\"from\": \"tool\", \"value\": \"t\"}, {\"from\": \"model\", \"value\": \"m\", \"weight\": 1}]}",
           "[{\"role\": \"system\", \"content\": \"be kind\"}, {\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"tool\", \"content\": \"f\"}, "
           "{\"role\": \"tool\", \"content\": \"o\"}, {\"role\": \"tool\", \"content\": \"t\"}, {\"role\": \"assistant\", \"content\": \"m\"}]");
    expect("{\"system\": \"\", \"conversations\": [{\"role\": \"system\", \"content\": \"s\"}, {\"role\": \"assistant\", \"content\": \"a\"}]}",
           "[{\"role\": \"system\", \"content\": \"s\"}, {\"role\": \"assistant\", \"content\": \"a\"}]");
}

static void test_calls(void **state) {
    (void)state;
    expect("{\"conversations\": [{\"from\": \"function_call\", \"value\": \"{\\\"name\\\": \\\"f\\\", \\\"arguments\\\": {\\\"x\\\": 1}}\"}, {\"from\": \"observation\", \"value\": \"o\"}]}",
           "[{\"role\": \"assistant\", \"content\": null, \"tool_calls\": [{\"type\": \"function\", \"function\": {\"name\": \"f\", \"arguments\": {\"x\": 1}}}]}, "
           "{\"role\": \"tool\", \"content\": \"o\"}]");
    refuse("{\"conversations\": [{\"from\": \"function_call\", \"value\": \"f(x)\"}]}", "message 1: the call of a function is no JSON object with a \"name\"");
    refuse("{\"conversations\": [{\"from\": \"function_call\", \"value\": \"[]\"}]}", "message 1: the call of a function");
}

static void test_what_is_wrong(void **state) {
    (void)state;
    refuse("{\"conversations\": \"x\"}", "\"conversations\" is a string; expected a list");
    refuse("{\"conversations\": []}", "\"conversations\" is empty");
    refuse("{\"conversations\": [1]}", "message 1 is an integer; expected {\"from\"");
    refuse("{\"conversations\": [{\"value\": \"x\"}]}", "message 1 has no \"from\"");
    refuse("{\"conversations\": [{\"from\": \"human\", \"value\": \"x\"}, {\"from\": \"alien\", \"value\": \"x\"}]}", "message 2 is from \"alien\"; expected human, gpt");
    refuse("{\"conversations\": [{\"from\": \"human\"}]}", "message 1: the text is absent; expected a string");
    refuse("{\"conversations\": [{\"from\": \"human\", \"value\": [\"x\"]}]}", "message 1: the text is a list");
    refuse("{\"conversations\": [{\"from\": \"gpt\", \"value\": \"\"}]}", "message 1: the text of the assistant is empty");
    refuse("{\"conversations\": [{\"from\": \"human\", \"value\": \"x\"}]}", "no message of the assistant (gpt)");
    refuse("{\"conversations\": [{\"from\": \"gpt\", \"value\": \"x\"}, {\"from\": \"system\", \"value\": \"x\"}]}", "message 2 is a system message; only the first");
    refuse("{\"system\": \"s\", \"conversations\": [{\"from\": \"system\", \"value\": \"x\"}]}", "message 2 is a system message");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_roles), cmocka_unit_test(test_calls), cmocka_unit_test(test_what_is_wrong)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
