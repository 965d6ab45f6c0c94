/* A folder or a pattern as a data set: which files, in which order, and what is refused. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "tests/data/fixture.h"
#include "tests/data/pack_file.h"
#include "worker/data/read/files.h"
#include "worker/data/read/place.h"

static char *in_scratch(const char *name) {
    return ql_format("%s/%s", scratch(), name);
}

static void make_folder(const char *name) {
    char *path = in_scratch(name);
    assert_false(ql_bad(ql_dir_make(path)));
    free(path);
}

static void make_link(const char *to, const char *name) {
    char *path = in_scratch(name);
    assert_int_equal(symlink(to, path), 0);
    free(path);
}

/* The names of the files of a set, without the scratch folder, separated by spaces. */
static void expect_files(const char *pattern, const char *expected) {
    char        *path = in_scratch(pattern);
    ql_file_list l;
    ql_str       names = {0};
    if (ql_bad(ql_files_of(path, &l))) fail_msg("%s", ql_err_text());
    for (size_t i = 0; i < l.count; i++) ql_str_printf(&names, "%s%s", i ? " " : "", l.path[i] + strlen(scratch()) + 1);
    assert_string_equal(names.data, expected);
    ql_file_list_free(&l);
    ql_str_free(&names);
    free(path);
}

static void expect_none(const char *pattern, const char *sentence) {
    char *path = in_scratch(pattern);
    expect_refused_file(path, pattern, sentence, NULL);
    free(path);
}

static void fill(void) {
    make_folder("set/b/c");
    make_folder("set/.git");
    named_text("set/b.jsonl", "{\"text\": \"one\"}\n");
    named_text("set/B.jsonl", "[{\"text\": \"two\"}]");
    named_text("set/b/c/x.csv", "question,answer\nthree,4\n");
    named_text("set/b/a.txt", "four\nfive\n");
    named_text("set/README.md", "not data");
    named_text("set/.hidden.jsonl", "not data");
    named_text("set/.git/x.jsonl", "not data");
    ql_str bytes = {0};
    as_gzip("text\nsix\n", 9, &bytes);
    named_file("set/z.csv.GZ", bytes.data, bytes.size);
    ql_str_free(&bytes);
}

static void test_which_files(void **state) {
    (void)state;
    fill();
    expect_files("set", "set/B.jsonl set/b.jsonl set/b/a.txt set/b/c/x.csv set/z.csv.GZ");
    expect_files("set/", "set/B.jsonl set/b.jsonl set/b/a.txt set/b/c/x.csv set/z.csv.GZ");
    expect_files("set/*.jsonl", "set/B.jsonl set/b.jsonl");
    expect_files("set/[a-z]*", "set/b.jsonl set/b/a.txt set/b/c/x.csv set/z.csv.GZ");
    expect_files("s?t/b", "set/b/a.txt set/b/c/x.csv");
    named_text("set/odd[1]*.jsonl", "{\"text\": \"x\"}");
    expect_files("set/odd[1]*.jsonl", "set/odd[1]*.jsonl");
    expect_files("set/README.md", "set/README.md");
    expect_files("absent.jsonl", "absent.jsonl");
    assert_int_equal(unlink(named_text("set/odd[1]*.jsonl", "")), 0);
}

static void test_mixed_kinds(void **state) {
    (void)state;
    char *path = in_scratch("set");
    expect_file(path, "<s>{two</s>}|<s>{one</s>}|<s>{four</s>}|<s>{five</s>}|<s>three\n{4</s>}|<s>{six</s>}");
    ql_dataset_spec spec = {.path = path};
    const int64_t   record[] = {0, 3, 4, 5};
    char           *place[4];
    ql_record_places(&(ql_datasets){.item = &spec, .count = 1}, &(ql_config){0}, record, 4, place);
    static const char *const ending[] = {"set/B.jsonl:1", "set/b/a.txt:2", "set/b/c/x.csv:2", "set/z.csv.GZ:2"};
    for (int i = 0; i < 4; i++) {
        assert_non_null(place[i]);
        assert_string_equal(place[i] + strlen(scratch()) + 1, ending[i]);
        free(place[i]);
    }
    free(path);
}

static void test_nothing_there(void **state) {
    (void)state;
    make_folder("empty");
    expect_none("set/*.parquet", ": no file matches this pattern");
    expect_none("empty", ": no file in this folder is named as data (0 are not); expected");
    named_text("empty/data.bin", "x");
    expect_none("empty", "(1 are not, the first is ");
    expect_none("empty", "empty/data.bin); expected names that end in .jsonl");
    expect_none("absent.jsonl", ": cannot be opened");
}

static void test_a_bad_file_among_them(void **state) {
    (void)state;
    make_folder("bad");
    named_text("bad/a.jsonl", "{\"text\": \"one\"}\n");
    named_text("bad/b.jsonl", "{\"text\": \"one\"}\n{\"text\": 1}\n");
    expect_none("bad", "/b.jsonl:2: the field \"text\" is an integer");
    named_text("bad/b.jsonl", "");
    char *pattern = in_scratch("bad/*");
    expect_refused_file(pattern, "bad/b.jsonl:1: is empty", NULL);
    free(pattern);
}

static void test_links_and_pipes(void **state) {
    (void)state;
    make_folder("links/below");
    named_text("links/a.jsonl", "{\"text\": \"one\"}\n");
    make_link("../a.jsonl", "links/below/b.jsonl");
    make_link("../empty", "links/elsewhere");
    expect_files("links", "links/a.jsonl links/below/b.jsonl");
    make_link("..", "links/below/up");
    expect_none("links", "links/below/up: is a symbolic link to a folder above it, so that the folder has no end; remove the link");
    char *up = in_scratch("links/below/up");
    assert_int_equal(unlink(up), 0);
    free(up);
    make_link("self.jsonl", "links/self.jsonl");
    expect_none("links", "links/self.jsonl: cannot be opened: its symbolic links lead in a circle");
    char *pipe_path = in_scratch("links/0.jsonl");
    assert_int_equal(mkfifo(pipe_path, 0600), 0);
    expect_none("links", "links/0.jsonl: ");
    free(pipe_path);
}

static void test_unreadable_folder(void **state) {
    (void)state;
    if (geteuid() == 0) skip(); /* reads everything */
    make_folder("closed/in");
    char *path = in_scratch("closed/in");
    assert_int_equal(chmod(path, 0), 0);
    expect_none("closed", "closed/in: the folder cannot be read: Permission denied");
    assert_int_equal(chmod(path, 0700), 0);
    free(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_which_files),           cmocka_unit_test(test_mixed_kinds),     cmocka_unit_test(test_nothing_there),
        cmocka_unit_test(test_a_bad_file_among_them), cmocka_unit_test(test_links_and_pipes), cmocka_unit_test(test_unreadable_folder),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
