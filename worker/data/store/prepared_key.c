#include "worker/data/store/prepared_key.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <utf8proc.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/pulse.h"
#include "worker/data/store/prepared_seen.h"

/* ---- the data ---- */

enum { CHUNK = 8 << 20 };

static void show_digest(const char *path, size_t chunk, size_t chunks, double began) {
    if (ql_seconds() - began > 2) ql_progress(false, "%s: its digest: %.0f %%", path, 100.0 * (double)chunk / (double)chunks);
}

static bool read_chunk(int fd, size_t from, size_t n, uint8_t *to) {
    for (size_t got = 0; got < n;) {
        ssize_t k = pread(fd, to + got, n - got, (off_t)(from + got));
        if (k == 0 || (k < 0 && errno != EINTR)) return false;
        if (k > 0) got += (size_t)k;
    }
    return true;
}

/* By all threads: the digest of the digests of its chunks. It is read rather than mapped, since holes of a file in memory would be filled by that. */
static bool digest_of(const char *path, int fd, size_t size, ql_hash128_value *out) {
    size_t            chunks = (size_t)ql_ceil_div((int64_t)size, CHUNK);
    double            began = ql_seconds();
    bool              fine = true;
    ql_hash128_value *each = QL_NEW_ARRAY(ql_hash128_value, chunks + 1);
#pragma omp parallel if (chunks > 1) reduction(&& : fine)
    {
        uint8_t *buffer = ql_alloc(size < CHUNK ? size : CHUNK);
#pragma omp for schedule(dynamic)
        for (size_t i = 0; i < chunks; i++) {
            size_t from = i * CHUNK, n = size - from < CHUNK ? size - from : CHUNK;
            fine = fine && read_chunk(fd, from, n, buffer);
            each[i] = ql_hash128(buffer, n);
            ql_pulse_beat();
            if (omp_get_thread_num() == 0) show_digest(path, i, chunks, began);
        }
        free(buffer);
    }
    each[chunks] = (ql_hash128_value){size, chunks};
    *out = ql_hash128(each, (chunks + 1) * sizeof *each);
    free(each);
    return fine;
}

static ql_err add_file(const char *path, ql_str *out, ql_file_mark *mark) {
    ql_hash128_value digest;
    int              fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    bool             fine = fd >= 0 && ql_file_mark_of(fd, mark) && digest_of(path, fd, mark->size, &digest);
    if (fd >= 0) close(fd);
    if (!fine) return ql_fail_errno("%s: cannot be read", path);
    ql_str_printf(out, "%016" PRIx64 "%016" PRIx64 " ", digest.high, digest.low);
    ql_json_put_string(out, path, strlen(path));
    ql_str_puts(out, "\n");
    return ql_ok();
}

static ql_err add_files(const ql_file_list *files, ql_str *out, ql_file_mark *mark) {
    for (size_t i = 0; i < files->count; i++) QL_TRY(add_file(files->path[i], out, &mark[i]));
    return ql_ok();
}

static bool has_marks(const ql_file_list *files, const ql_file_mark *mark) {
    for (size_t i = 0; i < files->count; i++) {
        ql_file_mark now;
        if (!ql_file_mark_read(files->path[i], &now) || memcmp(&now, &mark[i], sizeof now) != 0) return false;
    }
    return true;
}

static bool are_settled(const ql_file_list *files, const ql_recipe_of_data *r) {
    for (size_t i = 0; i < files->count; i++)
        if (!ql_mark_is_settled(&r->mark[i], r->when)) return false;
    return true;
}

/* Reading less takes no time. */
static bool are_large(const ql_file_list *files, const ql_file_mark *mark) {
    enum { LEAST = 1 << 20 };
    uint64_t bytes = 0;
    for (size_t i = 0; i < files->count; i++) bytes += mark[i].size;
    return bytes >= LEAST;
}

