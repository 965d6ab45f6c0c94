#include "worker/data/template/folder.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"

enum { CONFIG_BYTES = 16 << 20 };

static ql_err parse_file(const char *path, ql_template **out) {
    ql_str text;
    QL_TRY(ql_file_read(path, QL_TEMPLATE_SOURCE, &text));
    ql_err e = ql_template_parse(text.data ? text.data : "", text.size, path, out);
    ql_str_free(&text);
    return e;
}

static ql_err parse_json(const ql_json *source, const char *path, const char *name, ql_template **out) {
    size_t n;
    const char *text = ql_json_text(source, &n);
    QL_CHECK(text, QL_DATA, "%s: chat_template is %s; it must be a string, or a list of objects with name and template", path, ql_json_kind_name(source));
    char *where = ql_format("%s: chat_template %s", path, name);
    ql_err e = ql_template_parse(text, n, where, out);
    free(where);
    return e;
}

static ql_err parse_named(const ql_json *list, const char *path, const char *name, ql_template **out) {
    ql_str names = {0};
    for (size_t i = 0; i < ql_json_size(list); i++) {
        const ql_json *row = ql_json_at(list, i);
        const char *its = ql_json_text(ql_json_get(row, "name"), NULL);
        if (its && !strcmp(its, name)) {
            ql_str_free(&names);
            return parse_json(ql_json_get(row, "template"), path, name, out);
        }
        ql_str_printf(&names, "%s%s", names.size ? ", " : "", its ? its : "?");
    }
    ql_err e = ql_fail(QL_DATA, "%s: no chat template is called \"%s\"; there are: %s", path, name, names.size ? names.data : "none");
    ql_str_free(&names);
    return e;
}

static ql_err parse_config(const ql_json *config, const char *path, const char *folder, const char *name, ql_template **out) {
    const ql_json *given = ql_json_get(config, "chat_template");
    if (ql_json_is(given, QL_JSON_ARRAY)) return parse_named(given, path, name, out);
    QL_CHECK(given && !strcmp(name, "default"), QL_DATA, "%s: has no chat template%s%s; put one into chat_template.jinja", folder,
             given ? " called " : "", given ? name : "");
    return parse_json(given, path, name, out);
}

static ql_err find(const char *folder, const char *name, const ql_json *config, const char *config_path, ql_template **out) {
    QL_CHECK(ql_name_is_plain(name, strlen(name)), QL_DATA, "%s: \"%s\" cannot be the name of a chat template", folder, name);
    bool is_default = !strcmp(name, "default");
    char *path = is_default ? ql_format("%s/chat_template.jinja", folder) : ql_format("%s/additional_chat_templates/%s.jinja", folder, name);
    ql_err e = ql_file_exists(path) ? parse_file(path, out) : parse_config(config, config_path, folder, name, out);
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

ql_err ql_chat_open(const char *folder, const char *name, ql_chat *out) {
    *out = (ql_chat){0};
    ql_json *config = NULL;
    char *path = ql_path_join(folder, "tokenizer_config.json");
    ql_err e = read_optional(path, &config);
    if (!ql_bad(e)) e = find(folder, name ? name : "default", config, path, &out->template);
    if (!ql_bad(e)) e = make_common(folder, config, &out->common);
    if (ql_bad(e)) ql_chat_close(out);
    ql_json_free(config);
    free(path);
    return e;
}

void ql_chat_close(ql_chat *c) {
    ql_template_free(c->template);
    ql_json_free(c->common);
    *c = (ql_chat){0};
}
