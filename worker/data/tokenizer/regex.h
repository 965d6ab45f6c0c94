/* Regular expressions as Hugging Face tokenizers have them: Oniguruma's Ruby syntax, searched
 * from left to right without overlaps. They are translated for PCRE2 (regex_translate.c) and
 * compiled with its JIT where that is available.
 *
 * A pattern is immutable and may be shared by threads; a matcher belongs to one thread. */
#pragma once
#include "base/err.h"
#include "base/mem.h"

typedef struct ql_pattern ql_pattern;
typedef struct ql_matcher ql_matcher;

/* `where` names the place in messages: "tokenizer.json: pre_tokenizer". */
QL_RESULT ql_pattern_regex(const char *regex, size_t n, const char *where, ql_pattern **out);
/* Finds the bytes themselves. */
QL_RESULT ql_pattern_literal(const char *text, size_t n, const char *where, ql_pattern **out);
void ql_pattern_free(ql_pattern *p);

ql_matcher *ql_matcher_open(void);
void ql_matcher_close(ql_matcher *m);

/* A walk over the matches in one text. A matcher serves one walk at a time. */
typedef struct {
    const char *text; /* what is searched: as long as the text, but for matching only */
    size_t size;
    size_t from;         /* private: where the next search begins          */
    size_t previous_end; /* private: end of the last match                 */
    bool any;            /* private: there was a match                     */
    size_t start, end;   /* the match                                      */
} ql_search;
ql_search ql_search_begin(const ql_pattern *p, ql_matcher *m, const char *text, size_t n);
/* `*found` is false when there is no further match. QL_DATA when the expression backtracks for too long. */
QL_RESULT ql_search_next(const ql_pattern *p, ql_matcher *m, ql_search *s, bool *found);

/* Oniguruma to PCRE2; QL_DATA for what has no translation. */
QL_RESULT ql_regex_translate(const char *regex, size_t n, const char *where, ql_str *out);
