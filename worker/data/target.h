/* Tokens of one record, and which of them are trained on. The rule is TRL's (1.16):
 *
 * - the text of the eos token is appended to the completion, or the text, unless it ends with it;
 * - prompt and completion are tokenised as one string, with what the tokenizer itself adds (bos);
 * - with completion_only, targets begin after the tokens that the prompt alone and the whole have
 *   in common; otherwise every token is a target;
 * - the first token is never a target, since nothing stands before it to predict it from. */
#pragma once
#include "worker/data/record.h"
#include "worker/data/tokenizer/tokenizer.h"

typedef struct {
    ql_ids   ids;
    uint8_t *is_target; /* [ids.count] */
    /* The prompt's own last tokens changed when the completion followed: it does not end where a
     * token ends, and the model will see another context when it is used. */
    bool prompt_changed;
} ql_tokens;
void ql_tokens_free(ql_tokens *t);

/* `eos`: text, or NULL. Changes `r` (it becomes the whole text). `out` is overwritten. */
QL_RESULT ql_tokens_make(ql_encoder *encoder, const char *eos, int32_t eos_id, ql_record *r, bool completion_only,
                         ql_tokens *out);
int32_t ql_count_targets(const uint8_t *is_target, size_t n);
