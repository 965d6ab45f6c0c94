#include "worker/largest.h"

int64_t ql_largest(int64_t start, int64_t most, ql_question is_good, void *context) {
    int64_t good = 0, bad = most + 1, trial = start;
    while (bad - good > 1) {
        if (is_good(context, trial)) good = trial;
        else bad = trial;
        if (bad > most) trial = ql_min(2 * good, most);
        else if (good == 0) trial = ql_max(1, bad / 2);
        else trial = good + (bad - good) / 2;
    }
    return good;
}
