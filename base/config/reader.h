/* What reading carries along: the struct being filled, who set which key, and the mistakes.
 * Private to base/config. */
#pragma once
#include "base/config/keys.h"

/* Who set a key. `where` is "FILE:LINE" or "command line: KEY=VALUE"; NULL: nobody. */
typedef struct {
    char       *where;
    const char *name; /* the name that was used, from one of the tables */
    bool        from_override, broken;
} ql_setting;

typedef struct {
    ql_config  *config;
    ql_setting *setting; /* one per key */
    ql_str     *notes;   /* may be NULL */
    ql_str      mistakes;
    size_t      n_mistakes;
    const char *file;     /* NULL: overrides only       */
    const char *override; /* the one being read, or NULL */
} ql_reader;

/* "FILE:LINE", or "command line: KEY=VALUE". Caller frees. */
char *ql_reader_where(const ql_reader *r, const ql_yaml *node);
void  ql_reader_mistake(ql_reader *r, const char *where, const char *fmt, ...) QL_PRINTF(3, 4);
void  ql_reader_note(ql_reader *r, const char *where, const char *fmt, ...) QL_PRINTF(3, 4);

/* True, and a mistake, for a member whose key stood in the same mapping before. */
bool ql_reader_is_double(ql_reader *r, const ql_yaml *member);

/* Puts a node that is not null into the field of a key (set.c). False: a mistake was noted, the
 * field is as before. */
bool ql_reader_set(ql_reader *r, const ql_key *key, const ql_yaml *node);
/* The default. */
void ql_reader_reset(ql_reader *r, const ql_key *key);
/* Entries of dataset and eval_dataset (datasets.c). */
bool ql_reader_datasets(ql_reader *r, const ql_key *key, const ql_yaml *node, ql_datasets *out);
void ql_datasets_free(ql_datasets *d);
void ql_texts_free(ql_texts *t);
void ql_key_free(const ql_key *key, ql_config *c);

/* What keys say together (check.c). */
void ql_reader_check(ql_reader *r, bool need_required);
