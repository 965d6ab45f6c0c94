/* Records to tokens and targets by line: {"folder": ..., "chat_template": ..., "train_on": ..., "record": {...}} from standard
 * input (of these, chat_template, train_on and now may be absent); {"ids": [...], "targets": [0, 1, ...], ...} or {"error": ...} to
 * standard output. For comparisons with transformers and TRL. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/data/target/target.h"

/* The folder of the last line, opened. */
typedef struct {
    char         *folder, *choice;
    ql_tokenizer *tokenizer;
    ql_encoder   *encoder;
    ql_chat       chat;
} opened;

static void put_down(opened *o) {
    ql_encoder_close(o->encoder);
    ql_tokenizer_close(o->tokenizer);
    ql_chat_close(&o->chat);
    free(o->folder);
    free(o->choice);
    *o = (opened){0};
}

static ql_err take_up(opened *o, const char *folder, const char *choice) {
    if (o->folder && !strcmp(o->folder, folder) && !strcmp(o->choice, choice)) return ql_ok();
    put_down(o);
    QL_TRY(ql_tokenizer_open(folder, &o->tokenizer));
    o->encoder = ql_encoder_open(o->tokenizer);
    QL_TRY(ql_chat_choose(folder, choice, NULL, &o->chat));
    o->folder = ql_strdup(folder);
    o->choice = ql_strdup(choice);
    return ql_ok();
}

static const char *text_of(const ql_json *job, const char *key, const char *otherwise) {
    const char *text = ql_json_text(ql_json_get(job, key), NULL);
    return text ? text : otherwise;
}

static ql_err detect(const ql_json *record, const ql_field_names *names, const ql_record_format **out) {
    ql_str text = {0};
    ql_json_put(&text, record);
    ql_span span = {text.data, text.size, 1};
    ql_err  e = ql_record_format_detect(&span, 1, "record", names, out);
    ql_str_free(&text);
    return e;
}

static ql_err make(opened *o, const ql_json *job, ql_record *record, ql_tokens *out) {
    ql_config              config = {.completion_only_loss = QL_AUTO, .train_on = (char *)(uintptr_t)text_of(job, "train_on", "auto")};
    ql_dataset_spec        spec = {0};
    ql_field_names         names = ql_field_names_of(&spec, &config);
    const ql_record_format *format;
    QL_TRY(take_up(o, text_of(job, "folder", ""), text_of(job, "chat_template", "auto")));
    QL_TRY(detect(ql_json_get(job, "record"), &names, &format));
    QL_TRY(format->read(ql_json_get(job, "record"), &names, record));
    o->chat.now = ql_json_int(ql_json_get(job, "now"), 0);
    return ql_tokens_make(o->encoder, &(ql_target_rules){o->tokenizer, &o->chat, ql_train_on_of(&config), NULL}, record, out);
}

static void put_tokens(const ql_tokens *t, ql_str *out) {
    ql_str_puts(out, "{\"ids\": [");
    for (size_t i = 0; i < t->ids.count; i++) ql_str_printf(out, "%s%d", i ? ", " : "", t->ids.id[i]);
    ql_str_puts(out, "], \"targets\": [");
    for (size_t i = 0; i < t->ids.count; i++) ql_str_printf(out, "%s%d", i ? ", " : "", t->is_target[i]);
    ql_str_printf(out, "], \"turns\": %d, \"turns_without_end\": %d, \"end_id\": %d, \"lost\": %u, \"parts_joined\": %d}", t->turns, t->turns_without_end,
                  t->end_id, t->lost, t->parts_joined);
}

static void answer(opened *o, const char *line, size_t n, size_t number) {
    ql_json  *job = NULL;
    ql_record record = {0};
    ql_tokens tokens = {0};
    ql_str    out = {0};
    ql_err    e = ql_json_parse(line, n, "stdin", number, &job);
    if (!ql_bad(e)) e = make(o, job, &record, &tokens);
    if (ql_bad(e)) {
        ql_str_puts(&out, "{\"error\": ");
        ql_json_put_string(&out, ql_err_text(), strlen(ql_err_text()));
        ql_str_puts(&out, "}");
    } else {
        put_tokens(&tokens, &out);
    }
    puts(out.data);
    ql_tokens_free(&tokens);
    ql_record_free(&record);
    ql_json_free(job);
    ql_str_free(&out);
}

int main(void) {
    char   *line = NULL;
    size_t  capacity = 0;
    ssize_t n;
    opened  o = {0};
    for (size_t i = 1; (n = getline(&line, &capacity, stdin)) > 0; i++) answer(&o, line, (size_t)n, i);
    put_down(&o);
    free(line);
    return 0;
}
