/* Attention: documents, heads and blocks of queries or keys are dealt to the threads. */
#include "kernels/cpu/cpu.h"

_Static_assert((int)QL_ATTENTION_SCRATCH <= (int)QL_OWN_FLOATS && (int)QL_BF16_ATTENTION_SCRATCH <= (int)QL_OWN_FLOATS,
               "attention fits into a thread's scratch");

/* What one call of a routine gets: part `part` of document and head group. */
typedef struct {
    const ql_cpu   *cpu;
    ql_dtype        operands;
    ql_attention_job whole; /* of the first document and head */
    const int32_t  *q_start, *k_start;
    int64_t         documents, heads, kv_heads, group, groups_per_kv, block;
    unsigned        parts;
} attention;

/* Items are numbered document by document, so their number per document must be looked up. */
typedef struct {
    ql_attention_job job;
    int64_t          block;
} item;

typedef enum { BY_QUERIES, BY_KEYS, WHOLE } cut;

static int64_t blocks_of(const attention *a, cut how, int64_t document) {
    int64_t queries = a->q_start[document + 1] - a->q_start[document];
    int64_t keys = a->k_start[document + 1] - a->k_start[document];
    if (queries == 0) return how == BY_QUERIES ? 0 : keys > 0;
    return how == WHOLE ? 1 : ql_ceil_div(how == BY_QUERIES ? queries : keys, a->block);
}

static int64_t count_items(const attention *a, cut how) {
    int64_t n = 0;
    for (int64_t d = 0; d < a->documents; d++) n += blocks_of(a, how, d);
    return n * a->kv_heads * a->groups_per_kv;
}

static ql_attention_job job_of(const attention *a, int64_t document, int64_t kv_head, int64_t part) {
    ql_attention_job j = a->whole;
    int64_t          first_head = kv_head * (a->heads / a->kv_heads) + part * a->group;
    int64_t          q = a->q_start[document] * j.q_stride + first_head * j.head_dim;
    int64_t          k = a->k_start[document] * j.kv_stride + kv_head * j.head_dim;
    int64_t          l = a->q_start[document] * j.lse_stride + first_head;
    j.q += q, j.k += k, j.v += k, j.lse += l;
    if (j.o) j.o += q;
    if (j.d_o) j.d_o += q, j.dq += q, j.dk += k, j.dv += k, j.delta += l;
    j.group = ql_min(a->group, a->heads / a->kv_heads - part * a->group);
    j.queries = a->q_start[document + 1] - a->q_start[document];
    j.keys = a->k_start[document + 1] - a->k_start[document];
    return j;
}

/* The last blocks of a document see the most keys; they come first, so that threads end together. */
static item item_of(const attention *a, cut how, int64_t number) {
    int64_t heads = a->kv_heads * a->groups_per_kv, document = 0;
    for (;; document++) {
        int64_t here = blocks_of(a, how, document) * heads;
        if (number < here) break;
        number -= here;
    }
    int64_t head = number % heads, blocks = blocks_of(a, how, document);
    int64_t block = how == BY_QUERIES ? blocks - 1 - number / heads : number / heads;
    return (item){job_of(a, document, head / a->groups_per_kv, head % a->groups_per_kv), block};
}

static ql_err check_documents(const char *op, const int32_t *q, int64_t q_end, const int32_t *k, int64_t k_end,
                              int64_t documents) {
    QL_CHECK(q[0] == 0 && k[0] == 0 && q[documents] == q_end && k[documents] == k_end, QL_BUG,
             "%s: the documents do not cover the tokens", op);
    for (int64_t d = 0; d < documents; d++)
        QL_CHECK(q[d + 1] >= q[d] && k[d + 1] - k[d] >= q[d + 1] - q[d], QL_BUG,
                 "%s: document %lld has fewer keys than queries", op, (long long)d);
    return ql_ok();
}

static void attend(const attention *a, const ql_attention_job *job, int64_t from, int64_t count, float *scratch) {
    if (a->operands == QL_BF16)
        a->cpu->bf16->attention(a->cpu->bf16, job, from, count, scratch);
    else
        a->cpu->simd->attention(job, from, count, scratch);
}

