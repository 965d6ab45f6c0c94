/* Conversations: rendered, tokenised, and the assistant's turns marked. */
#include <stdlib.h>
#include <string.h>

#include "worker/data/audit/stray.h"
#include "worker/data/record/conversation.h"
#include "worker/data/target/lost.h"
#include "worker/data/target/tails.h"
#include "worker/data/target/target_parts.h"
#include "worker/data/target/turns.h"

/* One conversation under way. */
typedef struct {
    const ql_target_rules *rules;
    ql_encoder            *encoder;
    ql_record             *record;
    ql_dialogue            dialogue;
    ql_str                 text;   /* the whole, rendered */
    ql_ranges              blocks; /* of generation       */
    bool                   placed; /* it is known where they are */
    ql_ranges              ranges; /* of the tokens        */
    ql_tokens             *out;
} work;

/* ---- tokens and places ----------------------------------------------------------------------- */

static bool is_blank(const work *w, size_t token) {
    static const char blanks[] = " \t\r\n\v\f";
    ql_range          r = w->ranges.at[token];
    for (size_t i = r.from; i < r.to; i++)
        if (!w->text.data[i] || !strchr(blanks, w->text.data[i])) return false;
    return true;
}

/* The first token that ends behind a place. */
static size_t token_at(const work *w, size_t place) {
    size_t low = 0, high = w->ranges.n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (w->ranges.at[middle].to > place) high = middle;
        else low = middle + 1;
    }
    return low;
}

static bool ends(const work *w, size_t token) {
    return token < w->out->ids.count && ql_token_ends(w->rules->tokenizer, w->out->ids.id[token]);
}

/* The special token that ends what stands in `at`: the last of it but blanks; or, beyond it, the next but blanks. False: none. */
static bool find_end_token(const work *w, ql_range at, bool beyond, size_t *token) {
    size_t k = token_at(w, at.to);
    if (!beyond)
        for (; k > 0 && w->ranges.at[k - 1].from >= at.from; k--)
            if (!is_blank(w, k - 1)) break;
    if (beyond)
        while (k < w->ranges.n && is_blank(w, k)) k++;
    if (!beyond && k == 0) return false;
    *token = beyond ? k : k - 1;
    return ends(w, *token) && w->ranges.at[*token].from >= at.from;
}

static void mark(work *w, ql_range at) {
    for (size_t k = token_at(w, at.from); k < w->ranges.n && w->ranges.at[k].from < at.to; k++)
        if (k > 0 && w->ranges.at[k].from < w->ranges.at[k].to) w->out->is_target[k] = 1;
}

static void note_end(work *w, bool found, size_t token) {
    bool good = found && w->out->is_target[token];
    w->out->turns_without_end += !good;
    if (found) w->out->end_id = w->out->ids.id[token];
}

/* ---- by the template's own blocks ------------------------------------------------------------ */

/* How many blocks the first n messages have; where they cannot be rendered alone, one for each answer if that is the sum. */
static ql_err count_blocks(work *w, size_t n, size_t *count) {
    ql_str    text = {0};
    ql_ranges blocks = {0};
    bool      some = n > 0 && n < w->record->messages;
    ql_err    e = some ? ql_dialogue_render(&w->dialogue, n, false, &text, &blocks) : ql_ok();
    *count = n == w->record->messages ? w->blocks.n : blocks.n;
    if (ql_bad(e) && w->blocks.n == ql_dialogue_answers(&w->dialogue, w->record->messages)) {
        *count = ql_dialogue_answers(&w->dialogue, n);
        e = ql_ok();
    }
    ql_str_free(&text);
    ql_ranges_free(&blocks);
    return ql_err_prefix(e, "the first %zu messages cannot be rendered alone, by which the blocks of a turn are told", n);
}

static void mark_block(work *w, size_t b, bool counts) {
    ql_range at = w->blocks.at[b];
    size_t   token = 0;
    mark(w, at);
    if (!counts) return;
    bool inside = find_end_token(w, at, false, &token), found = inside || find_end_token(w, at, true, &token);
    note_end(w, found, token);
}

/* Blocks [first, behind); `turns` is how many turns they are of. */
static void mark_blocks(work *w, size_t first, size_t behind, size_t turns) {
    if (behind > w->blocks.n) behind = w->blocks.n;
    bool one_each = behind - first == turns;
    w->out->turns += (int32_t)turns;
    for (size_t b = first; b < behind; b++) mark_block(w, b, one_each || b + 1 == behind);
}

/* ---- which turns ----------------------------------------------------------------------------- */

/* OpenAI's "weight": 0 and Axolotl's "train": false leave a turn out. */
static bool is_left_out(const ql_json *message) {
    return ql_json_number(ql_json_get(message, "weight"), 1) == 0 || !ql_json_bool(ql_json_get(message, "train"), true) ||
           !ql_json_bool(ql_json_get(message, "training"), true);
}

