/* read(write(c)) == c: for random values of every key, and for whole files. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
// after the above
#include <cmocka.h>

#include "base/config/reader.h"
#include "base/random.h"
#include "tests/config/fixture.h"

enum { VALUES_PER_KEY = 300 };

static uint32_t draws;
static uint32_t draw(void) {
    return ql_philox(42, draws++, 0, 0, 0).word[0];
}
static uint32_t below(uint32_t n) {
    return draw() % n;
}

static const char *const pieces[] = {
    "a",  "Z",  "7",  " ",    "-",   ":",  ": ",  " #",   "'",   "\"",        "\\",           "\n",           "\t",           "{",
    "[",  "]",  ",",  "null", "~",   "true", "1e3", "0x1", "%",   "@",         "`",            "&",            "*",            "!",
    "|",  ">",  "?",  "=",    "no",  ".",  "/",   "_",    "\r",  "\x01",      "\xc2\x85",     "\xe2\x80\xa8", "\xef\xbb\xbf", "\xf0\x9f\x98\x80",
    "\x7f", "\xc3\xa4", "---", "...", "<<", "\xc2\xa0", "\xef\xbf\xbf", "\xc2\x9b"};

static char *random_text(void) {
    ql_str text = {0};
    for (uint32_t i = 0, n = 1 + below(6); i < n; i++) ql_str_puts(&text, pieces[below(QL_LEN(pieces))]);
    return text.data;
}

static double random_real(const ql_key *key) {
    double v;
    do {
        uint64_t bits = (uint64_t)draw() << 32 | draw();
        memcpy(&v, &bits, sizeof v);
        if (below(2)) v = (double)below(1000) / 1000;
    } while (!isfinite(v) || v < key->low || (v == key->low && key->open & QL_LOW_OPEN) ||
             (key->high != 0 && (v > key->high || (v == key->high && key->open & QL_HIGH_OPEN))));
    return v;
}

static int64_t random_whole(const ql_key *key) {
    int64_t any = (int64_t)(((uint64_t)draw() << 31 ^ draw()) >> below(60));
    int64_t low = (int64_t)key->low;
    return key->high != 0 ? low + any % ((int64_t)key->high - low + 1) : ql_max(any, low);
}

static void random_texts(ql_texts *t, bool *is_list) {
    *is_list = below(2);
    for (uint32_t i = 0, n = *is_list ? 2 + below(4) : 1; i < n; i++) {
        char *text = random_text();
        QL_PUSH(t->item, t->count, t->capacity, text);
    }
    /* a single text of names only is read as a list of names */
    if (!*is_list) {
        char *text = ql_format("^%s", t->item[0]);
        free(t->item[0]);
        t->item[0] = text;
    }
}

static void random_datasets(ql_datasets *d) {
    for (uint32_t i = 0, n = 1 + below(3); i < n; i++) {
        ql_dataset_spec spec = {.path = random_text(), .weight = ql_strdup("0.5"), .max_records = ql_strdup("1000")};
        for (size_t k = 1; k < ql_n_dataset_fields && ql_dataset_fields[k].kind == QL_FIELD_TEXT; k++)
            if (below(4) == 0) *ql_dataset_text(&ql_dataset_fields[k], &spec) = random_text();
        QL_PUSH(d->item, d->count, d->capacity, spec);
    }
}

static char *random_choice(const char *choices) {
    const char *p = choices;
    for (uint32_t skip = below(6); skip > 0; skip--) {
        const char *next = strchr(p, ' ');
        p = next ? next + 1 : choices;
    }
    return ql_strndup(p, strcspn(p, " |"));
}

static void fill(const ql_key *key, ql_config *c) {
    void *field = ql_key_at(key, c);
    ql_key_free(key, c);
    switch (key->kind) {
        case QL_KEY_BOOL: *(bool *)field = below(2); break;
        case QL_KEY_TRISTATE: *(ql_tristate *)field = (ql_tristate)((int)below(3) - 1); break;
        case QL_KEY_INT:
        case QL_KEY_SIZE: *(int64_t *)field = random_whole(key); break;
        case QL_KEY_REAL: *(double *)field = random_real(key); break;
        case QL_KEY_TEXT: *(char **)field = key->choices ? random_choice(key->choices) : random_text(); break;
        case QL_KEY_CHOICE: *(char **)field = random_choice(key->choices); break;
        case QL_KEY_MAPPING: *(char **)field = ql_strdup("{\"a\": true, \"b\": \"ä \\\" x\", \"c\": 1.5, \"d\": [null, \"no\"]}"); break;
        case QL_KEY_TEXTS: random_texts(field, (bool *)((char *)c + key->list_flag)); break;
        case QL_KEY_DATASETS: random_datasets(field); break;
    }
}

