#include "worker/data/template/sort.h"

static bool before(jj_heap *h, jj_value a, jj_value b, bool descending) {
    jj_spend(h, 1);
    int sign = jj_order(h, a, b);
    return descending ? sign > 0 : sign < 0;
}

const size_t *jj_sorted(jj_heap *h, const jj_value *keys, size_t n, bool descending) {
    size_t *from = jj_alloc(h, n * sizeof *from), *to = jj_alloc(h, n * sizeof *to);
    for (size_t i = 0; i < n; i++) from[i] = i;
    for (size_t run = 1; run < n; run *= 2) {
        for (size_t start = 0; start < n; start += 2 * run) {
            size_t middle = start + run < n ? start + run : n, end = start + 2 * run < n ? start + 2 * run : n;
            size_t left = start, right = middle;
            for (size_t i = start; i < end; i++) {
                bool take_right = right < end && (left == middle || before(h, keys[from[right]], keys[from[left]], descending));
                to[i] = from[take_right ? right++ : left++];
            }
        }
        size_t *swap = from;
        from = to;
        to = swap;
    }
    return from;
}
