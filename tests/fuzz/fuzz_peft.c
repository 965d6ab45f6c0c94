/* Mutants of adapter_config.json and of adapter_model.safetensors. Every module of an accepted
 * adapter is copied out. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "checkpoint/peft.h"
#include "tests/fuzz/common.h"

static ql_str config, tensors;

static void copy_module(const ql_peft_adapter *a, const char *module) {
    char *name_a = ql_format("base_model.model.%s.lora_A.weight", module);
    char *name_b = ql_format("base_model.model.%s.lora_B.weight", module);
    int64_t r = a->config.r, in = ql_tensor_set_find(a->tensors, name_a)->dim[1];
    int64_t out = ql_tensor_set_find(a->tensors, name_b)->dim[0];
    float *lora_a = QL_NEW_ARRAY(float, (size_t)(r * in)), *lora_b = QL_NEW_ARRAY(float, (size_t)(out * r));
    ql_err ignored = ql_peft_read(a, module, r, in, out, lora_a, lora_b);
    (void)ignored;
    free(lora_a);
    free(lora_b);
    free(name_a);
    free(name_b);
}

/* What begins like JSON is the configuration beside good tensors, all else the tensors. */
static bool target(void *ctx, const uint8_t *bytes, size_t n) {
    (void)ctx;
    bool is_config = n > 0 && bytes[0] == '{';
    ql_peft_adapter a;
    ql_fuzz_file("adapter_config.json", is_config ? (const void *)bytes : config.data, is_config ? n : config.size);
    ql_fuzz_file("adapter_model.safetensors", is_config ? (const void *)tensors.data : bytes,
                 is_config ? tensors.size : n);
    if (ql_bad(ql_peft_open(ql_fuzz_folder(), &a))) return false;
    for (size_t i = 0; i < ql_peft_module_count(&a); i++) copy_module(&a, ql_peft_module_name(&a, i));
    ql_peft_close(&a);
    return true;
}

int main(int argc, char **argv) {
    if (ql_bad(ql_file_read(QL_TEST_DATA "/peft/bf16/adapter_config.json", 1 << 20, &config)) ||
        ql_bad(ql_file_read(QL_TEST_DATA "/peft/bf16/adapter_model.safetensors", 1 << 20, &tensors))) {
        fprintf(stderr, "%s\n", ql_err_text());
        return 2;
    }
    const ql_str seeds[] = {config, tensors};
    int rc = ql_fuzz_main(argc, argv, seeds, QL_LEN(seeds), target, NULL);
    ql_str_free(&config);
    ql_str_free(&tensors);
    return rc;
}
