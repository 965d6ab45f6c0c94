#include "worker/model/adapter.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/random.h"
#include "worker/model/targets.h"

static int64_t padded(int64_t n) {
    return ql_ceil_div(n, 16) * 16; /* 64 bytes of f32 */
}

ql_err ql_adapter_plan(ql_graph *g, const ql_config *c, ql_adapter_shape *out) {
    *out = (ql_adapter_shape){.r = c->lora_r};
    double divisor = c->use_rslora ? sqrt((double)c->lora_r) : (double)c->lora_r;
    out->scale = (float)(c->lora_alpha / divisor);
    int   *nodes;
    ql_err e = ql_targets_attach(g, c, &nodes, &out->modules);
    if (!ql_bad(e)) out->module = QL_NEW_ARRAY(ql_adapter_module, out->modules);
    for (size_t i = 0; !ql_bad(e) && i < out->modules; i++) {
        const ql_slot     *slot = &g->slot[g->node[nodes[i]].weight];
        ql_adapter_module *m = &out->module[i];
        *m = (ql_adapter_module){.module = slot->module, .in = slot->cols, .out = slot->rows, .a_at = out->length};
        m->b_at = m->a_at + padded(out->r * m->in);
        out->length = m->b_at + padded(out->r * m->out);
        out->trainable += out->r * (m->in + m->out);
    }
    free(nodes);
    return e;
}

void ql_adapter_shape_free(ql_adapter_shape *s) {
    free(s->module);
    *s = (ql_adapter_shape){0};
}

static int64_t norm_blocks(const ql_adapter_shape *s) {
    return ql_ceil_div(s->length, QL_NORM_BLOCK);
}

size_t ql_adapter_moment_bytes(const ql_adapter_shape *s) {
    return 2 * (size_t)s->length * sizeof(float);
}

size_t ql_adapter_bytes(const ql_adapter_shape *s, bool training, bool paged) {
    size_t value = (size_t)s->length * sizeof(float), sum = (size_t)s->length * sizeof(int64_t);
    if (!training) return value;
    return 2 * value + sum + (paged ? 0 : ql_adapter_moment_bytes(s)) +
           ql_align((size_t)norm_blocks(s) * sizeof(double), 64) + ql_align(s->modules * sizeof(int32_t), 64);
}

static ql_tensor take(ql_buffer *b, size_t *at, ql_dtype t, int64_t n) {
    ql_tensor v = {b, *at, t, 1, n};
    *at += ql_align(ql_bytes(v), 64);
    return v;
}

static ql_tensor matrix(ql_tensor run, int64_t at, int64_t rows, int64_t cols) {
    run.offset += (size_t)at * ql_dtype_size(run.dtype);
    run.rows = rows;
    run.cols = cols;
    return run;
}

static void make_sites(ql_adapter *a) {
    const ql_adapter_shape *s = &a->shape;
    a->sites = QL_NEW_ARRAY(ql_site, s->modules);
    for (size_t i = 0; i < s->modules; i++) {
        const ql_adapter_module *m = &s->module[i];
        ql_site                 *site = &a->sites[i];
        site->a = ql_dense(matrix(a->value, m->a_at, s->r, m->in));
        site->b = ql_dense(matrix(a->value, m->b_at, m->out, s->r));
        if (ql_present(a->sum)) {
            site->sum_a = matrix(a->sum, m->a_at, s->r, m->in);
            site->sum_b = matrix(a->sum, m->b_at, m->out, s->r);
            site->flaws = matrix(a->flaws, (int64_t)i, 1, 1);
        }
        site->scale = s->scale;
        site->id = (uint32_t)i;
    }
}

static ql_err place_moments(ql_adapter *a, bool paged, size_t *at) {
    if (paged) {
        void *memory = NULL;
        QL_TRY(ql_host_new(a->device, ql_adapter_moment_bytes(&a->shape), &memory));
        a->paged = memory;
        return ql_ok();
    }
    a->moment1 = take(a->buffer, at, QL_F32, a->shape.length);
    a->moment2 = take(a->buffer, at, QL_F32, a->shape.length);
    return ql_ok();
}

ql_err ql_adapter_open(ql_device *d, ql_adapter_shape *shape, bool training, bool paged, ql_adapter *out) {
    *out = (ql_adapter){.shape = *shape, .device = d};
    *shape = (ql_adapter_shape){0};
    QL_TRY(ql_buffer_new(d, ql_adapter_bytes(&out->shape, training, paged), &out->buffer));
    size_t  at = 0;
    int64_t n = out->shape.length;
    out->value = take(out->buffer, &at, QL_F32, n);
    if (training) {
        QL_TRY(place_moments(out, paged, &at));
        out->gradient = take(out->buffer, &at, QL_F32, n);
        out->sum = take(out->buffer, &at, QL_I64, n);
        out->partial = take(out->buffer, &at, QL_F64, norm_blocks(&out->shape));
        out->partial_on_host = QL_NEW_ARRAY(double, (size_t)norm_blocks(&out->shape));
        out->flaws = take(out->buffer, &at, QL_I32, (int64_t)out->shape.modules);
        out->flaws_on_host = QL_NEW_ARRAY(int32_t, out->shape.modules);
    }
    make_sites(out);
    return ql_ok();
}

