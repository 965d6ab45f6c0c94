/* Where tokens lie: the documents that one data set became, in the order of its records. A corpus (dataset.h) is a list of
 * documents that point into stores; weighing, splitting and leaving out duplicates change that list only, never a store. */
#pragma once
#include "base/err.h"
#include "base/mem.h"
#include "worker/data/audit.h"

typedef struct {
    uint64_t word[2];
} ql_digest;

/* A document is what one record became, or a piece of it. It owns nothing. */
typedef struct {
    int64_t        record;    /* index in the input, from 0; in a store of its set, in a corpus over all sets */
    const int32_t *ids;       /* [length]                                                                    */
    const uint8_t *is_target; /* [length] 1: this token is a label. The first of a document never is.         */
    int32_t        length;    /* tokens                                                                      */
    int32_t        targets;   /* tokens that are predicted and trained on; 0 only in evaluation              */
    int32_t        before, after; /* tokens of its record that were cut off; they lie in other pieces, or nowhere */
    ql_digest      content;   /* of ids and targets; of a piece: of the whole                                */
} ql_document;

/* What happened to the records of a data set. */
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

/* Memory that does not move while it grows. */
typedef struct {
    int32_t *ids;
    uint8_t *is_target;
    size_t   used, capacity; /* tokens */
} ql_store_block;

typedef struct {
    ql_store_block *block;
    size_t          blocks, blocks_capacity;
    size_t          count; /* tokens of all documents */
    ql_document    *document;
    size_t          documents, documents_capacity;
    ql_set_facts    facts;
} ql_store;

ql_store *ql_store_new(void);
void      ql_store_free(ql_store *s); /* NULL is fine */
/* Appends a document of n tokens, which are copied. */
void ql_store_add(ql_store *s, int64_t record, const int32_t *ids, const uint8_t *is_target, size_t n);
/* The last two documents are the sides of one pair: they get one `content`, of both. */
void ql_store_pair(ql_store *s);
/* The list of documents is in a corpus now; their tokens stay. */
void   ql_store_forget_list(ql_store *s);
size_t ql_store_bytes(const ql_store *s); /* of host memory, for tokens */

ql_digest ql_digest_of(const int32_t *ids, const uint8_t *is_target, size_t n);
