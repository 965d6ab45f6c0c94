/* Chat templates: the Jinja that models bring with them, as transformers sets it up (trim_blocks, lstrip_blocks, loop
 * controls, generation blocks, an immutable sandbox). A template is a program from a stranger: it sees its variables and
 * nothing else, and is bounded in time, memory, output and depth. docs/chat-templates.md says what is supported. */
#pragma once
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "worker/data/range.h"

enum {
    QL_TEMPLATE_SOURCE = 1 << 20,  /* bytes of a template                                       */
    QL_TEMPLATE_OUTPUT = 32 << 20, /* bytes that it may write                                   */
    QL_TEMPLATE_MEMORY = 256 << 20, /* bytes that it may use, beside its variables' JSON         */
    QL_TEMPLATE_STEPS = 20000000,  /* evaluated nodes; 64 bytes of text that are copied count as one, and so do 8 that are searched */
    QL_TEMPLATE_NESTING = 100,     /* of brackets and blocks in the source                      */
    QL_TEMPLATE_DEPTH = 1000,      /* of evaluation: macros that call macros, values in values  */
    QL_TEMPLATE_RANGE = 100000,    /* the longest range(), as in Jinja's sandbox                */
};

typedef struct ql_template ql_template;

/* Parses. `name` stands at the head of messages: "NAME:LINE: ...". Mistakes in the template are QL_DATA. */
QL_RESULT ql_template_parse(const char *text, size_t size, const char *name, ql_template **out);
void ql_template_free(ql_template *t);
/* Whether the template marks what the assistant says with {% generation %}. */
bool ql_template_has_generation(const ql_template *t);

/* Renders with the members of the objects `common` (may be NULL) and `variables` (wins); `messages` among them is first made
 * what transformers makes of it: keys that are null are dropped, and what was thought has its usual names. `now` (seconds since 1970) is what strftime_now sees, as local time.
 * Replaces what `text` held. `spans`, unless NULL, receives what generation blocks wrote, in order; a generation block inside
 * a macro or a block that is not written at once cannot be placed and is then refused. A template may be rendered by
 * several threads at once. QL_DATA: the template failed, passed a bound or raised an exception, whose text is the message. */
QL_RESULT ql_template_render(const ql_template *t, const ql_json *common, const ql_json *variables, int64_t now, ql_str *text, ql_ranges *spans);

/* What a conversation's template is given; all borrowed. */
typedef struct {
    const ql_json *layer[4];        /* objects whose members are variables; later ones win, NULL: none */
    const ql_json *tools;           /* the variable `tools`; NULL: as the layers have it             */
    const ql_json *const *message;  /* `messages` is a list of the first `messages` of these        */
    size_t messages;
    bool asks;     /* add_generation_prompt */
    int64_t now;
    bool *clock;   /* set to true where strftime_now was called; may be NULL */
} ql_template_chat;
/* As above. */
QL_RESULT ql_template_render_chat(const ql_template *t, const ql_template_chat *c, ql_str *text, ql_ranges *spans);
