/* The facts of a data set as JSON. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/data/store/store.h"

#define AT(member) offsetof(ql_set_facts, member)
static const struct {
    const char *name;
    size_t      offset;
} number[] = {
    {"records", AT(records)},
    {"dropped_long", AT(dropped_long)},
    {"truncated", AT(truncated)},
    {"without_targets", AT(without_targets)},
}, flag[] = {
    {"completion_only", AT(completion_only)},
    {"conversations", AT(conversations)},
    {"pairs", AT(pairs)},
}, text[] = {
    {"first_long", AT(first_long)},
    {"first_untargeted", AT(first_untargeted)},
};

void ql_set_facts_free(ql_set_facts *f) {
    ql_audit_free(&f->audit);
    for (size_t i = 0; i < QL_LEN(text); i++) free(*(char **)(void *)((char *)f + text[i].offset));
    *f = (ql_set_facts){0};
}

static void put_text(ql_str *out, const char *name, const char *value) {
    if (!value) return;
    ql_str_printf(out, "\"%s\": ", name);
    ql_json_put_string(out, value, strlen(value));
    ql_str_puts(out, ", ");
}

void ql_set_facts_write(const ql_set_facts *f, ql_str *out) {
    const char *base = (const char *)f;
    ql_str_puts(out, "{");
    for (size_t i = 0; i < QL_LEN(number); i++)
        ql_str_printf(out, "\"%s\": %lld, ", number[i].name, (long long)*(const int64_t *)(const void *)(base + number[i].offset));
    for (size_t i = 0; i < QL_LEN(flag); i++)
        ql_str_printf(out, "\"%s\": %s, ", flag[i].name, *(const bool *)(base + flag[i].offset) ? "true" : "false");
    for (size_t i = 0; i < QL_LEN(text); i++) put_text(out, text[i].name, *(char *const *)(const void *)(base + text[i].offset));
    put_text(out, "format", f->format);
    ql_str_puts(out, "\"audit\": ");
    ql_audit_put_json(&f->audit, out);
    ql_str_puts(out, "}");
}

ql_err ql_set_facts_read(const ql_json *object, ql_set_facts *out) {
    char *base = (char *)out;
    *out = (ql_set_facts){0};
    for (size_t i = 0; i < QL_LEN(number); i++)
        *(int64_t *)(void *)(base + number[i].offset) = ql_json_int(ql_json_get(object, number[i].name), 0);
    for (size_t i = 0; i < QL_LEN(flag); i++)
        *(bool *)(base + flag[i].offset) = ql_json_bool(ql_json_get(object, flag[i].name), false);
    for (size_t i = 0; i < QL_LEN(text); i++) {
        const char *value = ql_json_text(ql_json_get(object, text[i].name), NULL);
        if (value) *(char **)(void *)(base + text[i].offset) = ql_strdup(value);
    }
    const char *format = ql_json_text(ql_json_get(object, "format"), NULL);
    if (format) snprintf(out->format, sizeof out->format, "%s", format);
    return ql_audit_read_json(ql_json_get(object, "audit"), &out->audit);
}