static bool is_turn(const work *w, size_t i) {
    return ql_message_is(w->record->message[i], "assistant") && !is_left_out(w->record->message[i]);
}

static size_t last_turn(const work *w) {
    size_t i = w->record->messages - 1;
    while (i > 0 && !ql_message_is(w->record->message[i], "assistant")) i--;
    return i;
}

/* The line break behind the token that ends a turn is the turn's, as where the conversation ends there. */
static size_t behind_blanks(const work *w, size_t token) {
    size_t k = token + 1;
    while (k < w->ranges.n && is_blank(w, k)) k++;
    return w->ranges.at[k - 1].to;
}

/* Where nothing of its own ends a turn, what begins the next message does, if the model stops at it. */
static bool stops_next(const work *w, size_t place, size_t *token) {
    *token = token_at(w, place);
    return *token < w->ranges.n && w->ranges.at[*token].from == place && w->rules->facts && ql_audit_stops(w->rules->facts, w->out->ids.id[*token]);
}

/* `next`: where the next turn of the assistant starts. */
static ql_err mark_turn(work *w, size_t i, size_t from, size_t next, ql_tails *tails) {
    ql_turn turn = {.at.from = from};
    size_t  token = 0;
    bool    last = i + 1 == w->record->messages;
    bool    told = !last && ql_tails_end(tails, &w->dialogue, &w->text, i, from, next, &turn.at.to);
    bool    found = told && (find_end_token(w, turn.at, false, &token) || stops_next(w, turn.at.to, &token));
    if (!found) {
        QL_TRY(ql_turn_end(&w->dialogue, &w->text, i, from, &turn));
        found = find_end_token(w, turn.at, turn.open, &token) || stops_next(w, turn.at.to, &token);
    }
    if (found && w->ranges.at[token].to > turn.at.to) turn.at.to = behind_blanks(w, token);
    mark(w, turn.at);
    w->out->turns++;
    note_end(w, found, token);
    return ql_ok();
}

static size_t count_turns(const work *w, size_t from) {
    size_t sum = 0;
    for (size_t i = from; i < w->record->messages; i++) sum += is_turn(w, i);
    return sum;
}

static bool only_last(const work *w) {
    return w->rules->train_on == QL_TRAIN_LAST;
}

/* Turns of the prompt are not trained on. */
static size_t first_turn(const work *w) {
    return only_last(w) ? last_turn(w) : w->record->prompt_messages;
}

static bool leaves_out(const work *w, size_t from) {
    for (size_t i = from; i < w->record->messages; i++)
        if (is_left_out(w->record->message[i])) return true;
    return false;
}

/* The blocks of one turn are those that come with its message. */
static ql_err mark_turns_of_blocks(work *w, size_t first) {
    size_t from = 0, to = 0;
    bool   each = leaves_out(w, first);
    if (first > 0) QL_TRY(count_blocks(w, first, &from));
    if (!each) mark_blocks(w, from, w->blocks.n, count_turns(w, first));
    for (size_t i = first; i < w->record->messages && each; i++) {
        if (!is_turn(w, i)) continue;
        QL_TRY(count_blocks(w, i, &from));
        QL_TRY(count_blocks(w, i + 1, &to));
        mark_blocks(w, from, to, 1);
    }
    return ql_ok();
}

/* The next message of the assistant and where its turn starts; behind the last one, the end. */
static ql_err next_answer(work *w, size_t *i, size_t *start) {
    while (*i < w->record->messages && !ql_message_is(w->record->message[*i], "assistant")) ++*i;
    *start = w->text.size;
    return *i < w->record->messages ? ql_turn_start(&w->dialogue, &w->text, *i, start) : ql_ok();
}

static ql_err mark_turns_by_prefixes(work *w, size_t first, ql_tails *tails) {
    size_t from;
    QL_TRY(next_answer(w, &first, &from));
    for (size_t i = first; i < w->record->messages;) {
        size_t j = i + 1, next;
        QL_TRY(next_answer(w, &j, &next));
        if (is_turn(w, i)) QL_TRY(mark_turn(w, i, from, next, tails));
        i = j;
        from = next;
    }
    return ql_ok();
}

static ql_err mark_turns(work *w) {
    size_t   first = first_turn(w);
    ql_tails tails = {0};
    if (w->placed) return mark_turns_of_blocks(w, first);
    ql_err e = mark_turns_by_prefixes(w, first, &tails);
    ql_tails_free(&tails);
    return e;
}

/* ---- all of it ------------------------------------------------------------------------------- */

/* TRL's rule for prompt and completion as lists of messages. */
static ql_err mark_completion(work *w) {
    ql_str text = {0};
    ql_ids prompt = {0};
    ql_err e = ql_dialogue_render(&w->dialogue, w->record->prompt_messages, true, &text, NULL);
    e = ql_err_prefix(e, "the chat template cannot render the prompt");
    if (!ql_bad(e)) e = ql_encode(w->encoder, text.data ? text.data : "", text.size, false, &prompt);
    if (!ql_bad(e)) {
        size_t token = 0, border = ql_targets_border(&prompt, -1, w->out);
        ql_targets_mark(w->out, border);
        w->out->turns = 1;
        bool found = find_end_token(w, (ql_range){0, w->text.size}, false, &token);
        note_end(w, found, token);
    }
    ql_str_free(&text);
    free(prompt.id);
    return e;
}

