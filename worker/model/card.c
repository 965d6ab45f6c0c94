#include <stdlib.h>
#include <string.h>

#include "worker/model/adapter.h"

/* Names of modules, each once. */
typedef struct {
    char **item;
    size_t count, capacity;
} names;

static bool is_adapted(const ql_adapter *a, const char *module) {
    for (size_t i = 0; i < a->shape.modules; i++)
        if (!strcmp(a->shape.module[i].module, module)) return true;
    return false;
}

/* The graph lists modules layer by layer, so a name that is there already is near the end. */
static bool is_listed(const names *n, const char *module, size_t size) {
    for (size_t i = n->count; i-- > 0;)
        if (strlen(n->item[i]) == size && !memcmp(n->item[i], module, size)) return true;
    return false;
}

static void list(names *n, const char *module, size_t size) {
    if (!is_listed(n, module, size)) QL_PUSH(n->item, n->count, n->capacity, ql_strndup(module, size));
}

/* PEFT shortens names as far as they stay apart from all other modules: layers without an
 * adapter, norms, embedding, head, and what contains them. */
static void list_others(const ql_adapter *a, const ql_graph *g, names *out) {
    for (size_t i = 0; i < g->slots; i++) {
        const char *module = g->slot[i].module;
        for (const char *dot = strchr(module, '.'); dot; dot = strchr(dot + 1, '.')) list(out, module, (size_t)(dot - module));
        if (!is_adapted(a, module)) list(out, module, strlen(module));
    }
}

void ql_adapter_card(const ql_adapter *a, const ql_graph *g, const ql_config *c, ql_peft_config *out) {
    names others = {0};
    list_others(a, g, &others);
    *out = (ql_peft_config){.r = (int)a->shape.r,
                            .lora_alpha = c->lora_alpha,
                            .lora_dropout = c->lora_dropout,
                            .use_rslora = c->use_rslora,
                            .base_model_name_or_path = ql_strdup(c->model_name_or_path),
                            .other_modules = others.item,
                            .n_other_modules = others.count};
}
