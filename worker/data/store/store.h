/* Where tokens lie: the documents that one data set became, in the order of its records, in memory or in a file that is mapped
 * (store_file.h). A corpus (dataset.h) is a list of documents that point into stores; weighing, splitting and leaving out
 * duplicates change that list only, never a store. */
#pragma once
#include "base/err.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "worker/data/audit/audit.h"

typedef struct {
    uint64_t word[2];
} ql_digest;

/* A document is what one record became, or a piece of it. It owns nothing. Kept in files as it stands, but for the pointers. */
typedef struct {
    int64_t        record;    /* index in the input, from 0; in a store of its set, in a corpus over all sets */
    const int32_t *ids;       /* [length]                                                                    */
    const uint8_t *is_target; /* [length] 1: this token is a label. The first of a document never is.         */
    int32_t        length;    /* tokens                                                                      */
    int32_t        targets;   /* tokens that are predicted and trained on; 0 only in evaluation              */
    int32_t        before, after; /* tokens of its record that were cut off; they lie in other pieces, or nowhere */
    ql_digest      content;   /* of ids and targets; of a piece: of the whole                                */
} ql_document;

/* What happened to the records of a data set. A new member has a row in store_facts.c, or is forgotten by the cache. */
typedef struct {
    int64_t records, dropped_long, truncated, without_targets;
    bool    completion_only;                  /* what "auto" came to */
    bool    conversations;                    /* there are some      */
    bool    pairs;                            /* documents come in twos: the better answer, then the worse one */
    char    format[32];                       /* "question+answer", ... */
    char   *first_long, *first_untargeted;    /* "FILE:LINE"; NULL: none */
    ql_audit audit;
} ql_set_facts;
void ql_set_facts_free(ql_set_facts *f);
/* Appends a JSON object. */
void ql_set_facts_write(const ql_set_facts *f, ql_str *out);
/* A member that is absent or of another type counts as nothing. QL_DATA: the audit is not what was written. `out` is to be freed
 * whatever comes of it. */
QL_RESULT ql_set_facts_read(const ql_json *object, ql_set_facts *out);

/* Memory that does not move while it grows. */
typedef struct {
    int32_t *ids;
    uint8_t *is_target;
    size_t   used, capacity; /* tokens */
} ql_store_block;

typedef struct ql_store_writer ql_store_writer;
typedef struct {
    ql_store_block  *block;
    size_t           blocks, blocks_capacity;
    ql_map           map;    /* of the file where the tokens lie instead */
    ql_store_writer *writer; /* to which they go meanwhile; NULL: none. Their documents have no pointers yet */
    size_t           count;  /* tokens of all documents */
    ql_document     *document;
    size_t           documents, documents_capacity;
    ql_set_facts     facts;
    bool             found;  /* it was there already */
    char            *origin; /* "FILE: cached (prepared 26 Nov 14:03)"; NULL: nothing to tell */
} ql_store;

ql_store *ql_store_new(void);
void      ql_store_free(ql_store *s); /* NULL is fine */
/* Appends a document of n tokens, which are copied. */
void ql_store_add(ql_store *s, int64_t record, const int32_t *ids, const uint8_t *is_target, size_t n);
/* The last two documents are the sides of one pair: they get one `content`, of both. */
void ql_store_pair(ql_store *s);
/* The list of documents is in a corpus now; their tokens stay. */
void   ql_store_forget_list(ql_store *s);
size_t ql_store_bytes(const ql_store *s); /* of host memory, for tokens; a mapped file takes none that the system cannot take back */

ql_digest ql_digest_of(const int32_t *ids, const uint8_t *is_target, size_t n);
ql_digest ql_digest_of_pair(ql_digest better, ql_digest worse);
/* For store_write.c: room for n more tokens in memory. */
ql_store_block *ql_store_room(ql_store *s, size_t n);