void ql_adapter_close(ql_adapter *a) {
    if (a->device) ql_host_free(a->device, a->paged, ql_adapter_moment_bytes(&a->shape));
    if (a->device) ql_buffer_free(a->device, a->buffer);
    free(a->partial_on_host);
    free(a->flaws_on_host);
    free(a->sites);
    ql_adapter_shape_free(&a->shape);
    *a = (ql_adapter){0};
}

static void fill_uniform(float *x, int64_t n, uint64_t key, const char *module, uint32_t which, double bound) {
    uint64_t name = ql_hash64(module, strlen(module), 0);
    for (int64_t i = 0; i < n; i += 4) {
        ql_random4 r = ql_philox(key, (uint32_t)name, (uint32_t)(name >> 32), which, (uint32_t)(i / 4));
        for (int64_t k = i; k < n && k < i + 4; k++) x[k] = (2 * ql_uniform(r.word[k - i]) - 1) * (float)bound;
    }
}

ql_err ql_adapter_init(ql_adapter *a, int64_t seed, bool zero_b) {
    const ql_adapter_shape *s = &a->shape;
    float                  *place = ql_host_address(a->device, a->value); /* no second copy on a CPU */
    float                  *own = place ? NULL : QL_NEW_ARRAY(float, (size_t)s->length), *x = place ? place : own;
    uint64_t                key = ql_random_key((uint64_t)seed, QL_RANDOM_LORA);
    memset(x, 0, ql_bytes(a->value));
    for (size_t i = 0; i < s->modules; i++) {
        const ql_adapter_module *m = &s->module[i];
        fill_uniform(x + m->a_at, s->r * m->in, key, m->module, 0, 1 / sqrt((double)m->in));
        if (!zero_b) fill_uniform(x + m->b_at, s->r * m->out, key, m->module, 1, 1 / sqrt((double)s->r));
    }
    ql_err e = own ? ql_upload(a->device, a->value, own) : ql_ok();
    free(own);
    return e;
}

static ql_err same_number(const char *folder, const char *key, double there, double here) {
    QL_CHECK(there == here, QL_USAGE, "%s: the adapter has %s %g, the configuration %g; set %s: %g", folder, key, there,
             here, key, there);
    return ql_ok();
}

static ql_err check_card(const ql_adapter *a, const ql_peft_config *card, const char *folder) {
    const ql_adapter_shape *s = &a->shape;
    QL_TRY(same_number(folder, "lora_r", card->r, (double)s->r));
    double divisor = card->use_rslora ? sqrt(card->r) : card->r;
    QL_CHECK((float)(card->lora_alpha / divisor) == s->scale, QL_USAGE,
             "%s: the adapter is scaled by %g (lora_alpha %g, use_rslora %s), the configuration by %g; set these keys to its values",
             folder, card->lora_alpha / divisor, card->lora_alpha, card->use_rslora ? "true" : "false", (double)s->scale);
    return ql_ok();
}

static bool has_module(const ql_adapter_shape *s, const char *name) {
    for (size_t i = 0; i < s->modules; i++)
        if (!strcmp(s->module[i].module, name)) return true;
    return false;
}

static ql_err copy_modules(ql_adapter *a, const ql_peft_adapter *file, const char *folder, float *x) {
    const ql_adapter_shape *s = &a->shape;
    for (size_t i = 0; i < ql_peft_module_count(file); i++)
        QL_CHECK(has_module(s, ql_peft_module_name(file, i)), QL_USAGE,
                 "%s: the adapter trains %s, which target_modules leaves out; set target_modules to what the adapter has",
                 folder, ql_peft_module_name(file, i));
    for (size_t i = 0; i < s->modules; i++) {
        const ql_adapter_module *m = &s->module[i];
        QL_TRY(ql_peft_read(file, m->module, s->r, m->in, m->out, x + m->a_at, x + m->b_at));
    }
    return ql_ok();
}

ql_err ql_adapter_read(ql_adapter *a, const char *folder) {
    ql_peft_adapter file;
    QL_TRY(ql_peft_open(folder, &file));
    float *x = QL_NEW_ARRAY(float, (size_t)a->shape.length);
    ql_err e = check_card(a, &file.config, folder);
    if (!ql_bad(e)) e = copy_modules(a, &file, folder, x);
    if (!ql_bad(e)) e = ql_upload(a->device, a->value, x);
    free(x);
    ql_peft_close(&file);
    return e;
}

static void set_modules(const ql_peft_adapter *file, ql_config *c) {
    for (size_t i = 0; i < c->target_modules.count; i++) free(c->target_modules.item[i]);
    c->target_modules.count = 0;
    c->target_modules_is_list = true;
    for (size_t i = 0; i < ql_peft_module_count(file); i++)
        QL_PUSH(c->target_modules.item, c->target_modules.count, c->target_modules.capacity,
                ql_strdup(ql_peft_module_name(file, i)));
}

ql_err ql_adapter_adopt(const char *folder, ql_config *c) {
    ql_peft_adapter file;
    QL_TRY(ql_peft_open(folder, &file));
    c->lora_r = file.config.r;
    c->lora_alpha = file.config.lora_alpha;
    c->use_rslora = file.config.use_rslora;
    set_modules(&file, c);
    ql_peft_close(&file);
    return ql_ok();
}
