/* The cache of prepared data sets: the same as reading them, never stale, never trusted, and safe against a kill, several at once
 * and a full disk. */
#include <dirent.h>
#include <fcntl.h>
#include <omp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hook.h"
#include "tests/data/fixture.h"
#include "worker/data/store/prepared.h"
#include "worker/data/store/prepared_key.h"
#include "worker/data/store/store_file.h"

enum { RECORDS = 3000 };
static char cache[128];
static int64_t kill_at = -1; /* the place in which a writer dies */

void ql_hook(const char *place, int64_t step, void *what) {
    (void)what;
    if (!strcmp(place, "prepare") && step == kill_at) raise(SIGKILL);
}

/* The clock is ours, since what was just written is not trusted by its times. */
static double ahead;
double __real_ql_wall_seconds(void);
double __wrap_ql_wall_seconds(void);
double __wrap_ql_wall_seconds(void) { return __real_ql_wall_seconds() + ahead; }

/* Records of all lengths, some too long, some without a target. */
static const char *data_of(int slot, int records) {
    ql_str text = {0};
    for (int i = 0; i < records; i++) {
        ql_str_printf(&text, "{\"prompt\": \"%d\", \"completion\": \"", i);
        for (int k = 0; k < i * 7 % 90; k++) ql_str_puts(&text, "x");
        ql_str_puts(&text, "\"}\n");
    }
    const char *path = file_of(slot, text.data, text.size);
    ql_str_free(&text);
    return path;
}

static reading kept_reading(const char *path) {
    reading r = reading_of(path);
    r.config.dataset_cache = cache;
    r.config.max_length = 60;
    return r;
}

static int count_files(const char *part) {
    int n = 0;
    DIR *dir = opendir(cache);
    for (struct dirent *entry; dir && (entry = readdir(dir));) n += strstr(entry->d_name, part) != NULL;
    if (dir) closedir(dir);
    return n;
}

static char *only_file(void) {
    char *path = NULL;
    DIR *dir = opendir(cache);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (entry->d_name[0] == '.') continue;
        assert_null(path);
        path = ql_path_join(cache, entry->d_name);
    }
    closedir(dir);
    assert_non_null(path);
    return path;
}

static int start(void **state) {
    (void)state;
    snprintf(cache, sizeof cache, "%s/cache", scratch());
    kill_at = -1;
    ahead = 0;
    return ql_bad(ql_dir_remove(cache)) ? -1 : 0;
}

static const char *origin(const reading *r) {
    const char *text = r->corpus.store[0]->origin;
    return text ? text : "";
}

static void read_well(reading *r, const char *setting) {
    read_with(r, setting);
    if (ql_bad(r->verdict)) fail_msg("%s", ql_err_text());
}

static void expect_origin(reading *r, const char *setting, const char *words) {
    read_well(r, setting);
    if (!strstr(origin(r), words)) fail_msg("\"%s\" lacks \"%s\"", origin(r), words);
}

/* ---- the same ---- */

static void expect_same(const ql_corpus *a, const ql_corpus *b) {
    assert_true(a->fingerprint == b->fingerprint);
    assert_int_equal(a->documents, b->documents);
    assert_int_equal(a->count, b->count);
    assert_int_equal(a->records, b->records);
    assert_int_equal(a->dropped_long, b->dropped_long);
    assert_int_equal(a->without_targets, b->without_targets);
    assert_true(a->completion_only == b->completion_only);
    assert_string_equal(a->format, b->format);
    for (size_t i = 0; i < a->documents; i++) {
        const ql_document *x = &a->document[i], *y = &b->document[i];
        assert_int_equal(x->record, y->record);
        assert_int_equal(x->length, y->length);
        assert_memory_equal(x->ids, y->ids, (size_t)x->length * sizeof *x->ids);
        assert_memory_equal(x->is_target, y->is_target, (size_t)x->length);
    }
}

static void test_same_as_reading(void **state) {
    (void)state;
    const char *path = data_of(0, RECORDS);
    reading plain = kept_reading(path);
    plain.config.dataset_cache = NULL;
    read_well(&plain, "");
    assert_true(plain.corpus.dropped_long > 0);
    for (int threads = 1; threads <= 3; threads++) {
        start(NULL);
        omp_set_num_threads(threads);
        reading cold = kept_reading(path), warm = kept_reading(path);
        expect_origin(&cold, "", "prepared, and kept");
        expect_origin(&warm, "", "cached (prepared ");
        expect_same(&plain.corpus, &cold.corpus);
        expect_same(&plain.corpus, &warm.corpus);
        assert_int_equal(ql_store_bytes(warm.corpus.store[0]), 0);
        free(only_file());
        done_with(&cold);
        done_with(&warm);
    }
    done_with(&plain);
}

