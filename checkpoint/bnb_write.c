#include <stdlib.h>

#include "checkpoint/bnb.h"
#include "checkpoint/python_json.h"

size_t ql_bnb_blocks(const ql_bnb_form *f) {
    return (size_t)ql_ceil_div(f->out * f->in, QL_BLOCK);
}

size_t ql_bnb_nested_blocks(const ql_bnb_form *f) {
    return f->nested ? (size_t)ql_ceil_div((int64_t)ql_bnb_blocks(f), QL_NESTED_BLOCK) : 0;
}

const char *ql_bnb_source_name(ql_dtype source) {
    return source == QL_F32 ? "float32" : source == QL_BF16 ? "bfloat16" : "float16";
}

void ql_bnb_put_state(ql_str *out, const ql_bnb_form *f) {
    ql_str_printf(out, "{\"quant_type\": \"%s\", \"blocksize\": %d, \"dtype\": \"%s\", \"shape\": [%lld, %lld]",
                  f->quant->name, QL_BLOCK, ql_bnb_source_name(f->source), (long long)f->out, (long long)f->in);
    if (f->nested) {
        ql_str_printf(
            out, ", \"nested_blocksize\": %d, \"nested_dtype\": \"float32\", \"nested_offset\": ", QL_NESTED_BLOCK);
        ql_python_put_float(out, (double)f->nested_offset);
    }
    ql_str_puts(out, "}");
}

static ql_tensor_plan part(const ql_bnb_form *f, const char *suffix, const char *dtype, size_t n) {
    return (ql_tensor_plan){
        .name = ql_format("%s%s", f->weight_name, suffix), .dtype_name = dtype, .rank = 1, .dim = {(int64_t)n}};
}

size_t ql_bnb_plan(const ql_bnb_form *f, ql_tensor_plan plan[QL_BNB_PARTS]) {
    ql_str state = {0};
    ql_bnb_put_state(&state, f);
    char *state_suffix = ql_format(".quant_state.bitsandbytes__%s", f->quant->name);
    plan[QL_BNB_PACKED] = part(f, "", "U8", (size_t)((f->out * f->in + 1) / 2));
    plan[QL_BNB_PACKED].rank = 2;
    plan[QL_BNB_PACKED].dim[1] = 1;
    plan[QL_BNB_ABSMAX] = part(f, ".absmax", f->nested ? "U8" : "F32", ql_bnb_blocks(f));
    plan[QL_BNB_QUANT_MAP] = part(f, ".quant_map", "F32", QL_LEN(f->quant->code));
    plan[QL_BNB_STATE] = part(f, state_suffix, "U8", state.size);
    free(state_suffix);
    ql_str_free(&state);
    if (!f->nested) return QL_BNB_NESTED_ABSMAX;
    plan[QL_BNB_NESTED_ABSMAX] = part(f, ".nested_absmax", "F32", ql_bnb_nested_blocks(f));
    plan[QL_BNB_NESTED_MAP] = part(f, ".nested_quant_map", "F32", 256);
    return QL_BNB_PARTS;
}
