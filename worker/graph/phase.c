#include "worker/graph/phase.h"

const char *const ql_phase_name[QL_PHASES] = {"forward", "head", "backward", "exchange", "update"};

/* Mark p is the beginning of phase p and the end of the one before. */
_Static_assert((int)QL_PHASES < (int)QL_MARKS, "there is a mark for each phase and one for the end");

ql_err ql_phase_begin(ql_device *d, ql_phase p) {
    ql_name_work(d, ql_phase_name[p]);
    return ql_mark(d, (int)p);
}

ql_err ql_phase_end(ql_device *d, ql_phase p) {
    ql_name_work(d, NULL);
    return ql_mark(d, (int)p + 1);
}

ql_err ql_phase_add(ql_device *d, ql_phase p, double seconds[QL_PHASES]) {
    double s = 0;
    QL_TRY(ql_seconds_between(d, (int)p, (int)p + 1, &s));
    seconds[p] += s;
    return ql_ok();
}
