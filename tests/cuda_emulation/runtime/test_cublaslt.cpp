/* The emulated cuBLASLt: products beside loops in double, the order of sums, and what it refuses. */
#include "test_child.h"
#include "tests/cuda_emulation/emulation.h"
#include <cublasLt.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
extern "C" {
#include <cmocka.h>
}

static void in_good_child(const variables &set, const std::function<void()> &body) {
    outcome o = in_child(set, body);
    assert_outcome(o, 0, "");
}

#define ok(CALL) require((CALL) == 0)

/* ---- matrices ---- */

static size_t size_of(cudaDataType type) {
    return type == CUDA_R_32F ? 4 : 2;
}

static float value_at(const void *p, cudaDataType type, size_t i) {
    if (type == CUDA_R_32F) return static_cast<const float *>(p)[i];
    if (type == CUDA_R_16BF) return __bfloat162float(static_cast<const __nv_bfloat16 *>(p)[i]);
    return __half2float(static_cast<const __half *>(p)[i]);
}

static void set_value(void *p, cudaDataType type, size_t i, float value) {
    if (type == CUDA_R_32F)
        static_cast<float *>(p)[i] = value;
    else if (type == CUDA_R_16BF)
        static_cast<__nv_bfloat16 *>(p)[i] = __float2bfloat16_rn(value);
    else
        static_cast<__half *>(p)[i] = __float2half_rn(value);
}

static float next_number(uint32_t &state) {
    state = state * 1664525u + 1013904223u;
    return static_cast<float>(static_cast<int32_t>(state) >> 8) * 0x1p-23f;
}

/* [rows, cols] by columns, `ld` apart; what lies between columns is not a number. */
struct matrix {
    cudaDataType type;
    int rows, cols, ld;
    char *at;
    cublasLtMatrixLayout_t layout;

    float operator()(int i, int j) const {
        return value_at(at, type, static_cast<size_t>(j) * static_cast<size_t>(ld) + static_cast<size_t>(i));
    }
};

static matrix new_matrix(cudaDataType type, int rows, int cols, int ld, uint32_t seed) {
    matrix x = {type, rows, cols, ld, nullptr, nullptr};
    size_t n = static_cast<size_t>(cols - 1) * static_cast<size_t>(ld) + static_cast<size_t>(rows);
    ok(cudaMalloc(reinterpret_cast<void **>(&x.at), n * size_of(type)));
    for (int j = 0; j < cols; j++)
        for (int i = 0; i < rows; i++)
            set_value(x.at, type, static_cast<size_t>(j) * static_cast<size_t>(ld) + static_cast<size_t>(i),
                      next_number(seed));
    ok(cublasLtMatrixLayoutCreate(&x.layout, type, static_cast<uint64_t>(rows), static_cast<uint64_t>(cols), ld));
    return x;
}

/* ---- products ---- */

struct product {
    matrix a, b, c, d;
    cublasOperation_t transa, transb;
    float alpha, beta;
    cublasLtHandle_t lt;
    cublasLtMatmulDesc_t desc;
};

static product new_product(cudaDataType in, cudaDataType out, cublasOperation_t transa, cublasOperation_t transb, int m,
                           int n, int k, cublasComputeType_t compute = CUBLAS_COMPUTE_32F) {
    product p = {};
    p.a = transa ? new_matrix(in, k, m, k + 1, 1) : new_matrix(in, m, k, m + 2, 1);
    p.b = transb ? new_matrix(in, n, k, n + 3, 2) : new_matrix(in, k, n, k, 2);
    p.c = new_matrix(out, m, n, m + 1, 3);
    p.d = new_matrix(out, m, n, m + 4, 4);
    p.transa = transa;
    p.transb = transb;
    p.alpha = 1;
    ok(cublasLtCreate(&p.lt));
    ok(cublasLtMatmulDescCreate(&p.desc, compute, CUDA_R_32F));
    ok(cublasLtMatmulDescSetAttribute(p.desc, CUBLASLT_MATMUL_DESC_TRANSA, &transa, sizeof transa));
    ok(cublasLtMatmulDescSetAttribute(p.desc, CUBLASLT_MATMUL_DESC_TRANSB, &transb, sizeof transb));
    return p;
}

