/* qlora generate: text from a model folder and perhaps an adapter, token by token with a cache of
 * keys and values. Greedy at temperature 0, else sampled from the top-p nucleus with
 * counter-based random numbers: the same seed gives the same text. */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hook.h"
#include "base/json.h"
#include "base/log.h"
#include "base/random.h"
#include "worker/device_choice.h"
#include "worker/stop.h"
#include "worker/tool/tool.h"

typedef struct {
    const char *model, *adapter, *max_new_tokens, *temperature, *top_p, *seed, *device, *threads;
    bool        json;
} arguments;

typedef struct {
    ql_job        job;
    int64_t       limit; /* new tokens */
    double        temperature, top_p;
    uint64_t      key;
    const char   *prompt;
    ql_ids        ids; /* prompt and answer */
    size_t        prompt_tokens;
    ql_plan       plan;
    ql_buffer    *cache_memory, *small;
    ql_tensor    *k, *v;
    ql_kv_cache   cache;
    ql_device_batch batch;
    float        *logits;
} generator;

/* ---- arguments ---- */

static ql_err number(const char *option, const char *text, double low, double high, double *out) {
    if (!text) return ql_ok();
    char  *end;
    double x = strtod(text, &end);
    QL_CHECK(*text && !*end && x >= low && x <= high, QL_USAGE, "generate: %s: \"%s\" is not a number from %g to %g", option,
             text, low, high);
    *out = x;
    return ql_ok();
}

static ql_err read_numbers(generator *g, const arguments *a, int *threads) {
    double limit = 128, seed = 42, n = 0;
    g->top_p = 1;
    QL_TRY(number("--max-new-tokens", a->max_new_tokens, 1, 1 << 20, &limit));
    QL_TRY(number("--temperature", a->temperature, 0, 100, &g->temperature));
    QL_TRY(number("--top-p", a->top_p, 1e-6, 1, &g->top_p));
    QL_TRY(number("--seed", a->seed, 0, 0x1p53, &seed));
    QL_TRY(number("--threads", a->threads, 1, 1024, &n));
    g->limit = (int64_t)limit;
    g->key = ql_random_key((uint64_t)seed, QL_RANDOM_SAMPLE);
    *threads = (int)n;
    return ql_ok();
}

/* Words: KEY=VALUE of the model group, and one prompt, which comes last. */
static ql_err read_words(generator *g, const arguments *a, char **words, size_t n) {
    QL_CHECK(a->model, QL_USAGE, "generate: --model DIR is missing");
    QL_CHECK(n > 0, QL_USAGE, "generate: the prompt is missing; put it last, in quotes");
    g->prompt = words[n - 1];
    QL_TRY(ql_config_from_overrides(words, n - 1, &g->job.config));
    ql_config *c = &g->job.config;
    free(c->model_name_or_path);
    c->model_name_or_path = ql_strdup(a->model);
    if (a->adapter) {
        free(c->adapter_name_or_path);
        c->adapter_name_or_path = ql_strdup(a->adapter);
    }
    return c->adapter_name_or_path ? ql_adapter_adopt(c->adapter_name_or_path, c) : ql_ok();
}

/* ---- setting up ---- */

static ql_err encode_prompt(generator *g) {
    QL_TRY(ql_tokenizer_open(g->job.config.model_name_or_path, &g->job.tokenizer));
    ql_encoder *e = ql_encoder_open(g->job.tokenizer);
    ql_err      err = ql_encode(e, g->prompt, strlen(g->prompt), true, &g->ids);
    ql_encoder_close(e);
    QL_TRY(err);
    g->prompt_tokens = g->ids.count;
    QL_CHECK(g->ids.count > 0, QL_USAGE, "generate: the prompt is empty and the tokenizer adds nothing; give it a word");
    const ql_model_config *c = &g->job.model.config;
    for (size_t i = 0; i < g->ids.count; i++)
        QL_CHECK(g->ids.id[i] < c->vocab_size, QL_DATA, "generate: the tokenizer gives id %d, the model has %lld",
                 g->ids.id[i], (long long)c->vocab_size);
    QL_CHECK((int64_t)g->ids.count < c->max_positions, QL_USAGE, "generate: the prompt has %zu tokens, the model takes %lld",
             g->ids.count, (long long)c->max_positions);
    g->limit = ql_min(g->limit, c->max_positions - (int64_t)g->ids.count);
    return ql_ok();
}

