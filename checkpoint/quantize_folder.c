#include "checkpoint/quantize_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "checkpoint/quantize_tensors.h"

enum { MAX_CONFIG = 16 << 20 };

/* ---- config.json and the other files ----------------------------------------------------------- */

static const char *compute_dtype(const ql_quantize_job *j, const ql_json *config) {
    const char *name = ql_json_text(ql_json_get(config, "dtype"), NULL);
    if (!name) name = ql_json_text(ql_json_get(config, "torch_dtype"), NULL);
    if (name && (!strcmp(name, "bfloat16") || !strcmp(name, "float16") || !strcmp(name, "float32"))) return name;
    for (size_t i = 0; i < j->n; i++)
        if (j->item[i].quantised) return ql_bnb_source_name(j->item[i].form.source);
    return "float32";
}

/* Put in as text, so that everything else of the file stays as it is to the last digit. */
static void put_quantised_config(ql_str *out, const ql_quantize_job *j, const ql_str *text, const char *dtype) {
    size_t brace = (size_t)(strchr(text->data, '{') - text->data) + 1;
    ql_str_put(out, text->data, brace);
    ql_str_printf(out,
                  "\n  \"quantization_config\": {\n"
                  "    \"_load_in_4bit\": true,\n"
                  "    \"_load_in_8bit\": false,\n"
                  "    \"bnb_4bit_compute_dtype\": \"%s\",\n"
                  "    \"bnb_4bit_quant_storage\": \"uint8\",\n"
                  "    \"bnb_4bit_quant_type\": \"%s\",\n"
                  "    \"bnb_4bit_use_double_quant\": %s,\n"
                  "    \"llm_int8_enable_fp32_cpu_offload\": false,\n"
                  "    \"llm_int8_has_fp16_weight\": false,\n"
                  "    \"llm_int8_skip_modules\": null,\n"
                  "    \"llm_int8_threshold\": 6.0,\n"
                  "    \"load_in_4bit\": true,\n"
                  "    \"load_in_8bit\": false,\n"
                  "    \"quant_method\": \"bitsandbytes\"\n"
                  "  },",
                  dtype, j->type->name, j->double_quant ? "true" : "false");
    ql_str_put(out, text->data + brace, text->size - brace);
}

static ql_err check_config(const char *path, const ql_json *config) {
    QL_CHECK(ql_json_is(config, QL_JSON_OBJECT) && ql_json_size(config) > 0, QL_DATA,
             "%s: is not the configuration of a model: it holds %s", path, ql_json_kind_name(config));
    QL_CHECK(!ql_json_get(config, "quantization_config"), QL_DATA,
             "%s: has a quantization_config: the model is quantised already; give the folder of the original model",
             path);
    return ql_ok();
}

static ql_err write_config(const ql_quantize_job *j, const char *path, const char *to) {
    ql_str text, out = {0};
    ql_json *config = NULL;
    QL_TRY(ql_file_read(path, MAX_CONFIG, &text));
    ql_err e = ql_json_parse(text.data, text.size, path, 1, &config);
    if (!ql_bad(e)) {
        put_quantised_config(&out, j, &text, compute_dtype(j, config));
        e = ql_file_replace(to, out.data, out.size);
    }
    ql_json_free(config);
    ql_str_free(&text);
    ql_str_free(&out);
    return e;
}

static bool ends_in(const char *name, const char *end) {
    size_t n = strlen(name), k = strlen(end);
    return n >= k && !strcmp(name + n - k, end);
}

/* Weights in whatever form would contradict the new ones. */
static bool is_copied(const char *name) {
    static const char *const weights[] = {".safetensors", ".index.json", ".bin",     ".pt",   ".pth",
                                          ".gguf",        ".h5",         ".msgpack", ".onnx", ".ckpt"};
    if (!ql_name_is_plain(name, strlen(name)) || !strcmp(name, "config.json")) return false;
    for (size_t i = 0; i < QL_LEN(weights); i++)
        if (ends_in(name, weights[i])) return false;
    return true;
}

/* The new folder may be given away: a link in the old one must not bring in what lies elsewhere. */
static ql_err copy_file(const char *folder, const char *name, const char *to) {
    struct stat st;
    ql_map m;
    char *from = ql_path_join(folder, name);
    bool is_file = stat(from, &st) == 0 && S_ISREG(st.st_mode);
    free(from);
    if (!is_file) return ql_ok();
    QL_TRY(ql_map_open_named(folder, name, &m));
    ql_err e = ql_file_replace(to, m.data, m.size);
    ql_map_close(&m);
    return e;
}

static ql_err copy_others(const char *from, const char *to) {
    DIR *dir = opendir(from);
    if (!dir) return ql_fail_errno("%s: cannot be read", from);
    ql_err e = ql_ok();
    for (struct dirent *entry; !ql_bad(e) && (entry = readdir(dir));) {
        if (!is_copied(entry->d_name)) continue;
        char *target = ql_path_join(to, entry->d_name);
        e = copy_file(from, entry->d_name, target);
        free(target);
    }
    closedir(dir);
    return e;
}

/* ---- the folder -------------------------------------------------------------------------------- */

