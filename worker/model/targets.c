#include "worker/model/targets.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

/* One of the two keys, ready to be asked about a module. */
typedef struct {
    const char     *key;
    const ql_texts *texts;
    bool            all_linear;
    pcre2_code     *expression;
    pcre2_match_data *match;
    bool           *used; /* per entry of a list */
} selector;

static ql_err compile(selector *s, const char *pattern) {
    int        code;
    PCRE2_SIZE at;
    s->expression = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_UTF,
                                  &code, &at, NULL);
    if (s->expression) {
        s->match = pcre2_match_data_create_from_pattern(s->expression, NULL);
        return ql_ok();
    }
    PCRE2_UCHAR why[256];
    pcre2_get_error_message(code, why, sizeof why);
    return ql_fail(QL_USAGE, "%s: \"%s\" is no regular expression: %s at character %zu", s->key, pattern, (char *)why,
                   (size_t)at + 1);
}

static ql_err open_selector(selector *s, const char *key, const ql_texts *texts, bool is_list) {
    *s = (selector){.key = key, .texts = texts};
    s->used = QL_NEW_ARRAY(bool, texts->count);
    if (is_list || texts->count == 0) return ql_ok();
    s->all_linear = !strcmp(texts->item[0], "all-linear");
    return s->all_linear ? ql_ok() : compile(s, texts->item[0]);
}

static void close_selector(selector *s) {
    if (s->match) pcre2_match_data_free(s->match);
    if (s->expression) pcre2_code_free(s->expression);
    free(s->used);
}

static bool is_suffix(const char *module, const char *entry) {
    size_t n = strlen(module), m = strlen(entry);
    if (m == 0 || m > n || strcmp(module + n - m, entry)) return false;
    return m == n || module[n - m - 1] == '.';
}

static bool selects(selector *s, const ql_slot *slot) {
    if (s->all_linear) return slot->kind == QL_SLOT_LINEAR;
    if (s->expression) return pcre2_match(s->expression, (PCRE2_SPTR)slot->module, PCRE2_ZERO_TERMINATED, 0, 0, s->match, NULL) >= 0;
    bool any = false;
    for (size_t i = 0; i < s->texts->count; i++) {
        if (!is_suffix(slot->module, s->texts->item[i])) continue;
        s->used[i] = any = true;
    }
    return any;
}

static ql_err refuse_others(selector *targets, const ql_graph *g) {
    for (size_t i = 0; i < g->slots; i++) {
        const ql_slot *slot = &g->slot[i];
        if (slot->kind == QL_SLOT_LINEAR || slot->kind == QL_SLOT_BIAS) continue;
        QL_CHECK(!selects(targets, slot), QL_USAGE,
                 "target_modules: %s is not a linear layer inside the model; LoRA on it is not supported: leave it out",
                 slot->module);
    }
    return ql_ok();
}

static ql_err check_used(const selector *s, size_t attached, const ql_graph *g) {
    const char *example = "";
    for (size_t i = 0; i < g->slots; i++)
        if (g->slot[i].kind == QL_SLOT_LINEAR) example = g->slot[i].module;
    bool is_list = !s->all_linear && !s->expression;
    for (size_t i = 0; is_list && i < s->texts->count; i++)
        QL_CHECK(s->used[i], QL_USAGE, "target_modules: \"%s\" matches no linear layer; layers are named like %s",
                 s->texts->item[i], example);
    QL_CHECK(attached > 0, QL_USAGE, "target_modules: no linear layer is selected; layers are named like %s", example);
    return ql_ok();
}

static ql_err attach(ql_graph *g, selector *targets, selector *excluded, int64_t r, int **nodes, size_t *count) {
    size_t capacity = 0;
    for (size_t i = 0; i < g->nodes; i++) {
        int weight = g->node[i].weight;
        if (weight == QL_NO_SLOT || g->slot[weight].kind != QL_SLOT_LINEAR) continue;
        if (!selects(targets, &g->slot[weight]) || selects(excluded, &g->slot[weight])) continue;
        ql_graph_attach(g, (int)i, (int)*count, r);
        QL_PUSH(*nodes, *count, capacity, (int)i);
    }
    QL_TRY(refuse_others(targets, g));
    return check_used(targets, *count, g);
}

ql_err ql_targets_attach(ql_graph *g, const ql_config *c, int **nodes, size_t *count) {
    *nodes = NULL;
    *count = 0;
    selector targets = {0}, excluded = {0};
    ql_err   e;
    QL_TRY_TO(out, e, open_selector(&targets, "target_modules", &c->target_modules, c->target_modules_is_list));
    QL_TRY_TO(out, e, open_selector(&excluded, "exclude_modules", &c->exclude_modules, c->exclude_modules_is_list));
    e = attach(g, &targets, &excluded, c->lora_r, nodes, count);
out:
    close_selector(&targets);
    close_selector(&excluded);
    return e;
}
