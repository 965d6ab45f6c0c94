#include "worker/data/template/folder.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "worker/data/template/builtin.h"

enum { CONFIG_BYTES = 16 << 20 };

static ql_err parse_text(const char *text, size_t n, const char *where, ql_chat *chat, ql_template **out) {
    QL_TRY(ql_template_parse(text, n, where, out));
    chat->digest = ql_hash64(text, n, chat->digest + 1);
    chat->asks_clock |= memmem(text, n, "strftime_now", strlen("strftime_now")) != NULL;
    if (chat->name) return ql_ok(); /* of a second template of the same source */
    chat->name = ql_strdup(where);
    return ql_ok();
}

static ql_err parse_file(const char *path, ql_chat *chat, ql_template **out) {
    ql_str text;
    QL_TRY(ql_file_read(path, QL_TEMPLATE_SOURCE, &text));
    ql_err e = parse_text(text.data ? text.data : "", text.size, path, chat, out);
    ql_str_free(&text);
    return e;
}

static ql_err parse_json(const ql_json *source, const char *path, const char *name, ql_chat *chat, ql_template **out) {
    size_t n;
    const char *text = ql_json_text(source, &n);
    QL_CHECK(text, QL_DATA, "%s: chat_template is %s; it must be a string, or a list of objects with name and template", path, ql_json_kind_name(source));
    char *where = ql_format("%s: chat_template %s", path, name);
    ql_err e = parse_text(text, n, where, chat, out);
    free(where);
    return e;
}

/* Where a model's templates are looked for. */
typedef struct {
    const char *folder, *path; /* of tokenizer_config.json */
    const ql_json *config;     /* what it holds, or NULL    */
} place;

static const ql_json *listed(const ql_json *list, const char *name) {
    for (size_t i = 0; i < ql_json_size(list); i++) {
        const char *its = ql_json_text(ql_json_get(ql_json_at(list, i), "name"), NULL);
        if (its && !strcmp(its, name)) return ql_json_at(list, i);
    }
    return NULL;
}

static ql_err refuse_name(const ql_json *list, const char *path, const char *name) {
    ql_str names = {0};
    for (size_t i = 0; i < ql_json_size(list); i++) {
        const char *its = ql_json_text(ql_json_get(ql_json_at(list, i), "name"), NULL);
        ql_str_printf(&names, "%s%s", names.size ? ", " : "", its ? its : "?");
    }
    ql_err e = ql_fail(QL_DATA, "%s: no chat template is called \"%s\"; there are: %s", path, name, names.size ? names.data : "none");
    ql_str_free(&names);
    return e;
}

static ql_err parse_config(const place *p, const char *name, ql_chat *chat, ql_template **out) {
    const ql_json *given = ql_json_get(p->config, "chat_template"), *row = listed(given, name);
    if (row) return parse_json(ql_json_get(row, "template"), p->path, name, chat, out);
    if (ql_json_is(given, QL_JSON_ARRAY)) return refuse_name(given, p->path, name);
    QL_CHECK(ql_json_kind(given) != QL_JSON_NULL && !strcmp(name, "default"), QL_DATA,
             "%s: has no chat template%s%s; put one into chat_template.jinja", p->folder, given ? " called " : "", given ? name : "");
    return parse_json(given, p->path, name, chat, out);
}

static char *own_file(const place *p, const char *name) {
    return !strcmp(name, "default") ? ql_format("%s/chat_template.jinja", p->folder) : ql_format("%s/additional_chat_templates/%s.jinja", p->folder, name);
}

static bool has_named(const place *p, const char *name) {
    char *path = own_file(p, name);
    bool has = ql_file_exists(path) || listed(ql_json_get(p->config, "chat_template"), name);
    free(path);
    return has;
}

static ql_err find(const place *p, const char *name, ql_chat *chat, ql_template **out) {
    QL_CHECK(ql_name_is_plain(name, strlen(name)), QL_DATA, "%s: \"%s\" cannot be the name of a chat template", p->folder, name);
    char *path = own_file(p, name);
    ql_err e = ql_file_exists(path) ? parse_file(path, chat, out) : parse_config(p, name, chat, out);
    free(path);
    return e;
}

static void put_tokens(ql_str *out, const ql_json *config) {
    static const char *const names[] = {"bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token"};
    for (size_t i = 0; i < QL_LEN(names); i++) {
        const ql_json *v = ql_json_get(config, names[i]);
        size_t n;
        const char *text = ql_json_text(ql_json_is(v, QL_JSON_OBJECT) ? ql_json_get(v, "content") : v, &n);
        if (!text) continue;
        ql_str_printf(out, ", \"%s\": ", names[i]);
        ql_json_put_string(out, text, n);
    }
}

static ql_err read_optional(const char *path, ql_json **out) { return ql_file_exists(path) ? ql_json_read(path, CONFIG_BYTES, out) : ql_ok(); }

/* As the tokenizer reads them: special_tokens_map.json counts only where tokenizer_config.json lists no added tokens. */
static ql_err make_common(const char *folder, const ql_json *config, ql_json **out) {
    ql_str text = {0};
    ql_json *map = NULL;
    char *path = ql_path_join(folder, "special_tokens_map.json");
    ql_err e = ql_json_get(config, "added_tokens_decoder") ? ql_ok() : read_optional(path, &map);
    ql_str_puts(&text, "{\"tools\": null, \"documents\": null, \"add_generation_prompt\": false");
    put_tokens(&text, map ? map : config);
    ql_str_puts(&text, "}");
    if (!ql_bad(e)) e = ql_json_parse(text.data, text.size, path, 1, out);
    ql_str_free(&text);
    ql_json_free(map);
    free(path);
    return e;
}

