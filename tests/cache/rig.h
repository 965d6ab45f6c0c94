/* A small model, a folder for caches, and what loading with them gives. */
#pragma once
#include "tests/quant/scratch.h"
#include "worker/model/model.h"

/* What a model is on the device, and where it came from. */
typedef struct {
    uint8_t *bytes; /* the whole buffer */
    size_t   size;
    float   *offset; /* nested_offset of every slot */
    size_t   slots;
    char    *origin;
} loaded;

/* Group set-up and tear-down: scratch("model"), and rig_caches for caches. The clock of the program runs 60 s
 * ahead, so that the model is settled; rig_clock_ahead changes that. */
int  rig_open(void **state);
int  rig_close(void **state);
void rig_clock_ahead(double seconds);
void rig_use_threads(int n); /* 1 unless said otherwise; programs whose children load use no more */
const char *rig_caches(void); /* stays valid */
/* Removes all caches. */
void rig_empty(void);

/* As a run does it; options: nf4, double quantisation, the folder `cache`, writing. */
ql_load_options rig_options(const char *cache);
loaded          rig_load(const ql_load_options *o);
void            rig_free(loaded *l);
bool            rig_same(const loaded *a, const loaded *b);
bool            rig_from_cache(const loaded *l);

/* Loads from rig_caches() and demands the right weights, from the cache or not. */
void rig_expect_at(bool from_cache, const char *file, int line);
#define expect_hit()  rig_expect_at(true, __FILE__, __LINE__)
#define expect_miss() rig_expect_at(false, __FILE__, __LINE__)

size_t      rig_count(const char *ending); /* files in rig_caches() */
const char *rig_cache_file(void);          /* the only one; valid until the next call */
