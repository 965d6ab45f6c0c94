/* A file and the overrides, through the tables, into the struct. */
#include "base/config/config.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/config/reader.h"
#include "base/config/value.h"
#include "base/file.h"

enum { MISTAKES_SHOWN = 100 };

/* Configurations of other programs hold passwords under names like hub_token and wandb_api_key. */
static bool is_secret(const char *key, size_t n) {
    static const char *const endings[] = {"token", "_key", "secret", "password"};
    for (size_t i = 0; i < QL_LEN(endings); i++) {
        size_t k = strlen(endings[i]);
        if (n >= k && !strncasecmp(key + n - k, endings[i], k)) return true;
    }
    return false;
}

/* What people read, and what logs keep. */
char *ql_reader_where(const ql_reader *r, const ql_yaml *node) {
    size_t key = r->override ? strcspn(r->override, "=") : 0;
    if (r->override && is_secret(r->override, key)) return ql_format("command line: %.*s=...", (int)key, r->override);
    if (r->override) return ql_format("command line: %s", r->override);
    return ql_format("%s:%zu", r->file, node->line);
}

static QL_PRINTF(3, 0) void put_line(ql_str *out, const char *where, const char *fmt, va_list ap) {
    char what[1024];
    vsnprintf(what, sizeof what, fmt, ap);
    for (char *p = what; *p; p++)
        if ((unsigned char)*p < ' ') *p = '?'; /* one line is one mistake */
    ql_str_printf(out, "%s%s: %s", out->size ? "\n" : "", where, what);
}

void ql_reader_mistake(ql_reader *r, const char *where, const char *fmt, ...) {
    if (r->n_mistakes++ >= MISTAKES_SHOWN) return;
    va_list ap;
    va_start(ap, fmt);
    put_line(&r->mistakes, where, fmt, ap);
    va_end(ap);
}

void ql_reader_note(ql_reader *r, const char *where, const char *fmt, ...) {
    if (!r->notes) return;
    va_list ap;
    va_start(ap, fmt);
    put_line(r->notes, where, fmt, ap);
    va_end(ap);
}

bool ql_reader_is_double(ql_reader *r, const ql_yaml *member) {
    if (!member->first) return false;
    char *where = ql_reader_where(r, member), *shown = ql_show_text(member->key);
    ql_reader_mistake(r, where, "the key %s stands here a second time, first in line %zu; keep one", shown, member->first);
    free(where);
    free(shown);
    return true;
}

static ql_setting *setting_of(ql_reader *r, const ql_key *key) {
    return &r->setting[key - ql_keys];
}

/* Two names of one key must agree, unless the command line overrides the file. */
static bool may_conflict(const ql_reader *r, const ql_setting *s, const char *name) {
    bool overrides_file = r->override && !s->from_override;
    return s->where && !s->broken && !overrides_file && strcmp(s->name, name) != 0;
}

static void set_key(ql_reader *r, const ql_key *key, const char *name, const ql_yaml *node) {
    ql_setting *s = setting_of(r, key);
    char       *where = ql_reader_where(r, node);
    ql_str      before = {0}, after = {0};
    ql_key_write(key, r->config, &before);
    bool good = ql_reader_set(r, key, node);
    ql_key_write(key, r->config, &after);
    if (good && may_conflict(r, s, name) && strcmp(before.data, after.data) != 0) {
        ql_reader_mistake(r, where, "%s is another name of %s, which was set to %s (%s), and not to %s; keep one of them",
                          name, s->name, before.data, s->where, after.data);
    }
    free(s->where);
    *s = (ql_setting){.where = where, .name = name, .from_override = r->override != NULL, .broken = !good};
    ql_str_free(&before);
    ql_str_free(&after);
}

/* Null means the default: on the command line it takes back what the file says. */
static void set_or_reset(ql_reader *r, const ql_key *key, const char *name, const ql_yaml *node) {
    if (!ql_yaml_is_null(node)) {
        set_key(r, key, name, node);
    } else if (r->override) {
        ql_setting *s = setting_of(r, key);
        free(s->where);
        *s = (ql_setting){0};
        ql_reader_reset(r, key);
    }
}

/* Does the word (n bytes) name this scalar? Truth values and numbers by what they mean. */
static bool word_means(const char *word, size_t n, const ql_yaml *node) {
    char copy[64];
    bool a, b;
    double x, y;
    if (n >= sizeof copy) return false;
    memcpy(copy, word, n);
    copy[n] = 0;
    if (node->kind != QL_YAML_SCALAR) return node->count == 0 && !strcmp(copy, "empty");
    if (!strcmp(copy, node->text)) return true;
    if (!*node->text && !strcmp(copy, "empty")) return true;
    if (node->plain && ql_value_bool(copy, &a) && ql_value_bool(node->text, &b)) return a == b;
    return ql_value_number(copy, &x) && ql_value_number(node->text, &y) && x == y;
}

static bool is_listed(const char *words, const ql_yaml *node) {
    for (const char *p = words; *p; p += strspn(p, " ")) {
        size_t n = strcspn(p, " ");
        if (word_means(p, n, node)) return true;
        p += n;
    }
    return false;
}

