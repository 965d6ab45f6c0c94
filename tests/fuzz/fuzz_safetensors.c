/* Mutants of safetensors files and of shard indexes. Whatever is accepted is read to the last byte,
 * 4-bit weights are decoded. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "checkpoint/bnb.h"
#include "tests/fuzz/common.h"

static const char *const shards[] = {"/quant/plain/model.safetensors", "/quant/mixed.safetensors"};
static const char INDEX[] =
    "{\"metadata\": {\"total_size\": 1}, \"weight_map\": {\"lm_head.weight\": \"shard-0.safetensors\", "
    "\"model.norm.weight\": \"shard-0.safetensors\", \"half\": \"shard-1.safetensors\"}}";

static void decode(const ql_tensor_set *s, const char *name) {
    ql_bnb_weight w;
    if (!ql_bnb_is_quantised(s, name) || ql_bad(ql_bnb_read(s, name, &w))) return;
    float y[7];
    size_t n = (size_t)(w.out * w.in), last = n < QL_LEN(y) ? n : QL_LEN(y);
    ql_dequantize(&w.view, 0, last, y);
    ql_dequantize(&w.view, n - last, last, y);
    ql_bnb_weight_free(&w);
}

static bool use(ql_err e, ql_tensor_set *s) {
    static volatile uint64_t sink;
    if (ql_bad(e)) return false;
    sink += ql_tensor_set_fingerprint(s);
    for (size_t i = 0; i < ql_tensor_set_size(s); i++) {
        sink += ql_stored_is_finite(ql_tensor_set_at(s, i));
        decode(s, ql_tensor_set_at(s, i)->name);
    }
    ql_tensor_set_close(s);
    return true;
}

/* What begins like JSON is an index beside fixed shards, all else is a file of tensors. */
static bool target(void *ctx, const uint8_t *bytes, size_t n) {
    (void)ctx;
    ql_tensor_set *s;
    bool index = n > 0 && bytes[0] == '{';
    const char *path = ql_fuzz_file(index ? "model.safetensors.index.json" : "tensors", bytes, n);
    ql_err e = index ? ql_tensor_folder_open(ql_fuzz_folder(), &s) : ql_tensor_file_open(path, &s);
    return use(e, s);
}

static bool load(const char *name, ql_str *out) {
    char *path = ql_format("%s%s", QL_TEST_DATA, name);
    ql_err e = ql_file_read(path, 1 << 20, out);
    free(path);
    if (ql_bad(e)) fprintf(stderr, "%s\n", ql_err_text());
    return !ql_bad(e);
}

int main(int argc, char **argv) {
    ql_str seeds[5] = {0}, shard;
    for (size_t i = 0; i < QL_LEN(shards); i++) {
        char name[32];
        if (!load(shards[i], &shard)) return 2;
        snprintf(name, sizeof name, "shard-%zu.safetensors", i);
        ql_fuzz_file(name, shard.data, shard.size);
        ql_str_free(&shard);
    }
    if (!load("/quant/mixed.safetensors", &seeds[0]) || !load("/quant/nf4_double/model.safetensors", &seeds[1]) ||
        !load("/quant/fp4_single/model.safetensors", &seeds[2]))
        return 2;
    ql_str_puts(&seeds[3], INDEX);
    static const char small[] = "{\"w\":{\"dtype\":\"U8\",\"shape\":[2,1],\"data_offsets\":[0,2]}}";
    uint64_t size = sizeof small - 1;
    ql_str_put(&seeds[4], &size, sizeof size);
    ql_str_puts(&seeds[4], small);
    ql_str_puts(&seeds[4], "ab");
    int rc = ql_fuzz_main(argc, argv, seeds, QL_LEN(seeds), target, NULL);
    for (size_t i = 0; i < QL_LEN(seeds); i++) ql_str_free(&seeds[i]);
    return rc;
}
