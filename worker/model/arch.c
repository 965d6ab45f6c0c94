#include "worker/model/arch.h"

#include <string.h>

extern const ql_arch ql_arch_llama, ql_arch_mistral, ql_arch_qwen2, ql_arch_qwen3;

static const ql_arch *const architectures[] = {&ql_arch_llama, &ql_arch_mistral, &ql_arch_qwen2, &ql_arch_qwen3};

const ql_arch *ql_arch_find(const char *hf_class) {
    for (size_t i = 0; i < QL_LEN(architectures); i++)
        if (!strcmp(architectures[i]->hf_class, hf_class)) return architectures[i];
    return NULL;
}

void ql_arch_names(ql_str *out) {
    for (size_t i = 0; i < QL_LEN(architectures); i++)
        ql_str_printf(out, "%s%s", i ? ", " : "", architectures[i]->hf_class);
}
