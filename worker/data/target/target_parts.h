/* What the two kinds of records share; for the files target*.c. */
#pragma once
#include "worker/data/target/target.h"

/* Room for is_target, all 0. */
void ql_targets_begin(ql_tokens *t);
/* Every token from `from` on; never the first. */
void   ql_targets_mark(ql_tokens *t, size_t from);
size_t ql_common_prefix(const ql_ids *a, const ql_ids *b);
/* The first targets are not what the prompt has in common with the whole. `prompt`: its ids alone. Returns where they begin. */
size_t ql_targets_border(const ql_ids *prompt, int32_t eos_id, ql_tokens *t);
/* Whether a token ends what is said: special, or eos. */
bool ql_token_ends(const ql_tokenizer *t, int32_t id);
/* Counts the turn that ends with the last token. */
void ql_targets_count_turn(const ql_tokenizer *tokenizer, ql_tokens *t);

QL_RESULT ql_tokens_of_chat(ql_encoder *encoder, const ql_target_rules *rules, ql_record *r, ql_tokens *out);
