/* The chat template of a run: a model folder's own, a file, or one that is built in. */
#pragma once
#include "worker/data/template/template.h"

typedef struct {
    ql_template *template;
    ql_template *with_tools; /* for conversations with tools, where the folder has one called tool_use; NULL: the same */
    ql_json *common; /* what its variables are without a record: special tokens, tools null, add_generation_prompt false ... */
    ql_json *kwargs; /* variables that the configuration gives; NULL: none */
    ql_json *stand_in[2]; /* messages of the assistant without a letter in common, for turns.c */
    char *name;      /* for people: "chat_template.jinja of DIR", "chatml (built in)" */
    char *absent;    /* why there is no template, and what to do; NULL: there is one */
    bool asks_clock; /* the source knows strftime_now  */
    int64_t now;     /* what that sees                 */
    uint64_t digest; /* of all that decides what it renders, but `now` and what records give */
} ql_chat;

/* chat_template.jinja; else chat_template of tokenizer_config.json, a string or a list of named ones. `name`: another than
 * "default", there or in additional_chat_templates/NAME.jinja. QL_DATA: there is none (the names that there are), or it is broken. */
QL_RESULT ql_chat_open(const char *folder, const char *name, ql_chat *out);
/* As the configuration has it. `choice`: NULL or "auto", the folder's own, and where that is absent or broken out->absent says so, which
 * is no failure while no record needs it; a file (with a '/' or ending in .jinja, from the working directory); the name of
 * a built-in one; or of one of the folder. `kwargs`: the text of a JSON object, NULL: none. QL_DATA, QL_USAGE. */
QL_RESULT ql_chat_choose(const char *folder, const char *choice, const char *kwargs, ql_chat *out);
void ql_chat_close(ql_chat *c);
