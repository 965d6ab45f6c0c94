/* What people call a record, and what it comes to: a prompt and a completion, one text, or a conversation.
 *
 * A format is one file format_*.c and one row of the table in record.c. How each is rendered
 * (this decides ids, so it is part of the interface):
 *
 *   messages             a conversation, rendered by the chat template
 *   conversations        the same in ShareGPT's words (conversation.h)
 *   prompt+completion    prompt and completion as they are; or both as lists of messages: a conversation
 *   instruction+output   Stanford Alpaca's wording with or without input, ending in
 *                        "### Response:\n"; the completion is the output
 *   the same in turns    with "system" or "history": a conversation
 *   question+answer      prompt: question and one "\n"; completion: the answer
 *   chosen+rejected      a pair: a prompt and two completions, as texts or as lists of messages
 *   text                 the text
 *
 * Ours end in a line break, so that no token of the completion can grow into the prompt's end. */
#pragma once
#include "base/config/config.h"
#include "base/json.h"
#include "worker/data/read/reader.h"

/* Zero-initialise; may be used again after ql_record_clear. */
typedef struct {
    ql_str prompt;     /* empty unless has_prompt   */
    ql_str completion; /* or the whole text         */
    bool   has_prompt;
    /* A conversation, where there are messages. The values belong to the JSON that was read, or to `owned`. */
    const ql_json **message; /* checked (conversation.h) */
    size_t          messages, messages_capacity;
    size_t          prompt_messages; /* the first of them are the prompt; 0: it is not set apart */
    const ql_json  *tools, *kwargs;  /* of the template; NULL: none */
    ql_json       **owned;
    size_t          owned_count, owned_capacity;
} ql_record;
void ql_record_clear(ql_record *r);
void ql_record_free(ql_record *r);

/* The format of one data set and the names of its fields. Borrowed from the configuration. */
typedef struct {
    const char *format; /* "auto", or the key of one */
    const struct ql_template *wording; /* makes prompts of instructions and questions (wording.h); NULL: the usual one */
    const char *prompt, *completion, *instruction, *input, *output, *question, *answer, *text, *messages, *conversations, *system, *history,
        *chosen, *rejected;
} ql_field_names;
ql_field_names ql_field_names_of(const ql_dataset_spec *d, const ql_config *c);
ql_reader_options ql_reader_options_of(const ql_dataset_spec *d, const ql_config *c);

typedef struct {
    const char *key, *name; /* as one writes it, and as it is reported */
    bool        has_prompt;
    /* Does a record with these fields belong to this format? */
    bool (*claims)(const ql_json *record, const ql_field_names *f);
    /* Fills `out`. QL_DATA without FILE:LINE, which the caller puts before it. */
    ql_err (*read)(const ql_json *record, const ql_field_names *f, ql_record *out);
    /* Preference pairs: `read` fills in the better answer, this the worse one. NULL: a record is no pair. */
    ql_err (*read_rejected)(const ql_json *record, const ql_field_names *f, ql_record *out);
} ql_record_format;
/* What a data set of more than one is called. */
#define QL_SEVERAL_FORMATS "several formats"
extern const ql_record_format ql_format_messages, ql_format_conversations, ql_format_prompt, ql_format_alpaca_chat, ql_format_alpaca,
    ql_format_question, ql_format_preference, ql_format_text;

/* The format of a file: the one that `f` names, or the first of the table that claims the first record. Up to
 * QL_FORMAT_SAMPLE records must agree. QL_DATA, "FILE:LINE: ...": no format claims the first record (its fields), another one
 * claims a later record (both lines), or the first record is no object of JSON. n >= 1. */
enum { QL_FORMAT_SAMPLE = 10 };
QL_RESULT ql_record_format_detect(const ql_span *first, size_t n, const char *path, const ql_field_names *f, const ql_record_format **out);

/* For formats: present and not null. */
bool ql_record_has(const ql_json *record, const char *field);
/* For formats: there, and neither null nor an empty text, list or object. */
bool ql_record_holds(const ql_json *record, const char *field);
/* For formats: a field that would change what is meant, were it not left out, must hold nothing. QL_DATA, with the cure, to which ", or remove it" is
 * added. */
QL_RESULT ql_record_spare(const ql_json *record, const char *field, const char *format, const char *cure);
#define QL_PROMPT_CURE "write it into the prompt, or all of it as messages"
/* For formats: appends the text of a field. QL_DATA: it is absent or no string. */
QL_RESULT ql_record_text(const ql_json *record, const char *field, const char *format, ql_str *out);
/* For formats: appends what comes before the answer of an instruction or a question: the usual wording, or f->wording's. */
QL_RESULT ql_alpaca_prompt(const ql_json *record, const ql_field_names *f, ql_str *out);
QL_RESULT ql_question_prompt(const ql_json *record, const ql_field_names *f, ql_str *out);
