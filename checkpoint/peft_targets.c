#include "checkpoint/peft_targets.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { FROM_HOW_MANY = 20 };

static int plain_order(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The next longer suffix at dots: "q_proj", "self_attn.q_proj", ...; NULL after the whole name. */
static const char *longer(const char *name, const char *suffix) {
    if (suffix == name) return NULL;
    const char *p = suffix ? suffix - 1 : name + strlen(name);
    while (p > name && p[-1] != '.') p--;
    return p;
}

/* By the shortest suffix, then the next longer one, and so on. */
static int suffix_order(const void *a, const void *b) {
    const char *x = *(const char *const *)a, *y = *(const char *const *)b, *s = NULL, *t = NULL;
    for (;;) {
        s = longer(x, s);
        t = longer(y, t);
        if (!s || !t) return (s != NULL) - (t != NULL);
        int order = strcmp(s, t);
        if (order) return order;
    }
}

/* name is "<something>.suffix" */
static bool ends_in(const char *name, const char *suffix) {
    size_t n = strlen(name), k = strlen(suffix);
    return n > k && name[n - k - 1] == '.' && !strcmp(name + n - k, suffix);
}

static bool is_taken(const char *suffix, const char *const *chosen, size_t n, char *const *other, size_t n_other) {
    for (size_t i = 0; i < n; i++)
        if (!strcmp(chosen[i], suffix)) return true;
    for (size_t i = 0; i < n_other; i++)
        if (!strcmp(other[i], suffix) || ends_in(other[i], suffix)) return true;
    return false;
}

static bool is_covered(const char *name, const char *const *chosen, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (ends_in(name, chosen[i])) return true;
    return false;
}

static size_t choose(const char **name, size_t n, char *const *other, size_t n_other, const char **chosen) {
    size_t found = 0;
    qsort(name, n, sizeof *name, suffix_order);
    for (size_t i = 0; i < n; i++) {
        if (is_covered(name[i], chosen, found)) continue;
        for (const char *s = longer(name[i], NULL); s; s = longer(name[i], s)) {
            if (is_taken(s, chosen, found, other, n_other)) continue;
            chosen[found++] = s;
            break;
        }
    }
    return found;
}

size_t ql_peft_condense(const char **name, size_t n, char *const *other, size_t n_other) {
    if (n >= FROM_HOW_MANY && n_other > 0) {
        const char **chosen = QL_NEW_ARRAY(const char *, n);
        size_t found = choose(name, n, other, n_other, chosen);
        if (found > 0 && found < n) {
            memcpy(name, chosen, found * sizeof *name);
            n = found;
        }
        free(chosen);
    }
    qsort(name, n, sizeof *name, plain_order);
    return n;
}