static void forward_items(void *context, int thread, int64_t from, int64_t to) {
    const attention *a = context;
    for (int64_t i = from; i < to; i++) {
        item    it = item_of(a, BY_QUERIES, i);
        int64_t query = it.block * a->block;
        attend(a, &it.job, query, ql_min(a->block, it.job.queries - query), ql_cpu_scratch(a->cpu, thread));
    }
}

/* What an item of the forward pass is. Kernels for bf16 have masks to do only where a block of queries is
 * not a block of keys, too. */
static void choose_rows(attention *a) {
    enum { QUERIES = 64 };
    int64_t heads = a->heads / a->kv_heads;
    if (a->operands == QL_BF16) {
        a->group = ql_min(heads, QL_BF16_ATTENTION_ROWS / QUERIES);
        a->block = ql_min(QL_BF16_ATTENTION_ROWS / QUERIES / a->group, 4) * QUERIES;
    } else {
        a->group = ql_min(heads, QL_ATTENTION_ROWS);
        a->block = ql_min(QL_ATTENTION_ROWS / a->group, 2 * QUERIES);
    }
    a->groups_per_kv = ql_ceil_div(heads, a->group);
}

ql_err ql_cpu_attention(ql_device *d, const ql_attention_args *x) {
    attention a = {.cpu = ql_cpu_of(d),
                   .operands = x->operands,
                   .q_start = ql_address(x->q_start),
                   .k_start = ql_address(x->k_start),
                   .documents = x->q_start.rows - 1,
                   .heads = x->heads,
                   .kv_heads = x->kv_heads,
                   .whole = {.q = ql_address(x->q),
                             .k = ql_address(x->k),
                             .v = ql_address(x->v),
                             .o = ql_address(x->o),
                             .lse = ql_address(x->lse),
                             .q_stride = x->q.cols,
                             .kv_stride = x->k.cols,
                             .lse_stride = x->heads,
                             .head_dim = x->q.cols / x->heads,
                             .window = x->window,
                             .scale = x->scale}};
    QL_TRY(check_documents("attention", a.q_start, x->q.rows, a.k_start, x->k.rows, a.documents));
    choose_rows(&a);
    ql_cpu_parallel(a.cpu, count_items(&a, BY_QUERIES), 1, forward_items, &a);
    return ql_ok();
}

typedef struct {
    const ql_simd *simd;
    const float   *d_o, *o;
    float         *delta;
    int64_t        head_dim;
} delta_work;

static void make_delta(void *context, int thread, int64_t from, int64_t to) {
    (void)thread;
    const delta_work *w = context;
    for (int64_t i = from; i < to; i++)
        w->delta[i] = w->simd->dot(w->d_o + i * w->head_dim, w->o + i * w->head_dim, w->head_dim);
}

static void make_gradients(const attention *a, const ql_attention_job *job, unsigned parts, int64_t query_from,
                           int64_t query_to, int64_t key_from, int64_t key_to, int thread) {
    float *scratch = ql_cpu_scratch(a->cpu, thread);
    if (a->operands == QL_BF16)
        a->cpu->bf16->attention_grad(a->cpu->bf16, job, parts, query_from, query_to, key_from, key_to, scratch);
    else
        a->cpu->simd->attention_grad(job, parts, query_from, query_to, key_from, key_to, scratch);
}

static void grad_whole(void *context, int thread, int64_t from, int64_t to) {
    const attention *a = context;
    for (int64_t i = from; i < to; i++) {
        item it = item_of(a, WHOLE, i);
        make_gradients(a, &it.job, QL_GRAD_Q | QL_GRAD_KV, 0, it.job.queries, 0, it.job.keys, thread);
    }
}

static void grad_by_queries(void *context, int thread, int64_t from, int64_t to) {
    const attention *a = context;
    for (int64_t i = from; i < to; i++) {
        item    it = item_of(a, BY_QUERIES, i);
        int64_t first = it.block * a->block, end = ql_min(it.job.queries, first + a->block);
        make_gradients(a, &it.job, QL_GRAD_Q, first, end, 0, it.job.keys - it.job.queries + end, thread);
    }
}