/* Carries a value over by "from>to" pairs. False: it is not among them. `*to` NULL: leave the
 * key alone. "*" at the end lets everything else through. */
static bool translate(const char *values, const ql_yaml *node, char **to) {
    *to = NULL;
    if (*values == '+') {
        if (node->kind == QL_YAML_SCALAR) *to = ql_format("%s%s", node->text, values + 1);
        return *to != NULL;
    }
    for (const char *p = values; *p; p += strspn(p, " ")) {
        size_t n = strcspn(p, " ");
        const char *arrow = memchr(p, '>', n);
        if (arrow && word_means(p, (size_t)(arrow - p), node)) {
            size_t length = n - (size_t)(arrow + 1 - p);
            if (length) *to = ql_strndup(arrow + 1, length);
            return true;
        }
        p += n;
    }
    return false;
}

static void refuse_alias_value(ql_reader *r, const ql_alias *alias, const ql_yaml *node) {
    ql_str expected = {0};
    for (const char *p = alias->values; *p; p += strspn(p, " ")) {
        ql_str_puts(&expected, expected.size ? " or " : "");
        ql_str_put(&expected, p, strcspn(p, ">"));
        p += strcspn(p, " ");
    }
    char *where = ql_reader_where(r, node), *shown = ql_yaml_show(node);
    ql_reader_mistake(r, where, "%s is %s; expected %s (it is another name of %s)", alias->name, shown,
                      *alias->values == '+' ? "a number" : expected.data, alias->key);
    free(where);
    free(shown);
    ql_str_free(&expected);
}

static void note_alias(ql_reader *r, const ql_alias *alias, const ql_yaml *node, const char *value) {
    char *where = ql_reader_where(r, node);
    ql_reader_note(r, where, "%s is read as %s%s%s", alias->name, alias->key, value ? ": " : "", value ? value : "");
    free(where);
}

static void read_alias(ql_reader *r, const ql_alias *alias, const ql_yaml *node) {
    const ql_key *key = ql_key_find(alias->key);
    bool          others_too = alias->values && strchr(alias->values, '*');
    char         *text = NULL;
    if (!alias->values || ql_yaml_is_null(node)) {
        if (!ql_yaml_is_null(node)) note_alias(r, alias, node, NULL);
        set_or_reset(r, key, alias->name, node);
        return;
    }
    bool known = translate(alias->values, node, &text);
    if (!known && !others_too) {
        refuse_alias_value(r, alias, node);
        return;
    }
    if (known && !text) return;
    note_alias(r, alias, node, text);
    ql_yaml translated = {.kind = QL_YAML_SCALAR, .plain = true, .line = node->line, .text = text};
    set_key(r, key, alias->name, known ? &translated : node);
    free(text);
}

static void read_foreign(ql_reader *r, const ql_foreign *f, const ql_yaml *node) {
    char *where = ql_reader_where(r, node);
    if (f->only && !ql_yaml_is_null(node) && !is_listed(f->only, node)) {
        char *shown = ql_yaml_show(node);
        ql_reader_mistake(r, where, "%s is %s, which is not supported: %s", f->name, shown, f->reason);
        free(shown);
    } else if (!f->only && !ql_yaml_is_null(node)) {
        ql_reader_note(r, where, "%s has no effect here: %s", f->name, f->reason);
    }
    free(where);
}

static void unknown_key(ql_reader *r, const char *name, const ql_yaml *node) {
    char       *where = ql_reader_where(r, node), *shown = ql_show_text(name);
    const char *nearest = r->n_mistakes < MISTAKES_SHOWN ? ql_key_nearest(name) : NULL;
    if (nearest) ql_reader_mistake(r, where, "unknown key %s; the nearest known key is %s", shown, nearest);
    else ql_reader_mistake(r, where, "unknown key %s; qlora-worker --help-config lists all keys", shown);
    free(where);
    free(shown);
}

static void read_pair(ql_reader *r, const char *name, const ql_yaml *node);

static void read_members(ql_reader *r, const char *prefix, const ql_yaml *mapping) {
    for (size_t i = 0; i < mapping->count; i++) {
        const ql_yaml *member = &mapping->item[i];
        if (ql_reader_is_double(r, member)) continue;
        char          *name = ql_format("%s%s", prefix, member->key);
        read_pair(r, name, member);
        free(name);
    }
}

static void read_pair(ql_reader *r, const char *name, const ql_yaml *node) {
    const ql_key     *key = ql_key_find(name);
    const ql_alias   *alias = ql_alias_find(name);
    const ql_foreign *foreign = ql_foreign_find(name);
    if (key) {
        set_or_reset(r, key, key->name, node);
    } else if (alias) {
        read_alias(r, alias, node);
    } else if (foreign) {
        read_foreign(r, foreign, node);
    } else if (ql_is_section(name) || !strcmp(name, "lr_scheduler_kwargs")) {
        if (node->kind == QL_YAML_MAPPING) {
            read_members(r, ql_is_section(name) ? "" : "lr_scheduler_kwargs.", node);
        } else if (!ql_yaml_is_null(node)) {
            char *where = ql_reader_where(r, node), *shown = ql_yaml_show(node);
            ql_reader_mistake(r, where, "%s is %s; expected a mapping", name, shown);
            free(where);
            free(shown);
        }
    } else {
        unknown_key(r, name, node);
    }
}