static bool same_texts(const ql_texts *a, const ql_texts *b) {
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++) same = !strcmp(a->item[i], b->item[i]);
    return same;
}

static bool same_text(const char *a, const char *b) {
    return a == b || (a && b && !strcmp(a, b));
}

static bool same_datasets(const ql_datasets *a, const ql_datasets *b) {
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++)
        for (size_t k = 0; same && k < ql_n_dataset_fields; k++)
            same = same_text(*ql_dataset_text(&ql_dataset_fields[k], &a->item[i]), *ql_dataset_text(&ql_dataset_fields[k], &b->item[i]));
    return same;
}

static bool same(const ql_key *key, const ql_config *a, const ql_config *b) {
    const void *x = ql_key_in(key, a), *y = ql_key_in(key, b);
    switch (key->kind) {
        case QL_KEY_BOOL: return *(const bool *)x == *(const bool *)y;
        case QL_KEY_TRISTATE: return *(const ql_tristate *)x == *(const ql_tristate *)y;
        case QL_KEY_INT:
        case QL_KEY_SIZE:
        case QL_KEY_REAL: return !memcmp(x, y, 8);
        case QL_KEY_TEXT:
        case QL_KEY_CHOICE:
        case QL_KEY_MAPPING: return same_text(*(char *const *)x, *(char *const *)y);
        case QL_KEY_TEXTS:
            return same_texts(x, y) && *((const char *)a + key->list_flag) == *((const char *)b + key->list_flag);
        case QL_KEY_DATASETS: return same_datasets(x, y);
    }
    return false;
}

/* One key, written and set again: nothing between the writer and the setter is left out but the
 * checks of keys against one another. */
static void one_value(const ql_key *key) {
    ql_config from = {0}, to = {0};
    fill(key, &from);
    ql_str text = {0};
    ql_str_puts(&text, "key: ");
    ql_key_write(key, &from, &text);
    ql_yaml root;
    if (ql_bad(ql_yaml_parse(text.data, text.size, "text", false, &root))) fail_msg("%s: %s", text.data, ql_err_text());
    assert_int_equal(root.kind, QL_YAML_MAPPING);
    ql_reader r = {.config = &to, .file = "text"};
    if (!ql_reader_set(&r, key, &root.item[0])) fail_msg("%s: %s", text.data, r.mistakes.data);
    if (!same(key, &from, &to)) fail_msg("%s of %s does not read back", text.data, key->name);
    ql_yaml_free(&root);
    ql_str_free(&text);
    ql_key_free(key, &from);
    ql_key_free(key, &to);
}

static void every_key(void **state) {
    (void)state;
    for (size_t k = 0; k < ql_n_keys; k++)
        for (int i = 0; i < VALUES_PER_KEY; i++) one_value(&ql_keys[k]);
}

static void expect_same(const ql_config *a, const ql_config *b) {
    for (size_t k = 0; k < ql_n_keys; k++)
        if (!same(&ql_keys[k], a, b)) fail_msg("%s does not read back", ql_keys[k].name);
}

static void whole_files(void **state) {
    (void)state;
    static const char *const texts[] = {
        "",
        "lr_scheduler_type: cosine_with_min_lr\nmin_lr: 3.3333333e-7\ntarget_modules: [q_proj]\nexclude_modules: .*lm_head\n",
        "lr_scheduler_type: polynomial\nlr_end: 1e-9\nlr_power: 1.3\nwarmup_steps: 100\nmax_steps: 7\n",
        "eval_dataset: [a b, {path: 'c: d', field_text: '#'}]\neval_strategy: steps\nlogging_steps: 3\nmax_memory: 3GiB\n",
        "warmup_steps: 0\ncompletion_only_loss: false\ngradient_checkpointing: true\nglobal_batch_size: 3\n",
        "warmup_steps: 0.05\nper_device_train_batch_size: 2\ngradient_accumulation_steps: 8\nresume_from_checkpoint: false\n",
    };
    for (size_t i = 0; i < QL_LEN(texts); i++) {
        ql_config c = accepted(texts[i]), again;
        ql_str    text = {0}, twice = {0};
        ql_config_write(&c, &text);
        if (ql_bad(read_bytes(text.data, text.size, &again))) fail_msg("%s", ql_err_text());
        expect_same(&c, &again);
        ql_config_write(&again, &twice);
        assert_string_equal(text.data, twice.data);
        ql_str_free(&text);
        ql_str_free(&twice);
        ql_config_free(&c);
        ql_config_free(&again);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_key), cmocka_unit_test(whole_files)};
    return cmocka_run_group_tests(tests, fixture_start, fixture_end);
}
