#include "tests/cuda/rig.h"

#include <math.h>

#include "base/random.h"

enum { GUARD = 256, INPUT_GUARD = 0xff, OUTPUT_GUARD = 0xa5, UNWRITTEN = 0xff, CANNOT_RUN = 77 };

void must(ql_err e) {
    if (ql_bad(e)) fail_msg("verdict %d: %s", e.code, ql_err_text());
}

void must_fail(ql_err e, ql_code code, const char *part_of_text) {
    if (e.code != code) fail_msg("verdict %d instead of %d", e.code, code);
    if (!strstr(ql_err_text(), part_of_text)) fail_msg("'%s' is not in '%s'", part_of_text, ql_err_text());
}

static ql_device *shared;

static void close_shared(void) {
    ql_device_close(shared);
}

ql_device *rig_device(void) {
    if (shared) return shared;
    int  count = 0;
    char why[256];
    must(ql_device_count("cuda", &count, why));
    if (count == 0) {
        printf("no CUDA device here: %s\n", why);
        exit(CANNOT_RUN);
    }
    must(ql_device_open("cuda", 0, 0, &shared));
    atexit(close_shared);
    return shared;
}

bool rig_can(ql_dtype type) {
    ql_device_info info;
    must(ql_device_describe(rig_device(), &info));
    return type != QL_BF16 || info.capability >= 80;
}

/* ---- tensors ---- */

static ql_tensor guarded(rig *r, ql_dtype dtype, int64_t rows, int64_t cols, bool output, const void *host) {
    assert_true(r->count < RIG_TENSORS);
    size_t    bytes = (size_t)(rows * cols) * ql_dtype_size(dtype), all = bytes + 2 * GUARD;
    uint8_t  *image = ql_alloc(all);
    ql_tensor t = {NULL, GUARD, dtype, rows, cols};
    memset(image, output ? OUTPUT_GUARD : INPUT_GUARD, all);
    if (host) memcpy(image + GUARD, host, bytes);
    else memset(image + GUARD, UNWRITTEN, bytes);
    must(ql_buffer_new(r->d, all, &t.buffer));
    must(ql_upload(r->d, (ql_tensor){t.buffer, 0, QL_U8, 1, (int64_t)all}, image));
    free(image);
    r->made[r->count].t = t;
    r->made[r->count++].output = output;
    return t;
}

void *as_type(const float *x, int64_t n, ql_dtype dtype) {
    if (dtype == QL_F32) return memcpy(ql_alloc((size_t)n * 4 + 1), x, (size_t)n * 4);
    uint16_t *y = QL_NEW_ARRAY(uint16_t, (size_t)n + 1);
    for (int64_t i = 0; i < n; i++) y[i] = dtype == QL_BF16 ? ql_f32_to_bf16(x[i]) : ql_f32_to_f16(x[i]);
    return y;
}

static float *as_floats(const void *x, int64_t n, ql_dtype dtype) {
    const uint16_t *half = x;
    float          *y = QL_NEW_ARRAY(float, (size_t)n + 1);
    for (int64_t i = 0; i < n; i++)
        y[i] = dtype == QL_F32 ? ((const float *)x)[i] : dtype == QL_BF16 ? ql_bf16_to_f32(half[i]) : ql_f16_to_f32(half[i]);
    return y;
}

static ql_tensor activation(rig *r, int64_t rows, int64_t cols, bool output, const float *host) {
    void     *typed = as_type(host, rows * cols, r->type);
    float    *seen = r->is_cpu ? as_floats(typed, rows * cols, r->type) : NULL;
    ql_tensor t = guarded(r, r->act, rows, cols, output, seen ? (void *)seen : typed);
    free(typed);
    free(seen);
    return t;
}

ql_tensor rig_input(rig *r, ql_dtype dtype, int64_t rows, int64_t cols, const void *host) {
    return guarded(r, dtype, rows, cols, false, host);
}
ql_tensor rig_act(rig *r, int64_t rows, int64_t cols, const float *host) {
    return activation(r, rows, cols, false, host);
}
ql_tensor rig_output(rig *r, ql_dtype dtype, int64_t rows, int64_t cols) {
    return guarded(r, dtype, rows, cols, true, NULL);
}
ql_tensor rig_out_act(rig *r, int64_t rows, int64_t cols) {
    return guarded(r, r->act, rows, cols, true, NULL);
}
ql_tensor rig_changed(rig *r, ql_dtype dtype, int64_t rows, int64_t cols, const void *host) {
    return guarded(r, dtype, rows, cols, true, host);
}
ql_tensor rig_changed_act(rig *r, int64_t rows, int64_t cols, const float *host) {
    return activation(r, rows, cols, true, host);
}

/* ---- results ---- */

typedef struct {
    ql_dtype dtype;
    int64_t  n;
    void    *data;
} result;

static void check_guards(const uint8_t *image, size_t bytes, int number, bool output) {
    uint8_t guard = output ? OUTPUT_GUARD : INPUT_GUARD;
    for (size_t i = 0; i < GUARD; i++) {
        if (image[i] != guard) fail_msg("%zu bytes before tensor %d something was written", GUARD - i, number);
        if (image[GUARD + bytes + i] != guard) fail_msg("%zu bytes after tensor %d something was written", i, number);
    }
}