/* Two documents of a record, with one digest. */
static void test_pairs(void **state) {
    (void)state;
    ql_str text = {0};
    for (int i = 0; i < 50; i++) ql_str_printf(&text, "{\"prompt\": \"p%d\", \"chosen\": \"good\", \"rejected\": \"bad %d\"}\n", i, i);
    const char *path = file_of(0, text.data, text.size);
    reading cold = kept_reading(path), warm = kept_reading(path);
    expect_origin(&cold, "", "prepared, and kept");
    expect_origin(&warm, "", "cached");
    assert_true(warm.corpus.pairs && warm.corpus.documents == 100);
    expect_same(&cold.corpus, &warm.corpus);
    done_with(&cold);
    done_with(&warm);
    ql_str_free(&text);
}

/* Weights, the seed, duplicates and the split change the list only: one file serves them all. */
static void test_lists_share_a_file(void **state) {
    (void)state;
    const char *path = data_of(0, 100);
    reading first = kept_reading(path);
    read_well(&first, "");
    done_with(&first);
    char weight[] = "2.5";
    reading other = kept_reading(path);
    other.config.seed = 7;
    other.config.val_set_size = 0.5;
    other.config.deduplicate = true;
    other.spec[0].weight = weight;
    other.options.training = true;
    expect_origin(&other, "", "prepared"); /* training data have a place of their own */
    reading again = kept_reading(path);
    again.options.training = true;
    expect_origin(&again, "", "cached");
    done_with(&other);
    done_with(&again);
}

/* ---- never stale ---- */

typedef struct {
    const char *what, *setting, *reason;
    void (*change)(reading *r);
} change;

static char truncate_word[] = "truncate", paragraph[] = "paragraph", name[] = "question", three[] = "3", prompt_name[] = "prompt";
static void change_length(reading *r) { r->config.max_length = 61; }
static void change_strategy(reading *r) { r->config.excess_length_strategy = truncate_word; }
static void change_targets(reading *r) { r->config.completion_only_loss = QL_FALSE; }
static void change_sampling(reading *r) { r->config.sample_by = paragraph; }
static void change_name(reading *r) { r->config.field_question = name; }
static void change_own_name(reading *r) { r->spec[0].field_prompt = prompt_name; }
static void change_cap(reading *r) { r->spec[0].max_records = three; }
static void change_vocabulary(reading *r) { r->options.vocab_size = 300; }
static void change_kept(reading *r) { r->options.keep_untargeted = true; }
static void change_data(reading *r) { (void)r; data_of(0, 101); }

static void test_every_input_counts(void **state) {
    (void)state;
    static const change changes[] = {
        {"max_length", "", "max_length changed", change_length},
        {"excess_length_strategy", "", "excess_length_strategy changed", change_strategy},
        {"completion_only_loss", "", "completion_only_loss changed", change_targets},
        {"sample_by", "", "sample_by changed", change_sampling},
        {"a field's name", "", "field_question changed", change_name},
        {"a field's name in one set", "", "field_prompt changed", change_own_name},
        {"max_records", "", "max_records changed", change_cap},
        {"the vocabulary", "", "the tokenizer changed", change_vocabulary},
        {"records without targets", "", "keep_untargeted changed", change_kept},
        {"the data", "", "the data set changed", change_data},
        {"the tokenizer", "no-bos", "the tokenizer changed", NULL},
    };
    for (size_t i = 0; i < QL_LEN(changes); i++) {
        start(NULL);
        reading first = kept_reading(data_of(0, 100));
        expect_origin(&first, "", "prepared, and kept");
        done_with(&first);
        reading again = kept_reading(first.spec[0].path), other = kept_reading(first.spec[0].path);
        expect_origin(&again, "", "cached");
        done_with(&again);
        if (changes[i].change) changes[i].change(&other);
        print_message("%s\n", changes[i].what);
        expect_origin(&other, changes[i].setting, changes[i].reason);
        done_with(&other);
        expect_origin(&other, changes[i].setting, "cached");
        done_with(&other);
    }
}

/* Content counts, and not when it was written. */
static void test_same_content_again(void **state) {
    (void)state;
    reading first = kept_reading(data_of(0, 100));
    expect_origin(&first, "", "prepared");
    done_with(&first);
    data_of(0, 100);
    reading again = kept_reading(first.spec[0].path);
    expect_origin(&again, "", "cached");
    done_with(&again);
}

