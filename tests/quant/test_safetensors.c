/* safetensors files: what must be read, what must be refused, and the bytes of the writer. */
#include <unistd.h>

#include "tests/quant/scratch.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "checkpoint/safetensors_writer.h"

/* A file with this header and `bytes` bytes of data, value i & 255. */
static const char *file_of(const char *name, const char *header, size_t bytes) {
    ql_str s = {0};
    uint64_t n = strlen(header);
    ql_str_put(&s, &n, sizeof n);
    ql_str_puts(&s, header);
    for (size_t i = 0; i < bytes; i++) {
        char c = (char)i;
        ql_str_put(&s, &c, 1);
    }
    const char *path = scratch_write(name, s.data, s.size);
    ql_str_free(&s);
    return path;
}

static ql_err try_open(const char *path) {
    ql_tensor_set *s;
    ql_err e = ql_tensor_file_open(path, &s);
    if (!ql_bad(e))
        ql_tensor_set_close(s);
    else
        assert_null(s);
    return e;
}

/* ---- reading ---------------------------------------------------------------------------------- */

static void a_file_of_the_reference_writer_is_read(void **state) {
    (void)state;
    ql_tensor_set *s;
    ok(ql_tensor_file_open(QL_TEST_DATA "/quant/mixed.safetensors", &s));
    assert_int_equal(ql_tensor_set_size(s), 11);
    for (size_t i = 1; i < 11; i++)
        assert_true(strcmp(ql_tensor_set_at(s, i - 1)->name, ql_tensor_set_at(s, i)->name) < 0);
    const ql_stored *t = ql_tensor_set_find(s, "scalar");
    float f;
    assert_true(t->rank == 0 && t->count == 1 && t->bytes == 4 && t->dtype == QL_F32 && t->dtype_known);
    memcpy(&f, t->data, 4);
    assert_true(f == 2.5f);
    t = ql_tensor_set_find(s, "empty");
    assert_true(t->rank == 2 && t->dim[0] == 0 && t->dim[1] == 3 && t->count == 0 && t->bytes == 0);
    t = ql_tensor_set_find(s, "brain");
    assert_true(t->dtype == QL_BF16 && t->dim[0] == 2 && t->dim[1] == 1);
    assert_string_equal(t->dtype_name, "BF16");
    assert_non_null(ql_tensor_set_find(s, "z\"quoted\\n\xc3\xa9"));
    assert_null(ql_tensor_set_find(s, "scala"));
    ql_stored_release(t);
    ql_tensor_set_close(s);
}

static void unusual_but_legal_files_are_read(void **state) {
    (void)state;
    ok(try_open(file_of("a", "{}", 0)));
    ok(try_open(file_of("a", "{}      ", 0)));
    ok(try_open(file_of("a", "{\"__metadata__\":{\"format\":\"pt\",\"a\\u0041\":\"\"}}", 0)));
    ok(try_open(
        file_of("a", "{ \"x\" : { \"shape\" : [ ] , \"dtype\" : \"U8\",\n \"data_offsets\" : [ 0 , 1 ] } } \n", 1)));
    ok(try_open(file_of("a",
                        "{\"b\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[1,4]},"
                        "\"a\":{\"dtype\":\"I8\",\"shape\":[1],\"data_offsets\":[0,1]}}",
                        4)));
    ok(try_open(file_of("a", "{\"b}{,\\\"\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}", 0)));
    ok(try_open(file_of("a", "{\"x\":{\"dtype\":\"F4\",\"shape\":[2,3],\"data_offsets\":[0,3]}}", 3)));
    ql_tensor_set *s;
    ok(ql_tensor_file_open(file_of("a", "{\"x\":{\"dtype\":\"F8_E4M3\",\"shape\":[5],\"data_offsets\":[0,5]}}", 5),
                           &s));
    assert_false(ql_tensor_set_at(s, 0)->dtype_known);
    assert_string_equal(ql_tensor_set_at(s, 0)->dtype_name, "F8_E4M3");
    ql_tensor_set_close(s);
}

