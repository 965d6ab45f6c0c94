/* A small state to save and load: every value is a function of (tensor, array, element, step). Even steps have a
 * loss scale. */
#pragma once
#include "checkpoint/checkpoint.h"

typedef struct {
    ql_state s;
    ql_peft_config peft;
    ql_peft_module *modules;
    size_t n_modules;
} test_state;

/* Adapters of `modules` layers with rank 4 on 24 x 40, with 12 keys of identity. */
test_state *state_make(size_t modules, int64_t step);
/* The same shape with zeros, to load into. */
test_state *state_empty(size_t modules);
void state_free(test_state *t);
/* Whether all arrays and counters are those of state_make(modules, step). */
bool state_is(const test_state *t, int64_t step);

/* To save it there, with nobody asked and no best one. */
ql_save_order state_order(const char *folder, const test_state *t, int keep);
ql_err state_save(const char *folder, const test_state *t, int keep);
/* Saves state_make(modules, step). */
ql_err state_save_new(const char *folder, size_t modules, int64_t step, int keep);
/* Loads `path` into an empty state of so many modules and compares. */
bool state_loads_as(const char *path, size_t modules, int64_t step);

/* A new temporary folder; removed, with what is in it, by drop_folder. */
char *make_folder(void);
void drop_folder(char *folder);
/* Entries of a folder but "." and ".."; those that begin with `prefix`. */
size_t count_entries(const char *folder, const char *prefix);
/* MANIFEST.json of the folder, written anew for the files as they are. */
ql_err renew_manifest(const char *folder, int64_t step);
