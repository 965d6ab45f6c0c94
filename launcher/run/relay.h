/* What workers say on standard error: passed on to ours as it comes, bars of progress included, and the sentences that tell
 * why something ended are kept. Never blocks: a terminal that is held still holds up the workers' output, not us. Local. */
#pragma once
#include "base/err.h"
#include "base/mem.h"

enum { QL_RELAY_WORDS = 32 };

typedef struct {
    int         from;                  /* the read end of a pipe, owned; -1: it is at its end */
    const char *label;                 /* stands before each line, borrowed; NULL: nothing   */
    ql_str      out;                   /* from `sent` on it has not been passed on            */
    size_t      sent;
    bool        is_deaf;               /* nobody takes what we say any more                   */
    bool        in_line;               /* the last line has not ended                         */
    ql_str      line;                  /* its beginning                                       */
    char       *words[QL_RELAY_WORDS]; /* the first of its errors, and of what mpirun says of an end; "qlora: error: " left out */
    size_t      n_words;
    char       *stopped;               /* the sentence of a run that stopped on request; NULL: none was said */
} ql_relay;

/* `from`: non-blocking. `label` may be NULL. */
void ql_relay_begin(ql_relay *r, int from, const char *label);
/* Whether there is something to read for, or to write. */
bool ql_relay_reads(const ql_relay *r);
bool ql_relay_writes(const ql_relay *r);
/* Takes what is there, once; passes on what standard error takes without waiting (poll said so). */
void ql_relay_take(ql_relay *r);
void ql_relay_pass(ql_relay *r);
/* Passes on the rest, for so many seconds at most. */
void ql_relay_finish(ql_relay *r, double seconds);
void ql_relay_free(ql_relay *r);
