/* The three tables behind the configuration, private to base/config:
 * the keys themselves (keys.c), other names for them (aliases.c), and keys of other programs
 * that are understood but decide nothing here (foreign.c). */
#pragma once
#include "base/config/config.h"
#include "base/config/yaml.h"

typedef enum {
    QL_KEY_BOOL,     /* bool                                                      */
    QL_KEY_TRISTATE, /* ql_tristate: true, false, auto                            */
    QL_KEY_INT,      /* int64_t                                                   */
    QL_KEY_REAL,     /* double                                                    */
    QL_KEY_SIZE,     /* int64_t, bytes                                            */
    QL_KEY_TEXT,     /* char *, any; `choices` only gives some texts another name */
    QL_KEY_CHOICE,   /* char *, one of `choices`                                  */
    QL_KEY_TEXTS,    /* ql_texts, with a bool at `list_flag`                      */
    QL_KEY_MAPPING,  /* char *, the text of a JSON object; written as a mapping   */
    QL_KEY_DATASETS, /* ql_datasets                                               */
} ql_key_kind;

enum { QL_LOW_OPEN = 1, QL_HIGH_OPEN = 2 };

typedef struct {
    const char *group, *name;
    ql_key_kind kind;
    size_t      offset, list_flag;
    const char *initial;   /* the default, as one would write it; NULL: not given          */
    double      none;      /* the number that stands for "not given" (or for "auto")       */
    bool        automatic; /* "auto" may be written for "not given"                        */
    double      low, high; /* numbers; high 0: no upper bound                              */
    int         open;      /* QL_LOW_OPEN, QL_HIGH_OPEN: the bound itself is out           */
    const char *choices;   /* separated by blanks; "a|b": b is another name of a           */
    bool        required;
    bool        decides; /* what the run computes: part of a checkpoint's identity         */
    bool        quiet;   /* is part of it only where it is not the default                 */
    const char *shown;   /* the default in the help, where `initial` does not say it       */
    const char *meaning;
} ql_key;

extern const ql_key ql_keys[];
extern const size_t ql_n_keys;
/* NULL when there is none. */
const ql_key *ql_key_find(const char *name);
/* What may be written: "a whole number from 1 to 65536", "true or false". */
void ql_key_expects(const ql_key *key, ql_str *out);

/* `values` translates: "false>true 8>..."; words that are not listed are refused; nothing after
 * the arrow: leaves the key alone. "+MiB" appends. NULL: taken over as it stands. */
typedef struct {
    const char *name, *key, *values;
} ql_alias;
extern const ql_alias ql_aliases[];
extern const size_t   ql_n_aliases;
const ql_alias *ql_alias_find(const char *name);

/* A key of another program. `only` NULL: any value does, a note says why it has no effect.
 * Else the values (blank-separated, "empty" for [] and {}) that ask for nothing; others are
 * refused with the reason. */
typedef struct {
    const char *name, *only, *reason;
} ql_foreign;
extern const ql_foreign ql_foreigns[];
extern const size_t     ql_n_foreigns;
const ql_foreign *ql_foreign_find(const char *name);

/* Mappings of other programs whose members are read as if they stood at the top. */
bool ql_is_section(const char *name);

/* The nearest name of any table, or NULL. */
const char *ql_key_nearest(const char *word);

/* A field as YAML ("null" and "auto" included). */
void ql_key_write(const ql_key *key, const ql_config *c, ql_str *out);
/* A text as YAML: plain where that is safe, else in double quotes. */
void ql_yaml_put_text(ql_str *out, const char *text);
static inline void *ql_key_at(const ql_key *key, ql_config *c) { return (char *)c + key->offset; }
static inline const void *ql_key_in(const ql_key *key, const ql_config *c) { return (const char *)c + key->offset; }

/* Fields of one entry of `dataset`: "path", "field_prompt", ... */
typedef struct {
    const char *name;
    size_t      offset; /* of a text, whatever it holds */
    enum { QL_FIELD_TEXT, QL_FIELD_WEIGHT, QL_FIELD_COUNT, QL_FIELD_CHOICE /* one of those of the key of this name */ } kind;
} ql_dataset_field;
extern const ql_dataset_field ql_dataset_fields[];
extern const size_t           ql_n_dataset_fields;
static inline char **ql_dataset_text(const ql_dataset_field *f, ql_dataset_spec *s) {
    return (char **)(void *)((char *)s + f->offset);
}
