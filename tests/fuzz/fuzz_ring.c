/* Damaged files of flight recorders: refused in one line with the file's name, or printed with nothing but text. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ring.h"
#include "tests/fuzz/common.h"

static void insist(bool fact, const char *what) {
    if (fact) return;
    fprintf(stderr, "fuzz_ring: %s: %s\n", what, ql_err_text());
    abort();
}

static void check_text(const char *text) {
    for (; *text; text++) insist(*text == '\n' || isprint((unsigned char)*text), "something that is no text is printed");
}

static bool target(void *ctx, const uint8_t *bytes, size_t n) {
    (void)ctx;
    static ql_ring ring;
    const char *path = ql_fuzz_file("rank-0.ring", bytes, n);
    ql_err e = ql_ring_read(path, &ring);
    if (ql_bad(e)) {
        insist(e.code == QL_DATA && strstr(ql_err_text(), "rank-0.ring"), "a refusal without the file's name");
        check_text(ql_err_text());
        return false;
    }
    ql_str text = {0};
    ql_ring_print(&ring, &text);
    check_text(text.data);
    ql_str_free(&text);
    return true;
}

/* A ring in the middle of its work: one exchange is over, one is not. */
static void make_seed(ql_str *out) {
    static ql_ring r = {.magic = "qlora ring", .version = QL_RING_VERSION, .bytes = sizeof(ql_ring), .key = 9, .pid = 77};
    strcpy(r.host, "host");
    r.size = 2;
    r.generation = 3;
    r.entered = 66;
    for (uint64_t i = 3; i <= 66; i++) {
        ql_ring_event *e = &r.event[i % QL_RING_EVENTS];
        e->number = i;
        e->what = 1 + i % (QL_RING_WHATS - 1);
        e->count = i * 1000;
        e->step = i / 8;
        e->begin = i * 1000000;
        e->end = i < 66 ? e->begin + 5 : 0;
    }
    ql_str_put(out, &r, sizeof r);
}

int main(int argc, char **argv) {
    ql_str seed = {0};
    make_seed(&seed);
    int status = ql_fuzz_main(argc, argv, &seed, 1, target, NULL);
    ql_str_free(&seed);
    return status;
}
