#include "checkpoint/quantize_tensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

static ql_err choose(ql_quantize_job *j, const ql_stored *t, bool quantised, ql_quantize_item *out) {
    *out = (ql_quantize_item){.from = t, .quantised = quantised};
    QL_CHECK(!strstr(t->name, ".quant_state."), QL_DATA,
             "%s: tensor %s: the model is quantised already; give the folder of the original model", t->file->path,
             t->name);
    if (!quantised) return ql_ok();
    bool is_float = t->dtype_known && (t->dtype == QL_F32 || t->dtype == QL_BF16 || t->dtype == QL_F16);
    QL_CHECK(is_float && t->rank == 2 && t->count > 0, QL_DATA,
             "%s: tensor %s: cannot be quantised: it is %s of rank %d; a matrix of F32, BF16 or F16 is needed",
             t->file->path, t->name, t->dtype_name, t->rank);
    out->form = (ql_bnb_form){.weight_name = t->name,
                              .quant = j->type,
                              .out = t->dim[0],
                              .in = t->dim[1],
                              .source = t->dtype,
                              .nested = j->double_quant};
    return ql_ok();
}

static size_t count_quantised(const ql_quantize_job *j) {
    size_t n = 0;
    for (size_t i = 0; i < j->n; i++) n += j->item[i].quantised;
    return n;
}

static void make_room(ql_quantize_job *j) {
    size_t most = 0;
    for (size_t i = 0; i < j->n; i++)
        if (j->item[i].quantised && (size_t)j->item[i].from->count > most) most = (size_t)j->item[i].from->count;
    size_t blocks = most / QL_BLOCK + 1;
    j->packed = ql_alloc(most / 2 + 1);
    j->absmax = QL_NEW_ARRAY(float, blocks);
    j->absmax_q = ql_alloc(blocks);
    j->nested_absmax = QL_NEW_ARRAY(float, blocks / QL_NESTED_BLOCK + 1);
}

static void quantise(ql_quantize_job *j, ql_quantize_item *it) {
    ql_quantize(it->form.quant, it->from->data, it->form.source, (size_t)it->from->count, QL_BLOCK, j->packed,
                j->absmax);
    if (it->form.nested)
        ql_quantize_absmax(j->absmax, ql_bnb_blocks(&it->form), j->absmax_q, j->nested_absmax, &it->form.nested_offset);
    ql_stored_release(it->from);
}

static void tell(ql_quantize_job *j) {
    j->done++;
    ql_progress(j->done == 2 * j->n, "quantising: %zu of %zu tensors %s", (j->done + 1) / 2, j->n,
                j->done <= j->n ? "checked" : "written");
}

static ql_err check_request(const ql_quantize_job *j) {
    QL_CHECK(!j->stops || !j->stops(), QL_STOPPED, "quantize: stopped on request; nothing is left of what was written");
    return ql_ok();
}

ql_err ql_quantize_survey(ql_quantize_job *j, const ql_tensor_set *s, bool (*is_quantised)(const char *, void *),
                          void *ctx) {
    j->n = ql_tensor_set_size(s);
    j->item = QL_NEW_ARRAY(ql_quantize_item, j->n);
    for (size_t i = 0; i < j->n; i++) {
        const ql_stored *t = ql_tensor_set_at(s, i);
        QL_TRY(choose(j, t, is_quantised(t->name, ctx), &j->item[i]));
    }
    QL_CHECK(count_quantised(j) > 0, QL_DATA,
             "the model has no linear layers to quantise: none of its weights was chosen");
    make_room(j);
    for (size_t i = 0; i < j->n; i++) {
        QL_TRY(check_request(j));
        QL_CHECK(ql_stored_is_finite(j->item[i].from), QL_DATA,
                 "%s: tensor %s: holds a NaN or an infinity; fetch the model again", j->item[i].from->file->path,
                 j->item[i].from->name);
        if (j->item[i].quantised && j->double_quant) quantise(j, &j->item[i]);
        tell(j);
    }
    return ql_ok();
}

/* ---- model.safetensors ----------------------------------------------------------------------- */

static size_t plan_item(const ql_quantize_item *it, ql_tensor_plan *out) {
    if (it->quantised) return ql_bnb_plan(&it->form, out);
    *out = (ql_tensor_plan){ql_strdup(it->from->name), it->from->dtype_name, it->from->rank, {0}};
    memcpy(out->dim, it->from->dim, sizeof out->dim);
    return 1;
}

static ql_err put_part(ql_tensor_writer *w, const ql_quantize_item *it, const char *suffix, const void *data,
                       size_t bytes) {
    char *name = ql_format("%s%s", it->from->name, suffix);
    ql_err e = ql_tensor_writer_put(w, name, data, bytes);
    free(name);
    return e;
}

static ql_err put_state(ql_tensor_writer *w, const ql_quantize_item *it) {
    ql_str state = {0};
    char suffix[64];
    snprintf(suffix, sizeof suffix, ".quant_state.bitsandbytes__%s", it->form.quant->name);
    ql_bnb_put_state(&state, &it->form);
    ql_err e = put_part(w, it, suffix, state.data, state.size);
    ql_str_free(&state);
    return e;
}

static ql_err put_quantised(ql_quantize_job *j, ql_quantize_item *it, ql_tensor_writer *w) {
    size_t blocks = ql_bnb_blocks(&it->form), nested = ql_bnb_nested_blocks(&it->form);
    quantise(j, it);
    QL_TRY(put_part(w, it, "", j->packed, (size_t)(it->from->count + 1) / 2));
    QL_TRY(put_part(w, it, ".quant_map", it->form.quant->code, sizeof it->form.quant->code));
    QL_TRY(put_state(w, it));
    if (!nested) return put_part(w, it, ".absmax", j->absmax, blocks * sizeof(float));
    QL_TRY(put_part(w, it, ".absmax", j->absmax_q, blocks));
    QL_TRY(put_part(w, it, ".nested_absmax", j->nested_absmax, nested * sizeof(float)));
    return put_part(w, it, ".nested_quant_map", ql_dynamic_map(), 256 * sizeof(float));
}

static ql_err put_item(ql_quantize_job *j, ql_quantize_item *it, ql_tensor_writer *w) {
    QL_TRY(check_request(j));
    if (it->quantised) return put_quantised(j, it, w);
    ql_err e = ql_tensor_writer_put(w, it->from->name, it->from->data, it->from->bytes);
    ql_stored_release(it->from);
    return e;
}

ql_err ql_quantize_write(ql_quantize_job *j, const char *path) {
    ql_tensor_plan *plan = QL_NEW_ARRAY(ql_tensor_plan, j->n * QL_BNB_PARTS);
    ql_tensor_writer *w = NULL;
    size_t n = 0;
    for (size_t i = 0; i < j->n; i++) n += plan_item(&j->item[i], plan + n);
    ql_err e = ql_tensor_writer_open(path, plan, n, &w);
    for (size_t i = 0; i < n; i++) free((void *)(uintptr_t)plan[i].name);
    free(plan);
    for (size_t i = 0; i < j->n && !ql_bad(e); i++, tell(j)) e = put_item(j, &j->item[i], w);
    if (!ql_bad(e)) return ql_tensor_writer_finish(w);
    ql_tensor_writer_abort(w);
    return e;
}

void ql_quantize_job_free(ql_quantize_job *j) {
    free(j->item);
    free(j->packed);
    free(j->absmax);
    free(j->absmax_q);
    free(j->nested_absmax);
    *j = (ql_quantize_job){0};
}
