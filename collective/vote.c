#include "collective/vote.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/ring.h"
#include "collective/recorder.h"
#include "collective/wire.h"

/* What a rank brings, before its own numbers. */
enum { CODE, SUBJECT, EXCHANGE, HEADER = QL_VOTE_HEADER };
_Static_assert(EXCHANGE < HEADER, "the header of a ballot");

/* What a failing rank tells the others. */
typedef struct {
    char sentence[2044];
} bad_news;

bool ql_vote_differs(const int64_t *all, int ranks, size_t n, size_t i, char who[64]) {
    enum { NAMED = 4 };
    int    others = 0;
    size_t at = 0;
    char   list[40] = "";
    for (int r = 1; r < ranks; r++) {
        if (all[(size_t)r * n + i] == all[i] || others++ >= NAMED) continue;
        at += (size_t)snprintf(list + at, sizeof list - at, "%s%d", at > 0 ? ", " : "", r);
    }
    snprintf(who, 64, "rank%s %s%s", others == 1 ? "" : "s", list, others > NAMED ? ", ..." : "");
    return others > 0;
}

/* The first rank that failed, or -1. */
static int first_failure(const int64_t *all, int ranks, size_t n) {
    for (int r = 0; r < ranks; r++)
        if (all[(size_t)r * n + CODE] != QL_OK) return r;
    return -1;
}

static ql_err check_place(const int64_t *all, int ranks, size_t n, const char *doing) {
    char who[64];
    QL_CHECK(!ql_vote_differs(all, ranks, n, SUBJECT, who), QL_BUG, "%s: the ranks are not at the same place of the program: %s not where rank 0 is",
             doing, who);
    QL_CHECK(!ql_vote_differs(all, ranks, n, EXCHANGE, who), QL_TEMP,
             "%s: exchange %lld of rank 0 is another one on %s: the ranks have not done the same so far; start again to go on from the last checkpoint",
             doing, (long long)all[EXCHANGE], who);
    return ql_ok();
}

/* The sentence of the lowest failing rank, to all. */
static ql_err share_failure(ql_world *w, const int64_t *all, size_t n, int rank, const char *mine) {
    bad_news news = {{0}};
    snprintf(news.sentence, sizeof news.sentence, "%s", mine ? mine : "");
    QL_TRY(ql_broadcast(w, &news, sizeof news, rank));
    news.sentence[sizeof news.sentence - 1] = 0;
    return ql_fail((ql_code)all[(size_t)rank * n + CODE], "rank %d failed: %s", rank, news.sentence);
}

static ql_err exchange(ql_world *w, ql_err mine, const char *sentence, const char *doing, const int64_t *ballot, size_t n, int64_t *all) {
    int ranks = ql_world_place(w).size;
    QL_TRY(ql_err_prefix(ql_share_bytes(w, ballot, n * sizeof *ballot, all), "%s", doing));
    QL_TRY(check_place(all, ranks, n, doing));
    int rank = first_failure(all, ranks, n);
    if (rank < 0) return ql_ok();
    ql_err shared = share_failure(w, all, n, rank, sentence);
    return ql_bad(mine) ? ql_fail(mine.code, "%s", sentence) : shared;
}

ql_err ql_vote(ql_world *w, ql_err mine, const char *doing, const int64_t *numbers, size_t n, int64_t *all) {
    int64_t ballot[HEADER + QL_VOTE_NUMBERS] = {0};
    int     ranks = ql_world_place(w).size;
    QL_CHECK(n <= QL_VOTE_NUMBERS, QL_BUG, "a vote about %zu numbers", n);
    if (n > 0) memcpy(ballot + HEADER, numbers, n * sizeof *numbers);
    if (ranks == 1) {
        if (n > 0) memcpy(all, numbers, n * sizeof *numbers);
        return mine;
    }
    ballot[CODE] = (int64_t)mine.code;
    ballot[SUBJECT] = (int64_t)ql_hash64(doing, strlen(doing), n);
    ballot[EXCHANGE] = (int64_t)ql_recorder_mine()->entered;
    size_t   width = HEADER + n;
    int64_t *table = ql_world_table(w);
    char    *sentence = ql_bad(mine) ? ql_strdup(ql_err_text()) : NULL;
    ql_err   e = exchange(w, mine, sentence, doing, ballot, width, table);
    for (int r = 0; r < ranks && n > 0; r++) memcpy(all + (size_t)r * n, table + (size_t)r * width + HEADER, n * sizeof *all);
    free(sentence);
    return e;
}