static ql_err find_digests(const ql_file_list *files, const char *folder, ql_recipe_of_data *r) {
    ql_str *text = &r->text[QL_MADE_OF_DATA];
    for (size_t i = 0; i < files->count; i++)
        if (!ql_file_mark_read(files->path[i], &r->mark[i])) return ql_fail_errno("%s: cannot be looked at", files->path[i]);
    bool may_be_kept = are_large(files, r->mark) && are_settled(files, r);
    if (may_be_kept && ql_seen_find(folder, files, r->mark, text)) return ql_ok();
    QL_TRY(add_files(files, text, r->mark));
    if (may_be_kept && are_settled(files, r) && has_marks(files, r->mark) && ql_file_exists(folder)) ql_seen_keep(folder, files, r->mark, text);
    return ql_ok();
}

bool ql_made_of_unchanged(const ql_recipe_of_data *r, const ql_file_list *files) {
    if (!has_marks(files, r->mark)) return false;
    if (are_settled(files, r)) return true;
    ql_str        again = {0};
    ql_file_mark *mark = QL_NEW_ARRAY(ql_file_mark, files->count);
    bool          same = !ql_bad(add_files(files, &again, mark)) && !strcmp(again.data, r->text[QL_MADE_OF_DATA].data);
    ql_str_free(&again);
    free(mark);
    return same;
}

/* ---- the rest ---- */

/* Another build may make other tokens of the same, whatever version it says it is; and Unicode changes. */
static void add_program(ql_str *out) {
    ql_map           self;
    ql_hash128_value digest = {0};
    if (!ql_bad(ql_map_open("/proc/self/exe", &self))) digest = ql_hash128(self.data, self.size);
    ql_map_close(&self);
    ql_str_printf(out, "version: %s\nprogram: %016" PRIx64 "%016" PRIx64 "\nUnicode: %s, utf8proc %s\n", QL_VERSION, digest.high, digest.low,
                  utf8proc_unicode_version(), utf8proc_version());
}

/* Where the template asks, it is told the local time. */
static void add_chat(const ql_chat *c, ql_str *out) {
    char      now[64] = "";
    time_t    seconds = c->now;
    struct tm t;
    if (c->asks_clock && localtime_r(&seconds, &t)) strftime(now, sizeof now, "%Y-%m-%d %H:%M:%S %z", &t);
    ql_str_printf(out, "chat: %016" PRIx64 " %s\n", c->digest, now);
}

static void add_tokenizer(const ql_corpus_options *o, ql_str *out) {
    const ql_tokenizer *t = o->tokenizer;
    const char *eos = ql_tokenizer_eos(t);
    ql_str_printf(out, "digest: %016" PRIx64 "\nids: %d %d\nvocabulary: %lld %lld\neos: ", ql_tokenizer_fingerprint(t), ql_tokenizer_eos_id(t),
                  ql_tokenizer_bos_id(t), (long long)ql_tokenizer_size(t), (long long)o->vocab_size);
    ql_json_put_string(out, eos ? eos : "", eos ? strlen(eos) : 0);
    ql_str_puts(out, "\n");
}

/* What renders conversations, and words instructions: its text may lie in a file. */
static ql_err add_template(const ql_corpus_options *o, const ql_dataset_spec *d, ql_str *out) {
    const char *wording = d->instruction_template ? d->instruction_template : o->config->instruction_template;
    if (o->chat) add_chat(o->chat, out);
    if (!wording || !ql_file_exists(wording)) return ql_ok();
    ql_sha256 digest;
    char      text[65];
    QL_TRY(ql_sha256_file(wording, &digest));
    ql_sha256_text(&digest, text);
    ql_str_printf(out, "wording: %s\n", text);
    return ql_ok();
}

static void add_settings(const ql_corpus_options *o, const ql_dataset_spec *d, ql_str *out) {
    ql_config_put_data(o->config, d, out);
    ql_str_printf(out, "keep_untargeted: %d\n", o->keep_untargeted);
    if (o->facts) ql_str_printf(out, "the model's stop tokens: %016" PRIx64 "\n", o->facts->digest);
}

