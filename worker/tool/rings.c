/* What each rank of a run did last: output_dir/run/rank-N.ring for people (docs/formats/ring.md). */
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/log.h"
#include "base/ring.h"
#include "worker/tool/tool.h"

static void print(const char *path) {
    ql_ring ring;
    ql_str  text = {0};
    if (ql_bad(ql_ring_read(path, &ring))) {
        ql_warn("%s", ql_err_text());
        return;
    }
    ql_ring_print(&ring, &text);
    fwrite(text.data, 1, text.size, stdout);
    ql_str_free(&text);
}

static ql_err print_all(const char *output_dir) {
    for (int rank = 0;; rank++) {
        char *path = ql_format("%s/run/rank-%d.ring", output_dir, rank);
        bool  exists = ql_file_exists(path);
        if (exists) print(path);
        free(path);
        if (!exists) return rank > 0 ? ql_ok() : ql_fail(QL_DATA, "%s: no run has left a ring here; name the output_dir of a run", output_dir);
    }
}

ql_err ql_do_rings(int argc, char **argv) {
    char **words = QL_NEW_ARRAY(char *, (size_t)argc + 1);
    size_t n;
    ql_err e = ql_tool_arguments("rings", argc, argv, NULL, 0, words, &n);
    if (!ql_bad(e)) e = n == 1 ? print_all(words[0]) : ql_fail(QL_USAGE, "rings: expected one folder, the output_dir of a run");
    free(words);
    return e;
}
