/* Random numbers, growing memory, digests, and the texts of sizes and durations. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/random.h"
#include "tests/quant/scratch.h"

/* ---- random numbers ---- */

/* Random123 (D. E. Shaw Research), examples/kat_vectors, "philox4x32 10": counter, key, result. */
static const uint32_t known[][10] = {
    {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
    {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x408f276d, 0x41c83b0e, 0xa20bc7c6,
     0x6d5451fd},
    {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09, 0x94fdcceb, 0x5001e420,
     0x24126ea1},
};

static void test_philox_known_answers(void **state) {
    (void)state;
    for (size_t i = 0; i < QL_LEN(known); i++) {
        const uint32_t *k = known[i];
        ql_random4 r = ql_philox((uint64_t)k[4] | (uint64_t)k[5] << 32, k[0], k[1], k[2], k[3]);
        assert_memory_equal(r.word, k + 6, sizeof r.word);
    }
}

static void test_uniform(void **state) {
    (void)state;
    assert_true(ql_uniform(0) == 0);
    assert_true(ql_uniform(0x80000000u) == 0.5f);
    assert_true(ql_uniform(UINT32_MAX) < 1);
    assert_true(ql_uniform(UINT32_MAX) == 1 - 0x1p-24f);
}

static void test_keys_differ(void **state) {
    (void)state;
    uint64_t key[4 * 5];
    size_t n = 0;
    for (uint64_t seed = 41; seed < 45; seed++)
        for (int purpose = QL_RANDOM_SHUFFLE; purpose <= QL_RANDOM_SPLIT; purpose++)
            key[n++] = ql_random_key(seed, (ql_purpose)purpose);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++) assert_true(key[i] != key[j]);
}

static void check_is_permutation(const int64_t *order, int64_t n) {
    bool *seen = calloc((size_t)n + 1, sizeof *seen);
    assert_non_null(seen);
    for (int64_t i = 0; i < n; i++) {
        assert_true(order[i] >= 0 && order[i] < n);
        assert_false(seen[order[i]]);
        seen[order[i]] = true;
    }
    free(seen);
}

static void test_permutation(void **state) {
    (void)state;
    static const int64_t sizes[] = {0, 1, 2, 3, 17, 1000};
    int64_t a[1000];
    for (size_t i = 0; i < QL_LEN(sizes); i++)
        for (uint32_t epoch = 0; epoch < 20; epoch++) {
            ql_permutation(7, epoch, sizes[i], a);
            check_is_permutation(a, sizes[i]);
        }
}

static void test_permutation_depends_on_seed_and_epoch_only(void **state) {
    (void)state;
    enum { N = 100 };
    int64_t a[N], b[N];
    ql_permutation(7, 3, N, a);
    ql_permutation(7, 3, N, b);
    assert_memory_equal(a, b, sizeof a);
    ql_permutation(7, 4, N, b);
    assert_memory_not_equal(a, b, sizeof a);
    ql_permutation(8, 3, N, b);
    assert_memory_not_equal(a, b, sizeof a);
}

/* All six orders of three things are about equally frequent: 6000 draws, six standard deviations. */
static void test_permutation_is_fair(void **state) {
    (void)state;
    int count[27] = {0};
    for (uint32_t epoch = 0; epoch < 6000; epoch++) {
        int64_t a[3];
        ql_permutation(1, epoch, 3, a);
        count[a[0] * 9 + a[1] * 3 + a[2]]++;
    }
    int orders = 0;
    for (int i = 0; i < 27; i++) {
        if (count[i] == 0) continue;
        orders++;
        assert_in_range(count[i], 1000 - 174, 1000 + 174);
    }
    assert_int_equal(orders, 6);
}

/* ---- memory ---- */

static void test_str_grows(void **state) {
    (void)state;
    ql_str s = {0};
    for (int i = 0; i < 5000; i++) {
        ql_str_printf(&s, "%d,", i % 10);
        assert_int_equal(s.size, 2 * (i + 1));
        assert_true(s.capacity > s.size);
        assert_int_equal(s.data[s.size], 0);
    }
    assert_memory_equal(s.data + 9980, "0,1,2,3,4,5,6,7,8,9,", 20);
    ql_str_free(&s);
    assert_null(s.data);
    assert_int_equal(s.size + s.capacity, 0);
}