static ql_store_key key_of(const ql_recipe_of_data *r) {
    uint32_t   versions[] = {QL_STORE_VERSION, sizeof(ql_document)};
    ql_hasher *h = ql_hasher_open();
    ql_hasher_add(h, versions, sizeof versions);
    for (int i = 0; i < QL_INGREDIENTS; i++) ql_hasher_add_string(h, r->text[i].data ? r->text[i].data : "");
    ql_sha256    digest = ql_hasher_close(h);
    ql_store_key key;
    memcpy(key.byte, digest.byte, sizeof key.byte);
    return key;
}

ql_err ql_made_of(const ql_corpus_options *o, const ql_dataset_spec *d, const ql_file_list *files, const char *folder, ql_recipe_of_data *out) {
    *out = (ql_recipe_of_data){.when = ql_wall_seconds(), .mark = QL_NEW_ARRAY(ql_file_mark, files->count)};
    ql_err e = find_digests(files, folder, out);
    if (!ql_bad(e)) e = add_template(o, d, &out->text[QL_MADE_OF_TEMPLATE]);
    if (ql_bad(e)) {
        ql_made_of_free(out);
        return e;
    }
    add_program(&out->text[QL_MADE_BY_PROGRAM]);
    add_tokenizer(o, &out->text[QL_MADE_OF_TOKENIZER]);
    add_settings(o, d, &out->text[QL_MADE_OF_SETTINGS]);
    out->key = key_of(out);
    return e;
}

void ql_made_of_free(ql_recipe_of_data *r) {
    for (int i = 0; i < QL_INGREDIENTS; i++) ql_str_free(&r->text[i]);
    free(r->mark);
    *r = (ql_recipe_of_data){0};
}

/* ---- then and now ---- */

static const struct {
    const char *name, *shown;
} ingredient[QL_INGREDIENTS] = {
    [QL_MADE_BY_PROGRAM] = {"program", "the program"},
    [QL_MADE_OF_DATA] = {"data", "the data set"},
    [QL_MADE_OF_TOKENIZER] = {"tokenizer", "the tokenizer"},
    [QL_MADE_OF_TEMPLATE] = {"template", "the chat template"},
    [QL_MADE_OF_SETTINGS] = {"settings", "the settings"},
};

void ql_made_of_write(const ql_recipe_of_data *r, ql_str *out) {
    for (int i = 0; i < QL_INGREDIENTS; i++) {
        const ql_str *text = &r->text[i];
        ql_str_printf(out, "%s\"%s\": ", i ? ", " : "{", ingredient[i].name);
        ql_json_put_string(out, text->data ? text->data : "", text->size);
    }
    ql_str_puts(out, "}");
}

static void add_name(ql_str *out, const char *name, size_t n) {
    ql_str_printf(out, "%s%.*s", out->size ? ", " : "", (int)n, name);
}

/* The settings whose line is not among those of then. */
static void add_settings_that_differ(const char *now, const char *then, ql_str *out) {
    size_t before = out->size;
    for (const char *line = now, *end; (end = strchr(line, '\n')); line = end + 1) {
        char *one = ql_strndup(line, (size_t)(end - line) + 1), *found = strstr(then, one);
        if (!found || (found > then && found[-1] != '\n')) add_name(out, line, strcspn(line, ":"));
        free(one);
    }
    if (out->size == before) add_name(out, "the settings", strlen("the settings"));
}

char *ql_made_of_difference(const ql_recipe_of_data *now, const ql_json *then) {
    ql_str out = {0};
    for (int i = 0; i < QL_INGREDIENTS; i++) {
        const char *was = ql_json_text(ql_json_get(then, ingredient[i].name), NULL), *is = now->text[i].data ? now->text[i].data : "";
        if (!was || !strcmp(was, is)) continue;
        if (i == QL_MADE_OF_SETTINGS) add_settings_that_differ(is, was, &out);
        else add_name(&out, ingredient[i].shown, strlen(ingredient[i].shown));
    }
    if (out.size) ql_str_puts(&out, " changed");
    return out.data;
}