static std::vector<cublasLtMatmulHeuristicResult_t> candidates(const product &p, uint64_t workspace, uint32_t schemes,
                                                               uint32_t alignment = 256) {
    cublasLtMatmulPreference_t limits;
    ok(cublasLtMatmulPreferenceCreate(&limits));
    ok(cublasLtMatmulPreferenceSetAttribute(limits, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace,
                                            sizeof workspace));
    ok(cublasLtMatmulPreferenceSetAttribute(limits, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &schemes,
                                            sizeof schemes));
    ok(cublasLtMatmulPreferenceSetAttribute(limits, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &alignment,
                                            sizeof alignment));
    cublasLtMatmulHeuristicResult_t found[8];
    int n = 0;
    ok(cublasLtMatmulAlgoGetHeuristic(p.lt, p.desc, p.a.layout, p.b.layout, p.c.layout, p.d.layout, limits, 8, found,
                                      &n));
    ok(cublasLtMatmulPreferenceDestroy(limits));
    return {found, found + n};
}

static cublasStatus_t run(const product &p, const cublasLtMatmulAlgo_t *algo, void *workspace = nullptr,
                          size_t bytes = 0) {
    return cublasLtMatmul(p.lt, p.desc, &p.alpha, p.a.at, p.a.layout, p.b.at, p.b.layout, &p.beta, p.c.at, p.c.layout,
                          p.d.at, p.d.layout, algo, workspace, bytes, nullptr);
}

static double reference(const product &p, int i, int j) {
    double sum = 0;
    int k = p.transa ? p.a.rows : p.a.cols;
    for (int l = 0; l < k; l++)
        sum += static_cast<double>(p.transa ? p.a(l, i) : p.a(i, l)) *
               static_cast<double>(p.transb ? p.b(j, l) : p.b(l, j));
    sum *= static_cast<double>(p.alpha);
    return p.beta == 0 ? sum : sum + static_cast<double>(p.beta) * static_cast<double>(p.c(i, j));
}

/* One rounding to the type of d; an algorithm that rounds its parts, too, may be further off. */
static void compare(const product &p, bool rounds_parts = false) {
    const double unit = p.d.type == CUDA_R_32F ? 0x1p-24 : p.d.type == CUDA_R_16F ? 0x1p-11 : 0x1p-8;
    for (int j = 0; j < p.d.cols; j++)
        for (int i = 0; i < p.d.rows; i++) {
            const double wanted = reference(p, i, j), got = static_cast<double>(p.d(i, j));
            const double allowed = rounds_parts ? 8 * unit * (fabs(wanted) + 4) : unit * fabs(wanted) * 1.01;
            require(fabs(got - wanted) <= allowed + 2e-5);
        }
}

static void every_algorithm_multiplies(void **) {
    const struct {
        cudaDataType in, out;
    } types[] = {{CUDA_R_32F, CUDA_R_32F},
                 {CUDA_R_16BF, CUDA_R_16BF},
                 {CUDA_R_16BF, CUDA_R_32F},
                 {CUDA_R_16F, CUDA_R_16F},
                 {CUDA_R_16F, CUDA_R_32F}};
    for (const auto &t : types)
        for (int op = 0; op < 4; op++)
            in_good_child({}, [&] {
                const cublasOperation_t transa = op & 1 ? CUBLAS_OP_T : CUBLAS_OP_N,
                                        transb = op & 2 ? CUBLAS_OP_T : CUBLAS_OP_N;
                product p = new_product(t.in, t.out, transa, transb, 37, 29, 53);
                void *workspace;
                ok(cudaMalloc(&workspace, 1 << 20));
                auto found = candidates(p, 1 << 20, CUBLASLT_REDUCTION_SCHEME_MASK);
                require(found.size() == 4);
                for (const auto &f : found)
                    for (float beta : {0.f, -0.5f}) {
                        p.alpha = beta == 0 ? 1 : 1.25f;
                        p.beta = beta;
                        memset(p.d.at, 0xff, static_cast<size_t>(p.d.rows) * size_of(p.d.type));
                        ok(run(p, &f.algo, workspace, f.workspaceSize));
                        compare(p, &f == &found[0]);
                    }
            });
}

