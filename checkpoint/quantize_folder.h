/* `qlora quantize`: a Hugging Face folder in, a pre-quantised bitsandbytes folder out. */
#pragma once
#include "base/err.h"
#include "kernels/quant/quant.h"

/* Writes `out_folder` (which must not exist, or be empty): one model.safetensors in which the
 * weights that `is_quantised` picks are in 4 bits and all others as they were, config.json with
 * its quantization_config, and the other small files of the folder as they are. Holds one tensor
 * at a time; reads the weights twice. The folder appears complete or not at all; what a killed one left
 * beside it goes. `stops` (may be NULL) is asked between tensors: not 0 is QL_STOPPED, and nothing is left. QL_DATA for
 * weights that are not finite, not matrices, or quantised already; QL_USAGE for the out folder. */
QL_RESULT ql_quantize_folder(const char *model_folder, const char *out_folder, const ql_quant *type, bool double_quant,
                             bool (*is_quantised)(const char *tensor_name, void *ctx), void *ctx, int (*stops)(void));
