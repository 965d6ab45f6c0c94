/* What the tests of the data side share: files in a scratch folder, and reading them. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "worker/data/dataset.h"

/* Writes scratch file number `slot` (0 to 3) and returns its path, valid until the next call for that slot. */
const char *file_of(int slot, const void *bytes, size_t n);
const char *file_of_text(int slot, const char *text);
int make_scratch(void **state);
int remove_scratch(void **state);
const char *scratch(void);

/* Reads one file with the fake tokenizer; `setting` as the fake's folder. */
typedef struct {
    ql_config         config;
    ql_corpus_options options;
    ql_dataset_spec   spec[4];
    ql_datasets       files;
    ql_corpus         corpus;
    ql_err            verdict;
} reading;
/* Defaults: max_length 1024, drop, auto. */
reading reading_of(const char *path);
void    read_with(reading *r, const char *setting);
void    done_with(reading *r);

/* Reads `text` as a file and expects QL_DATA with all of these pieces, NULL-terminated, in the message. */
void expect_refusal(const char *text, ...);
/* The tokens of a document as text, targets in upper brackets: "prompt{answer}"; caller frees. */
char *shown(const ql_corpus *c, size_t document);

/* The same for files by name, with the endings that decide how they are read; `name` in the scratch folder. */
const char *named_file(const char *name, const void *bytes, size_t n);
const char *named_text(const char *name, const char *text);
void        expect_refused_file(const char *path, ...);
/* The documents of a file as shown(), separated by '|'; caller frees. */
char *shown_file(const char *path);
void  expect_file(const char *path, const char *expected);
