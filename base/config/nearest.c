#include "base/config/nearest.h"

#include <string.h>

enum { LONGEST = 63 };

size_t ql_edit_distance(const char *a, const char *b) {
    size_t n = strlen(a), m = strlen(b);
    if (n > LONGEST || m > LONGEST) return SIZE_MAX;
    size_t row[3][LONGEST + 1]; /* the row of a[i], and the two before it */
    for (size_t j = 0; j <= m; j++) row[0][j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t *now = row[i % 3], *last = row[(i + 2) % 3], *older = row[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t best = last[j - 1] + (a[i - 1] != b[j - 1]);
            if (last[j] + 1 < best) best = last[j] + 1;
            if (now[j - 1] + 1 < best) best = now[j - 1] + 1;
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped && older[j - 2] + 1 < best) best = older[j - 2] + 1;
            now[j] = best;
        }
    }
    return row[n % 3][m];
}

size_t ql_edit_limit(const char *word) {
    size_t n = strlen(word);
    return n < 3 ? 0 : n / 3 + 1;
}

const char *ql_nearest(const char *word, const char *const *names, size_t n) {
    const char *best = NULL;
    size_t      least = ql_edit_limit(word) + 1;
    for (size_t i = 0; i < n; i++) {
        size_t d = ql_edit_distance(word, names[i]);
        if (d >= least) continue;
        least = d;
        best = names[i];
    }
    return best;
}