static int64_t capacity_of(const generator *g) {
    return (int64_t)g->prompt_tokens + g->limit;
}

static ql_tensor take(ql_buffer *b, size_t *at, ql_dtype t, int64_t rows, int64_t cols) {
    ql_tensor v = {b, *at, t, rows, cols};
    *at += ql_align(ql_bytes(v), 64);
    return v;
}

static ql_err open_cache(generator *g) {
    const ql_graph *graph = &g->job.model.graph;
    size_t          layers = 0, at = 0;
    ql_dtype        act = g->job.question.needs.activation;
    g->k = QL_NEW_ARRAY(ql_tensor, graph->nodes);
    g->v = QL_NEW_ARRAY(ql_tensor, graph->nodes);
    for (size_t i = 0; i < graph->nodes; i++) {
        const ql_node *n = &graph->node[i];
        if (n->rule != &ql_rule_attention) continue;
        g->k[layers] = take(NULL, &at, act, capacity_of(g), graph->value[n->in[1]].width);
        g->v[layers++] = take(NULL, &at, act, capacity_of(g), graph->value[n->in[2]].width);
    }
    QL_TRY(ql_buffer_new(g->job.device, at, &g->cache_memory));
    for (size_t i = 0; i < layers; i++) g->k[i].buffer = g->v[i].buffer = g->cache_memory;
    g->cache.k = g->k;
    g->cache.v = g->v;
    return ql_ok();
}

static ql_err open_batch(generator *g) {
    int64_t n = (int64_t)g->prompt_tokens;
    size_t  at = 0;
    QL_TRY(ql_buffer_new(g->job.device, 2 * ql_align((size_t)n * 4, 64) + 6 * 64, &g->small));
    g->batch.ids = take(g->small, &at, QL_I32, n, 1);
    g->batch.positions = take(g->small, &at, QL_I32, n, 1);
    g->batch.row_start = take(g->small, &at, QL_I32, 2, 1);
    g->batch.row_id = take(g->small, &at, QL_I32, 1, 1);
    g->batch.doc_start = take(g->small, &at, QL_I32, 2, 1);
    g->batch.predictor = take(g->small, &at, QL_I32, 1, 1);
    g->cache.k_start = take(g->small, &at, QL_I32, 2, 1);
    return ql_ok();
}

static ql_err set_up(generator *g, const arguments *a, int threads) {
    ql_job *j = &g->job;
    j->place = (ql_place){0, 1, 0, 1};
    QL_TRY(ql_choose_device(j, a->device, threads, false));
    QL_TRY(ql_job_describe_model(j, QL_JOB_EVAL));
    QL_TRY(encode_prompt(g));
    QL_TRY(ql_model_load(&j->model, j->device, capacity_of(g)));
    if (j->has_adapter) {
        ql_adapter_shape shape = j->adapter.shape;
        QL_TRY(ql_adapter_open(j->device, &shape, false, false, &j->adapter));
        QL_TRY(ql_adapter_read(&j->adapter, j->config.adapter_name_or_path));
    }
    QL_TRY(ql_device_needs_of(j->device_kind, threads, j->operands, 0, &j->question.needs));
    ql_plan_request r = {.purpose = QL_PLAN_GENERATE,
                         .max_tokens = (int64_t)g->prompt_tokens,
                         .logit_rows = 1,
                         .element = ql_dtype_size(j->question.needs.activation)};
    ql_plan_make(&j->model.graph, &r, &g->plan);
    QL_TRY(ql_buffer_new(j->device, g->plan.bytes, &j->arena));
    g->logits = QL_NEW_ARRAY(float, (size_t)j->model.config.vocab_size);
    QL_TRY(open_cache(g));
    return open_batch(g);
}

/* ---- one token after another ---- */

static ql_err upload_i32(generator *g, ql_tensor t, int64_t rows, const int32_t *from) {
    return ql_upload(g->job.device, ql_rows(t, 0, rows), from);
}