#define X(dtype, shape, offsets) "{\"x\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

static void lying_headers_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *header;
        size_t bytes;
        const char *says;
    } cases[] = {
        {X("F32", "[2]", "[0,8]"), 7, "tensor x: lies beyond the end"},
        {X("F32", "[2]", "[0,8]"), 9, "has 1 bytes that belong to no tensor"},
        {X("F32", "[2]", "[1,9]"), 9, "tensor x: leaves a hole"},
        {X("F32", "[2]", "[0,4]"), 4, "do not fit its shape"},
        {X("F32", "[2]", "[8,0]"), 8, "not two ascending"},
        {X("F32", "[2]", "[-8,0]"), 8, "not two ascending"},
        {X("F32", "[2]", "[0,8,8]"), 8, "has no data_offsets"},
        {X("F32", "[2]", "8"), 8, "has no data_offsets"},
        {X("F32", "[-1]", "[0,0]"), 0, "not a whole number"},
        {X("F32", "[2.0]", "[0,8]"), 8, "not a whole number"},
        {X("F32", "[1e1]", "[0,40]"), 40, "not a whole number"},
        {X("F32", "2", "[0,8]"), 8, "has no shape"},
        {X("F32", "[4611686018427387904,4]", "[0,0]"), 0, "impossible shape"},
        {X("F32", "[4611686018427387904,4,0]", "[0,0]"), 0, "impossible shape"},
        {X("F32", "[4611686018427387904]", "[0,0]"), 0, "impossible shape"},
        {X("F32", "[99999999999999999999]", "[0,0]"), 0, "not a whole number"},
        {X("U8", "[9223372036854775807]", "[0,9223372036854775807]"), 0, "impossible shape"},
        {X("U8", "[1099511627776]", "[0,1099511627776]"), 1, "lies beyond the end"},
        {X("U8", "[1,1,1,1,1]", "[0,1]"), 1, "more than 4 dimensions"},
        {X("F4", "[3]", "[0,2]"), 2, "impossible shape"},
        {X("F31", "[2]", "[0,8]"), 8, "does not know"},
        {X("f32", "[2]", "[0,8]"), 8, "does not know"},
        {"{\"x\":{\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "has no dtype"},
        {"{\"x\":[]}", 0, "is not described by an object"},
        {"{\"x\":}", 0, "not valid JSON"},
        {"{\"x\"}", 0, "not valid JSON"},
        {"{\"x\":{}", 0, "not valid JSON"},
        {"{x:{}}", 0, "not valid JSON"},
        {"{\"x\":{},}", 0, "has no dtype"},
        {"{\"__metadata__\":{},}", 0, "not valid JSON"},
        {"{\"\\ud800\":{}}", 0, "string that is not valid"},
        {"{\"a\\u0000b\":{}}", 0, "control character"},
        {"{\"a\\nb\":{}}", 0, "control character"},
        {"{\"\xff\":{}}", 0, "string that is not valid"},
        {"{}x", 0, "goes on after"},
        {"{}{}", 0, "goes on after"},
        {" {}", 0, "does not begin with {"},
        {"[]", 0, "does not begin with {"},
        {"{", 0, "not valid JSON"},
        {"", 0, "does not begin with {"},
        {"{\"__metadata__\":{\"a\":1}}", 0, "__metadata__"},
        {"{\"__metadata__\":[]}", 0, "not a JSON object"},
        {"{\"__metadata__\":{\"a\":\"b\"", 0, "not valid JSON"},
        {"{\"x\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
         "\"x\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}",
         2, "tensor x: is there twice"},
        {"{\"x\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
         "\"y\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[1,3]}}",
         3, "tensor y: overlaps"},
        {"{\"x\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", 2, "not valid JSON"},
    };
    for (size_t i = 0; i < QL_LEN(cases); i++) {
        const char *path = file_of("bad", cases[i].header, cases[i].bytes);
        ql_err e = try_open(path);
        refused(e, QL_DATA, cases[i].says);
        refused(e, QL_DATA, path);
    }
}

