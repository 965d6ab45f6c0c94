/* A YAML text as a small tree, read through libyaml's events. Only what a configuration needs:
 * scalars, lists and mappings with text keys. Anchors, aliases and tags are refused, and size,
 * depth and number of values are bounded, so that no file can cost more than a moment. */
#pragma once
#include "base/err.h"
#include "base/mem.h"

enum {
    QL_YAML_BYTES = 1 << 20,
    QL_YAML_DEPTH = 8,
    QL_YAML_MEMBERS = 1024,   /* of one mapping */
    QL_YAML_VALUES = 1 << 16, /* in the whole text */
};

typedef enum { QL_YAML_SCALAR, QL_YAML_LIST, QL_YAML_MAPPING } ql_yaml_kind;
typedef struct ql_yaml ql_yaml;
struct ql_yaml {
    ql_yaml_kind kind;
    bool         plain; /* a scalar without quotes */
    size_t       line;  /* from 1; of the key where there is one */
    char        *key;   /* inside a mapping, else NULL */
    size_t       first; /* line of the same key before, 0: it is the first */
    char        *text;  /* of a scalar; never holds a NUL byte inside */
    ql_yaml     *item;
    size_t       count, capacity;
};

/* Parses one document. `name` goes before the line in messages ("NAME:LINE: ..."); with
 * `one_line` the text is a value from the command line and no line is named. QL_USAGE. */
QL_RESULT ql_yaml_parse(const char *text, size_t n, const char *name, bool one_line, ql_yaml *out);
void      ql_yaml_free(ql_yaml *node);

bool ql_yaml_is_null(const ql_yaml *node); /* ~, null, or nothing at all */
/* "a list", "a mapping", or the scalar itself in quotes; made safe to print, cut to a line.
 * Caller frees. */
char *ql_yaml_show(const ql_yaml *node);
/* The text with quotes around it, control characters replaced, cut to 80 bytes. Caller frees. */
char *ql_show_text(const char *text);
