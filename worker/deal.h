/* Who computes which row of a step. Rows are dealt one after another, each to the rank that would be done with it
 * first; ranks that are as fast as each other get row k mod N, as if nobody had measured. Whoever computes a row, its
 * gradient is the same integers: dealing decides time, never bits, and is no part of a run's state. All local; equal
 * on all ranks as long as all learn the same. */
#pragma once
#include "base/err.h"

typedef struct {
    int      ranks;
    int64_t *speed;    /* per rank, in any unit: what dealing goes by           */
    int64_t *measured; /* per rank, smoothed; 0: not yet                        */
    int64_t *given;    /* per rank: rows of the step so far                     */
    int64_t *lesson;   /* per rank: room for what they measured in a step       */
    int64_t  lessons;  /* how often ql_deal_learn was called                    */
} ql_deal;

void ql_deal_open(int ranks, ql_deal *out);
void ql_deal_close(ql_deal *d);
/* A new step: nobody has a row yet. */
void ql_deal_begin(ql_deal *d);
/* The rank that gets the next row. */
int ql_deal_next(ql_deal *d);
/* What the ranks measured in a step (ql_deal_measure); 0: nothing. The first step is forgotten: it warms up. */
void ql_deal_learn(ql_deal *d, const int64_t *measured);
/* What rank `rank` measured: tokens in 1000 seconds. With QLORA_SPEEDS=30,10,... in the environment, what is written
 * there for this rank, for tests. */
int64_t ql_deal_measure(int rank, int64_t tokens, double seconds);
