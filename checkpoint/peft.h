/* LoRA adapters in the form of PEFT: adapter_config.json and adapter_model.safetensors.
 * Names: base_model.model.<module>.lora_A.weight [r, in], ....lora_B.weight [out, r], fp32. */
#pragma once
#include "checkpoint/safetensors.h"

typedef struct {
    int     r;
    double  lora_alpha, lora_dropout;
    bool    use_rslora;
    char   *base_model_name_or_path;
    char  **target_modules; /* full names or suffixes, as PEFT would write them; owned */
    size_t  n_target_modules;
    char   *target_pattern; /* a regular expression instead of the list, or NULL        */
    /* For writing: the modules of the model that are not adapted, containers included
     * ("model.layers.0.self_attn", "model.norm", "lm_head"). Names are condensed only as far as
     * they stay apart from these; without any, full names are written. Owned.          */
    char  **other_modules;
    size_t  n_other_modules;
} ql_peft_config;
void ql_peft_config_free(ql_peft_config *c);

/* One trained module: host memory, borrowed. */
typedef struct {
    const char  *module; /* "model.layers.0.self_attn.q_proj" */
    int64_t      in, out;
    const float *a, *b; /* [r, in], [out, r] */
} ql_peft_module;

/* Writes both files into an existing folder and reads them back; the same bytes for the same
 * adapter. What the file says of `target_modules` is derived from the modules, condensed as PEFT
 * does it (20 or more names become suffixes), sorted. QL_DATA when a value is not finite. */
QL_RESULT ql_peft_write(const char *folder, const ql_peft_config *c, const ql_peft_module *modules, size_t n);

typedef struct {
    ql_peft_config config;
    ql_tensor_set *tensors;
    char         **module; /* sorted */
    size_t         n_modules;
} ql_peft_adapter;
/* Reads and checks an adapter made by PEFT or by us: every lora_A has its lora_B, r fits, only
 * LoRA features we implement are set to other than their default (others: QL_DATA, named). */
QL_RESULT ql_peft_open(const char *folder, ql_peft_adapter *out);
void      ql_peft_close(ql_peft_adapter *a);
/* Copies the two matrices of a module as f32 (from F32, BF16, F16). QL_DATA if it is not there
 * or its shape or values (NaN) are wrong. */
QL_RESULT ql_peft_read(const ql_peft_adapter *a, const char *module, int64_t r, int64_t in, int64_t out, float *lora_a,
                       float *lora_b);
/* The modules that the adapter holds: returns how many; `name` borrowed from the adapter. */
size_t      ql_peft_module_count(const ql_peft_adapter *a);
const char *ql_peft_module_name(const ql_peft_adapter *a, size_t i);
