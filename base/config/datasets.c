/* `dataset` and `eval_dataset`: a path, a mapping with `path`, or a list of these. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/config/nearest.h"
#include "base/config/reader.h"
#include "base/config/value.h"

/* Names of Axolotl's that mean a field of ours. */
static const struct {
    const char *name, *field;
} other_names[] = {
    {"data_files", "path"},          {"field", "field_text"},           {"text_field", "field_text"},
    {"field_human", "field_prompt"}, {"field_model", "field_completion"}, {"dataset_text_field", "field_text"},
    {"formatting", "format"},
};

/* Members of LLaMA-Factory's `columns`. */
static const struct {
    const char *name, *field;
} column_names[] = {
    {"prompt", "field_instruction"}, {"query", "field_input"},   {"response", "field_output"}, {"history", "field_history"},   {"messages", "field_conversations"},
    {"system", "field_system"},      {"chosen", "field_chosen"}, {"rejected", "field_rejected"},
};

/* Members that need no attention, with the values that ask for nothing; NULL: any. */
static const ql_foreign ignored[] = {
    {"ds_type", "json jsonl csv text null", "JSONL, JSON, CSV, TSV and text files are read"},
    {"split", "train null", "a data set is a local file: name the file of the split"},
    {"ranking", NULL, "pairs are known by their fields"},
    {"name", "null default main", "a data set is a local file; remove the key"},
    {"type", NULL, "the form of a record follows from its fields"},
    {"no_input_format", "null", "write the wording of prompts, with and without input, into instruction_template"},
    {"system_prompt", "null", "prompts are not rewritten; write the prompt into the data"},
};

static const ql_dataset_field *field_named(const char *name) {
    for (size_t i = 0; i < QL_LEN(other_names); i++)
        if (!strcmp(name, other_names[i].name)) name = other_names[i].field;
    for (size_t i = 0; i < ql_n_dataset_fields; i++)
        if (!strcmp(name, ql_dataset_fields[i].name)) return &ql_dataset_fields[i];
    return NULL;
}

static QL_PRINTF(3, 4) bool refuse(ql_reader *r, const ql_yaml *node, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    char *text = NULL, *where = ql_reader_where(r, node);
    int   n = vasprintf(&text, fmt, ap);
    va_end(ap);
    ql_reader_mistake(r, where, "%s", n < 0 ? fmt : text);
    free(text);
    free(where);
    return false;
}

static bool unknown_member(ql_reader *r, const ql_yaml *node) {
    const char *names[32];
    size_t      n = 0;
    while (n < ql_n_dataset_fields) {
        names[n] = ql_dataset_fields[n].name;
        n++;
    }
    const char *nearest = ql_nearest(node->key, names, n);
    char       *shown = ql_show_text(node->key);
    refuse(r, node, "unknown key %s in a data set; expected path, format or field_NAME%s%s", shown,
           nearest ? "; the nearest is " : "", nearest ? nearest : "");
    free(shown);
    return false;
}

static bool ignore_member(ql_reader *r, const ql_yaml *node, const ql_foreign *f) {
    if (ql_yaml_is_null(node)) return true;
    if (!f->only) {
        char *where = ql_reader_where(r, node);
        ql_reader_note(r, where, "%s of a data set has no effect here: %s", f->name, f->reason);
        free(where);
        return true;
    }
    for (const char *p = f->only; *p; p += strspn(p, " ")) {
        size_t n = strcspn(p, " ");
        if (node->kind == QL_YAML_SCALAR && strlen(node->text) == n && !strncmp(p, node->text, n)) return true;
        p += n;
    }
    char *shown = ql_yaml_show(node);
    refuse(r, node, "%s of a data set is %s; %s", f->name, shown, f->reason);
    free(shown);
    return false;
}

static bool read_member(ql_reader *r, const ql_yaml *node, ql_dataset_spec *spec);

/* A mapping's members; `type` may itself be a mapping of field names. */
static bool read_members(ql_reader *r, const ql_yaml *mapping, ql_dataset_spec *spec) {
    bool good = true;
    for (size_t i = 0; i < mapping->count; i++) good &= read_member(r, &mapping->item[i], spec);
    return good;
}

static const double most_weight = 1000;

/* The text to keep for what was given, owned; NULL: it is not sound. */
static char *sound_text(const ql_dataset_field *field, const char *text) {
    double  weight;
    int64_t count;
    bool    good = true;
    if (field->kind == QL_FIELD_CHOICE) return ql_value_choice(ql_key_find(field->name)->choices, text);
    if (field->kind == QL_FIELD_WEIGHT) good = ql_value_number(text, &weight) && weight > 0 && weight <= most_weight;
    if (field->kind == QL_FIELD_COUNT) good = ql_value_whole(text, &count) && count > 0;
    return good ? ql_strdup(text) : NULL;
}

static bool refuse_value(ql_reader *r, const ql_yaml *node, const ql_dataset_field *field) {
    ql_str choices = {0};
    if (field->kind == QL_FIELD_CHOICE) ql_key_expects(ql_key_find(field->name), &choices);
    refuse(r, node, "%s of a data set is '%s'; expected %s", field->name, node->text,
           field->kind == QL_FIELD_CHOICE ? choices.data : field->kind == QL_FIELD_WEIGHT ? "a number above 0, at most 1000" : "a whole number, at least 1");
    ql_str_free(&choices);
    return false;
}