/* Around the first capacity a byte too few would show. */
static void test_str_sizes(void **state) {
    (void)state;
    char text[200];
    memset(text, 'x', sizeof text);
    for (size_t n = 0; n < sizeof text; n++) {
        ql_str s = {0}, t = {0};
        ql_str_put(&s, text, n);
        ql_str_printf(&t, "%.*s", (int)n, text);
        assert_int_equal(s.size, n);
        assert_int_equal(t.size, n);
        assert_int_equal(strlen(s.data), n);
        assert_string_equal(s.data, t.data);
        ql_str_free(&s);
        ql_str_free(&t);
    }
}

static void test_str_keeps_nul(void **state) {
    (void)state;
    ql_str s = {0};
    ql_str_put(&s, "a\0b", 3);
    ql_str_put(&s, NULL, 0);
    ql_str_puts(&s, "c");
    assert_int_equal(s.size, 4);
    assert_memory_equal(s.data, "a\0bc", 5);
    ql_str_free(&s);
}

static void test_push(void **state) {
    (void)state;
    struct {
        double x;
        char c;
    } *a = NULL, v;
    size_t n = 0, capacity = 0;
    for (int i = 0; i < 1000; i++) {
        v.x = i;
        v.c = (char)(i % 100);
        QL_PUSH(a, n, capacity, v);
    }
    assert_int_equal(n, 1000);
    assert_true(capacity >= n);
    for (int i = 0; i < 1000; i++) assert_true(a[i].x == i && a[i].c == i % 100);
    free(a);
}

static void test_alloc(void **state) {
    (void)state;
    uint8_t *p = ql_alloc_array(100, 3);
    for (int i = 0; i < 300; i++) assert_int_equal(p[i], 0);
    free(p);
    void *nothing = ql_alloc(0), *none = ql_alloc_array(0, 8);
    assert_non_null(nothing);
    assert_non_null(none);
    free(nothing);
    free(none);
    char *text = ql_format("%s-%d", "a", 5), *part = ql_strndup("abc", 2);
    assert_string_equal(text, "a-5");
    assert_string_equal(part, "ab");
    free(text);
    free(part);
}

/* ---- verdicts ---- */

static void test_verdicts(void **state) {
    (void)state;
    ql_err e = ql_fail(QL_DATA, "%s: is wrong", "file");
    assert_int_equal(e.code, QL_DATA);
    assert_string_equal(ql_err_text(), "file: is wrong");
    e = ql_err_prefix(e, "step %d", 3);
    assert_int_equal(e.code, QL_DATA);
    assert_string_equal(ql_err_text(), "step 3: file: is wrong");
    e = ql_fail(QL_IO, "again %s", ql_err_text()); /* an argument may be the old sentence */
    assert_string_equal(ql_err_text(), "again step 3: file: is wrong");
    assert_int_equal(ql_err_as(e, QL_TEMP).code, QL_TEMP);
    assert_false(ql_bad(ql_err_as(ql_ok(), QL_TEMP)));
    assert_false(ql_bad(ql_err_prefix(ql_ok(), "not here")));
    assert_string_equal(ql_err_text(), "again step 3: file: is wrong");
}

/* However long: cut at the end, never at the beginning, and always a text. */
static void test_long_sentence_is_cut(void **state) {
    (void)state;
    enum { LONG = 100000 };
    char *text = ql_alloc(LONG + 1);
    memset(text, 'y', LONG);
    ql_err e = ql_fail(QL_DATA, "%s", text);
    size_t kept = strlen(ql_err_text());
    assert_in_range(kept, 1000, LONG - 1);
    for (int i = 0; i < 3; i++) e = ql_err_prefix(e, "p");
    assert_int_equal(strlen(ql_err_text()), kept);
    assert_memory_equal(ql_err_text(), "p: p: p: yyy", 12);
    free(text);
    assert_true(ql_bad(e));
}

/* ---- digests ---- */

static void check_sha256(const char *text, size_t n, const char *digest) {
    char hex[65];
    ql_sha256 d = ql_sha256_of(text, n), file;
    ql_sha256_text(&d, hex);
    assert_string_equal(hex, digest);
    ok(ql_sha256_file(scratch_write("digest", text, n), &file));
    assert_true(ql_sha256_equal(&d, &file));
}