static void beta_zero_reads_no_c(void **) {
    in_good_child({}, [] {
        product p = new_product(CUDA_R_32F, CUDA_R_32F, CUBLAS_OP_N, CUBLAS_OP_N, 5, 3, 4);
        memset(p.d.at, 0xff, 4 * 5);
        ok(cublasLtMatmul(p.lt, p.desc, &p.alpha, p.a.at, p.a.layout, p.b.at, p.b.layout, &p.beta, p.d.at, p.d.layout,
                          p.d.at, p.d.layout, nullptr, nullptr, 0, nullptr));
        compare(p);
        require(isnan(static_cast<float *>(static_cast<void *>(p.d.at))[5])); /* between columns nothing is written */
    });
}

static void sums_over_nothing(void **) {
    in_good_child({}, [] {
        product p = new_product(CUDA_R_32F, CUDA_R_32F, CUBLAS_OP_N, CUBLAS_OP_N, 3, 2, 1);
        uint64_t none = 0;
        ok(cublasLtMatrixLayoutSetAttribute(p.a.layout, CUBLASLT_MATRIX_LAYOUT_COLS, &none, sizeof none));
        ok(cublasLtMatrixLayoutSetAttribute(p.b.layout, CUBLASLT_MATRIX_LAYOUT_ROWS, &none, sizeof none));
        ok(run(p, nullptr));
        for (int j = 0; j < 2; j++)
            for (int i = 0; i < 3; i++) require(p.d(i, j) == 0);
    });
}

/* 1 * 1 * alpha, where alpha lies between two numbers of the type. */
static void ties_go_to_even(void **) {
    const struct {
        cudaDataType type;
        float alpha, rounded;
    } cases[] = {{CUDA_R_16BF, 1 + 0x1p-8f, 1},
                 {CUDA_R_16BF, 1 + 3 * 0x1p-8f, 1 + 0x1p-6f},
                 {CUDA_R_16F, 1 + 0x1p-11f, 1},
                 {CUDA_R_16F, 1 + 3 * 0x1p-11f, 1 + 0x1p-9f},
                 {CUDA_R_16F, 0x1p-25f, 0},
                 {CUDA_R_16F, 3 * 0x1p-25f, 0x1p-23f},
                 {CUDA_R_16F, -5 * 0x1p-24f, -5 * 0x1p-24f},
                 {CUDA_R_16F, 0x1p-14f - 0x1p-26f, 0x1p-14f},
                 {CUDA_R_16F, 65519, 65504},
                 {CUDA_R_16F, 65520, INFINITY}};
    for (const auto &c : cases)
        in_good_child({}, [&] {
            product p = new_product(c.type, c.type, CUBLAS_OP_N, CUBLAS_OP_N, 1, 1, 1);
            set_value(p.a.at, c.type, 0, 1);
            set_value(p.b.at, c.type, 0, 1);
            p.alpha = c.alpha;
            ok(run(p, nullptr));
            require(p.d(0, 0) == c.rounded);
        });
}

static void bias_is_added_to_columns(void **) {
    in_good_child({}, [] {
        product p = new_product(CUDA_R_32F, CUDA_R_32F, CUBLAS_OP_N, CUBLAS_OP_N, 5, 3, 4);
        matrix bias = new_matrix(CUDA_R_32F, 5, 1, 5, 9);
        uint32_t epilogue = CUBLASLT_EPILOGUE_BIAS;
        ok(cublasLtMatmulDescSetAttribute(p.desc, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue));
        ok(cublasLtMatmulDescSetAttribute(p.desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias.at, sizeof bias.at));
        ok(run(p, nullptr));
        for (int j = 0; j < 3; j++)
            for (int i = 0; i < 5; i++) require(fabs(p.d(i, j) - bias(i, 0) - reference(p, i, j)) < 1e-5);
    });
}

/* ---- orders of sums ---- */

/* Do the first three of `n` columns have the bits that three columns alone have? */
static bool columns_agree(cudaDataType out, size_t choice, int n) {
    product few = new_product(CUDA_R_16BF, out, CUBLAS_OP_T, CUBLAS_OP_N, 24, 3, 200);
    product many = new_product(CUDA_R_16BF, out, CUBLAS_OP_T, CUBLAS_OP_N, 24, n, 200);
    auto found = candidates(few, 0, CUBLASLT_REDUCTION_SCHEME_NONE);
    require(found.size() == 3);
    int32_t parts = 0;
    size_t size;
    ok(cublasLtMatmulAlgoConfigGetAttribute(&found[choice].algo, CUBLASLT_ALGO_CONFIG_SPLITK_NUM, &parts, sizeof parts,
                                            &size));
    require(parts == 1 && size == sizeof parts);
    ok(run(few, &found[choice].algo));
    ok(run(many, &found[choice].algo));
    bool same = true;
    for (int j = 0; j < 3; j++)
        for (int i = 0; i < 24; i++) same = same && few.d(i, j) == many.d(i, j);
    return same;
}

