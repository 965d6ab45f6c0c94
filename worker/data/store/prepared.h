/* The cache of prepared data sets (docs/formats/prepared.md): a store in a file, which stands for what exactly it was made of. It
 * never gives other tokens than reading the data set would, and never makes a run fail. Of the processes that want the same
 * file, on one machine or several, one makes it and the others wait for it. */
#pragma once
#include "base/cache_folder.h"
#include "worker/data/dataset.h"
#include "worker/data/read/files.h"

typedef struct ql_prepared ql_prepared;
extern const ql_cache_kind ql_prepared_kind;

/* Reads the files once, for their digests. NULL: a cache is not wanted, or cannot be. Borrows all for as long as it lives. */
ql_prepared *ql_prepared_open(const ql_corpus_options *o, const ql_dataset_spec *d, const ql_file_list *files);
/* The data set, mapped and checked. NULL: the caller has to make it; other processes wait until it calls ql_prepared_close. */
ql_store *ql_prepared_find(ql_prepared *p);
/* Whether others may be waiting for this process. */
bool ql_prepared_is_alone(const ql_prepared *p);
/* Sends the tokens of an empty store to a file, if it is to be kept. */
void ql_prepared_begin(ql_prepared *p, ql_store *s);
/* How far it is, for those who wait. */
void ql_prepared_tell(ql_prepared *p, const char *progress);
/* All is in: keeps it if the files are still what they were. */
void ql_prepared_keep(ql_prepared *p, ql_store *s);
void ql_prepared_close(ql_prepared *p); /* NULL is fine */
