/* Why events and not libyaml's documents: the document loader expands aliases and has no limits. */
#include "base/config/yaml.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

typedef struct {
    yaml_parser_t yaml;
    const char   *text, *name;
    bool          one_line;
    size_t        values;
} parser;

static QL_PRINTF(3, 4) ql_err fail_at(const parser *p, size_t line, const char *fmt, ...) {
    char    what[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    if (p->one_line) return ql_fail(QL_USAGE, "%s: %s", p->name, what);
    return ql_fail(QL_USAGE, "%s:%zu: %s", p->name, line, what);
}

static size_t line_of_offset(const char *text, size_t offset) {
    size_t line = 1;
    for (size_t i = 0; i < offset; i++) line += text[i] == '\n';
    return line;
}

static ql_err syntax_error(const parser *p) {
    const char *problem = p->yaml.problem ? p->yaml.problem : "cannot be read";
    if (p->yaml.error == YAML_READER_ERROR)
        return fail_at(p, line_of_offset(p->text, p->yaml.problem_offset), "this is not UTF-8 text: %s", problem);
    size_t line = p->yaml.problem_mark.line + 1;
    if (strstr(problem, "cannot start any token"))
        return fail_at(p, line, "this is not YAML: %s; indent with spaces, and put quotes around special characters", problem);
    if (strstr(problem, "a tab")) return fail_at(p, line, "this is not YAML: %s; indent with spaces", problem);
    if (p->yaml.context && strstr(p->yaml.context, "an alias"))
        return fail_at(p, line, "this is not YAML: * begins an alias; put a text that begins with it in quotes of its own: \"*...\"");
    return fail_at(p, line, "this is not YAML: %s%s%s", problem, p->yaml.context ? " " : "",
                   p->yaml.context ? p->yaml.context : "");
}

static ql_err next_event(parser *p, yaml_event_t *event) {
    if (!yaml_parser_parse(&p->yaml, event)) return syntax_error(p);
    return ql_ok();
}

static ql_err refuse_extras(const parser *p, const yaml_event_t *event) {
    size_t               line = event->start_mark.line + 1;
    const yaml_char_t   *anchor = NULL, *tag = NULL;
    switch (event->type) {
        case YAML_ALIAS_EVENT: anchor = event->data.alias.anchor; break;
        case YAML_SCALAR_EVENT:
            anchor = event->data.scalar.anchor;
            tag = event->data.scalar.tag;
            break;
        case YAML_SEQUENCE_START_EVENT:
            anchor = event->data.sequence_start.anchor;
            tag = event->data.sequence_start.tag;
            break;
        case YAML_MAPPING_START_EVENT:
            anchor = event->data.mapping_start.anchor;
            tag = event->data.mapping_start.tag;
            break;
        default: break;
    }
    if (anchor) return fail_at(p, line, "anchors and aliases (& and *) are not read; write the value out, or put it in quotes");
    if (tag) return fail_at(p, line, "tags (!) are not read; remove the tag, or put the value in quotes");
    return ql_ok();
}

static ql_err scalar_text(const parser *p, const yaml_event_t *event, char **out) {
    const char *value = (const char *)event->data.scalar.value;
    size_t      n = event->data.scalar.length;
    if (memchr(value, 0, n)) return fail_at(p, event->start_mark.line + 1, "a value holds a NUL character");
    *out = ql_strndup(value, n);
    return ql_ok();
}

static const ql_yaml *member_named(const ql_yaml *mapping, const char *key) {
    for (size_t i = 0; i < mapping->count; i++)
        if (!strcmp(mapping->item[i].key, key)) return &mapping->item[i];
    return NULL;
}

static ql_err read_node(parser *p, const yaml_event_t *event, int depth, ql_yaml *out);

static ql_err read_list(parser *p, int depth, ql_yaml *out) {
    out->kind = QL_YAML_LIST;
    for (;;) {
        yaml_event_t event;
        QL_TRY(next_event(p, &event));
        bool   done = event.type == YAML_SEQUENCE_END_EVENT;
        ql_err e = ql_ok();
        if (!done) {
            QL_PUSH(out->item, out->count, out->capacity, (ql_yaml){0});
            e = read_node(p, &event, depth + 1, &out->item[out->count - 1]);
        }
        yaml_event_delete(&event);
        if (done || ql_bad(e)) return e;
    }
}

static ql_err read_key(parser *p, const yaml_event_t *event, ql_yaml *mapping) {
    size_t line = event->start_mark.line + 1;
    QL_TRY(refuse_extras(p, event));
    if (mapping->count >= QL_YAML_MEMBERS) return fail_at(p, line, "more than %d keys in one mapping", QL_YAML_MEMBERS);
    if (event->type != YAML_SCALAR_EVENT) return fail_at(p, line, "a key must be a single word");
    char *key = NULL;
    QL_TRY(scalar_text(p, event, &key));
    const ql_yaml *before = member_named(mapping, key);
    ql_yaml        member = {.key = key, .line = line, .first = before ? before->line : 0};
    QL_PUSH(mapping->item, mapping->count, mapping->capacity, member);
    return ql_ok();
}

static ql_err read_mapping(parser *p, int depth, ql_yaml *out) {
    out->kind = QL_YAML_MAPPING;
    for (;;) {
        yaml_event_t event;
        QL_TRY(next_event(p, &event));
        bool   done = event.type == YAML_MAPPING_END_EVENT;
        ql_err e = done ? ql_ok() : read_key(p, &event, out);
        yaml_event_delete(&event);
        if (done || ql_bad(e)) return e;
        QL_TRY(next_event(p, &event));
        e = read_node(p, &event, depth + 1, &out->item[out->count - 1]);
        yaml_event_delete(&event);
        QL_TRY(e);
    }
}

static ql_err read_node(parser *p, const yaml_event_t *event, int depth, ql_yaml *out) {
    size_t line = event->start_mark.line + 1;
    if (!out->line) out->line = line;
    QL_TRY(refuse_extras(p, event));
    if (depth > QL_YAML_DEPTH) return fail_at(p, line, "more than %d levels of nesting", QL_YAML_DEPTH);
    if (++p->values > QL_YAML_VALUES) return fail_at(p, line, "more than %d values", QL_YAML_VALUES);
    if (event->type == YAML_SEQUENCE_START_EVENT) return read_list(p, depth, out);
    if (event->type == YAML_MAPPING_START_EVENT) return read_mapping(p, depth, out);
    out->kind = QL_YAML_SCALAR;
    out->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    return scalar_text(p, event, &out->text);
}

static void make_null(ql_yaml *out) {
    *out = (ql_yaml){.kind = QL_YAML_SCALAR, .plain = true, .line = 1, .text = ql_strdup("")};
}

/* Stream start, document start, one node, document end, and nothing after it. */
static ql_err read_stream(parser *p, ql_yaml *out) {
    bool have_node = false;
    for (;;) {
        yaml_event_t event;
        QL_TRY(next_event(p, &event));
        yaml_event_type_t type = event.type;
        ql_err            e = ql_ok();
        switch (type) {
            case YAML_STREAM_START_EVENT:
            case YAML_STREAM_END_EVENT:
            case YAML_DOCUMENT_END_EVENT: break;
            case YAML_DOCUMENT_START_EVENT:
                if (have_node)
                    e = fail_at(p, event.start_mark.line + 1, "a second document begins here; only one is read");
                break;
            default:
                have_node = true;
                e = read_node(p, &event, 1, out);
        }
        yaml_event_delete(&event);
        QL_TRY(e);
        if (type == YAML_STREAM_END_EVENT) break;
    }
    if (!have_node) make_null(out);
    return ql_ok();
}

ql_err ql_yaml_parse(const char *text, size_t n, const char *name, bool one_line, ql_yaml *out) {
    *out = (ql_yaml){0};
    if (n >= 3 && !memcmp(text, "\xef\xbb\xbf", 3)) { /* libyaml would stumble over a byte order mark */
        text += 3;
        n -= 3;
    }
    parser p = {.text = text, .name = name, .one_line = one_line};
    if (n > QL_YAML_BYTES) return ql_fail(QL_USAGE, "%s: is larger than 1 MiB; this is no configuration", name);
    if (!yaml_parser_initialize(&p.yaml)) return ql_fail(QL_TEMP, "%s: out of memory", name);
    yaml_parser_set_encoding(&p.yaml, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&p.yaml, (const unsigned char *)text, n);
    ql_err e = read_stream(&p, out);
    yaml_parser_delete(&p.yaml);
    if (ql_bad(e)) ql_yaml_free(out);
    return e;
}

void ql_yaml_free(ql_yaml *node) {
    for (size_t i = 0; i < node->count; i++) ql_yaml_free(&node->item[i]);
    free(node->item);
    free(node->key);
    free(node->text);
    *node = (ql_yaml){0};
}

bool ql_yaml_is_null(const ql_yaml *node) {
    if (node->kind != QL_YAML_SCALAR || !node->plain) return false;
    static const char *const names[] = {"", "~", "null", "Null", "NULL"};
    for (size_t i = 0; i < QL_LEN(names); i++)
        if (!strcmp(node->text, names[i])) return true;
    return false;
}

char *ql_show_text(const char *text) {
    enum { LONGEST = 80 };
    size_t n = strlen(text);
    bool   cut = n > LONGEST;
    if (cut) n = LONGEST;
    while (cut && n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80) n--; /* not inside a character */
    ql_str out = {0};
    ql_str_puts(&out, "'");
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i], next = (unsigned char)text[i + 1];
        bool          c1 = c == 0xc2 && next < 0xa0; /* U+0080 to U+009F: controls, too */
        ql_str_put(&out, c < ' ' || c == 0x7f || c1 ? "?" : &text[i], 1);
        if (c1) i++;
    }
    ql_str_puts(&out, cut ? "...'" : "'");
    return out.data;
}

char *ql_yaml_show(const ql_yaml *node) {
    if (node->kind == QL_YAML_LIST) return ql_strdup(node->count ? "a list" : "an empty list");
    if (node->kind == QL_YAML_MAPPING) return ql_strdup("a mapping");
    return ql_show_text(node->text);
}