/* Runs `n` more tokens of the text; the logits after the last one are on the host then. */
static ql_err advance(generator *g, int64_t n) {
    int64_t  from = g->cache.length;
    int32_t *positions = QL_NEW_ARRAY(int32_t, (size_t)n);
    for (int64_t i = 0; i < n; i++) positions[i] = (int32_t)(from + i);
    int32_t span[2] = {0, (int32_t)n}, known[2] = {0, (int32_t)(from + n)}, last = (int32_t)n - 1, zero = 0;
    ql_device_batch b = g->batch;
    b.tokens = n;
    b.rows = b.documents = b.targets = 1;
    b.ids = ql_rows(b.ids, 0, n);
    b.positions = ql_rows(b.positions, 0, n);
    ql_err e = upload_i32(g, g->batch.ids, n, g->ids.id + from);
    if (!ql_bad(e)) e = upload_i32(g, g->batch.positions, n, positions);
    free(positions);
    QL_TRY(e);
    QL_TRY(upload_i32(g, b.row_start, 2, span));
    QL_TRY(upload_i32(g, b.doc_start, 2, span));
    QL_TRY(upload_i32(g, g->cache.k_start, 2, known));
    QL_TRY(upload_i32(g, b.predictor, 1, &last));
    QL_TRY(upload_i32(g, b.row_id, 1, &zero));
    ql_job *j = &g->job;
    g->cache.next_layer = 0;
    ql_run r = {.device = j->device,
                .graph = &j->model.graph,
                .plan = &g->plan,
                .arena = j->arena,
                .weights = j->model.weight,
                .sites = j->has_adapter ? j->adapter.sites : NULL,
                .act = j->question.needs.activation,
                .operands = j->operands,
                .rope_cos = j->model.rope_cos,
                .rope_sin = j->model.rope_sin,
                .batch = &b,
                .cache = &g->cache};
    QL_TRY(ql_run_batch(&r));
    g->cache.length += n;
    ql_tensor logits = {j->arena, g->plan.logits_at, QL_F32, 1, j->model.config.vocab_size};
    return ql_download(j->device, g->logits, logits);
}

static int32_t greedy(const generator *g) {
    int64_t best = 0;
    for (int64_t i = 1; i < g->job.model.config.vocab_size; i++)
        if (g->logits[i] > g->logits[best]) best = i;
    return (int32_t)best;
}

typedef struct {
    double  p;
    int32_t id;
} candidate;

static int more_likely(const void *a, const void *b) {
    const candidate *x = a, *y = b;
    if (x->p != y->p) return x->p < y->p ? 1 : -1;
    return (x->id > y->id) - (x->id < y->id);
}

/* Nucleus sampling (Holtzman et al. 2020): the smallest set of most likely tokens of mass >= top_p. */
static int32_t sample(const generator *g) {
    int64_t    n = g->job.model.config.vocab_size;
    candidate *c = QL_NEW_ARRAY(candidate, (size_t)n);
    double     top = (double)g->logits[greedy(g)], sum = 0, mass = 0;
    for (int64_t i = 0; i < n; i++) {
        c[i] = (candidate){exp(((double)g->logits[i] - top) / g->temperature), (int32_t)i};
        sum += c[i].p;
    }
    qsort(c, (size_t)n, sizeof *c, more_likely);
    int64_t kept = 0;
    while (kept < n && (kept == 0 || mass < g->top_p * sum)) mass += c[kept++].p;
    ql_random4 r = ql_philox(g->key, (uint32_t)g->cache.length, 0, 0, 0);
    double     at = (double)ql_uniform(r.word[0]) * mass;
    int64_t    pick = 0;
    while (pick + 1 < kept && at >= c[pick].p) at -= c[pick++].p;
    int32_t id = c[pick].id;
    free(c);
    return id;
}

static bool is_end(const generator *g, int32_t id) {
    const ql_model_config *c = &g->job.model.config;
    for (int i = 0; i < c->eos_token_ids; i++)
        if (c->eos_token_id[i] == id) return true;
    return id == ql_tokenizer_eos_id(g->job.tokenizer);
}

