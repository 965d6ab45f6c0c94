#include "tests/kernels/rig.h"

#include <math.h>

#include "base/random.h"

/* Around inputs lies not-a-number, so that reading it shows; around outputs something to recognise. */
enum { GUARD = 256, INPUT_GUARD = 0xff, OUTPUT_GUARD = 0xa5, UNWRITTEN = 0xff };

void must(ql_err e) {
    if (ql_bad(e)) fail_msg("verdict %d: %s", e.code, ql_err_text());
}

void must_fail(ql_err e, ql_code code, const char *part_of_text) {
    if (e.code != code) fail_msg("verdict %d instead of %d", e.code, code);
    if (!strstr(ql_err_text(), part_of_text)) fail_msg("'%s' is not in '%s'", part_of_text, ql_err_text());
}

static ql_tensor guarded(rig *r, ql_dtype dtype, int64_t rows, int64_t cols, bool output, int filling) {
    assert_true(r->count < RIG_TENSORS);
    size_t bytes = (size_t)(rows * cols) * ql_dtype_size(dtype);
    ql_buffer *buffer = NULL;
    must(ql_buffer_new(r->d, bytes + 2 * GUARD, &buffer));
    assert_int_equal((uintptr_t)buffer->memory % 64, 0);
    memset(buffer->memory, output ? OUTPUT_GUARD : INPUT_GUARD, buffer->bytes);
    ql_tensor t = {buffer, GUARD, dtype, rows, cols};
    memset(ql_address(t), filling, bytes);
    r->made[r->count].t = t;
    r->made[r->count++].output = output;
    return t;
}

ql_tensor rig_input(rig *r, ql_dtype dtype, int64_t rows, int64_t cols, const void *host) {
    ql_tensor t = guarded(r, dtype, rows, cols, false, 0);
    must(ql_upload(r->d, t, host));
    return t;
}

ql_tensor rig_output(rig *r, ql_dtype dtype, int64_t rows, int64_t cols) {
    return guarded(r, dtype, rows, cols, true, UNWRITTEN);
}

ql_tensor rig_changed(rig *r, ql_dtype dtype, int64_t rows, int64_t cols, const void *host) {
    ql_tensor t = guarded(r, dtype, rows, cols, true, 0);
    must(ql_upload(r->d, t, host));
    return t;
}

static void check_guards(const rig *r, int i) {
    const ql_tensor t = r->made[i].t;
    const uint8_t *p = t.buffer->memory, guard = r->made[i].output ? OUTPUT_GUARD : INPUT_GUARD;
    for (size_t b = 0; b < t.buffer->bytes; b++) {
        if (b == GUARD) b += ql_bytes(t);
        if (p[b] != guard) fail_msg("byte %zd outside of tensor %d was written", (ssize_t)b - GUARD, i);
    }
}

static void unify_nans(ql_tensor t) {
    float *x = ql_address(t);
    for (int64_t i = 0; t.dtype == QL_F32 && i < ql_count(t); i++)
        if (isnan(x[i])) x[i] = NAN;
}

static void *collect(rig *r, ql_dtype operands, size_t *bytes) {
    ql_str out = {0};
    for (int i = 0; i < r->count; i++) {
        check_guards(r, i);
        if (operands == QL_BF16) unify_nans(r->made[i].t);
        if (r->made[i].output) ql_str_put(&out, ql_address(r->made[i].t), ql_bytes(r->made[i].t));
        ql_buffer_free(r->d, r->made[i].t.buffer);
    }
    *bytes = out.size;
    return out.data;
}

ql_device *open_device(const char *instruction_set, int threads) {
    setenv("QLORA_CPU", instruction_set, 1);
    ql_device *d = NULL;
    ql_err e = ql_device_open("cpu", 0, threads, &d);
    if (ql_bad(e) && (strstr(ql_err_text(), "no such instructions") || strstr(ql_err_text(), "unknown to this build")))
        return NULL;
    must(e);
    return d;
}

