/* The real NCCL with one rank: what can be seen of it on a machine with one GPU. Starting, sums in pieces on a stream of
 * their own between other work, and the end. */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "collective/plane.h"

extern const ql_plane ql_plane_nccl;

enum { COUNT = 5 << 20, PATIENCE = 60 };

static void must(ql_err e) {
    if (!ql_bad(e)) return;
    fprintf(stderr, "unexpected failure: %s\n", ql_err_text());
    exit(1);
}

static void sum_and_compare(ql_device *d, void *plane) {
    int64_t  *x = QL_NEW_ARRAY(int64_t, COUNT), *y = QL_NEW_ARRAY(int64_t, COUNT);
    ql_tensor t = {NULL, 0, QL_I64, 1, COUNT};
    for (int64_t i = 0; i < COUNT; i++) x[i] = (i - COUNT / 2) * (1 << 20);
    must(ql_buffer_new(d, ql_bytes(t), &t.buffer));
    must(ql_upload(d, t, x));
    must(ql_plane_nccl.begin(plane, t));
    must(ql_plane_nccl.finish(plane, PATIENCE));
    must(ql_download(d, y, t));
    for (int64_t i = 0; i < COUNT; i++)
        if (x[i] != y[i]) {
            fprintf(stderr, "element %lld is %lld, not %lld\n", (long long)i, (long long)y[i], (long long)x[i]);
            exit(1);
        }
    ql_buffer_free(d, t.buffer);
    free(x);
    free(y);
}

int main(void) {
    int       count;
    char      why[256], name[64];
    ql_device *d;
    ql_world  *w;
    void      *plane;
    must(ql_device_count("cuda", &count, why));
    if (count == 0) {
        printf("no CUDA device here: %s\n", why);
        return 77;
    }
    must(ql_world_open(NULL, NULL, &w));
    must(ql_device_open("cuda", 0, 0, &d));
    must(ql_plane_nccl.open(w, d, &plane));
    for (int i = 0; i < 3; i++) sum_and_compare(d, plane);
    ql_plane_nccl.name(name);
    ql_plane_nccl.close(plane);
    ql_device_close(d);
    must(ql_world_close(w, ql_ok()));
    printf("%s: three sums over one rank\n", name);
    return 0;
}
