/* The folder of what is kept from one run to the next: where it is, whether it can be trusted, and what of it may go. A file in
 * it is called PLACE-KEY and an ending: 16 hexadecimal digits for what it belongs to, 32 for what exactly it was made of. */
#pragma once
#include "base/err.h"

typedef struct {
    const char *config_key; /* for messages */
    const char *ending;     /* ".base"      */
} ql_cache_kind;

enum { QL_CACHE_PLACE_DIGITS = 16 };
char *ql_cache_folder(const char *wanted); /* "auto" or a folder; NULL: there is none. Caller frees */
/* Ours alone to write in; says so if it is not. An absent folder is fine. */
bool ql_cache_folder_is_safe(const ql_cache_kind *kind, const char *folder);
/* Removes leftovers of writers that died (NAME.tmp-..., NAME.lock), files not used for 30 days, and all but the three last
 * used ones of this place. `name` stays. */
void ql_cache_folder_clean(const ql_cache_kind *kind, const char *folder, const char *name);