/* FIPS 180-2, appendix B, and the empty message. */
static void test_sha256(void **state) {
    (void)state;
    check_sha256("", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    check_sha256("abc", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    static const char two_blocks[] = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    check_sha256(two_blocks, 56, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    char *many = ql_alloc(1000000);
    memset(many, 'a', 1000000);
    check_sha256(many, 1000000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    free(many);
}

/* A file beyond the piece in which it is read. */
static void test_sha256_of_a_large_file(void **state) {
    (void)state;
    size_t n = (9u << 20) + 12345;
    uint8_t *bytes = ql_alloc(n);
    for (size_t i = 0; i < n; i++) bytes[i] = (uint8_t)(i * 2654435761u >> 13);
    ql_sha256 whole = ql_sha256_of(bytes, n), file;
    ok(ql_sha256_file(scratch_write("large", bytes, n), &file));
    assert_true(ql_sha256_equal(&whole, &file));
    bytes[n - 1] ^= 1;
    ql_sha256 other = ql_sha256_of(bytes, n);
    assert_false(ql_sha256_equal(&whole, &other));
    refused(ql_sha256_file(scratch("absent"), &file), QL_DATA, "absent: cannot be opened");
    free(bytes);
}

static void test_hashed_strings_keep_their_borders(void **state) {
    (void)state;
    ql_hasher *a = ql_hasher_open(), *b = ql_hasher_open();
    ql_hasher_add_string(a, "ab");
    ql_hasher_add_string(a, "c");
    ql_hasher_add_string(b, "a");
    ql_hasher_add_string(b, "bc");
    ql_sha256 x = ql_hasher_close(a), y = ql_hasher_close(b);
    assert_false(ql_sha256_equal(&x, &y));
    assert_true(ql_hash64("abc", 3, 0) != ql_hash64("abc", 3, 1));
    assert_true(ql_hash64("abc", 3, 0) == 0x78af5f94892f3950u); /* xxHash's own "XXH3_64b" of "abc" */
    ql_hash128_value nothing = ql_hash128("", 0), abc = ql_hash128("abc", 3); /* and its "XXH128" */
    assert_true(nothing.low == 0x6001c324468d497fu && nothing.high == 0x99aa06d3014798d8u);
    assert_true(abc.low == 0x78af5f94892f3950u && abc.high == 0x06b05ab6733a6185u);
}

/* ---- texts ---- */

static void test_sizes(void **state) {
    (void)state;
    char t[32];
    assert_string_equal(ql_text_bytes(t, 0), "0.0 MiB");
    assert_string_equal(ql_text_bytes(t, 1 << 20), "1.0 MiB");
    assert_string_equal(ql_text_bytes(t, 12900000), "12.3 MiB");
    assert_string_equal(ql_text_bytes(t, 1u << 30), "1.00 GiB");
    assert_string_equal(ql_text_bytes(t, (1u << 30) - 1000), "1.00 GiB"); /* never "1024.0 MiB" */
    assert_string_equal(ql_text_bytes(t, 1023u << 20), "1023.0 MiB");
    assert_string_equal(ql_text_bytes(t, 3u << 29), "1.50 GiB");
    assert_string_equal(ql_text_bytes(t, UINT64_MAX), "17179869184.00 GiB");
}

static void test_durations(void **state) {
    (void)state;
    char t[32];
    assert_string_equal(ql_text_duration(t, 0), "0.0 s");
    assert_string_equal(ql_text_duration(t, 4.2), "4.2 s");
    assert_string_equal(ql_text_duration(t, 59.4), "59.4 s");
    assert_string_equal(ql_text_duration(t, 59.96), "1 min 00 s"); /* never "60.0 s" */
    assert_string_equal(ql_text_duration(t, 187), "3 min 07 s");
    assert_string_equal(ql_text_duration(t, 3599.4), "59 min 59 s");
    assert_string_equal(ql_text_duration(t, 3599.6), "1 h 00 min");
    assert_string_equal(ql_text_duration(t, 3720), "1 h 02 min");
    assert_string_equal(ql_text_duration(t, 360000), "100 h 00 min");
}

static void test_clock(void **state) {
    (void)state;
    double a = ql_seconds(), b = ql_seconds();
    assert_true(b >= a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_philox_known_answers),
        cmocka_unit_test(test_uniform),
        cmocka_unit_test(test_keys_differ),
        cmocka_unit_test(test_permutation),
        cmocka_unit_test(test_permutation_depends_on_seed_and_epoch_only),
        cmocka_unit_test(test_permutation_is_fair),
        cmocka_unit_test(test_str_grows),
        cmocka_unit_test(test_str_sizes),
        cmocka_unit_test(test_str_keeps_nul),
        cmocka_unit_test(test_push),
        cmocka_unit_test(test_alloc),
        cmocka_unit_test(test_verdicts),
        cmocka_unit_test(test_long_sentence_is_cut),
        cmocka_unit_test(test_sha256),
        cmocka_unit_test(test_sha256_of_a_large_file),
        cmocka_unit_test(test_hashed_strings_keep_their_borders),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_durations),
        cmocka_unit_test(test_clock),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