static ql_err write_text(generator *g) {
    QL_TRY(advance(g, (int64_t)g->prompt_tokens));
    for (int64_t i = 0; i < g->limit && !ql_stop_requested(); i++) {
        ql_at("token", i + 1, &g->job);
        int32_t id = g->temperature > 0 ? sample(g) : greedy(g);
        QL_PUSH(g->ids.id, g->ids.count, g->ids.capacity, id);
        if (is_end(g, id)) break;
        if (i + 1 < g->limit) QL_TRY(advance(g, 1));
    }
    return ql_ok();
}

/* A padded vocabulary has ids that no token stands for; they print as nothing. */
static ql_err decode_known(const generator *g, const int32_t *id, size_t n, ql_str *text) {
    int32_t *known = QL_NEW_ARRAY(int32_t, n);
    size_t   count = 0;
    for (size_t i = 0; i < n; i++)
        if (ql_tokenizer_piece(g->job.tokenizer, id[i], NULL)) known[count++] = id[i];
    ql_err e = ql_decode(g->job.tokenizer, known, count, true, text);
    free(known);
    return e;
}

static ql_err print_text(const generator *g, bool json) {
    const int32_t *id = g->ids.id + g->prompt_tokens;
    size_t         n = g->ids.count - g->prompt_tokens;
    ql_str         text = {0}, line = {0};
    QL_TRY(decode_known(g, id, n, &text));
    if (json) {
        ql_str_puts(&line, "{\"prompt\": ");
        ql_json_put_string(&line, g->prompt, strlen(g->prompt));
        ql_str_puts(&line, ", \"text\": ");
        ql_json_put_string(&line, text.data ? text.data : "", text.size);
        ql_str_puts(&line, ", \"tokens\": [");
        for (size_t i = 0; i < n; i++) ql_str_printf(&line, "%s%d", i ? ", " : "", id[i]);
        ql_str_puts(&line, "]}\n");
    } else {
        ql_str_put(&line, text.data, text.size);
        ql_str_puts(&line, "\n");
    }
    fwrite(line.data, 1, line.size, stdout);
    ql_str_free(&text);
    ql_str_free(&line);
    return ql_ok();
}

static void close_generator(generator *g) {
    if (g->job.device) {
        ql_buffer_free(g->job.device, g->cache_memory);
        ql_buffer_free(g->job.device, g->small);
    }
    free(g->k);
    free(g->v);
    free(g->logits);
    free(g->ids.id);
    ql_plan_free(&g->plan);
    ql_job_close(&g->job);
}

/* Ctrl-C ends a loop of a shell, too, when it sees that it was that. */
static ql_err end_as_asked(size_t tokens) {
    int sig = ql_stop_requested();
    if (sig) ql_info("generate: %s: stopped after %zu tokens", ql_stop_name(sig), tokens);
    if (sig == SIGINT) ql_stop_die();
    return sig ? ql_fail(QL_STOPPED, "generate: stopped") : ql_ok();
}

ql_err ql_do_generate(int argc, char **argv) {
    arguments            a = {0};
    const ql_tool_option options[] = {{"--model", &a.model, NULL},
                                      {"--adapter", &a.adapter, NULL},
                                      {"--max-new-tokens", &a.max_new_tokens, NULL},
                                      {"--temperature", &a.temperature, NULL},
                                      {"--top-p", &a.top_p, NULL},
                                      {"--seed", &a.seed, NULL},
                                      {"--device", &a.device, NULL},
                                      {"--threads", &a.threads, NULL},
                                      {"--json", NULL, &a.json}};
    char               **words = QL_NEW_ARRAY(char *, (size_t)argc + 1);
    size_t               n;
    int                  threads = 0;
    generator            g = {0};
    ql_err e = ql_tool_arguments("generate", argc, argv, options, QL_LEN(options), words, &n);
    if (!ql_bad(e)) e = read_numbers(&g, &a, &threads);
    if (!ql_bad(e)) e = read_words(&g, &a, words, n);
    if (!ql_bad(e)) e = set_up(&g, &a, threads);
    ql_stop_watch_once(); /* before there is a token there is nothing to print */
    if (!ql_bad(e)) e = write_text(&g);
    if (!ql_bad(e)) e = print_text(&g, a.json);
    size_t tokens = g.ids.count - g.prompt_tokens;
    if (!ql_bad(e)) close_generator(&g);
    free(words);
    return ql_bad(e) ? e : end_as_asked(tokens);
}