static void files_that_are_something_else_are_refused(void **state) {
    (void)state;
    static const uint64_t sizes[] = {3, 100000001, UINT64_MAX, UINT64_MAX - 7, (uint64_t)INT64_MAX};
    static const char *const says[] = {"ends within its header", "at most", "at most", "at most", "at most"};
    for (size_t i = 0; i < QL_LEN(sizes); i++) {
        uint8_t bytes[10] = {0};
        memcpy(bytes, &sizes[i], 8);
        refused(try_open(scratch_write("bad", bytes, sizeof bytes)), QL_DATA, says[i]);
    }
    refused(try_open(scratch_write("bad", "1234567", 7)), QL_DATA, "no safetensors file");
    refused(try_open(scratch_write("bad", "", 0)), QL_DATA, "no safetensors file");
    refused(try_open(scratch_text("bad", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n")), QL_DATA,
            "git lfs pull");
    refused(try_open(scratch("absent")), QL_DATA, "absent");
    refused(try_open("/tmp"), QL_DATA, "not a regular file");
}

/* As many tensors as are allowed, and a header that is one huge string: neither slow nor a failure. */
static void large_headers_are_read(void **state) {
    (void)state;
    enum { MOST = 65536 };
    ql_str s = {0};
    ql_str_puts(&s, "{");
    for (int i = 0; i < MOST; i++)
        ql_str_printf(&s, "\"model.layers.%d.w\":{\"dtype\":\"F32\",\"shape\":[0,%d],\"data_offsets\":[0,0]},", i, i);
    ql_str_puts(&s, "\"__metadata__\":{\"note\":\"");
    for (int i = 0; i < 1000; i++) ql_str_puts(&s, "lorem ipsum, {dolor} [sit] amet ");
    ql_str_puts(&s, "\"}}");
    ql_tensor_set *set;
    ok(ql_tensor_file_open(file_of("large", s.data, 0), &set));
    assert_int_equal(ql_tensor_set_size(set), MOST);
    assert_int_equal(ql_tensor_set_find(set, "model.layers.55555.w")->dim[1], 55555);
    ql_tensor_set_close(set);
    s.size--;
    ql_str_puts(&s, ",\"more\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}");
    refused(try_open(file_of("large", s.data, 0)), QL_DATA, "holds more than 65536 tensors");
    ql_str_free(&s);
}

/* Of one tensor: its name; and of the notes: their number. */
static void long_names_and_many_notes(void **state) {
    (void)state;
    static const char rest[] = "\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}";
    for (int n = 256; n <= 257; n++) {
        ql_str s = {0};
        ql_str_puts(&s, "{\"");
        for (int i = 0; i < n; i++) ql_str_puts(&s, i % 2 ? "\\u0041" : "b");
        ql_str_puts(&s, rest);
        if (n == 256) ok(try_open(file_of("names", s.data, 0)));
        else refused(try_open(file_of("names", s.data, 0)), QL_DATA, "a name of 257 bytes; at most 256");
        ql_str_free(&s);
    }
    ql_str s = {0};
    ql_str_puts(&s, "{\"__metadata__\":{\"a\":\"\"");
    for (int i = 1; i < 65536; i++) ql_str_puts(&s, ",\"a\":\"\"");
    ql_str_puts(&s, "}}");
    ok(try_open(file_of("notes", s.data, 0)));
    s.size -= 2;
    ql_str_puts(&s, ",\"a\":\"\"}}");
    refused(try_open(file_of("notes", s.data, 0)), QL_DATA, "__metadata__ has more than 65536 members");
    ql_str_free(&s);
}

/* ---- folders ---------------------------------------------------------------------------------- */

#define ONE(name) "{\"" name "\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}"

static const char *model_folder(const char *name, const char *index) {
    const char *folder = scratch(name);
    ok(ql_dir_remove(folder));
    ok(ql_dir_make(folder));
    char *path = ql_format("%s/model.safetensors.index.json", name);
    if (index) scratch_text(path, index);
    free(path);
    return folder;
}

static ql_err try_folder(const char *folder) {
    ql_tensor_set *s;
    ql_err e = ql_tensor_folder_open(folder, &s);
    if (!ql_bad(e)) ql_tensor_set_close(s);
    return e;
}

static void shards_are_read_as_one_set(void **state) {
    (void)state;
    const char *f = model_folder("sharded", "{\"metadata\":{\"total_size\":4},\"weight_map\":"
                                            "{\"b\":\"s-2.safetensors\",\"a\":\"s-1.safetensors\"}}");
    file_of("sharded/s-1.safetensors", ONE("a"), 2);
    file_of("sharded/s-2.safetensors",
            "{\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
            "\"extra\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[2,3]}}",
            3);
    ql_tensor_set *s, *single;
    ok(ql_tensor_folder_open(f, &s));
    assert_int_equal(ql_tensor_set_size(s), 3);
    assert_non_null(strstr(ql_tensor_set_find(s, "b")->file->path, "s-2"));
    assert_non_null(ql_tensor_set_find(s, "extra")); /* as transformers does */
    /* The same tensors in one file have the same fingerprint. */
    const ql_tensor_plan plan[] = {{"a", "U8", 1, {2}}, {"b", "U8", 1, {2}}, {"extra", "U8", 1, {1}}};
    ql_tensor_writer *w;
    ok(ql_tensor_writer_open(scratch("single"), plan, 3, &w));
    for (int i = 0; i < 3; i++) {
        const ql_stored *t = ql_tensor_set_find(s, plan[i].name);
        ok(ql_tensor_writer_put(w, t->name, t->data, t->bytes));
    }
    ok(ql_tensor_writer_finish(w));
    ok(ql_tensor_file_open(scratch("single"), &single));
    assert_true(ql_tensor_set_fingerprint(single) == ql_tensor_set_fingerprint(s));
    ql_tensor_set_close(single);
    ql_tensor_set_close(s);
}

static void bad_indexes_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *index, *says;
    } cases[] = {
        {"{\"weight_map\":{\"a\":\"s-1.safetensors\",\"c\":\"s-3.safetensors\"}}",
         "names the shard s-3.safetensors, which is missing"},
        {"{\"weight_map\":{\"a\":\"s-1.safetensors\",\"c\":\"s-1.safetensors\"}}", "tensor c: is not in s-1"},
        {"{\"weight_map\":{\"a\":\"s-1.safetensors\",\"b\":\"s-1.safetensors\",\"x\":\"s-2.safetensors\"}}",
         "tensor b: is in"},
        {"{\"weight_map\":{\"a\":\"s-1.safetensors\",\"b\":\"copy.safetensors\"}}", "tensor a: is in"},
        {"{\"weight_map\":{\"a\":1}}", "its shard is not a file name"},
        {"{\"weight_map\":[]}", "no object \"weight_map\""},
        {"{}", "no object \"weight_map\""},
        {"{\"weight_map\":{\"a\":\"s-1.safetensors\"", "not valid JSON"},
        {"{\"weight_map\":{\"a\":\"s-1.safetensors\",\"a\":\"s-1.safetensors\"}}", "not valid JSON"},
    };
    for (size_t i = 0; i < QL_LEN(cases); i++) {
        const char *f = model_folder("sharded", cases[i].index);
        file_of("sharded/s-1.safetensors", ONE("a"), 2);
        file_of("sharded/s-2.safetensors",
                "{\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
                "\"x\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[2,3]}}",
                3);
        file_of("sharded/copy.safetensors",
                "{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
                "\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[2,3]}}",
                3);
        ql_err e = try_folder(f);
        refused(e, QL_DATA, cases[i].says);
        refused(e, QL_DATA, "sharded");
    }
}

