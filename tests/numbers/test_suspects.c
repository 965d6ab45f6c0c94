/* The list of records to blame: its order, its end, how it is read, and where the records stand in their files. */
#include <stdlib.h>
#include <string.h>

#include "tests/quant/scratch.h"
#include "worker/data/read/place.h"
#include "worker/suspects.h"

static void expect_text(const ql_suspects *s, const ql_datasets *files, const char *wanted) {
    ql_str text = {0};
    ql_suspects_text(s, files, &(ql_config){0}, &text);
    assert_string_equal(text.size ? text.data : "", wanted);
    ql_str_free(&text);
}

static void test_how_it_is_read(void **state) {
    (void)state;
    ql_datasets none = {0};
    ql_suspects s = {0};
    expect_text(&s, &none, "");
    ql_suspects_add(&s, 7, 0);
    expect_text(&s, &none, "record 7");
    ql_suspects_add(&s, 3, 0);
    expect_text(&s, &none, "records 3 and 7");
    ql_suspects_add(&s, 5, 0);
    expect_text(&s, &none, "records 3, 5 and 7");
    for (int i = 0; i < 5; i++) ql_suspects_add(&s, 20 - i, 0);
    expect_text(&s, &none, "records 3, 5, 7, 16, 17, 18, 19 and 20");
    ql_suspects_add(&s, 4, 0);
    ql_suspects_add(&s, 100, 0);
    expect_text(&s, &none, "records 3, 4, 5, 7, 16, 17, 18, 19 and 2 more");
    assert_int_equal(s.count, 10);
}

/* Whatever the order they come in: the heaviest, and of equal ones the first. */
static void test_who_is_named(void **state) {
    (void)state;
    ql_datasets none = {0};
    for (int turn = 1; turn < 30; turn++) {
        ql_suspects s = {0};
        for (int i = 0; i < 31; i++) {
            int record = i * turn % 31;
            ql_suspects_add(&s, record, record % 4 == 3 ? 9 : record % 2);
        }
        expect_text(&s, &none, "records 3, 7, 11, 15, 19, 23, 27, 1 and 23 more");
    }
}

static void test_where_they_stand(void **state) {
    (void)state;
    char           *lines = ql_strdup(scratch_text("lines.jsonl", "{\"text\": \"a\"}\n\n{\"text\": \"b\"}\r\n{\"text\": \"c\"}"));
    char           *array = ql_strdup(scratch_text("array.json", "\n[{\"text\": \"d\"},\n {\"text\":\n \"e\"}, {\"text\": \"f\"}]\n"));
    char           *gone = ql_strdup(scratch("gone.jsonl"));
    ql_dataset_spec spec[] = {{.path = lines}, {.path = array}, {.path = gone}, {.path = lines}};
    ql_datasets     files = {.item = spec, .count = 4};
    const int64_t   record[] = {0, 2, 3, 4, 5, 6};
    const int       line[] = {1, 4, 2, 3, 4, 0};
    char           *place[6];
    ql_record_places(&files, &(ql_config){0}, record, 6, place);
    for (int i = 0; i < 6; i++) {
        char *wanted = line[i] ? ql_format("%s:%d", i < 2 ? lines : array, line[i]) : NULL;
        if (wanted) assert_string_equal(place[i], wanted);
        else assert_null(place[i]);
        free(wanted);
        free(place[i]);
    }
    ql_suspects s = {0};
    ql_suspects_add(&s, 6, 0);
    ql_suspects_add(&s, 1, 0);
    char *wanted = ql_format("records 1 (%s:3) and 6", lines);
    expect_text(&s, &files, wanted);
    free(wanted);
    free(lines), free(array), free(gone);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_how_it_is_read), cmocka_unit_test(test_who_is_named),
                                       cmocka_unit_test(test_where_they_stand)};
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
