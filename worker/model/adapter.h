/* The trained part: LoRA's matrices of all modules in one flat run of floats, with moments,
 * gradient and the integer sums of the step in equally long runs beside it, so that exchange,
 * norm and update are one operation each. */
#pragma once
#include "base/config/config.h"
#include "checkpoint/checkpoint.h"
#include "worker/graph/run.h"

typedef struct {
    const char *module; /* borrowed from the graph */
    int64_t     in, out;
    int64_t     a_at, b_at; /* first element in the flat runs, multiples of 16 */
} ql_adapter_module;

typedef struct {
    int64_t            r;
    float              scale;
    ql_adapter_module *module;
    size_t             modules;
    int64_t            length;    /* of each run, padding (always zero) included */
    int64_t            trainable; /* parameters                                  */
} ql_adapter_shape;

/* Attaches the configured targets to the graph and lays out the runs. */
QL_RESULT ql_adapter_plan(ql_graph *g, const ql_config *c, ql_adapter_shape *out);
void      ql_adapter_shape_free(ql_adapter_shape *s);
/* Bytes on the device: values; in training also gradient, sums, norms and, unless they wait on the host, moments. */
size_t ql_adapter_bytes(const ql_adapter_shape *s, bool training, bool paged);
/* Of the moments, wherever they are. */
size_t ql_adapter_moment_bytes(const ql_adapter_shape *s);

typedef struct {
    ql_adapter_shape shape;
    ql_device       *device;
    ql_buffer       *buffer;
    ql_tensor        value, moment1, moment2, gradient; /* f32 [1, length]; only value unless training */
    ql_tensor        sum;                               /* i64 [1, length]                             */
    ql_tensor        partial;                           /* f64: norms of blocks                        */
    double          *partial_on_host;                   /* the same, fetched                           */
    float           *paged; /* NULL, or the moments, one run after the other, in memory of ql_host_new; moment1 and
                               moment2 are absent then */
    ql_tensor        flaws;                             /* i32 [1, modules]: ql_grad_flaw of each      */
    int32_t         *flaws_on_host;                     /* the same, fetched                           */
    ql_site         *sites;
} ql_adapter;

/* Takes over the shape. All zero. `paged`: in training the moments wait on the host. */
QL_RESULT ql_adapter_open(ql_device *d, ql_adapter_shape *shape, bool training, bool paged, ql_adapter *out);
void      ql_adapter_close(ql_adapter *a);

/* AdamW on all values; `how` without its tensors. Moments that wait on the host pass through `room`, memory of the
 * device that nothing else uses meanwhile (u8 [1, bytes], at least QL_UPDATE_ROOM): a piece is fetched while the one
 * before it is updated. The bits do not depend on the size of the pieces. */
enum { QL_UPDATE_ROOM = 256 };
QL_RESULT ql_adapter_update(ql_adapter *a, ql_tensor room, const ql_adamw_args *how);

/* PEFT's start: A uniform in +-1/sqrt(in), B zero (init_lora_weights false: B uniform in
 * +-1/sqrt(r)); a function of (seed, module name) only. */
QL_RESULT ql_adapter_init(ql_adapter *a, int64_t seed, bool zero_b);
/* From a PEFT folder; r, alpha and rsLoRA there must be those of the configuration. */
QL_RESULT ql_adapter_read(ql_adapter *a, const char *folder);
/* The scale and rank of a PEFT folder into the configuration, so that it can be continued or
 * used: lora_r, lora_alpha, use_rslora, target_modules. */
QL_RESULT ql_adapter_adopt(const char *folder, ql_config *c);

/* The whole state on the host, for checkpoints. `tensor` names and pointers refer to `memory`. */
typedef struct {
    float           *memory;
    ql_state_tensor *tensor;
    size_t           tensors;
    ql_peft_module  *module;
    bool             borrowed; /* `memory` is the caller's */
} ql_adapter_copy;
/* Arrays of the right shape; ql_adapter_fetch fills them, ql_adapter_store is the reverse. Empty, or whatever is in the
 * caller's memory of ql_adapter_copy_bytes. */
void      ql_adapter_copy_open(const ql_adapter *a, ql_adapter_copy *out);
void      ql_adapter_copy_open_in(const ql_adapter *a, void *memory, ql_adapter_copy *out);
size_t    ql_adapter_copy_bytes(const ql_adapter_shape *s);
void      ql_adapter_copy_close(ql_adapter_copy *c);
QL_RESULT ql_adapter_fetch(const ql_adapter *a, ql_adapter_copy *c);
/* The same on several threads, with a digest of values and moments, which is a function of their bits alone. Without
 * `keep` only the digest is wanted: `c` is written to where the host cannot read the adapter in place. */
QL_RESULT ql_adapter_snapshot(const ql_adapter *a, ql_adapter_copy *c, bool keep, int threads, uint64_t *digest);
QL_RESULT ql_adapter_store(ql_adapter *a, const ql_adapter_copy *c);
/* What adapter_config.json says of it. Free with ql_peft_config_free. */
void ql_adapter_card(const ql_adapter *a, const ql_graph *g, const ql_config *c, ql_peft_config *out);