/* What leads out of the folder, and what would be printed as more than one word. */
static void shards_outside_of_the_folder_are_refused(void **state) {
    (void)state;
    static const char *const names[] = {"../sharded/s-1.safetensors", "/etc/passwd", "..", ".", "", ".hidden", "a/b", "a\\\\b",
                                        "s-1.safetensors\\u0000", "s-1\\n.safetensors", "s-1\\u001b[2J"};
    for (size_t i = 0; i < QL_LEN(names); i++) {
        char *index = ql_format("{\"weight_map\":{\"a\":\"%s\"}}", names[i]);
        const char *f = model_folder("sharded", index);
        file_of("sharded/s-1.safetensors", ONE("a"), 2);
        refused(try_folder(f), QL_DENIED, "names a shard that is no plain name");
        free(index);
    }
}

/* Links lead out of the folder, too, but for the ones that the Hugging Face hub's cache is made of. */
static void shards_behind_links(void **state) {
    (void)state;
    ok(ql_dir_make(scratch("hub/snapshots/0123")));
    ok(ql_dir_make(scratch("hub/blobs")));
    file_of("hub/blobs/abcdef", ONE("a"), 2);
    file_of("hub/outside", ONE("a"), 2);
    scratch_text("hub/snapshots/0123/model.safetensors.index.json", "{\"weight_map\":{\"a\":\"shard\"}}");
    static const struct {
        const char *to;
        bool good;
    } cases[] = {{"../../blobs/abcdef", true},    {"../../outside", false},   {"../../blobs/../outside", false},
                 {"../../blobs/.", false},        {"../../blobs/", false},    {"../blobs/abcdef", false},
                 {"../../blobs/a-link", false},   {"/etc/passwd", false},     {"other", false},
                 {"../../blobs/missing", false}};
    assert_int_equal(symlink("../outside", scratch("hub/blobs/a-link")), 0);
    file_of("hub/snapshots/0123/other", ONE("a"), 2);
    for (size_t i = 0; i < QL_LEN(cases); i++) {
        assert_int_equal(symlink(cases[i].to, scratch("hub/snapshots/0123/shard")), 0);
        ql_err e = try_folder(scratch("hub/snapshots/0123"));
        if (cases[i].good) ok(e);
        else if (strstr(cases[i].to, "missing")) refused(e, QL_DATA, "is missing");
        else refused(e, QL_DENIED, "is a symbolic link");
        assert_int_equal(unlink(scratch("hub/snapshots/0123/shard")), 0);
    }
}

