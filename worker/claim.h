/* Who may write into an output folder. One run at a time, as long as locks work; and the latest start in any case: each
 * takes the next number of output_dir/run/generation, and one that finds another number there later has been replaced
 * (a cut-off node that lives on beside the job that was started in its stead) and publishes nothing more.
 *
 * The file holds two lines: the number, and who took it (host, process). */
#pragma once
#include "base/err.h"

typedef struct {
    char   *output_dir; /* NULL: nothing is claimed */
    char   *text;       /* of the file, while it is ours */
    int64_t generation; /* from 1                   */
    int     lock;       /* held; -1: the file system knows no locks */
} ql_claim;

/* Local, for one rank. output_dir/run must be there. Removes what dead processes of ours left unfinished. QL_TEMP: another
 * run is at work there. QL_IO: nothing can be written. */
QL_RESULT ql_claim_take(const char *output_dir, ql_claim *out);
/* Local, any thread. QL_TEMP: another start has taken over, which is named. QL_IO: it cannot be found out. */
QL_RESULT ql_claim_check(const ql_claim *c);
/* Local, rank 0: notes how this start ended in output_dir/run/outcome, for scripts, to which a launcher's exit status proves little:
 * "done STEP" or "stopped STEP", the latter with a checkpoint of that step. A start takes its predecessor's away. QL_TEMP: replaced. */
QL_RESULT ql_claim_note_end(const ql_claim *c, const char *how, int64_t step);
void      ql_claim_close(ql_claim *c); /* gives the lock back; the number stays */