/* The plain one first: the others are held against it. */
static const struct {
    const char *set;
    int threads;
    ql_dtype operands; /* QL_BF16: has something to say about such products only */
} machines[] = {{"portable", 1, QL_F32},  {"avx2", 1, QL_F32},         {"avx2", 3, QL_F32},
                {"avx512", 1, QL_F32},    {"avx512", 2, QL_F32},       {"avx512", 3, QL_F32},
                {"portable", 4, QL_BF16}, {"avx512_bf16", 1, QL_BF16}, {"avx512_bf16", 3, QL_BF16},
                {"amx", 1, QL_BF16},      {"amx", 2, QL_BF16},         {"amx", 4, QL_BF16}};

static void say_missing(size_t machine) {
    static bool said[QL_LEN(machines)];
    if (!said[machine]) printf("not tested: this machine or build has no %s\n", machines[machine].set);
    said[machine] = true;
}

void *rig_run(rig_body *body, void *context) {
    return rig_run_with(QL_F32, body, context);
}

void *rig_run_with(ql_dtype operands, rig_body *body, void *context) {
    void *reference = NULL;
    size_t size = 0;
    for (size_t i = 0; i < QL_LEN(machines); i++) {
        if (machines[i].operands == QL_BF16 && operands != QL_BF16) continue;
        rig r = {.d = open_device(machines[i].set, machines[i].threads)};
        if (!r.d) {
            say_missing(i);
            continue;
        }
        body(&r, context);
        size_t bytes;
        void *result = collect(&r, operands, &bytes);
        ql_device_close(r.d);
        if (!reference) {
            reference = result;
            size = bytes;
            continue;
        }
        assert_int_equal(bytes, size);
        for (size_t b = 0; b < bytes; b++)
            if (((uint8_t *)result)[b] != ((uint8_t *)reference)[b])
                fail_msg("%s with %d threads differs from %s in byte %zu of %zu", machines[i].set, machines[i].threads,
                         machines[0].set, b, bytes);
        free(result);
    }
    return reference;
}

float *random_floats(int64_t n, uint64_t seed, float scale) {
    float *x = QL_NEW_ARRAY(float, (size_t)n + 1);
    for (int64_t i = 0; i < n; i++) {
        ql_random4 r = ql_philox(seed, (uint32_t)i, 0, 0, 0);
        x[i] = (2.0f * ql_uniform(r.word[0]) - 1.0f) * scale;
    }
    return x;
}

void *as_type(const float *x, int64_t n, ql_dtype dtype) {
    if (dtype == QL_F32) return memcpy(ql_alloc((size_t)n * 4), x, (size_t)n * 4);
    uint16_t *y = QL_NEW_ARRAY(uint16_t, n);
    for (int64_t i = 0; i < n; i++) y[i] = dtype == QL_BF16 ? ql_f32_to_bf16(x[i]) : ql_f32_to_f16(x[i]);
    return y;
}

float *rounded(const float *x, int64_t n, ql_dtype dtype) {
    void *typed = as_type(x, n, dtype);
    uint16_t *half = typed;
    if (dtype == QL_F32) return typed;
    float *y = QL_NEW_ARRAY(float, n);
    for (int64_t i = 0; i < n; i++) y[i] = dtype == QL_BF16 ? ql_bf16_to_f32(half[i]) : ql_f16_to_f32(half[i]);
    free(typed);
    return y;
}

void assert_close(const char *what, const float *got, const double *want, int64_t n, double absolute, double relative) {
    for (int64_t i = 0; i < n; i++) {
        double error = fabs((double)got[i] - want[i]);
        if (!(error <= absolute + relative * fabs(want[i])))
            fail_msg("%s: element %lld is %.9g, should be %.9g (off by %.2g)", what, (long long)i, (double)got[i],
                     want[i], error);
    }
}

void assert_same_bits(const char *what, const void *got, const void *want, size_t bytes) {
    for (size_t i = 0; i < bytes; i++)
        if (((const uint8_t *)got)[i] != ((const uint8_t *)want)[i])
            fail_msg("%s: byte %zu of %zu differs", what, i, bytes);
}