static ql_err read_text(ql_reader *r, const ql_str *text) {
    ql_yaml root;
    QL_TRY(ql_yaml_parse(text->data ? text->data : "", text->size, r->file, false, &root));
    ql_err e = ql_ok();
    if (root.kind == QL_YAML_MAPPING) read_members(r, "", &root);
    else if (ql_yaml_is_null(&root)) e = ql_fail(QL_USAGE, "%s: holds no keys; write KEY: VALUE lines", r->file);
    else {
        char *shown = ql_yaml_show(&root);
        e = ql_fail(QL_USAGE, "%s:%zu: is %s, not KEY: VALUE lines", r->file, root.line, shown);
        free(shown);
    }
    ql_yaml_free(&root);
    return e;
}

static ql_err read_file(ql_reader *r) {
    ql_str text;
    QL_TRY(ql_err_as(ql_file_read(r->file, QL_YAML_BYTES, &text), QL_USAGE));
    ql_err e = read_text(r, &text);
    ql_str_free(&text);
    return e;
}

static void read_override(ql_reader *r, const char *pair) {
    const char *equals = strchr(pair, '=');
    char       *shown = ql_show_text(pair);
    shown[strlen(shown) - 1] = 0; /* without the quotes */
    r->override = shown + 1;
    char *where = ql_reader_where(r, NULL);
    if (!equals || equals == pair) {
        ql_reader_mistake(r, where, "expected KEY=VALUE");
    } else {
        char   *name = ql_strndup(pair, (size_t)(equals - pair));
        ql_yaml node;
        if (ql_bad(ql_yaml_parse(equals + 1, strlen(equals + 1), where, true, &node)))
            ql_reader_mistake(r, where, "%s", ql_err_text() + strlen(where) + 2);
        else read_pair(r, name, &node);
        ql_yaml_free(&node);
        free(name);
    }
    free(where);
    free(shown);
    r->override = NULL;
}

/* As many whole lines as the sentence of a verdict holds. */
static ql_err verdict(ql_reader *r) {
    if (r->n_mistakes == 0) return ql_ok();
    ql_str *m = &r->mistakes;
    if (r->n_mistakes > MISTAKES_SHOWN) ql_str_printf(m, "\nand %zu more mistakes", r->n_mistakes - MISTAKES_SHOWN);
    ql_err e = ql_fail(QL_USAGE, "%s", m->data);
    if (!strcmp(ql_err_text(), m->data)) return e;
    static const char more[] = "\nand more mistakes; mend these first";
    size_t            n = strlen(ql_err_text()) - sizeof more;
    while (n > 0 && m->data[n] != '\n') n--;
    return ql_fail(QL_USAGE, "%.*s%s", (int)n, m->data, more);
}

static ql_err read_all(ql_reader *r, char **overrides, size_t n_overrides) {
    for (size_t i = 0; i < ql_n_keys; i++) ql_reader_reset(r, &ql_keys[i]);
    if (r->file) QL_TRY(read_file(r));
    for (size_t i = 0; i < n_overrides; i++) read_override(r, overrides[i]);
    ql_reader_check(r, r->file != NULL);
    return verdict(r);
}

static ql_err read_config(const char *path, char **overrides, size_t n, ql_config *out, ql_str *notes) {
    *out = (ql_config){0};
    ql_reader r = {.config = out, .notes = notes, .file = path, .setting = QL_NEW_ARRAY(ql_setting, ql_n_keys)};
    ql_err    e = read_all(&r, overrides, n);
    for (size_t i = 0; i < ql_n_keys; i++) free(r.setting[i].where);
    free(r.setting);
    ql_str_free(&r.mistakes);
    if (ql_bad(e)) ql_config_free(out);
    return e;
}

ql_err ql_config_read(const char *path, char **overrides, size_t n_overrides, ql_config *out, ql_str *notes) {
    return read_config(path, overrides, n_overrides, out, notes);
}

ql_err ql_config_from_overrides(char **overrides, size_t n_overrides, ql_config *out) {
    return read_config(NULL, overrides, n_overrides, out, NULL);
}

void ql_config_free(ql_config *c) {
    for (size_t i = 0; i < ql_n_keys; i++) ql_key_free(&ql_keys[i], c);
    *c = (ql_config){0};
}

int64_t ql_config_rows_per_step(const ql_config *c, int64_t n_ranks) {
    if (c->global_batch_size > 0) return c->global_batch_size;
    if (c->gradient_accumulation_steps == 0) return 16;
    return ql_max(c->per_device_train_batch_size, 1) * c->gradient_accumulation_steps * n_ranks;
}