static void grad_by_keys(void *context, int thread, int64_t from, int64_t to) {
    const attention *a = context;
    for (int64_t i = from; i < to; i++) {
        item    it = item_of(a, BY_KEYS, i);
        int64_t first = it.block * a->block;
        make_gradients(a, &it.job, QL_GRAD_KV, 0, it.job.queries, first, ql_min(it.job.keys, first + a->block), thread);
    }
}

static double work_of(const attention *a, int64_t document) {
    double queries = (double)(a->q_start[document + 1] - a->q_start[document]);
    double keys = (double)(a->k_start[document + 1] - a->k_start[document]), window = (double)a->whole.window;
    return queries * (window > 0.0 && window < keys ? 2.0 * window : keys);
}

/* One pass makes all three gradients from the same scores, but only whole documents and heads can
 * be dealt out; cut finer, the scores are made twice. The bits are the same. */
static bool worth_cutting(const attention *a) {
    int64_t threads = a->cpu->threads;
    float  *busy = ql_cpu_scratch(a->cpu, 0), last = 0.0f; /* when each thread would end */
    double  total = 0.0;
    for (int64_t t = 0; t < threads; t++) busy[t] = 0.0f;
    for (int64_t i = 0; i < a->documents * a->kv_heads; i++) {
        double  work = work_of(a, i / a->kv_heads);
        int64_t first = 0;
        for (int64_t t = 1; t < threads; t++)
            if (busy[t] < busy[first]) first = t;
        busy[first] += (float)work;
        last = busy[first] > last ? busy[first] : last;
        total += work;
    }
    return (double)last > 7.0 / 5.0 * total / (double)threads;
}

static attention grad_of(ql_device *d, const ql_attention_grad_args *x) {
    return (attention){.cpu = ql_cpu_of(d),
                       .operands = x->operands,
                       .q_start = ql_address(x->q_start),
                       .k_start = ql_address(x->k_start),
                       .documents = x->q_start.rows - 1,
                       .heads = x->heads,
                       .kv_heads = x->kv_heads,
                       .group = x->heads / x->kv_heads,
                       .groups_per_kv = 1,
                       .block = 4 * QL_KEY_BLOCK,
                       .whole = {.q = ql_address(x->q),
                                 .k = ql_address(x->k),
                                 .v = ql_address(x->v),
                                 .lse = ql_address(x->lse),
                                 .d_o = ql_address(x->d_o),
                                 .delta = ql_address(x->delta),
                                 .dq = ql_address(x->dq),
                                 .dk = ql_address(x->dk),
                                 .dv = ql_address(x->dv),
                                 .q_stride = x->q.cols,
                                 .kv_stride = x->k.cols,
                                 .lse_stride = x->heads,
                                 .head_dim = x->q.cols / x->heads,
                                 .window = x->window,
                                 .scale = x->scale}};
}

ql_err ql_cpu_attention_grad(ql_device *d, const ql_attention_grad_args *x) {
    attention a = grad_of(d, x);
    QL_TRY(check_documents("attention_grad", a.q_start, x->q.rows, a.k_start, x->k.rows, a.documents));
    delta_work w = {a.cpu->simd, a.whole.d_o, ql_address(x->o), ql_address(x->delta), a.whole.head_dim};
    ql_cpu_parallel(a.cpu, x->q.rows * x->heads, ql_cpu_grain(w.head_dim), make_delta, &w);
    if (worth_cutting(&a)) {
        ql_cpu_parallel(a.cpu, count_items(&a, BY_QUERIES), 1, grad_by_queries, &a);
        ql_cpu_parallel(a.cpu, count_items(&a, BY_KEYS), 1, grad_by_keys, &a);
    } else {
        ql_cpu_parallel(a.cpu, count_items(&a, WHOLE), 1, grad_whole, &a);
    }
    return ql_ok();
}