static void test_changed_while_reading(void **state) {
    (void)state;
    const char *path = file_of_text(0, "one");
    ql_file_list files;
    ql_recipe_of_data recipe;
    reading r = kept_reading(path);
    ql_tokenizer *t;
    assert_false(ql_bad(ql_tokenizer_open("", &t)));
    r.options.config = &r.config;
    r.options.tokenizer = t;
    assert_false(ql_bad(ql_files_of(path, &files)));
    assert_false(ql_bad(ql_made_of(&r.options, r.spec, &files, scratch(), &recipe)));
    assert_true(ql_made_of_unchanged(&recipe, &files));
    int fd = open(path, O_WRONLY); /* the same size, within the tick perhaps */
    assert_int_equal(write(fd, "two", 3), 3);
    close(fd);
    assert_true(ql_file_mark_read(path, recipe.mark));
    assert_false(ql_made_of_unchanged(&recipe, &files));
    unlink(path);
    assert_false(ql_made_of_unchanged(&recipe, &files));
    ql_made_of_free(&recipe);
    ql_file_list_free(&files);
    ql_tokenizer_close(t);
}

static char *digests_file(void) {
    DIR *dir = opendir(cache);
    char *path = NULL;
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        if (strstr(entry->d_name, ".digests")) path = ql_path_join(cache, entry->d_name);
    if (dir) closedir(dir);
    return path;
}

static void overwrite(const char *path, size_t at, char byte) {
    int fd = open(path, O_WRONLY);
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
    close(fd);
}

/* Large data are read for their digest once; a state of files that could hide a change is not trusted. */
static void test_known_digests(void **state) {
    (void)state;
    const char *path = data_of(0, 30000);
    reading first = kept_reading(path), young = kept_reading(path);
    expect_origin(&first, "", "prepared");
    expect_origin(&young, "", "cached"); /* the folder is there now */
    assert_null(digests_file());
    done_with(&first);
    done_with(&young);
    ahead = 60;
    reading old = kept_reading(path);
    expect_origin(&old, "", "cached");
    done_with(&old);
    char *file = digests_file();
    assert_non_null(file);
    ql_str text;
    assert_false(ql_bad(ql_file_read(file, 4096, &text)));
    text.data[16] ^= 1; /* of the first digest: it shows that it is believed */
    ql_hash128_value digest = ql_hash128(text.data + 16, text.size - 16);
    memcpy(text.data, &digest, sizeof digest);
    assert_false(ql_bad(ql_file_replace(file, text.data, text.size)));
    assert_int_equal(chmod(file, 0600), 0);
    reading believes = kept_reading(path);
    expect_origin(&believes, "", "prepared anew: the data set changed");
    done_with(&believes);
    overwrite(file, 20, 'x'); /* without its own digest it is not */
    reading damaged = kept_reading(path);
    expect_origin(&damaged, "", "cached");
    done_with(&damaged);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    overwrite(path, 12, '7'); /* another prompt, and the times set back */
    assert_int_equal(utimensat(AT_FDCWD, path, (struct timespec[]){st.st_atim, st.st_mtim}, 0), 0);
    reading changed = kept_reading(path);
    expect_origin(&changed, "", "prepared anew: the data set changed");
    done_with(&changed);
    ql_str_free(&text);
    free(file);
}

/* ---- never trusted ---- */

typedef enum { HEADER, TOKENS, LIST, NOTES, TAIL, LONGER, SHORTER, EMPTY, LINK, OPEN_TO_ALL, DAMAGES } damage;

static void do_damage(damage how, const char *path) {
    ql_map m;
    assert_false(ql_bad(ql_map_open(path, &m)));
    const ql_store_header *h = (const ql_store_header *)(const void *)m.data;
    size_t at[] = {[HEADER] = 100, [TOKENS] = QL_STORE_PAGE + 9, [LIST] = h->list_at + 20, [NOTES] = m.size - h->json_bytes + 5, [TAIL] = m.size - 1};
    int fd = open(path, O_RDWR);
    if (how <= TAIL) {
        uint8_t byte = m.data[at[how]] ^ 1;
        assert_int_equal(pwrite(fd, &byte, 1, (off_t)at[how]), 1);
    }
    if (how == LONGER) assert_int_equal(pwrite(fd, "", 1, (off_t)m.size), 1);
    size_t size = m.size;
    ql_map_close(&m);
    if (how == SHORTER) assert_int_equal(ftruncate(fd, (off_t)size / 2), 0);
    if (how == EMPTY) assert_int_equal(ftruncate(fd, 0), 0);
    if (how == OPEN_TO_ALL) assert_int_equal(fchmod(fd, 0666), 0);
    close(fd);
    if (how != LINK) return;
    char *other = ql_format("%s.other", path);
    assert_int_equal(rename(path, other), 0);
    assert_int_equal(symlink(other, path), 0);
    free(other);
}

