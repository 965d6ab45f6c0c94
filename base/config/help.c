/* --help-config and docs/config.md, from the one table. */
#include <string.h>

#include "base/config/keys.h"

enum { COLUMN = 100 };

static const char *default_of(const ql_key *key) {
    if (key->required) return "required";
    if (key->shown) return key->shown;
    if (key->initial) return key->initial;
    return key->automatic ? "auto" : "none";
}

/* Breaks at blanks; every line is indented. */
static void put_wrapped(ql_str *out, const char *text, size_t indent) {
    size_t room = COLUMN - indent;
    while (*text) {
        size_t n = strlen(text);
        if (n > room) {
            n = room;
            while (n > 0 && text[n] != ' ') n--;
            if (n == 0) n = strcspn(text, " ");
        }
        ql_str_printf(out, "%*s%.*s\n", (int)indent, "", (int)n, text);
        text += n;
        text += strspn(text, " ");
    }
}

static void put_plain(ql_str *out, const ql_key *key, const char *expected) {
    ql_str_printf(out, "  %s (%s)\n", key->name, default_of(key));
    put_wrapped(out, key->meaning, 6);
    ql_str value = {0};
    ql_str_printf(&value, "Value: %s.", expected);
    put_wrapped(out, value.data, 6);
    ql_str_free(&value);
}

static void put_row(ql_str *out, const ql_key *key, const char *expected) {
    ql_str_printf(out, "| `%s` | %s | %s | %s |\n", key->name, default_of(key), expected, key->meaning);
}

static void put_other_names(ql_str *out) {
    ql_str_puts(out, "\n## Other names\n\nRead as the key beside them, with a note. Two names of one key with different values are "
                     "an error.\n\n| name | key | values |\n|---|---|---|\n");
    for (size_t i = 0; i < ql_n_aliases; i++) {
        const ql_alias *a = &ql_aliases[i];
        ql_str_printf(out, "| `%s` | `%s` |", a->name, a->key);
        if (a->values) ql_str_puts(out, " ");
        if (a->values && *a->values == '+') ql_str_printf(out, "a number of %s", a->values + 1);
        for (const char *p = a->values && *a->values != '+' ? a->values : ""; *p; p += strspn(p, " ")) {
            size_t n = strcspn(p, " "), from = strcspn(p, "> ");
            if (p != a->values) ql_str_puts(out, ", ");
            if (*p == '*') ql_str_puts(out, "others as they stand");
            else if (from + 1 == n) ql_str_printf(out, "%.*s: nothing", (int)from, p);
            else ql_str_printf(out, "%.*s: %.*s", (int)from, p, (int)(n - from - 1), p + from + 1);
            p += n;
        }
        ql_str_puts(out, " |\n");
    }
}

static void put_foreign(ql_str *out) {
    ql_str_puts(out, "\n## Keys of other programs\n\nUnderstood, so that recipes can be taken over. Where values are named, only these "
                     "are accepted (and do nothing); others would change what is computed and are refused.\n\n"
                     "| key | accepted | why |\n|---|---|---|\n");
    for (size_t i = 0; i < ql_n_foreigns; i++) {
        const ql_foreign *f = &ql_foreigns[i];
        ql_str_printf(out, "| `%s` | %s | %s |\n", f->name, f->only ? f->only : "any", f->reason);
    }
}

static const char intro[] =
    "# Configuration\n\n"
    "<!-- Made from the tables in base/config by `build/bin/test_config_help write`; the test compares. -->\n\n"
    "A run is described by a flat YAML mapping; `KEY=VALUE` on the command line overrides a key. Names are Hugging Face's.\n"
    "Unknown keys, wrong types and values out of range are errors, all reported at once. `null` means the default.\n"
    "Numbers may be written as `2e-4`, sizes as `15GiB` or `15GB`. Relative paths start at the current folder.\n";

static const char data_sets[] =
    "\nAn entry of `dataset` or `eval_dataset` is a path (a file, a folder or a pattern like `data/part-*.jsonl`; docs/data.md) or a mapping with\n"
    "`path` and any of `format`, `instruction_template` and the keys that begin with `field_` (and `field_text`, which is `dataset_text_field`),\n"
    "which count for that data set in place of the keys above; `weight`, how often each of its records is trained on in an\n"
    "epoch (0.5: half of them, 2: twice); and `max_records`, which leaves out all but the first so many.\n";

void ql_config_help(ql_str *out, bool markdown) {
    const char *group = "";
    if (markdown) ql_str_puts(out, intro);
    for (size_t i = 0; i < ql_n_keys; i++) {
        const ql_key *key = &ql_keys[i];
        bool          group_is_data = !strcmp(group, "data"); /* the group that ends here */
        if (strcmp(group, key->group) != 0 && markdown)
            ql_str_printf(out, "%s\n## %s\n\n| key | default | value | meaning |\n|---|---|---|---|\n",
                          group_is_data ? data_sets : "", key->group);
        else if (strcmp(group, key->group) != 0) ql_str_printf(out, "%s%s\n", i ? "\n" : "", key->group);
        group = key->group;
        ql_str expected = {0};
        ql_key_expects(key, &expected);
        if (markdown) put_row(out, key, expected.data);
        else put_plain(out, key, expected.data);
        ql_str_free(&expected);
    }
    if (!markdown) return;
    put_other_names(out);
    put_foreign(out);
}