static void folders_without_weights_say_what_to_do(void **state) {
    (void)state;
    refused(try_folder(model_folder("none", NULL)), QL_DATA, "neither model.safetensors nor");
    scratch_text("none/pytorch_model.bin", "x");
    refused(try_folder(scratch("none")), QL_DATA, "save_pretrained()");
    refused(try_folder(scratch("nowhere")), QL_DATA, "nowhere");
}

/* ---- values ------------------------------------------------------------------------------------ */

static void values_that_are_not_finite_are_found(void **state) {
    (void)state;
    enum { N = 70001 };
    float *x = QL_NEW_ARRAY(float, N);
    static const uint16_t bad[] = {0x7f80, 0x7c00};
    for (int k = 0; k < 3; k++) {
        for (size_t at = 0; at <= N; at += 35000) {
            uint16_t *half = (uint16_t *)(void *)x;
            memset(x, 0, N * sizeof *x);
            if (at < N && k < 2)
                half[at] = bad[k];
            else if (at < N)
                x[at] = at ? -INFINITY : NAN;
            ql_tensor_to_write t = {"x", k == 0 ? QL_BF16 : k == 1 ? QL_F16 : QL_F32, 1, {N}, x};
            ok(ql_tensor_file_write(scratch("values"), &t, 1));
            ql_tensor_set *s;
            ok(ql_tensor_file_open(scratch("values"), &s));
            assert_int_equal(ql_stored_is_finite(ql_tensor_set_at(s, 0)), at >= N);
            ql_tensor_set_close(s);
        }
    }
    free(x);
}

/* ---- writing ----------------------------------------------------------------------------------- */

static void same_bytes(const char *a, const char *b) {
    ql_str x, y;
    ok(ql_file_read(a, 1 << 20, &x));
    ok(ql_file_read(b, 1 << 20, &y));
    assert_int_equal(x.size, y.size);
    assert_memory_equal(x.data, y.data, x.size);
    ql_str_free(&x);
    ql_str_free(&y);
}