static void test_damage(void **state) {
    (void)state;
    const char *path = data_of(0, 300);
    for (damage how = 0; how < DAMAGES; how++) {
        start(NULL);
        reading first = kept_reading(path), second = kept_reading(path), third = kept_reading(path), plain = kept_reading(path);
        plain.config.dataset_cache = NULL;
        read_well(&plain, "");
        read_well(&first, "");
        done_with(&first);
        char *file = only_file();
        do_damage(how, file);
        expect_origin(&second, "", "prepared, and kept");
        expect_same(&plain.corpus, &second.corpus);
        expect_origin(&third, "", "cached");
        free(file);
        done_with(&plain);
        done_with(&second);
        done_with(&third);
    }
}

/* Any byte: either it is noticed, or nobody reads it. */
static void test_any_byte(void **state) {
    (void)state;
    reading first = kept_reading(data_of(0, 40));
    read_well(&first, "");
    char *file = only_file();
    ql_map m;
    assert_false(ql_bad(ql_map_open(file, &m)));
    ql_store_key key = ((const ql_store_header *)(const void *)m.data)->key;
    char *other = ql_format("%s/any-byte", scratch());
    uint8_t *bytes = ql_alloc(m.size);
    size_t refused = 0, tried = 0;
    memcpy(bytes, m.data, m.size);
    for (size_t at = 0; at < m.size; at += at < 200 ? 1 : 17, tried++) {
        ql_store *s;
        ql_json *json;
        bytes[at] ^= 0x10;
        FILE *f = fopen(other, "wb");
        assert_non_null(f);
        assert_int_equal(fwrite(bytes, 1, m.size, f), m.size);
        fclose(f);
        bytes[at] ^= 0x10;
        ql_err e = ql_store_open(other, &key, 260, &s, &json);
        refused += ql_bad(e);
        for (size_t i = 0; !ql_bad(e) && i < s->documents; i++)
            assert_memory_equal(s->document[i].ids, first.corpus.document[i].ids, (size_t)s->document[i].length * sizeof(int32_t));
        ql_json_free(json);
        ql_store_free(s);
    }
    assert_true(refused > tried * 9 / 10 && tried > 300);
    free(bytes);
    unlink(other);
    free(other);
    free(file);
    ql_map_close(&m);
    done_with(&first);
}

/* ---- writers that die, meet, or find no room ---- */

