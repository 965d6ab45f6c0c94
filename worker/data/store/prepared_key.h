/* What a prepared data set was made of. Everything that decides tokens, targets or what is said about them must be in it. */
#pragma once
#include "worker/data/dataset.h"
#include "worker/data/read/files.h"
#include "worker/data/store/store_file.h"

typedef enum { QL_MADE_BY_PROGRAM, QL_MADE_OF_DATA, QL_MADE_OF_TOKENIZER, QL_MADE_OF_TEMPLATE, QL_MADE_OF_SETTINGS, QL_INGREDIENTS } ql_ingredient;

typedef struct {
    ql_str        text[QL_INGREDIENTS]; /* lines "NAME: VALUE" */
    ql_file_mark *mark;                 /* [files], when their digests were taken */
    double        when;                 /* s since 1970 */
    ql_store_key  key;
} ql_recipe_of_data;

/* Reads all files, with all threads, but where their digests are known in `folder` (prepared_seen.h). QL_DATA or QL_IO where one cannot
 * be read. */
QL_RESULT ql_made_of(const ql_corpus_options *o, const ql_dataset_spec *d, const ql_file_list *files, const char *folder, ql_recipe_of_data *out);
void      ql_made_of_free(ql_recipe_of_data *r);
/* Whether the files are still those: by their marks, and by their digests again where a change so lately might not show. */
bool ql_made_of_unchanged(const ql_recipe_of_data *r, const ql_file_list *files);

/* JSON object: "data", "tokenizer", ... */
void ql_made_of_write(const ql_recipe_of_data *r, ql_str *out);
/* What differs between now and then, for people: "the data set changed"; "max_length, seed changed". Caller frees; NULL: nothing. */
char *ql_made_of_difference(const ql_recipe_of_data *now, const ql_json *then);
