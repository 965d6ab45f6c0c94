/* `qlora quantize`'s work: the same file as transformers + bitsandbytes save, and refusals that
 * leave nothing behind. */
#include "tests/quant/scratch.h"

#include <dirent.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "checkpoint/bnb.h"
#include "checkpoint/quantize_folder.h"

#define PLAIN QL_TEST_DATA "/quant/plain"

static bool is_projection(const char *name, void *ctx) {
    (void)ctx;
    return strstr(name, "_proj.weight") != NULL;
}

static void same_bytes(const char *a, const char *b) {
    ql_str x, y;
    ok(ql_file_read(a, 1 << 20, &x));
    ok(ql_file_read(b, 1 << 20, &y));
    assert_int_equal(x.size, y.size);
    assert_memory_equal(x.data, y.data, x.size);
    ql_str_free(&x);
    ql_str_free(&y);
}

/* How many names the folder holds. */
static int count_files(const char *folder) {
    DIR *dir = opendir(folder);
    int n = 0;
    assert_non_null(dir);
    while (readdir(dir)) n++;
    closedir(dir);
    return n - 2;
}

static void the_file_is_that_of_transformers(void **state) {
    (void)state;
    const char *out = scratch("nf4/");
    ok(ql_quantize_folder(PLAIN, out, &ql_quant_nf4, true, is_projection, NULL, NULL));
    same_bytes(scratch("nf4/model.safetensors"), QL_TEST_DATA "/quant/nf4_double/model.safetensors");
    same_bytes(scratch("nf4/generation_config.json"), PLAIN "/generation_config.json");
    assert_int_equal(count_files(scratch("nf4")), 3);
    ql_str config;
    ok(ql_file_read(scratch("nf4/config.json"), 1 << 20, &config));
    assert_non_null(strstr(config.data, "\"bnb_4bit_compute_dtype\": \"bfloat16\""));
    assert_non_null(strstr(config.data, "\"bnb_4bit_use_double_quant\": true"));
    ql_str_free(&config);
    refused(ql_quantize_folder(PLAIN, out, &ql_quant_nf4, true, is_projection, NULL, NULL), QL_USAGE, "is not empty");
    refused(ql_quantize_folder(out, scratch("again"), &ql_quant_nf4, true, is_projection, NULL, NULL), QL_DATA,
            "quantised already");
    assert_false(ql_file_exists(scratch("again")));
}

/* Quantised and decoded, each value is the nearest the codes allow; the others are as they were. */
static void check_values(const char *out, double worst) {
    ql_tensor_set *from, *to;
    ok(ql_tensor_folder_open(PLAIN, &from));
    ok(ql_tensor_folder_open(out, &to));
    for (size_t i = 0; i < ql_tensor_set_size(from); i++) {
        const ql_stored *t = ql_tensor_set_at(from, i), *u = ql_tensor_set_find(to, t->name);
        if (!is_projection(t->name, NULL)) {
            assert_memory_equal(t->data, u->data, t->bytes);
            continue;
        }
        ql_bnb_weight w;
        ok(ql_bnb_read(to, t->name, &w));
        for (size_t k = 0; k < (size_t)t->count; k++) {
            uint16_t half;
            float y;
            memcpy(&half, t->data + 2 * k, 2);
            ql_dequantize(&w.view, k, 1, &y);
            double scale = (double)ql_quant_scale(&w.view, k / 64);
            assert_true(fabs((double)y - (double)ql_bf16_to_f32(half)) <= worst * scale);
        }
        ql_bnb_weight_free(&w);
    }
    ql_tensor_set_close(from);
    ql_tensor_set_close(to);
}

static void both_types_with_and_without_double_quantisation(void **state) {
    (void)state;
    ok(ql_quantize_folder(PLAIN, scratch("a"), &ql_quant_nf4, false, is_projection, NULL, NULL));
    check_values(scratch("a"), 0.1522); /* half of the widest gap, between -1 and -0.696 */
    ok(ql_quantize_folder(PLAIN, scratch("b"), &ql_quant_fp4, false, is_projection, NULL, NULL));
    check_values(scratch("b"), 0.1668);
    ok(ql_dir_make(scratch("c")));
    ok(ql_quantize_folder(PLAIN, scratch("c"), &ql_quant_fp4, true, is_projection, NULL, NULL));
    check_values(scratch("c"), 0.25);
}