static void test_killed_writer(void **state) {
    (void)state;
    const char *path = data_of(0, 300);
    for (int64_t place = 0; place < 2; place++) {
        start(NULL);
        pid_t child = fork();
        if (child == 0) {
            kill_at = place;
            omp_set_num_threads(1); /* a team of threads does not outlive a fork */
            reading r = kept_reading(path);
            read_with(&r, "");
            _exit(0);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        assert_int_equal(count_files(".tmp-"), 1);
        reading r = kept_reading(path);
        expect_origin(&r, "", "prepared, and kept");
        assert_int_equal(count_files(".lock"), 0);
        done_with(&r);
    }
}

/* What killed writers left goes after a day, as do files that nobody used for long. */
static void test_leftovers_go(void **state) {
    (void)state;
    assert_false(ql_bad(ql_dir_make_private(cache)));
    static const struct {
        const char *name;
        int days;
        bool goes;
    } file[] = {
        {"0123456789abcdef-0123456789abcdef0123456789abcdef.tokens.tmp-1", 2, true},
        {"0123456789abcdef-0123456789abcdef0123456789abcdef.tokens.tmp-2", 0, false},
        {"0123456789abcdef-0123456789abcdef0123456789abcdef.tokens.lock", 2, true},
        {"0123456789abcdef-0123456789abcdef0123456789abcdef.tokens", 31, true},
        {"0123456789abcdef-1123456789abcdef0123456789abcdef.tokens", 29, false},
        {"0123456789abcdef-0123456789abcdef0123456789abcdef.base", 31, false},
        {"notes.tokens", 900, false},
    };
    for (size_t i = 0; i < QL_LEN(file); i++) {
        char *path = ql_path_join(cache, file[i].name);
        struct timespec then[2] = {{time(NULL) - file[i].days * 24 * 3600 - 60, 0}, {time(NULL) - file[i].days * 24 * 3600 - 60, 0}};
        assert_false(ql_bad(ql_file_replace(path, "x", 1)));
        assert_int_equal(utimensat(AT_FDCWD, path, then, 0), 0);
        free(path);
    }
    reading r = kept_reading(data_of(0, 100));
    read_well(&r, "");
    done_with(&r);
    for (size_t i = 0; i < QL_LEN(file); i++) {
        char *path = ql_path_join(cache, file[i].name);
        if (ql_file_exists(path) == file[i].goes) fail_msg("%s", file[i].name);
        free(path);
    }
}

static void test_several_at_once(void **state) {
    (void)state;
    enum { PROCESSES = 4, PREPARED = 10, CACHED };
    const char *path = data_of(0, RECORDS);
    pid_t child[PROCESSES];
    int prepared = 0, status;
    for (int i = 0; i < PROCESSES; i++) {
        child[i] = fork();
        if (child[i] != 0) continue;
        omp_set_num_threads(1);
        reading r = kept_reading(path);
        read_with(&r, "");
        _exit(ql_bad(r.verdict) ? 1 : strstr(origin(&r), "cached") ? CACHED : PREPARED);
    }
    for (int i = 0; i < PROCESSES; i++) {
        assert_int_equal(waitpid(child[i], &status, 0), child[i]);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) >= PREPARED);
        prepared += WEXITSTATUS(status) == PREPARED;
    }
    assert_int_equal(prepared, 1);
    free(only_file());
}

/* A file that may not grow any more, at its beginning, in its middle, or at its end. */
static void test_no_room(void **state) {
    (void)state;
    const char *path = data_of(0, 60000);
    reading first = kept_reading(path);
    read_well(&first, "");
    char *file = only_file();
    rlim_t whole = ql_file_bytes(file);
    free(file);
    assert_true(whole > 5 << 20);
    signal(SIGXFSZ, SIG_IGN);
    rlim_t limit[] = {1, whole / 2, whole - 1};
    for (size_t i = 0; i < QL_LEN(limit); i++) {
        start(NULL);
        struct rlimit unlimited, tight;
        getrlimit(RLIMIT_FSIZE, &unlimited);
        tight = unlimited;
        tight.rlim_cur = limit[i];
        setrlimit(RLIMIT_FSIZE, &tight);
        reading r = kept_reading(path);
        read_with(&r, "");
        setrlimit(RLIMIT_FSIZE, &unlimited);
        assert_false(ql_bad(r.verdict));
        expect_same(&first.corpus, &r.corpus);
        assert_int_equal(count_files(".tokens"), 0);
        done_with(&r);
    }
    done_with(&first);
}

static void test_folders(void **state) {
    (void)state;
    const char *path = data_of(0, 100);
    char never[] = "false";
    reading r = kept_reading(path);
    r.config.dataset_cache = never;
    read_well(&r, "");
    assert_false(ql_file_exists(cache));
    done_with(&r);
    assert_false(ql_bad(ql_file_replace(cache, "", 0))); /* it is a file */
    reading file = kept_reading(path);
    read_well(&file, "");
    assert_string_equal(origin(&file), "");
    done_with(&file);
    unlink(cache);
    assert_false(ql_bad(ql_dir_make(cache)));
    assert_int_equal(chmod(cache, 0777), 0); /* anybody could put something there */
    reading shared = kept_reading(path);
    read_well(&shared, "");
    assert_int_equal(count_files("tokens"), 0);
    done_with(&shared);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_killed_writer, start),      cmocka_unit_test_setup(test_several_at_once, start),
        cmocka_unit_test_setup(test_same_as_reading, start),    cmocka_unit_test_setup(test_every_input_counts, start),
        cmocka_unit_test_setup(test_lists_share_a_file, start), cmocka_unit_test_setup(test_same_content_again, start),
        cmocka_unit_test_setup(test_known_digests, start),      cmocka_unit_test_setup(test_changed_while_reading, start),
        cmocka_unit_test_setup(test_damage, start),             cmocka_unit_test_setup(test_any_byte, start),
        cmocka_unit_test_setup(test_leftovers_go, start),       cmocka_unit_test_setup(test_no_room, start),
        cmocka_unit_test_setup(test_folders, start),           cmocka_unit_test_setup(test_pairs, start),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
