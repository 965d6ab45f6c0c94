/* Preference pairs. Each side comes to a prompt and a completion, or to the messages of a prompt and those of a completion:
 *
 *   texts      "chosen" and "rejected" are texts. The prompt is "prompt", or that of an instruction or a question in the same record, or what
 *              both sides begin with: by TRL's rule, up to the first character that differs, less a space before it, which goes
 *              to the completions; where one side is the beginning of the other, its last character stays there, too.
 *   messages   both are lists of messages, or one message each. The prompt is the list "prompt" or "conversations", or the messages that both
 *              sides begin with. */
#include <string.h>

#include "worker/data/record/conversation.h"

static const char name[] = "chosen+rejected";

static bool claims(const ql_json *record, const ql_field_names *f) {
    return ql_record_has(record, f->chosen) && ql_record_has(record, f->rejected);
}

static ql_err refuse_same(const ql_field_names *f) {
    return ql_fail(QL_DATA, "\"%s\" and \"%s\" are the same, so that nothing is preferred; remove the record", f->chosen, f->rejected);
}

static ql_err refuse_without_prompt(const ql_json *record, const ql_field_names *f) {
    QL_CHECK(!ql_record_has(record, f->prompt), QL_DATA,
             "\"%s\" is %s, and \"%s\" and \"%s\", which are messages, do not begin alike; make it a list of messages", f->prompt,
             ql_json_kind_name(ql_json_get(record, f->prompt)), f->chosen, f->rejected);
    return ql_fail(QL_DATA, "there is no \"%s\", and \"%s\" and \"%s\" do not begin alike; add the prompt that they answer", f->prompt, f->chosen,
                   f->rejected);
}

/* ---- texts ----------------------------------------------------------------------------------- */

typedef struct {
    const char *text;
    size_t      size;
} side;

static ql_err read_side(const ql_json *record, const char *field, side *out) {
    const ql_json *v = ql_json_get(record, field);
    out->text = ql_json_text(v, &out->size);
    QL_CHECK(v, QL_DATA, "the field \"%s\" is absent; a preference pair needs both answers", field);
    QL_CHECK(out->text, QL_DATA, "the field \"%s\" is %s; expected a string, as the other answer", field, ql_json_kind_name(v));
    QL_CHECK(out->size > 0, QL_DATA, "the field \"%s\" is empty; remove the record, or write what was answered", field);
    return ql_ok();
}

static bool is_inside_character(const char *text, size_t at) {
    return ((unsigned char)text[at] & 0xc0) == 0x80;
}

/* How many bytes of the prompt they share, by TRL's rule. */
static size_t shared_prompt(const side *a, const side *b) {
    size_t n = 0, most = a->size < b->size ? a->size : b->size;
    while (n < most && a->text[n] == b->text[n]) n++;
    bool is_beginning = n == most;
    if (is_beginning) n--; /* into the last character that they share */
    while (n > 0 && is_inside_character(a->text, n)) n--;
    return n > 0 && !is_beginning && a->text[n - 1] == ' ' ? n - 1 : n;
}

/* The prompt that stands in a field of its own; `given` is false where there is none. */
static ql_err put_prompt(const ql_json *record, const ql_field_names *f, ql_str *out, bool *given) {
    *given = true;
    if (ql_record_has(record, f->prompt)) {
        QL_TRY(ql_record_spare(record, f->system, name, QL_PROMPT_CURE));
        return ql_record_text(record, f->prompt, name, out);
    }
    if (ql_record_has(record, f->instruction)) return ql_alpaca_prompt(record, f, out);
    if (ql_record_has(record, f->question)) return ql_question_prompt(record, f, out);
    *given = false;
    return ql_ok();
}

static ql_err read_texts(const ql_json *record, const ql_field_names *f, bool better, ql_record *out) {
    side chosen, rejected;
    bool given;
    QL_TRY(read_side(record, f->chosen, &chosen));
    QL_TRY(read_side(record, f->rejected, &rejected));
    if (chosen.size == rejected.size && !memcmp(chosen.text, rejected.text, chosen.size)) return refuse_same(f);
    QL_TRY(put_prompt(record, f, &out->prompt, &given));
    size_t shared = given ? 0 : shared_prompt(&chosen, &rejected);
    if (!given && shared == 0) return refuse_without_prompt(record, f);
    ql_str_put(&out->prompt, chosen.text, shared);
    side *answer = better ? &chosen : &rejected;
    ql_str_put(&out->completion, answer->text + shared, answer->size - shared);
    return ql_ok();
}

/* ---- messages -------------------------------------------------------------------------------- */

static bool is_conversation(const ql_json *answer) {
    return ql_json_is(answer, QL_JSON_ARRAY) || ql_json_is(answer, QL_JSON_OBJECT);
}

static size_t count_messages(const ql_json *v) {
    return ql_json_is(v, QL_JSON_OBJECT) ? 1 : ql_json_size(v);
}

static const ql_json *message_of(const ql_json *v, size_t i) {
    return ql_json_is(v, QL_JSON_OBJECT) ? v : ql_json_at(v, i);
}

static bool are_same(const ql_json *a, const ql_json *b) {
    ql_str x = {0}, y = {0};
    ql_json_put(&x, a);
    ql_json_put(&y, b);
    bool same = x.size == y.size && !memcmp(x.data, y.data, x.size);
    ql_str_free(&x);
    ql_str_free(&y);
    return same;
}

