/* Tokens of one record, and which of them are trained on. For texts the rule is TRL's (1.16):
 *
 * - the text of the eos token is appended to the completion, or the text, unless it ends with it;
 * - prompt and completion are tokenised as one string, with what the tokenizer itself adds (bos);
 * - where completions are trained on, targets begin after the tokens that the prompt alone and the whole have
 *   in common; otherwise every token is a target;
 * - the first token is never a target, since nothing stands before it to predict it from.
 *
 * Conversations are rendered by the chat template and tokenised without anything added; of them the turns of the
 * assistant are trained on, with the token that ends each (turns.h). */
#pragma once
#include "worker/data/audit/audit_facts.h"
#include "worker/data/record/record.h"
#include "worker/data/template/folder.h"
#include "worker/data/tokenizer/tokenizer.h"

/* What is trained on, of a text / of a prompt and completion / of a conversation. */
typedef enum {
    QL_TRAIN_AUTO,       /* all / the completion / the assistant's turns; of prompt and completion as lists, all of the completion */
    QL_TRAIN_ASSISTANT,  /* refused / the completion / the assistant's turns                        */
    QL_TRAIN_LAST,       /* refused / the completion / the last turn of the assistant                */
    QL_TRAIN_COMPLETION, /* refused / the completion / as QL_TRAIN_AUTO                              */
    QL_TRAIN_ALL,        /* every token but the first                                                */
} ql_train_on;
/* From train_on and completion_only_loss. */
ql_train_on ql_train_on_of(const ql_config *c);
/* For people, of records of this format (ql_corpus.format): "all turns of the assistant". */
const char *ql_train_on_text(ql_train_on t, const char *format);

typedef struct {
    ql_ids   ids;
    uint8_t *is_target; /* [ids.count] */
    /* The prompt's own last tokens changed when the completion followed: it does not end where a
     * token ends, and the model will see another context when it is used. */
    bool prompt_changed;
    bool conversation; /* was rendered by a chat template */
    /* Facts for the audit. A turn is a completion, a text, or what the assistant said at a time. */
    int32_t  turns;             /* that are trained on                                                  */
    int32_t  turns_without_end; /* of these: no special token ends them, or it is not a target            */
    int32_t  end_id;            /* the token that ends the last of these turns; -1: none                  */
    int32_t  special_in_text;   /* special tokens that stand in what people wrote                         */
    uint32_t lost;              /* bits of what the template left out (lost.h)                             */
    bool     parts_joined;      /* contents that are lists of parts were joined: the template knows no lists */
    bool     asked_clock;       /* the template used strftime_now: the text depends on the day              */
    const char *lost_key;       /* of a message, which the template does not write; NULL: none; borrowed from the record */
    char    *stray;             /* what looks like a special token and is none (stray.h), the first; NULL: none; owned */
} ql_tokens;
void ql_tokens_free(ql_tokens *t);

typedef struct {
    const ql_tokenizer *tokenizer;
    const ql_chat      *chat; /* NULL: conversations are refused */
    ql_train_on         train_on;
    const ql_audit_facts *facts; /* where the model stops; NULL: not known */
} ql_target_rules;

/* Changes `r` (its completion gets an end). `out` is overwritten; empty after a bad verdict. */
QL_RESULT ql_tokens_make(ql_encoder *encoder, const ql_target_rules *rules, ql_record *r, ql_tokens *out);
/* The sides of a preference pair: as in TRL, the targets of both begin where the first of them departs from the prompt alone. */
void ql_tokens_align(ql_tokens *a, ql_tokens *b);
int32_t ql_count_targets(const uint8_t *is_target, size_t n);
