/* The sliding windows of Qwen 2 and 3: on only with use_sliding_window, then in the layers that
 * `layer_types` names, or from layer max_window_layers on. */
#pragma once
#include "worker/model/config.h"

QL_RESULT ql_configure_qwen_window(const ql_json *json, ql_model_config *c);