/* What is rendered depends on the variables, too. */
static ql_err add_variables(const char *folder, const ql_json *config, ql_chat *out) {
    static const char *const words[] = {"QxQ", "ZjZ"};
    QL_TRY(make_common(folder, config, &out->common));
    for (size_t i = 0; i < QL_LEN(words); i++) {
        char *text = ql_format("{\"role\": \"assistant\", \"content\": \"%s\"}", words[i]);
        ql_err e = ql_json_parse(text, strlen(text), "stand-in", 1, &out->stand_in[i]);
        free(text);
        QL_TRY(e);
    }
    for (void *it = ql_json_first(out->common); it; it = ql_json_next(out->common, it)) {
        size_t n = 0;
        const char *text = ql_json_text(ql_json_value(it), &n);
        out->digest = ql_hash64(text ? text : "", n, out->digest + strlen(ql_json_key(it)));
    }
    return ql_ok();
}

static ql_err open_place(const char *folder, place *p, char **path, ql_json **config) {
    *config = NULL;
    *path = ql_path_join(folder, "tokenizer_config.json");
    ql_err e = read_optional(*path, config);
    *p = (place){folder, *path, *config};
    return e;
}

ql_err ql_chat_open(const char *folder, const char *name, ql_chat *out) {
    *out = (ql_chat){0};
    char *path;
    ql_json *config;
    place p;
    ql_err e = open_place(folder, &p, &path, &config);
    if (!ql_bad(e)) e = find(&p, name ? name : "default", out, &out->template);
    if (!ql_bad(e)) e = add_variables(folder, config, out);
    if (ql_bad(e)) ql_chat_close(out);
    ql_json_free(config);
    free(path);
    return e;
}

/* ---- as the configuration has it ------------------------------------------------------------- */

static bool is_path(const char *choice) {
    size_t n = strlen(choice), m = strlen(".jinja");
    return strchr(choice, '/') || (n > m && !strcmp(choice + n - m, ".jinja"));
}

/* Only a conversation needs a template, and says then what is missing. */
static ql_err put_off(const place *p, ql_err e, ql_chat *out) {
    ql_str names = {0};
    if (!ql_bad(e)) return e;
    ql_builtin_names(&names);
    bool none = !has_named(p, "default") && ql_json_kind(ql_json_get(p->config, "chat_template")) == QL_JSON_NULL;
    out->absent = none ? ql_format("the model has no chat template (%s holds none); set chat_template to a file, or to one that is built in: %s",
                                   p->folder, names.data)
                       : ql_format("the chat template of the model cannot be used: %s; set chat_template to another", ql_err_text());
    ql_str_free(&names);
    return ql_ok();
}

static ql_err own_template(const place *p, ql_chat *out) {
    QL_TRY(put_off(p, find(p, "default", out, &out->template), out));
    return !out->absent && has_named(p, "tool_use") ? find(p, "tool_use", out, &out->with_tools) : ql_ok();
}

static ql_err named_template(const place *p, const char *choice, ql_chat *out) {
    const char *text = ql_builtin_template(choice);
    if (is_path(choice)) return ql_err_prefix(ql_err_as(parse_file(choice, out, &out->template), QL_DATA), "chat_template");
    if (has_named(p, choice)) return find(p, choice, out, &out->template);
    if (text) {
        char *where = ql_format("the built-in chat template %s", choice);
        ql_err e = parse_text(text, strlen(text), where, out, &out->template);
        free(where);
        return e;
    }
    ql_str names = {0};
    ql_builtin_names(&names);
    ql_err e = ql_fail(QL_USAGE, "chat_template is \"%s\"; expected auto, a file (with a / or ending in .jinja), the name of a template in %s, or %s", choice,
                       p->folder, names.data);
    ql_str_free(&names);
    return e;
}

static ql_err choose(const place *p, const char *choice, const char *kwargs, ql_chat *out) {
    bool own = !choice || !strcmp(choice, "auto");
    QL_TRY(own ? own_template(p, out) : named_template(p, choice, out));
    QL_TRY(add_variables(p->folder, p->config, out));
    if (!kwargs) return ql_ok();
    out->digest = ql_hash64(kwargs, strlen(kwargs), out->digest);
    return ql_err_as(ql_json_parse(kwargs, strlen(kwargs), "chat_template_kwargs", 1, &out->kwargs), QL_USAGE);
}

ql_err ql_chat_choose(const char *folder, const char *choice, const char *kwargs, ql_chat *out) {
    *out = (ql_chat){0};
    char *path;
    ql_json *config;
    place p;
    ql_err e = open_place(folder, &p, &path, &config);
    if (!ql_bad(e)) e = choose(&p, choice, kwargs, out);
    if (ql_bad(e)) ql_chat_close(out);
    ql_json_free(config);
    free(path);
    return e;
}

void ql_chat_close(ql_chat *c) {
    ql_template_free(c->template);
    ql_template_free(c->with_tools);
    ql_json_free(c->common);
    ql_json_free(c->kwargs);
    for (size_t i = 0; i < QL_LEN(c->stand_in); i++) ql_json_free(c->stand_in[i]);
    free(c->name);
    free(c->absent);
    *c = (ql_chat){0};
}
