/* list_checkpoints OUTPUT_DIR: a line for each checkpoint that has been published there, newest first: "STEP good", or "STEP bad: why". Changes
 * nothing. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "checkpoint/checkpoint.h"
#include "checkpoint/checkpoint_folder.h"

int main(int argc, char **argv) {
    int64_t *steps;
    size_t   n;
    if (argc != 2) return QL_USAGE;
    if (ql_bad(ql_checkpoint_init()) || ql_bad(ql_checkpoint_list(argv[1], &steps, &n))) {
        fprintf(stderr, "%s\n", ql_err_text());
        return QL_IO;
    }
    for (size_t i = 0; i < n; i++) {
        char *path = ql_checkpoint_path(argv[1], steps[i]);
        if (ql_bad(ql_checkpoint_verify(path))) printf("%" PRId64 " bad: %s\n", steps[i], ql_err_text());
        else printf("%" PRId64 " good\n", steps[i]);
        free(path);
    }
    free(steps);
    return 0;
}
