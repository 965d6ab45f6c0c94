/* A model as a list of operations on per-token matrices.
 *
 * An architecture file calls the ql_graph_* builders once per layer, with the tensor names of
 * the Hugging Face folder. Everything else is derived from the list: which weights to load and
 * which to quantise, where LoRA may sit, what backward must keep, and every byte of activation
 * memory (plan.h). The backward pass of an operation is written once, in its rule (rule.h). */
#pragma once
#include "base/err.h"
#include "base/mem.h"

/* A value is a matrix [tokens, width], f32. */
typedef int32_t ql_value;
enum { QL_NO_VALUE = -1, QL_NO_SLOT = -1, QL_NO_SITE = -1, QL_MAX_INPUTS = 3 };

/* A frozen tensor of the model folder. */
typedef enum { QL_SLOT_LINEAR, QL_SLOT_HEAD, QL_SLOT_EMBEDDING, QL_SLOT_NORM, QL_SLOT_BIAS } ql_slot_kind;
typedef struct {
    ql_slot_kind kind;
    char        *name;   /* "model.layers.0.self_attn.q_proj.weight" */
    char        *module; /* the same without ".weight" or ".bias"    */
    int64_t      rows, cols; /* [out, in]; vectors are [1, n]        */
    bool         optional; /* may be absent: then `fallback` is used */
    int          fallback; /* slot whose tensor serves as well (tied head) */
} ql_slot;

typedef struct ql_rule ql_rule;
typedef struct {
    const ql_rule *rule;
    ql_value       in[QL_MAX_INPUTS]; /* QL_NO_VALUE: unused                          */
    ql_value       out;               /* QL_NO_VALUE: the head, which ends the graph  */
    ql_value       saved;             /* kept for backward: rstd, lse, LoRA's inner product */
    int            layer;             /* the unit of recomputation, ascending         */
    int            weight, bias;      /* slots                                        */
    int            site; /* LoRA: index into the model's adapter modules; QL_NO_SITE  */
    /* Parameters of single rules. */
    float   eps;                      /* rmsnorm                    */
    int64_t head_dim;                 /* rope                       */
    int64_t heads, kv_heads, window;  /* attention; window 0: all   */
    float   scale;                    /* attention                  */
} ql_node;

typedef struct {
    int64_t width;
    int     producer; /* node */
    bool    is_saved; /* an extra result of its producer, read by its backward only */
} ql_value_info;

typedef struct {
    ql_node       *node;
    size_t         nodes, nodes_capacity;
    ql_value_info *value;
    size_t         values, values_capacity;
    ql_slot       *slot;
    size_t         slots, slots_capacity;
    int            layers; /* number of recomputation units; see ql_graph_next_layer */
} ql_graph;

void ql_graph_free(ql_graph *g);

/* Builders. `module` is a path in the folder; ".weight" and ".bias" are appended. Widths are
 * known to the graph; a mismatch is a bug in the architecture file and ends the process. */
ql_value ql_graph_embed(ql_graph *g, const char *module, int64_t vocab, int64_t hidden);
ql_value ql_graph_rmsnorm(ql_graph *g, ql_value x, const char *module, int64_t width, float eps);
ql_value ql_graph_linear(ql_graph *g, ql_value x, const char *module, int64_t out, bool bias);
ql_value ql_graph_rope(ql_graph *g, ql_value x, int64_t head_dim);
ql_value ql_graph_attention(ql_graph *g, ql_value q, ql_value k, ql_value v, int64_t heads, int64_t kv_heads,
                            int64_t window, float scale);
ql_value ql_graph_swiglu(ql_graph *g, ql_value gate, ql_value up);
ql_value ql_graph_add(ql_graph *g, ql_value a, ql_value b);
/* The output projection and the log-probabilities; `tied`: lm_head may be absent and is then
 * the embedding. The last call. */
void ql_graph_head(ql_graph *g, ql_value x, const char *module, int64_t vocab, bool tied);
/* What follows belongs to the next unit of recomputation. */
void ql_graph_next_layer(ql_graph *g);

/* LoRA: the linear node gets adapter module `site` of rank r (its inner product becomes a value). */
void ql_graph_attach(ql_graph *g, int node, int site, int64_t r);
