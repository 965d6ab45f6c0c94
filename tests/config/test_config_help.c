/* docs/config.md is what the tables say. `test_config_help write` makes it so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
// after the above
#include <cmocka.h>

#include "base/config/keys.h"
#include "base/file.h"

static void page_is_current(void **state) {
    (void)state;
    ql_str page = {0}, file;
    ql_config_help(&page, true);
    assert_false(ql_bad(ql_file_read(QL_CONFIG_PAGE, 1 << 20, &file)));
    if (page.size != file.size || memcmp(page.data, file.data, page.size) != 0)
        fail_msg("docs/config.md is out of date; run build/bin/test_config_help write");
    ql_str_free(&page);
    ql_str_free(&file);
}

static void every_key_is_explained(void **state) {
    (void)state;
    ql_str text = {0};
    ql_config_help(&text, false);
    for (size_t i = 0; i < ql_n_keys; i++) {
        char *head = ql_format("  %s (", ql_keys[i].name);
        assert_non_null(strstr(text.data, head));
        free(head);
        assert_non_null(ql_keys[i].meaning);
    }
    assert_non_null(strstr(text.data, "  lora_r (16)\n      Rank of the adapter matrices.\n      Value: a whole number from 1 to 65536.\n"));
    assert_non_null(strstr(text.data, "  global_batch_size (16)\n"));
    assert_non_null(strstr(text.data, "  dataset (required)\n"));
    for (const char *p = text.data; *p; p += strcspn(p, "\n") + 1) assert_true(strcspn(p, "\n") <= 100);
    ql_str_free(&text);
}

static int write_page(void) {
    ql_str page = {0};
    ql_config_help(&page, true);
    ql_err e = ql_file_replace(QL_CONFIG_PAGE, page.data, page.size);
    ql_str_free(&page);
    return (int)e.code;
}

int main(int argc, char **argv) {
    if (argc > 1 && !strcmp(argv[1], "write")) return write_page();
    const struct CMUnitTest tests[] = {cmocka_unit_test(page_is_current), cmocka_unit_test(every_key_is_explained)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
