/* Special tokens of other models. */
#pragma once
#include "worker/data/tokenizer/tokenizer.h"

/* The first stretch of a text that is written as special tokens are ("<|im_start|>", "<turn|>", "<start_of_turn>", "<｜User｜>" with wide bars), and
 * is none of the tokenizer's tokens; NULL: there is none. Caller frees. "[INST]", "<|user|>" and the like do
 * not count: some models mean them as plain text. */
char *ql_stray_token(const ql_tokenizer *t, const ql_str *text);