/* Read the reference's file, write its tensors in another order: the same file. */
static void the_writer_makes_the_bytes_of_the_reference(void **state) {
    (void)state;
    ql_tensor_set *s;
    ok(ql_tensor_file_open(QL_TEST_DATA "/quant/mixed.safetensors", &s));
    size_t n = ql_tensor_set_size(s);
    ql_tensor_to_write *t = QL_NEW_ARRAY(ql_tensor_to_write, n);
    for (size_t i = 0; i < n; i++) {
        const ql_stored *from = ql_tensor_set_at(s, i);
        t[n - 1 - i] = (ql_tensor_to_write){from->name, from->dtype, from->rank, {0}, from->data};
        memcpy(t[n - 1 - i].dim, from->dim, sizeof from->dim);
    }
    ok(ql_tensor_file_write(scratch("mixed"), t, n));
    same_bytes(scratch("mixed"), QL_TEST_DATA "/quant/mixed.safetensors");
    free(t);
    ql_tensor_set_close(s);
}

static size_t files_in_scratch_named(const char *name) {
    struct stat st;
    return stat(scratch(name), &st) == 0;
}

static void the_writer_is_all_or_nothing(void **state) {
    (void)state;
    const ql_tensor_plan plan[] = {{"a", "U8", 1, {4}}, {"b", "F8_E5M2", 2, {1, 3}}};
    ql_tensor_writer *w;
    ok(ql_tensor_writer_open(scratch("out"), plan, 2, &w));
    assert_int_equal(files_in_scratch_named("out"), 0);
    refused(ql_tensor_writer_put(w, "a", "123", 3), QL_BUG, "announced");
    refused(ql_tensor_writer_put(w, "c", "123", 3), QL_BUG, "announced");
    ok(ql_tensor_writer_put(w, "b", "567", 3));
    refused(ql_tensor_writer_put(w, "b", "567", 3), QL_BUG, "announced");
    refused(ql_tensor_writer_finish(w), QL_BUG, "not written");
    assert_int_equal(files_in_scratch_named("out"), 0);
    ok(ql_tensor_writer_open(scratch("out"), plan, 2, &w));
    ok(ql_tensor_writer_put(w, "b", "567", 3));
    ok(ql_tensor_writer_put(w, "a", "1234", 4));
    ok(ql_tensor_writer_finish(w));
    ql_tensor_set *s;
    ok(ql_tensor_file_open(scratch("out"), &s));
    assert_memory_equal(ql_tensor_set_find(s, "a")->data, "1234", 4);
    assert_memory_equal(ql_tensor_set_find(s, "b")->data, "567", 3);
    ql_tensor_set_close(s);
    refused(ql_tensor_writer_open("/proc/no/such/place", plan, 2, &w), QL_IO, "cannot be created");
    refused(ql_tensor_writer_open("/dev/full/x", plan, 2, &w), QL_IO, "cannot be created");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_of_the_reference_writer_is_read),
        cmocka_unit_test(unusual_but_legal_files_are_read),
        cmocka_unit_test(lying_headers_are_refused),
        cmocka_unit_test(files_that_are_something_else_are_refused),
        cmocka_unit_test(large_headers_are_read),
        cmocka_unit_test(long_names_and_many_notes),
        cmocka_unit_test(shards_are_read_as_one_set),
        cmocka_unit_test(bad_indexes_are_refused),
        cmocka_unit_test(shards_outside_of_the_folder_are_refused),
        cmocka_unit_test(shards_behind_links),
        cmocka_unit_test(folders_without_weights_say_what_to_do),
        cmocka_unit_test(values_that_are_not_finite_are_found),
        cmocka_unit_test(the_writer_makes_the_bytes_of_the_reference),
        cmocka_unit_test(the_writer_is_all_or_nothing),
    };
    return cmocka_run_group_tests_name("safetensors", tests, scratch_make, scratch_remove);
}
