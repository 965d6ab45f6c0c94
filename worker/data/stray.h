/* Special tokens of other models. */
#pragma once
#include "worker/data/range.h"
#include "worker/data/tokenizer/tokenizer.h"

/* The first stretch of a text that is written as special tokens are ("<|im_start|>", "<start_of_turn>", "<｜User｜>" with wide bars), and
 * is none of the tokenizer's tokens. False: there is none. Such as "[INST]" do not count: some models mean them as plain text. */
bool ql_stray_token(const ql_tokenizer *t, const char *text, size_t n, ql_range *out);
