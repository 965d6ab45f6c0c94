/* The parts of a tokenizer.json: normalizers, pre-tokenizers and decoders. Each type is one row
 * of a table: its name, how its parameters are read, and what it does. A Sequence is flattened
 * when it is read, so a pipeline is a plain list. */
#pragma once
#include "base/json.h"
#include "worker/data/tokenizer/regex.h"
#include "worker/data/tokenizer/rewrite.h"

typedef enum { QL_REMOVED, QL_ISOLATED, QL_MERGED_WITH_PREVIOUS, QL_MERGED_WITH_NEXT, QL_CONTIGUOUS } ql_behavior;
typedef enum { QL_PREFIX_ALWAYS, QL_PREFIX_FIRST, QL_PREFIX_NEVER } ql_prefix;

struct ql_part_kind;
struct ql_sentencepiece_rules;
/* Parameters of one part; a type uses those that it has. */
typedef struct {
    const struct ql_part_kind *kind;
    ql_pattern *pattern;
    struct ql_sentencepiece_rules *rules; /* of a sentencepiece model */
    ql_str content;     /* Replace, Prepend, the marker of Metaspace */
    uint32_t character; /* Strip, Metaspace, CharDelimiterSplit      */
    ql_behavior behavior;
    ql_prefix prefix;
    bool invert, split, add_prefix_space, use_regex, individual, left, right;
    bool defer_bytes; /* the byte map is left to the model         */
    int64_t start, stop, length;
} ql_part;

/* One text cut into pieces. */
typedef struct {
    uint32_t start, end;
    bool first; /* begins at the first byte of the whole text */
} ql_piece;
typedef struct {
    uint32_t start, end;
    bool match;
} ql_cut;
typedef struct {
    ql_text text;
    ql_piece *piece, *next; /* what a part reads, and what it writes */
    size_t n_piece, n_next, piece_capacity, next_capacity;
    ql_cut *span; /* matches and gaps of one piece */
    size_t n_span, span_capacity;
} ql_pieces;
void ql_pieces_free(ql_pieces *p);

/* Tokens on their way back to text: one buffer, and where each token ends in it. */
typedef struct {
    ql_str bytes, next_bytes;
    size_t *end, *next_end;
    size_t n, n_next, capacity, next_capacity;
} ql_pile;
void ql_pile_push(ql_pile *p); /* ends the token that was appended to next_bytes */
void ql_pile_swap(ql_pile *p); /* what was pushed becomes what is read            */
void ql_pile_free(ql_pile *p);

/* `where` is "FILE: pre_tokenizer". */
typedef ql_err ql_part_load(ql_part *part, const ql_json *json, const char *where);
typedef struct ql_part_kind {
    const char *type;
    const char *sequence; /* a Sequence: the key of its list */
    ql_part_load *load;   /* NULL: no parameters              */
    ql_err (*normalize)(const ql_part *, ql_matcher *, ql_text *);
    ql_err (*split)(const ql_part *, ql_matcher *, ql_pieces *);
    ql_err (*decode)(const ql_part *, ql_matcher *, ql_pile *);
} ql_part_kind;
typedef struct {
    const char *key; /* "normalizer" */
    const ql_part_kind *kind;
    size_t n_kinds;
} ql_part_table;
extern const ql_part_table ql_normalizers, ql_pre_tokenizers, ql_decoders;

typedef struct {
    ql_part *part;
    size_t n, capacity;
} ql_pipeline;
/* Reads document[table->key]; absent or null is an empty pipeline. */
QL_RESULT ql_pipeline_load(const ql_part_table *table, const ql_json *document, const char *file, ql_pipeline *out);
void ql_pipeline_free(ql_pipeline *p);

/* Parameters; `where` begins the message. An absent key takes `otherwise` where there is one. */
QL_RESULT ql_get_bool(const ql_json *o, const char *key, bool otherwise, const char *where, bool *out);
QL_RESULT ql_get_count(const ql_json *o, const char *key, const char *where, int64_t *out);
QL_RESULT ql_get_text(const ql_json *o, const char *key, const char *where, ql_str *out);
QL_RESULT ql_get_character(const ql_json *o, const char *key, const char *where, uint32_t *out);
/* {"String": ...} or {"Regex": ...} */
QL_RESULT ql_get_pattern(const ql_json *o, const char *where, ql_pattern **out);
QL_RESULT ql_get_behavior(const ql_json *o, ql_behavior otherwise, bool required, const char *where, ql_behavior *out);
/* Replace and Metaspace appear in more than one table. */
QL_RESULT ql_replace_load(ql_part *part, const ql_json *json, const char *where);
QL_RESULT ql_metaspace_load(ql_part *part, const ql_json *json, const char *where);
