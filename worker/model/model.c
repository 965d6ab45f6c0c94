#include "worker/model/model.h"

#include <stdlib.h>
#include <string.h>

#include "worker/model/arch.h"
#include "worker/model/load.h"
#include "worker/model/rope.h"

static bool is_used(const ql_model *m, const ql_stored *t) {
    size_t n = strlen(t->name);
    for (size_t i = 0; i < m->graph.slots; i++) {
        const char *name = m->graph.slot[i].name;
        size_t      k = strlen(name);
        /* "….weight.absmax" and its like belong to "….weight" */
        if (n >= k && !memcmp(t->name, name, k) && (n == k || t->name[k] == '.')) return true;
    }
    return strstr(t->name, "rotary_emb.inv_freq") != NULL;
}

/* A folder of another architecture usually has tensors that we would silently leave out. */
static ql_err refuse_unknown_tensors(const ql_model *m) {
    for (size_t i = 0; i < ql_tensor_set_size(m->tensors); i++) {
        const ql_stored *t = ql_tensor_set_at(m->tensors, i);
        QL_CHECK(is_used(m, t), QL_DATA, "%s: tensor %s has no place in %s; is config.json that of this model?",
                 t->file->path, t->name, m->config.arch->hf_class);
    }
    return ql_ok();
}

static ql_err describe(ql_model *m) {
    QL_TRY(ql_model_config_read(m->folder, &m->config));
    QL_TRY(ql_tensor_folder_open(m->folder, &m->tensors));
    m->config.arch->build(&m->config, &m->graph);
    m->weight = QL_NEW_ARRAY(ql_weight, m->graph.slots);
    QL_TRY(ql_load_layout(m));
    m->fingerprint = ql_tensor_set_fingerprint(m->tensors);
    return refuse_unknown_tensors(m);
}

ql_err ql_model_describe(const char *folder, const ql_load_options *o, ql_model *out) {
    *out = (ql_model){.folder = ql_strdup(folder), .options = *o};
    ql_err e = describe(out);
    if (ql_bad(e)) ql_model_close(out);
    return e;
}

size_t ql_model_table_bytes(const ql_model *m, int64_t positions) {
    return 2 * ql_align((size_t)(positions * (m->config.head_dim / 2)) * sizeof(float), 64);
}

static ql_err load_tables(ql_model *m, int64_t positions) {
    int64_t half = m->config.head_dim / 2;
    size_t  bytes = ql_model_table_bytes(m, positions);
    QL_TRY(ql_buffer_new(m->device, bytes, &m->tables));
    m->rope_cos = (ql_tensor){m->tables, 0, QL_F32, positions, half};
    m->rope_sin = (ql_tensor){m->tables, bytes / 2, QL_F32, positions, half};
    float *cosines, *sines;
    ql_rope_tables(&m->config.rope, m->config.head_dim, positions, &cosines, &sines);
    ql_err e = ql_upload(m->device, m->rope_cos, cosines);
    if (!ql_bad(e)) e = ql_upload(m->device, m->rope_sin, sines);
    free(cosines);
    free(sines);
    return e;
}

ql_err ql_model_load(ql_model *m, ql_device *d, int64_t positions) {
    m->device = d;
    QL_TRY(ql_buffer_new(d, m->weight_bytes, &m->buffer));
    QL_TRY(ql_load_weights(m));
    QL_TRY(load_tables(m, positions));
    ql_tensor_set_close(m->tensors); /* the maps are not needed any more */
    m->tensors = NULL;
    return ql_ok();
}

void ql_model_close(ql_model *m) {
    if (m->device) {
        ql_buffer_free(m->device, m->buffer);
        ql_buffer_free(m->device, m->tables);
    }
    ql_tensor_set_close(m->tensors);
    free(m->weight);
    free(m->origin);
    ql_graph_free(&m->graph);
    ql_model_config_free(&m->config);
    free(m->folder);
    *m = (ql_model){0};
}

void ql_model_title(const ql_model *m, ql_str *out) {
    double millions = (double)m->parameters / 1e6;
    ql_str_printf(out, "%s, ", m->config.arch->title);
    if (millions >= 1000) ql_str_printf(out, "%.2f billion", millions / 1000);
    else ql_str_printf(out, "%.2f million", millions);
    ql_str_printf(out, " parameters, %lld layers, ", (long long)m->config.layers);
    if (m->quantised == 0) {
        ql_str_puts(out, "not quantised");
        return;
    }
    const ql_weight *w = m->weight;
    while (!w->quant) w++;
    bool nested = w->nested_blocksize > 0;
    ql_str_printf(out, "%s%s%s", w->quant->name, nested ? " with double quantisation" : "",
                  m->config.prequantised ? " (as the folder has it)" : "");
}
