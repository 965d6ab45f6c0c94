#include "checkpoint/safetensors.h"
#include "kernels/quant/quant.h"

static bool is_float(const ql_stored *t) {
    return t->dtype_known && (t->dtype == QL_F32 || t->dtype == QL_BF16 || t->dtype == QL_F16);
}

bool ql_stored_is_finite(const ql_stored *t) {
    bool good = !is_float(t) || ql_is_finite(t->data, t->dtype, (size_t)t->count);
    ql_stored_release(t);
    return good;
}
