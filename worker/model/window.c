#include "worker/model/window.h"

#include <string.h>

static ql_err by_layer_types(const ql_json *types, ql_model_config *c) {
    QL_CHECK((int64_t)ql_json_size(types) == c->layers, QL_DATA,
             "layer_types: has %zu entries for %lld layers; the folder is damaged", ql_json_size(types),
             (long long)c->layers);
    for (int64_t i = 0; i < c->layers; i++) {
        const char *type = ql_json_text(ql_json_at(types, (size_t)i), NULL);
        bool        windowed = type && !strcmp(type, "sliding_attention");
        QL_CHECK(windowed || (type && !strcmp(type, "full_attention")), QL_DATA,
                 "layer_types: \"%s\" is not supported; supported are full_attention and sliding_attention",
                 type ? type : "(not a text)");
        c->layer_is_windowed[i] = windowed;
    }
    return ql_ok();
}

ql_err ql_configure_qwen_window(const ql_json *json, ql_model_config *c) {
    const ql_json *window = ql_json_get(json, "sliding_window");
    bool           is_null = window && ql_json_is(window, QL_JSON_NULL); /* none; absent is 4096 */
    bool           used;
    QL_TRY(ql_config_bool(json, "use_sliding_window", false, &used));
    if (is_null || !used) return ql_ok();
    int64_t first_windowed;
    QL_TRY(ql_config_int(json, "sliding_window", 4096, 1, INT32_MAX, &c->sliding_window));
    QL_TRY(ql_config_int(json, "max_window_layers", 28, 0, INT32_MAX, &first_windowed));
    const ql_json *types = ql_json_get(json, "layer_types");
    if (ql_json_is(types, QL_JSON_ARRAY)) return by_layer_types(types, c);
    for (int64_t i = 0; i < c->layers; i++) c->layer_is_windowed[i] = i >= first_windowed;
    return ql_ok();
}