static bool take_text(ql_reader *r, const ql_yaml *node, const ql_dataset_field *field, ql_dataset_spec *spec) {
    char  *given = sound_text(field, node->text);
    char **text = ql_dataset_text(field, spec);
    bool   twice = given && *text && strcmp(*text, given) != 0;
    bool   good = given && !twice;
    if (!given) refuse_value(r, node, field);
    if (twice) refuse(r, node, "%s of a data set is given twice, as '%s' and '%s'; keep one", field->name, *text, given);
    if (good) {
        free(*text);
        *text = given;
    } else {
        free(given);
    }
    return good;
}

static bool read_columns(ql_reader *r, const ql_yaml *mapping, ql_dataset_spec *spec) {
    bool good = true;
    for (size_t i = 0; i < mapping->count; i++) {
        const ql_yaml *node = &mapping->item[i];
        const char    *name = NULL;
        for (size_t k = 0; k < QL_LEN(column_names); k++)
            if (!strcmp(node->key, column_names[k].name)) name = column_names[k].field;
        bool is_text = node->kind == QL_YAML_SCALAR && *node->text;
        if (!name) good = refuse(r, node, "unknown column '%s'; expected prompt, query, response, history, messages, system, chosen or rejected", node->key);
        else if (!is_text) good = refuse(r, node, "column %s is no text; expected the name of a field", node->key);
        else good &= take_text(r, node, field_named(name), spec);
    }
    return good;
}

/* What is no field of ours. Axolotl's `type` is a mapping of field names, or the name of a format; LLaMA-Factory has `columns`. */
static bool read_foreign_member(ql_reader *r, const ql_yaml *node, ql_dataset_spec *spec) {
    if (!strcmp(node->key, "type") && node->kind == QL_YAML_MAPPING) return read_members(r, node, spec);
    if (!strcmp(node->key, "columns") && node->kind == QL_YAML_MAPPING) return read_columns(r, node, spec);
    if (!strcmp(node->key, "type") && node->kind == QL_YAML_SCALAR) {
        const ql_dataset_field *format = field_named("format");
        char *known = sound_text(format, node->text);
        free(known);
        if (known) return take_text(r, node, format, spec);
    }
    for (size_t i = 0; i < QL_LEN(ignored); i++)
        if (!strcmp(node->key, ignored[i].name)) return ignore_member(r, node, &ignored[i]);
    return unknown_member(r, node);
}

static bool read_member(ql_reader *r, const ql_yaml *node, ql_dataset_spec *spec) {
    if (ql_reader_is_double(r, node)) return false;
    const ql_dataset_field *field = field_named(node->key);
    if (!field) return read_foreign_member(r, node, spec);
    if (ql_yaml_is_null(node)) return true;
    if (node->kind == QL_YAML_SCALAR && *node->text) return take_text(r, node, field, spec);
    char *shown = ql_yaml_show(node);
    refuse(r, node, "%s of a data set is %s; expected a text", field->name, shown);
    free(shown);
    return false;
}

static void free_spec(ql_dataset_spec *spec) {
    for (size_t i = 0; i < ql_n_dataset_fields; i++) free(*ql_dataset_text(&ql_dataset_fields[i], spec));
    *spec = (ql_dataset_spec){0};
}

static bool read_spec(ql_reader *r, const ql_key *key, const ql_yaml *node, ql_dataset_spec *spec) {
    bool is_word = false, is_bool = node->kind == QL_YAML_SCALAR && node->plain && ql_value_bool(node->text, &is_word);
    if (node->kind == QL_YAML_MAPPING) {
        if (!read_members(r, node, spec)) return false;
        if (!spec->path) return refuse(r, node, "%s has an entry without path; expected {path: FILE}", key->name);
        return true;
    }
    if (node->kind != QL_YAML_SCALAR || !*node->text || is_bool) {
        char *shown = ql_yaml_show(node);
        refuse(r, node, "%s is %s; expected a path, or a list of paths or of mappings with path", key->name, shown);
        free(shown);
        return false;
    }
    spec->path = ql_strdup(node->text);
    return true;
}

static bool add_spec(ql_reader *r, const ql_key *key, const ql_yaml *node, ql_datasets *out) {
    ql_dataset_spec spec = {0};
    if (!read_spec(r, key, node, &spec)) {
        free_spec(&spec);
        return false;
    }
    QL_PUSH(out->item, out->count, out->capacity, spec);
    return true;
}

bool ql_reader_datasets(ql_reader *r, const ql_key *key, const ql_yaml *node, ql_datasets *out) {
    bool good = true;
    if (node->kind != QL_YAML_LIST) good = add_spec(r, key, node, out);
    else if (node->count == 0) good = refuse(r, node, "%s is an empty list; expected at least one path", key->name);
    else
        for (size_t i = 0; i < node->count; i++) good &= add_spec(r, key, &node->item[i], out);
    if (!good) ql_datasets_free(out);
    return good;
}

double ql_dataset_weight(const ql_dataset_spec *d) {
    double weight = 1;
    if (d->weight) ql_value_number(d->weight, &weight);
    return weight;
}

int64_t ql_dataset_max_records(const ql_dataset_spec *d) {
    int64_t count = INT64_MAX;
    if (d->max_records) ql_value_whole(d->max_records, &count);
    return count;
}

void ql_datasets_free(ql_datasets *d) {
    for (size_t i = 0; i < d->count; i++) free_spec(&d->item[i]);
    free(d->item);
    *d = (ql_datasets){0};
}