/* ---- refusals --------------------------------------------------------------------------------------- */

static const char *model_with(const char *config, const ql_tensor_to_write *t, size_t n) {
    const char *folder = scratch("model");
    ok(ql_dir_remove(folder));
    ok(ql_dir_make(folder));
    if (config) scratch_text("model/config.json", config);
    if (t) ok(ql_tensor_file_write(scratch("model/model.safetensors"), t, n));
    return folder;
}

static ql_err quantise_model(const char *config, const ql_tensor_to_write *t, size_t n) {
    int before = count_files(scratch("."));
    const char *model = model_with(config, t, n);
    int with_model = before + !!(before != count_files(scratch(".")));
    ql_err e = ql_quantize_folder(model, scratch("out"), &ql_quant_nf4, true, is_projection, NULL, NULL);
    assert_int_equal(count_files(scratch(".")), with_model + !ql_bad(e)); /* nothing is left behind */
    ok(ql_dir_remove(scratch("out")));
    return e;
}

static void bad_models_are_refused_and_leave_nothing(void **state) {
    (void)state;
    float x[6] = {1, 2, 3, 4, 5, 6}, bad[6] = {1, 2, NAN, 4, 5, 6};
    int32_t whole[6] = {0};
    ql_tensor_to_write good = {"x_proj.weight", QL_F32, 2, {2, 3}, x}, t = good;
    const char *config = "{\"dtype\": \"float32\"}";
    ok(quantise_model(config, &good, 1));
    t.data = bad;
    refused(quantise_model(config, &t, 1), QL_DATA, "model.safetensors: tensor x_proj.weight: holds a NaN");
    t.name = "norm.weight"; /* one that stays as it is */
    refused(quantise_model(config, (ql_tensor_to_write[]){good, t}, 2), QL_DATA, "tensor norm.weight: holds a NaN");
    t = good;
    t.dtype = QL_I32;
    t.data = whole;
    refused(quantise_model(config, &t, 1), QL_DATA, "cannot be quantised: it is I32");
    t = good;
    t.rank = 1;
    t.dim[0] = 6;
    refused(quantise_model(config, &t, 1), QL_DATA, "of rank 1");
    refused(quantise_model(NULL, &good, 1), QL_DATA, "config.json");
    refused(quantise_model("{}", &good, 1), QL_DATA, "not the configuration");
    refused(quantise_model("[1]", &good, 1), QL_DATA, "not the configuration");
    refused(quantise_model("{\"a\": 1", &good, 1), QL_DATA, "not valid JSON");
    refused(quantise_model("{\"quantization_config\": {\"quant_method\": \"gptq\"}}", &good, 1), QL_DATA,
            "quantised already");
    refused(quantise_model(config, NULL, 0), QL_DATA, "neither model.safetensors nor");
    t = good;
    t.name = "x.weight";
    refused(quantise_model(config, &t, 1), QL_DATA, "none of its weights");
    refused(
        ql_quantize_folder(model_with(config, &good, 1), "/proc/nowhere/out", &ql_quant_nf4, true, is_projection, NULL, NULL),
        QL_IO, "/proc/nowhere");
}

/* A limit on file sizes stands for a full disk: it stops the small files, or the big one. */
static void a_failed_write_leaves_nothing(void **state) {
    (void)state;
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_IGN);
    int files = count_files(scratch("."));
    for (rlim_t limit = 100; limit < 10000; limit += 4000) {
        small = (struct rlimit){limit, before.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        ql_err e = ql_quantize_folder(PLAIN, scratch("full"), &ql_quant_nf4, true, is_projection, NULL, NULL);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        refused(e, QL_IO, "cannot be written");
        assert_int_equal(count_files(scratch(".")), files);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_file_is_that_of_transformers),
        cmocka_unit_test(both_types_with_and_without_double_quantisation),
        cmocka_unit_test(bad_models_are_refused_and_leave_nothing),
        cmocka_unit_test(a_failed_write_leaves_nothing),
    };
    return cmocka_run_group_tests_name("quantize_folder", tests, scratch_make, scratch_remove);
}