/* How many messages both begin with; as TRL has it, the last of a side that is the beginning of the other is none of them. */
static size_t shared_messages(const ql_json *a, const ql_json *b) {
    size_t n = 0, most = count_messages(a) < count_messages(b) ? count_messages(a) : count_messages(b);
    while (n < most && are_same(message_of(a, n), message_of(b, n))) n++;
    return n > 0 && n == most ? n - 1 : n;
}

static void put_from(const ql_json *list, size_t from, ql_str *out) {
    for (size_t i = from; i < count_messages(list); i++) {
        ql_str_puts(out, out->data[out->size - 1] == '[' ? "" : ", ");
        ql_json_put(out, message_of(list, i));
    }
}

/* {"system": ..., "messages": [prompt, answer]} */
static ql_err make_conversation(const ql_json *record, const ql_field_names *f, const ql_json *prompt, const ql_json *answer, ql_json **out) {
    ql_str text = {0};
    ql_str_puts(&text, "{\"system\": ");
    ql_json_put(&text, ql_record_has(record, f->system) ? ql_json_get(record, f->system) : NULL);
    ql_str_puts(&text, ", \"messages\": [");
    if (prompt) put_from(prompt, 0, &text);
    put_from(answer, 0, &text);
    ql_str_puts(&text, "]}");
    ql_err e = ql_json_parse(text.data, text.size, "pair", 1, out);
    ql_str_free(&text);
    return e;
}

static ql_err check_answer(const ql_record *r, const char *field) {
    for (size_t i = r->prompt_messages; i < r->messages; i++)
        if (ql_message_is(r->message[i], "assistant")) return ql_ok();
    return ql_fail(QL_DATA, "\"%s\" has no message of the assistant; there is nothing to prefer", field);
}

static const ql_json *prompt_list(const ql_json *record, const ql_field_names *f) {
    const ql_json *prompt = ql_json_get(record, f->prompt), *turns = ql_json_get(record, f->conversations);
    return ql_json_is(prompt, QL_JSON_ARRAY) ? prompt : ql_json_is(turns, QL_JSON_ARRAY) ? turns : NULL;
}

/* A prompt that is given and stands in the answers, too, would be there twice. */
static ql_err check_prompt_once(const ql_json *prompt, const ql_json *answer, const char *field) {
    bool repeats = prompt && ql_json_is(answer, QL_JSON_ARRAY) && ql_json_size(prompt) > 0 && ql_json_size(answer) > ql_json_size(prompt);
    for (size_t i = 0; repeats && i < ql_json_size(prompt); i++) repeats = are_same(ql_json_at(prompt, i), ql_json_at(answer, i));
    QL_CHECK(!repeats, QL_DATA, "\"%s\" begins with the messages of the prompt, which would be there twice; remove them from one", field);
    return ql_ok();
}

static ql_err read_messages(const ql_json *record, const ql_field_names *f, bool better, ql_record *out) {
    const ql_json *chosen = ql_json_get(record, f->chosen), *rejected = ql_json_get(record, f->rejected), *prompt = prompt_list(record, f);
    const ql_json *answer = better ? chosen : rejected;
    const char    *field = better ? f->chosen : f->rejected;
    QL_CHECK(is_conversation(chosen) && is_conversation(rejected), QL_DATA, "one of \"%s\" and \"%s\" is %s, the other %s; expected two texts, or messages in both",
             f->chosen, f->rejected, ql_json_kind_name(chosen), ql_json_kind_name(rejected));
    QL_CHECK(count_messages(answer) > 0, QL_DATA, "the field \"%s\" is empty; remove the record, or write what was answered", field);
    if (are_same(chosen, rejected)) return refuse_same(f);
    QL_TRY(check_prompt_once(prompt, answer, field));
    size_t shared = prompt ? 0 : shared_messages(chosen, rejected);
    if (!prompt && shared == 0) return refuse_without_prompt(record, f);
    ql_json *made;
    QL_TRY(make_conversation(record, f, prompt, answer, &made));
    QL_PUSH(out->owned, out->owned_count, out->owned_capacity, made);
    QL_TRY(ql_err_prefix(ql_conversation_read(made, "messages", "system", out), "\"%s\", after its prompt", field));
    out->prompt_messages = out->messages - (count_messages(answer) - shared);
    QL_TRY(check_answer(out, field));
    return ql_conversation_extras(record, out);
}

/* ---- both ------------------------------------------------------------------------------------ */

static ql_err read_pair(const ql_json *record, const ql_field_names *f, bool better, ql_record *out) {
    out->has_prompt = true;
    bool messages = is_conversation(ql_json_get(record, f->chosen)) || is_conversation(ql_json_get(record, f->rejected));
    return messages ? read_messages(record, f, better, out) : read_texts(record, f, better, out);
}

static ql_err read_chosen(const ql_json *record, const ql_field_names *f, ql_record *out) {
    return read_pair(record, f, true, out);
}

static ql_err read_rejected(const ql_json *record, const ql_field_names *f, ql_record *out) {
    return read_pair(record, f, false, out);
}

const ql_record_format ql_format_preference = {"preference", name, true, claims, read_chosen, read_rejected};