static ql_err check_out(const char *path) {
    DIR *dir = opendir(path);
    if (!dir && errno == ENOENT) return ql_ok();
    if (!dir) return ql_err_as(ql_fail_errno("%s: cannot be written into", path), QL_USAGE);
    bool empty = true;
    for (struct dirent *entry; empty && (entry = readdir(dir));)
        empty = !strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..");
    closedir(dir);
    QL_CHECK(empty, QL_USAGE, "%s: exists and is not empty; choose another --out or remove it", path);
    return ql_ok();
}

/* A folder that was not there a moment ago, so that nobody else can have put it or a link there. */
static ql_err make_new(const char *path) {
    char *copy = ql_strdup(path);
    ql_err e = ql_dir_make(dirname(copy));
    free(copy);
    if (!ql_bad(e)) e = ql_dir_remove(path); /* left by a dead process that had our number */
    if (!ql_bad(e) && mkdir(path, 0755) != 0) e = ql_fail_errno("%s: cannot be created", path);
    return e;
}

static ql_err fill(ql_quantize_job *j, const char *model, const char *config_path, const char *to) {
    char *weights = ql_path_join(to, "model.safetensors"), *config = ql_path_join(to, "config.json");
    ql_err e = copy_others(model, to);
    if (!ql_bad(e)) e = write_config(j, config_path, config);
    if (!ql_bad(e)) e = ql_quantize_write(j, weights);
    free(weights);
    free(config);
    return e;
}

static ql_err publish(const char *from, const char *to) {
    if (rename(from, to) != 0) return ql_fail_errno("%s: cannot be renamed to %s", from, to);
    char *parent = ql_path_join(to, "..");
    ql_err e = ql_dir_sync(parent);
    free(parent);
    return e;
}

/* Somebody is at work in a folder as long as he holds its lock, which nobody does who was killed; -1: it is in use, or not to be
 * told. */
static int hold(const char *folder) {
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0) return fd;
    if (fd >= 0) close(fd);
    return -1;
}

static void remove_if_left(const char *folder) {
    struct stat st;
    int fd = lstat(folder, &st) == 0 && st.st_uid == geteuid() ? hold(folder) : -1;
    if (fd < 0) return;
    if (ql_bad(ql_dir_remove(folder))) ql_warn("%s", ql_err_text());
    close(fd);
}

/* What somebody who was killed left beside `to`. */
static void remove_leftovers(const char *to) {
    const char *slash = strrchr(to, '/');
    char *parent = slash ? ql_strndup(to, (size_t)(slash - to) + 1) : ql_strdup("."), *start = ql_format("%s.tmp-", slash ? slash + 1 : to);
    DIR *dir = opendir(parent);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        size_t n = strlen(start);
        if (strncmp(entry->d_name, start, n) != 0 || strspn(entry->d_name + n, "0123456789") != strlen(entry->d_name + n)) continue;
        char *left = ql_path_join(parent, entry->d_name);
        remove_if_left(left);
        free(left);
    }
    if (dir) closedir(dir);
    free(parent);
    free(start);
}

static ql_err write_folder(ql_quantize_job *j, const char *model, const char *config_path, const char *out_folder) {
    size_t n = strlen(out_folder);
    while (n > 1 && out_folder[n - 1] == '/') n--;
    char *to = ql_strndup(out_folder, n), *aside = ql_format("%s.tmp-%ld", to, (long)getpid());
    remove_leftovers(to);
    ql_err e = make_new(aside);
    int lock = ql_bad(e) ? -1 : hold(aside);
    if (!ql_bad(e)) e = fill(j, model, config_path, aside);
    if (!ql_bad(e)) e = publish(aside, to);
    if (lock >= 0) close(lock);
    if (ql_bad(e)) {
        char *reason = ql_strdup(ql_err_text());
        if (ql_bad(ql_dir_remove(aside))) ql_warn("%s", ql_err_text());
        e = ql_fail(e.code, "%s", reason);
        free(reason);
    }
    free(to);
    free(aside);
    return e;
}

static ql_err check_model_config(const char *path) {
    ql_json *config;
    QL_TRY(ql_json_read(path, MAX_CONFIG, &config));
    ql_err e = check_config(path, config);
    ql_json_free(config);
    return e;
}

ql_err ql_quantize_folder(const char *model_folder, const char *out_folder, const ql_quant *type, bool double_quant,
                          bool (*is_quantised)(const char *tensor_name, void *ctx), void *ctx, int (*stops)(void)) {
    ql_quantize_job j = {.type = type, .double_quant = double_quant, .stops = stops};
    ql_tensor_set *s = NULL;
    char *config = ql_path_join(model_folder, "config.json");
    ql_err e = check_out(out_folder);
    if (!ql_bad(e)) e = check_model_config(config);
    if (!ql_bad(e)) e = ql_tensor_folder_open(model_folder, &s);
    if (!ql_bad(e)) e = ql_quantize_survey(&j, s, is_quantised, ctx);
    if (!ql_bad(e)) e = write_folder(&j, model_folder, config, out_folder);
    ql_tensor_set_close(s);
    ql_quantize_job_free(&j);
    free(config);
    return e;
}