static void the_first_choice_is_a_trap(void **) {
    for (cudaDataType out : {CUDA_R_32F, CUDA_R_16BF})
        for (int n : {8, 48, 300}) {
            in_good_child({}, [=] { require(!columns_agree(out, 0, n)); });
            in_good_child({}, [=] { require(columns_agree(out, 1, n)); });
            in_good_child({}, [=] { require(columns_agree(out, 2, n)); });
        }
}

static void tf32_is_not_f32(void **) {
    auto differ = [] {
        product p = new_product(CUDA_R_32F, CUDA_R_32F, CUBLAS_OP_N, CUBLAS_OP_N, 8, 8, 8);
        product q =
            new_product(CUDA_R_32F, CUDA_R_32F, CUBLAS_OP_N, CUBLAS_OP_N, 8, 8, 8, CUBLAS_COMPUTE_32F_FAST_TF32);
        ok(run(p, nullptr));
        ok(run(q, nullptr));
        double worst = 0;
        for (int i = 0; i < 8; i++) worst = fmax(worst, fabs(static_cast<double>(p.d(i, i) - q.d(i, i))));
        return worst > 1e-5 && worst < 1e-2;
    };
    in_good_child({}, [&] { require(differ()); });
    in_good_child({{"QL_EMU_CAPABILITY", "75"}}, [&] { require(!differ()); });
}

/* ---- refusals ---- */

static void workspace_is_respected(void **) {
    in_good_child({}, [] {
        product p = new_product(CUDA_R_32F, CUDA_R_32F, CUBLAS_OP_N, CUBLAS_OP_N, 16, 16, 16);
        const size_t needed = 4 * 16 * 16 * sizeof(float);
        require(candidates(p, needed - 1, CUBLASLT_REDUCTION_SCHEME_MASK).size() == 3);
        auto found = candidates(p, needed, CUBLASLT_REDUCTION_SCHEME_MASK);
        require(found.size() == 4 && found[1].workspaceSize == needed);
        void *workspace;
        ok(cudaMalloc(&workspace, needed));
        require(run(p, &found[1].algo, workspace, needed - 1) == CUBLAS_STATUS_INVALID_VALUE);
        ok(run(p, &found[1].algo, workspace, needed));
        compare(p);
    });
}

static void alignment_is_respected(void **) {
    in_good_child({}, [] {
        product p = new_product(CUDA_R_32F, CUDA_R_32F, CUBLAS_OP_N, CUBLAS_OP_N, 16, 8, 16);
        auto strict = candidates(p, 0, CUBLASLT_REDUCTION_SCHEME_NONE),
             loose = candidates(p, 0, CUBLASLT_REDUCTION_SCHEME_NONE, 4);
        uint64_t fewer = 7;
        ok(cublasLtMatrixLayoutSetAttribute(p.b.layout, CUBLASLT_MATRIX_LAYOUT_COLS, &fewer, sizeof fewer));
        ok(cublasLtMatrixLayoutSetAttribute(p.c.layout, CUBLASLT_MATRIX_LAYOUT_COLS, &fewer, sizeof fewer));
        ok(cublasLtMatrixLayoutSetAttribute(p.d.layout, CUBLASLT_MATRIX_LAYOUT_COLS, &fewer, sizeof fewer));
        p.b.at += 4;
        require(run(p, &strict[1].algo) == CUBLAS_STATUS_NOT_SUPPORTED);
        ok(run(p, &loose[1].algo));
    });
}

