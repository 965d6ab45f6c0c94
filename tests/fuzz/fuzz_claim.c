/* Damaged run/generation: a start takes a number from 1 on, whatever lies there; and what is found there later is this start's own, or
 * another's, who is named in one printable line. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "tests/fuzz/common.h"
#include "worker/claim.h"

static const char *const seed[] = {"7\nhost node-1, process 4242\n", "999999999999\n", ""};

static void insist(bool fact, const char *what) {
    if (fact) return;
    fprintf(stderr, "fuzz_claim: %s: %s\n", what, ql_err_text());
    abort();
}

static void check_text(const char *text) {
    for (; *text; text++) insist(isprint((unsigned char)*text), "something that is no text is said");
}

static bool target(void *ctx, const uint8_t *bytes, size_t n) {
    (void)ctx;
    ql_claim c;
    ql_fuzz_file("run/generation", bytes, n);
    insist(!ql_bad(ql_claim_take(ql_fuzz_folder(), &c)), "a start is refused");
    insist(c.generation >= 1 && !ql_bad(ql_claim_check(&c)), "a start that is not its own");
    ql_fuzz_file("run/generation", bytes, n);
    ql_err e = ql_claim_check(&c);
    insist(ql_bad(e) ? e.code == QL_TEMP : n == strlen(c.text) && !memcmp(bytes, c.text, n), "another start is not seen");
    if (ql_bad(e)) check_text(ql_err_text());
    ql_claim_close(&c);
    return true; /* nothing is refused for what lies there */
}

int main(int argc, char **argv) {
    char *run = ql_path_join(ql_fuzz_folder(), "run");
    insist(!ql_bad(ql_dir_make(run)), "the folder");
    ql_str seeds[QL_LEN(seed)] = {0};
    for (size_t i = 0; i < QL_LEN(seed); i++) ql_str_put(&seeds[i], seed[i], strlen(seed[i]));
    int status = ql_fuzz_main(argc, argv, seeds, QL_LEN(seed), target, NULL);
    for (size_t i = 0; i < QL_LEN(seed); i++) ql_str_free(&seeds[i]);
    free(run);
    return status;
}
