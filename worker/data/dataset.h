/* From files of records to packed rows.
 *
 *   files --record.c--> prompt/completion/text --target.c--> documents (ids, first target)
 *         --pack.c--> rows of at most max_length tokens --order--> row k of step s
 *
 * A document is what one record became. Its tokens are never split over rows. All local and
 * deterministic: every rank builds the same. */
#pragma once
#include "base/config/config.h"
#include "worker/data/audit/audit_facts.h"
#include "worker/data/store/store.h"
#include "worker/data/template/folder.h"
#include "worker/data/tokenizer/tokenizer.h"

typedef struct {
    ql_document *document;  /* may hold one several times, where data sets have weights   */
    size_t       documents, documents_capacity;
    size_t       count;     /* tokens of all documents                                    */
    ql_store   **store;     /* where they lie; none in what a split took from another corpus */
    size_t       stores, stores_capacity;
    /* What happened to the records. */
    int64_t records, dropped_long, truncated, without_targets, duplicates;
    bool    completion_only; /* what "auto" came to      */
    bool    conversations;   /* there are some           */
    bool    pairs;           /* preference pairs: documents come in twos, of one record: the better answer, then the worse one */
    char    format[32];      /* "question+answer", ...   */
    uint64_t fingerprint;    /* of ids, targets, borders and records */
    ql_audit audit;          /* of all records that were read        */
} ql_corpus;

typedef struct {
    const ql_config    *config;
    const ql_tokenizer *tokenizer;
    int64_t             vocab_size;     /* of the model: ids must be below                       */
    bool                keep_untargeted; /* evaluation per record: a record without targets stays */
    bool                training;        /* weights of data sets and `deduplicate` count          */
    bool                prepares;        /* is there for the cache: kept however small a set is  */
    int                 threads_alone;   /* while other processes wait for this one; 0: no more  */
    const ql_chat      *chat;            /* for conversations; NULL: they are refused             */
    const ql_audit_facts *facts;         /* NULL: the audit leaves out what needs them            */
} ql_corpus_options;

/* Reads and tokenises. QL_DATA: FILE:LINE and the cure. `prompt_only` records are refused. */
QL_RESULT ql_corpus_read(const ql_datasets *files, const ql_corpus_options *o, ql_corpus *out);
void      ql_corpus_free(ql_corpus *c);
size_t    ql_corpus_bytes(const ql_corpus *c); /* of host memory */
/* Moves a part of the records to `eval`: the fraction `val_set_size`, or that many, chosen by the seed and by what is in them
 * only. So a record stays on its side whatever is appended, taken away or put in another order, and one that is there twice is
 * on one side. (Of a number, the records with the lowest lots go: as records are added, some of them make place for others.)
 * The documents of `eval` lie in the stores of `train`, which must outlive it. */
void ql_corpus_split(ql_corpus *train, double val_set_size, int64_t seed, ql_corpus *eval);

/* Rows: row r holds documents document[start[r] .. start[r+1]) (indices into the corpus). */
typedef struct {
    int64_t *start;    /* [rows + 1] */
    int64_t *document; /* [documents] */
    int64_t  rows;
    int64_t  tokens;     /* in all rows */
    int64_t  targets;
    int64_t  max_length; /* the room of a row */
    int64_t  longest;    /* tokens of the fullest row */
    int32_t *length;     /* [rows] tokens of each, where rows are grouped by length; else NULL */
    int64_t  stretch;    /* rows of the order that are sorted by length together            */
} ql_row_set;
/* Rows as the configuration asks (packing, packing_strategy). bfd_split and wrapped cut the documents of `c` (cut.h). An evaluation
 * (`training` false) cuts each document for itself, so that none depends on others, and keeps rows without a target. */
void ql_corpus_pack(ql_corpus *c, const ql_config *config, bool training, ql_row_set *out);
/* Whether documents may be longer than a row when they are packed, since they are cut there. */
bool ql_packing_cuts(const ql_config *config);
/* Over the whole set in O(n log n), ties in input order. Up to 1000 records: best fit decreasing (Coffman, Garey & Johnson), which
 * is TRL's "bfd"; of more, rows are filled by pairs (pair.h), which leaves about half as much room empty. `packing` false: one
 * document a row, in input order. */
void ql_pack(const ql_corpus *c, int64_t max_length, bool packing, ql_row_set *out);
void ql_row_set_free(ql_row_set *r);
size_t ql_row_set_bytes(const ql_corpus *c, const ql_row_set *r); /* of host memory, an order included */
int64_t ql_row_tokens(const ql_corpus *c, const ql_row_set *r, int64_t row);

/* From now on the order puts rows of similar length into a step. */
void ql_row_set_group(const ql_corpus *c, int64_t rows_per_step, ql_row_set *r);
/* The order of rows in epoch e, [rows]: f(seed, epoch) only. */
void ql_row_order(const ql_row_set *r, int64_t seed, uint32_t epoch, int64_t *order);

/* For ql_row_order: how many rows are sorted together (50 steps, or a quarter of all), and the sorting, longest first in each
 * stretch, with the longest of all in the first place. */
int64_t ql_stretch_of(int64_t rows, int64_t rows_per_step);
void    ql_group_by_length(int64_t *order, int64_t n, const int32_t *length, int64_t stretch);