static void what_is_not_supported(void **) {
    in_good_child({{"QL_EMU_CAPABILITY", "75"}}, [] {
        product p = new_product(CUDA_R_16BF, CUDA_R_16BF, CUBLAS_OP_N, CUBLAS_OP_N, 4, 4, 4);
        require(run(p, nullptr) == CUBLAS_STATUS_NOT_SUPPORTED);
    });
    in_good_child({}, [] {
        product mixed = new_product(CUDA_R_32F, CUDA_R_16BF, CUBLAS_OP_N, CUBLAS_OP_N, 4, 4, 4);
        require(run(mixed, nullptr) == CUBLAS_STATUS_NOT_SUPPORTED);
        product p = new_product(CUDA_R_32F, CUDA_R_32F, CUBLAS_OP_N, CUBLAS_OP_N, 4, 4, 4);
        uint64_t three = 3;
        ok(cublasLtMatrixLayoutSetAttribute(p.d.layout, CUBLASLT_MATRIX_LAYOUT_COLS, &three, sizeof three));
        require(run(p, nullptr) == CUBLAS_STATUS_INVALID_VALUE);
        require(cublasLtMatrixLayoutSetAttribute(p.d.layout, CUBLASLT_MATRIX_LAYOUT_COLS, &three, 4) ==
                CUBLAS_STATUS_INVALID_VALUE);
        cublasLtMatmulAlgo_t empty = {};
        require(run(new_product(CUDA_R_32F, CUDA_R_32F, CUBLAS_OP_N, CUBLAS_OP_N, 4, 4, 4), &empty) ==
                CUBLAS_STATUS_INVALID_VALUE);
    });
}

static void leaving_a_matrix_ends_the_process(void **) {
    outcome o = in_child({}, [] {
        product p = new_product(CUDA_R_32F, CUDA_R_32F, CUBLAS_OP_N, CUBLAS_OP_N, 4, 4, 4);
        uint64_t five = 5;
        for (auto layout : {p.b.layout, p.c.layout, p.d.layout})
            ok(cublasLtMatrixLayoutSetAttribute(layout, CUBLASLT_MATRIX_LAYOUT_COLS, &five, sizeof five));
        (void)run(p, nullptr);
    });
    assert_outcome(o, emulation::failed_status, "matrix b");
}

static void failures_on_purpose(void **) {
    in_good_child({{"QL_EMU_FAIL",
                    "cublasLtMatmul:2:CUBLAS_STATUS_EXECUTION_FAILED,cublasLtCreate:2:CUBLAS_STATUS_ALLOC_FAILED"}},
                  [] {
                      product p = new_product(CUDA_R_32F, CUDA_R_32F, CUBLAS_OP_N, CUBLAS_OP_N, 4, 4, 4);
                      ok(run(p, nullptr));
                      require(run(p, nullptr) == CUBLAS_STATUS_EXECUTION_FAILED);
                      ok(run(p, nullptr));
                      require(cublasLtCreate(&p.lt) == CUBLAS_STATUS_ALLOC_FAILED);
                      require(!strcmp(cublasLtGetStatusName(CUBLAS_STATUS_ALLOC_FAILED), "CUBLAS_STATUS_ALLOC_FAILED"));
                  });
    in_good_child({{"QL_EMU_DEVICES", "0"}}, [] {
        cublasLtHandle_t lt;
        require(cublasLtCreate(&lt) == CUBLAS_STATUS_NOT_INITIALIZED);
    });
}

static void products_wait_for_their_stream(void **) {
    in_good_child({{"QL_EMU_STREAMS", "deferred"}}, [] {
        product p = new_product(CUDA_R_32F, CUDA_R_32F, CUBLAS_OP_N, CUBLAS_OP_N, 4, 4, 4);
        p.alpha = 2;
        memset(p.d.at, 0xff, 4);
        ok(run(p, nullptr));
        p.alpha = 1; /* read at the call */
        require(isnan(p.d(0, 0)));
        ok(cudaDeviceSynchronize());
        p.alpha = 2;
        compare(p);
    });
}

int main(void) {
    const CMUnitTest tests[] = {
        cmocka_unit_test(every_algorithm_multiplies),
        cmocka_unit_test(beta_zero_reads_no_c),
        cmocka_unit_test(sums_over_nothing),
        cmocka_unit_test(ties_go_to_even),
        cmocka_unit_test(bias_is_added_to_columns),
        cmocka_unit_test(the_first_choice_is_a_trap),
        cmocka_unit_test(tf32_is_not_f32),
        cmocka_unit_test(workspace_is_respected),
        cmocka_unit_test(alignment_is_respected),
        cmocka_unit_test(what_is_not_supported),
        cmocka_unit_test(leaving_a_matrix_ends_the_process),
        cmocka_unit_test(failures_on_purpose),
        cmocka_unit_test(products_wait_for_their_stream),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