/* Takes the outputs, frees everything; returns how many. */
static int collect(rig *r, result out[RIG_TENSORS]) {
    int n = 0;
    for (int i = 0; i < r->count; i++) {
        ql_tensor t = r->made[i].t;
        size_t    bytes = ql_bytes(t), all = bytes + 2 * GUARD;
        uint8_t  *image = ql_alloc(all);
        must(ql_download(r->d, image, (ql_tensor){t.buffer, 0, QL_U8, 1, (int64_t)all}));
        check_guards(image, bytes, i, r->made[i].output);
        if (r->made[i].output)
            out[n++] = (result){t.dtype, ql_count(t), memcpy(ql_alloc(bytes + 1), image + GUARD, bytes)};
        free(image);
        ql_buffer_free(r->d, t.buffer);
    }
    return n;
}

static int run_on(ql_device *d, bool is_cpu, ql_dtype type, rig_body *body, void *context, result out[RIG_TENSORS]) {
    rig r = {.d = d, .type = type, .act = is_cpu ? QL_F32 : type, .is_cpu = is_cpu};
    r.operands = is_cpu ? QL_F32 : type;
    body(&r, context);
    return collect(&r, out);
}

static double *numbers(const result *r) {
    double *y = QL_NEW_ARRAY(double, (size_t)r->n + 1);
    float  *f = r->dtype == QL_F64 || r->dtype == QL_I64 ? NULL : as_floats(r->data, r->n, r->dtype);
    for (int64_t i = 0; i < r->n; i++)
        y[i] = f ? (double)f[i] : r->dtype == QL_F64 ? ((double *)r->data)[i] : (double)((int64_t *)r->data)[i];
    free(f);
    return y;
}

/* Error as a share of what is allowed; not-a-number on one side only is infinitely wrong. */
static double share_of_limit(const result *cpu, const result *got, double limit) {
    double *w = numbers(cpu), *g = numbers(got), error2 = 0, size2 = 0, most = 0, largest = 0;
    for (int64_t i = 0; i < cpu->n; i++) {
        if (isnan(w[i]) && isnan(g[i])) continue;
        double e = w[i] == g[i] ? 0 : fabs(g[i] - w[i]);
        if (!(e < INFINITY)) most = INFINITY;
        error2 += e * e;
        size2 += w[i] * w[i];
        most = fmax(most, e);
        largest = fmax(largest, fabs(w[i]));
    }
    free(w);
    free(g);
    if (most == 0) return 0;
    return fmax(sqrt(error2 / size2) / limit, most / largest / (8 * limit));
}

static double compare(const char *what, ql_dtype type, int number, const result *cpu, const result *got, double limit) {
    assert_int_equal(cpu->n, got->n);
    if (got->dtype == QL_I32 || got->dtype == QL_U8) {
        if (memcmp(cpu->data, got->data, (size_t)got->n * ql_dtype_size(got->dtype)))
            fail_msg("%s, %s: output %d differs", what, ql_dtype_name(type), number);
        return 0;
    }
    double share = share_of_limit(cpu, got, limit);
    if (!(share <= 1)) fail_msg("%s, %s: output %d is off by %.3g times what is allowed", what, ql_dtype_name(type), number, share);
    return share;
}

void rig_compare(const char *what, rig_body *body, void *context, rig_limits limits) {
    const double limit[] = {[QL_F32] = limits.f32, [QL_BF16] = limits.bf16, [QL_F16] = limits.f16};
    ql_device   *cpu;
    must(ql_device_open("cpu", 0, 1, &cpu));
    printf("%-44s", what);
    for (ql_dtype type = QL_F32; type <= QL_F16; type++) {
        if (limit[type] == 0 || !rig_can(type)) continue;
        result want[RIG_TENSORS], got[RIG_TENSORS];
        int    n = run_on(cpu, true, type, body, context, want), m = run_on(rig_device(), false, type, body, context, got);
        double worst = 0;
        assert_int_equal(n, m);
        for (int i = 0; i < n; i++) {
            worst = fmax(worst, compare(what, type, i, &want[i], &got[i], limit[type]));
            free(want[i].data);
            free(got[i].data);
        }
        printf("  %s %.2f", ql_dtype_name(type), worst);
    }
    printf("\n");
    ql_device_close(cpu);
}

void *rig_bytes(ql_dtype type, rig_body *body, void *context, size_t *bytes) {
    result out[RIG_TENSORS];
    ql_str all = {0};
    int    n = run_on(rig_device(), false, type, body, context, out);
    for (int i = 0; i < n; i++) {
        ql_str_put(&all, out[i].data, (size_t)out[i].n * ql_dtype_size(out[i].dtype));
        free(out[i].data);
    }
    *bytes = all.size;
    return all.data;
}

float *random_floats(int64_t n, uint64_t seed, float scale) {
    float *x = QL_NEW_ARRAY(float, (size_t)n + 1);
    for (int64_t i = 0; i < n; i++)
        x[i] = (2.0f * ql_uniform(ql_philox(seed, (uint32_t)i, 0, 0, 0).word[0]) - 1.0f) * scale;
    return x;
}
