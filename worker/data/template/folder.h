/* The chat template of a model folder. */
#pragma once
#include "worker/data/template/template.h"

typedef struct {
    ql_template *template;
    ql_json *common; /* what its variables are without a record: special tokens, tools null, add_generation_prompt false ... */
} ql_chat;

/* chat_template.jinja; else chat_template of tokenizer_config.json, a string or a list of named ones. `name`: another than
 * "default", there or in additional_chat_templates/NAME.jinja. QL_DATA: there is none (the names that there are), or it is broken. */
QL_RESULT ql_chat_open(const char *folder, const char *name, ql_chat *out);
void ql_chat_close(ql_chat *c);