static bool wants_all(const work *w) {
    return w->rules->train_on == QL_TRAIN_ALL;
}

static bool wants_completion(const work *w) {
    return w->record->prompt_messages > 0 && (w->rules->train_on == QL_TRAIN_AUTO || w->rules->train_on == QL_TRAIN_COMPLETION);
}

static ql_err mark_all(work *w) {
    size_t token = 0;
    ql_targets_mark(w->out, 0);
    w->out->turns = (int32_t)count_turns(w, 0);
    bool found = find_end_token(w, (ql_range){0, w->text.size}, false, &token);
    if (is_turn(w, w->record->messages - 1)) note_end(w, found, token);
    return ql_ok();
}

/* Blocks inside macros cannot be placed; turns are then found as without them. */
static ql_err render(work *w) {
    bool wanted = ql_template_has_generation(w->dialogue.template) && !wants_all(w) && !wants_completion(w);
    w->placed = wanted && !ql_bad(ql_dialogue_render(&w->dialogue, w->record->messages, false, &w->text, &w->blocks));
    return w->placed ? ql_ok() : ql_dialogue_render(&w->dialogue, w->record->messages, false, &w->text, NULL);
}

/* A template that knows no lists of parts drops them, writes them as code, or fails; it gets their texts. */
static ql_err render_parts(work *w) {
    ql_err e = render(w);
    if (!ql_conversation_has_parts(w->record)) return e;
    bool all = !ql_bad(e) && !(ql_lost_of(&w->dialogue, &w->text) & (QL_LOST_TEXT | QL_LOST_SYSTEM));
    if (all && !memmem(w->text.data, w->text.size, "{'type': 'text'", 15)) return e;
    QL_TRY(ql_conversation_join_parts(w->record));
    w->out->parts_joined = true;
    return render(w);
}

/* Special tokens in what people wrote, which the tokenizer takes for real ones. */
static void count_special(work *w, const ql_json *text, size_t *at) {
    size_t      n;
    const char *bytes = ql_json_text(text, &n);
    if (!bytes || w->text.size == 0 || !ql_text_stands(&w->text, bytes, &n, at)) return;
    for (size_t k = token_at(w, *at); n > 0 && k < w->ranges.n && w->ranges.at[k].from < *at + n; k++)
        w->out->special_in_text += ql_tokenizer_is_special(w->rules->tokenizer, w->out->ids.id[k]);
}

static void count_specials(work *w) {
    size_t at = 0;
    for (size_t i = 0; i < w->record->messages; i++) {
        const ql_json *content = ql_json_get(w->record->message[i], "content");
        count_special(w, content, &at);
        for (size_t k = 0; ql_json_is(content, QL_JSON_ARRAY) && k < ql_json_size(content); k++)
            count_special(w, ql_json_get(ql_json_at(content, k), "text"), &at);
    }
}

static ql_err make(work *w) {
    QL_TRY(ql_err_prefix(render_parts(w), "the chat template cannot render the conversation"));
    QL_TRY(ql_encode_ranges(w->encoder, w->text.data ? w->text.data : "", w->text.size, false, &w->out->ids, &w->ranges));
    ql_targets_begin(w->out);
    QL_TRY(wants_all(w) ? mark_all(w) : wants_completion(w) ? mark_completion(w) : mark_turns(w));
    w->out->lost = ql_lost_of(&w->dialogue, &w->text);
    count_specials(w);
    w->out->conversation = true;
    w->out->asked_clock = w->dialogue.asked_clock;
    w->out->lost_key = ql_lost_key(&w->dialogue, &w->text);
    w->out->stray = ql_stray_token(w->rules->tokenizer, &w->text);
    return ql_ok();
}

ql_err ql_tokens_of_chat(ql_encoder *encoder, const ql_target_rules *rules, ql_record *r, ql_tokens *out) {
    const ql_chat *chat = rules->chat;
    QL_CHECK(chat && chat->template, QL_DATA, "the record is a conversation, but %s", chat && chat->absent ? chat->absent : "there is no chat template");
    work w = {.rules = rules, .encoder = encoder, .record = r, .out = out};
    w.dialogue = (ql_dialogue){.chat = chat,
                               .template = r->tools && chat->with_tools ? chat->with_tools : chat->template,
                               .message = r->message,
                               .messages = r->messages,
                               .tools = r->tools,
                               .kwargs = r->kwargs};
    ql_err e = make(&w);
    ql_str_free(&w.text);
    ql_ranges_free(&w.blocks);
    ql_ranges_free(&w.ranges);
    return e;
}
