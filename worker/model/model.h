/* A frozen base model: described from its headers, then loaded onto a device.
 *
 * Describing reads config.json and the headers of the safetensors files only; the graph, every
 * size and the fingerprint are known afterwards. Loading streams the tensors one by one: maps,
 * checks, quantises, uploads, lets go; the unquantised model is never in memory as a whole. */
#pragma once
#include "checkpoint/safetensors.h"
#include "kernels/quant/quant.h"
#include "worker/graph/run.h"
#include "worker/model/config.h"

typedef struct {
    bool            load_in_4bit;
    const ql_quant *quant; /* for weights that are not quantised in the folder */
    bool            double_quant;
    const char     *cache;       /* borrowed: where the quantised base is kept, "auto" or a folder; NULL: nowhere */
    bool            keeps_cache; /* this process also writes there                                                */
} ql_load_options;

typedef struct {
    char           *folder;
    ql_model_config config;
    ql_load_options options;
    ql_graph        graph;
    ql_tensor_set  *tensors;
    uint64_t        fingerprint;
    int64_t         parameters;
    size_t          weight_bytes;  /* on the device, all slots                  */
    int64_t         quantised;     /* number of 4-bit matrices                  */
    /* after loading */
    ql_device *device;
    ql_buffer *buffer;
    ql_weight *weight; /* per slot */
    ql_buffer *tables;
    ql_tensor  rope_cos, rope_sin;
    char      *origin; /* for people: where the weights came from and how long that took */
} ql_model;

/* QL_DATA: FILE: what is missing or wrong. */
QL_RESULT ql_model_describe(const char *folder, const ql_load_options *o, ql_model *out);
/* `positions`: the longest document that will be run. */
QL_RESULT ql_model_load(ql_model *m, ql_device *d, int64_t positions);
void      ql_model_close(ql_model *m);
size_t    ql_model_table_bytes(const ql_model *m, int64_t positions);
/* One line for people: "Llama, 135M parameters, 30 layers, nf4 with double quantisation". */
void ql_model_title(const ql_model *m, ql_str *out);
