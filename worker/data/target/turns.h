/* Where the turns of the assistant lie in a rendered conversation, for chat templates that do not say so themselves.
 *
 * The beginning of the conversation is rendered alone, as a prompt: where that is how the whole begins, the turn starts behind it.
 * What follows the turn begins where the conversation that ends with the turn does. Templates that write
 * beginnings differently (thinking that is shown in the last turn only) are met half-way: the whole is rendered again with another
 * answer in the place of the turn's, and what stays the same before and behind is not of the turn. What cannot be told
 * exactly is refused with the first character that differs. */
#pragma once
#include "worker/data/range.h"
#include "worker/data/template/folder.h"

/* A conversation and its template; all borrowed. */
typedef struct {
    const ql_chat     *chat;
    const ql_template *template;
    const ql_json    **message; /* changed while it is rendered, and put back */
    size_t             messages;
    const ql_json     *tools, *kwargs; /* of the record; NULL: none */
    bool               asked_clock;    /* strftime_now was called   */
} ql_dialogue;

/* Renders the first n messages, with add_generation_prompt if `asks`. `blocks`: of generation; may be NULL. QL_DATA. */
QL_RESULT ql_dialogue_render(ql_dialogue *d, size_t n, bool asks, ql_str *text, ql_ranges *blocks);
/* How many of the first n messages are the assistant's. */
size_t ql_dialogue_answers(const ql_dialogue *d, size_t n);

typedef struct {
    ql_range at;   /* of the whole text */
    bool     open; /* at.to is where the words end, and what ends the turn follows; else that lies inside, if there is any */
} ql_turn;
/* Where the turn of the assistant begins that is message number i (from 0), and where it ends. QL_DATA without FILE:LINE: it cannot be told. */
QL_RESULT ql_turn_start(ql_dialogue *d, const ql_str *whole, size_t i, size_t *from);
QL_RESULT ql_turn_end(ql_dialogue *d, const ql_str *whole, size_t i, size_t from, ql_turn *out);
