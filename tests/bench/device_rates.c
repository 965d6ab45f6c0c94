#include "tests/bench/device_rates.h"

#include <stdlib.h>

#include "kernels/ops.h"
#include "tests/support/random_model.h"

enum { REPEATS = 7, COPY = 1 << 30 };

static ql_tensor tensor_of(ql_device *d, ql_dtype t, int64_t rows, int64_t cols) {
    ql_tensor v = {NULL, 0, t, rows, cols};
    must(ql_buffer_new(d, ql_bytes(v), &v.buffer));
    return v;
}

/* Zeros would be multiplied faster than real data. */
static ql_tensor random_tensor(ql_device *d, ql_dtype t, int64_t rows, int64_t cols) {
    ql_tensor v = tensor_of(d, t, rows, cols);
    size_t    bytes = ql_bytes(v);
    uint16_t *x = malloc(bytes + 2);
    uint64_t  state = 7;
    for (size_t i = 0; i < bytes / 2; i++) { /* small finite numbers in each type, of either sign */
        state = state * 6364136223846793005ull + 1442695040888963407ull;
        x[i] = (uint16_t)((state >> 48 & 0x80ff) | 0x3c00);
    }
    must(ql_upload(d, v, x));
    must(ql_sync(d));
    free(x);
    return v;
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median_between_marks(ql_device *d) {
    double seconds[REPEATS];
    must(ql_sync(d));
    for (int i = 0; i < REPEATS; i++) must(ql_seconds_between(d, i, i + 1, &seconds[i]));
    qsort(seconds, REPEATS, sizeof seconds[0], by_size);
    return seconds[REPEATS / 2];
}

static double time_product(ql_device *d, const ql_weight *w, ql_dtype act, int64_t rows) {
    ql_tensor      data = random_tensor(d, act, w->out, w->in), x = random_tensor(d, act, rows, w->in);
    ql_tensor      y = tensor_of(d, act, rows, w->out);
    ql_weight      dense = ql_dense(data);
    ql_matmul_args a = {.y = y, .x = x, .weight = &dense, .alpha = 1, .operands = act};
    must(ql_matmul(d, &a));
    for (int i = 0; i <= REPEATS; i++) {
        must(ql_mark(d, i));
        if (i < REPEATS) must(ql_matmul(d, &a));
    }
    double seconds = median_between_marks(d);
    ql_buffer_free(d, data.buffer);
    ql_buffer_free(d, x.buffer);
    ql_buffer_free(d, y.buffer);
    return seconds;
}

static bool seen_before(const ql_model *m, size_t slot) {
    for (size_t i = 0; i < slot; i++)
        if (m->graph.slot[i].kind == QL_SLOT_LINEAR && m->weight[i].out == m->weight[slot].out &&
            m->weight[i].in == m->weight[slot].in)
            return true;
    return false;
}

static double times_it_occurs(const ql_model *m, size_t slot) {
    double n = 0;
    for (size_t i = 0; i < m->graph.slots; i++)
        n += m->graph.slot[i].kind == QL_SLOT_LINEAR && m->weight[i].out == m->weight[slot].out &&
             m->weight[i].in == m->weight[slot].in;
    return n;
}

static double product_rate(ql_device *d, const ql_model *m, ql_dtype act, int64_t rows) {
    double flop = 0, seconds = 0;
    for (size_t i = 0; i < m->graph.slots; i++) {
        const ql_weight *w = &m->weight[i];
        if (m->graph.slot[i].kind != QL_SLOT_LINEAR || seen_before(m, i)) continue;
        double n = times_it_occurs(m, i);
        flop += n * 2 * (double)rows * (double)w->out * (double)w->in;
        seconds += n * time_product(d, w, act, rows);
    }
    return flop / seconds;
}

static double copy_rate(ql_device *d) {
    ql_tensor a = random_tensor(d, QL_U8, 1, COPY), b = tensor_of(d, QL_U8, 1, COPY);
    for (int i = 0; i <= REPEATS; i++) {
        must(ql_mark(d, i));
        must(ql_copy(d, b, a));
    }
    double seconds = median_between_marks(d);
    ql_buffer_free(d, a.buffer);
    ql_buffer_free(d, b.buffer);
    return 2.0 * COPY / seconds;
}

device_rates measure_device(const char *kind, const ql_model *m, ql_dtype act, int64_t rows) {
    ql_device *d;
    must(ql_device_open(kind, 0, 0, &d));
    device_rates r = {.flops = product_rate(d, m, act, rows), .bytes = copy_rate(d)};
    ql_device_close(d);
    return r;
}

double least_seconds(const device_rates *r, const ql_model *m, double flop, int64_t tokens, double decodes) {
    double weights = 0, h = (double)m->config.hidden_size, f = (double)m->config.intermediate_size, layers = (double)m->config.layers;
    for (size_t i = 0; i < m->graph.slots; i++)
        if (m->weight[i].quant) weights += (double)m->weight[i].out * (double)m->weight[i].in;
    double elementwise = (92 * h + 24 * f) * layers * (double)tokens, decoded = decodes * weights * (0.516 + 2);
    return flop / r->flops + (elementwise + decoded) / r->bytes;
}
