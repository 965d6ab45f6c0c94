/* What of a conversation a chat template did not write. */
#pragma once
#include "worker/data/target/turns.h"

/* What a chat template left out of a conversation; bits. */
enum { QL_LOST_SYSTEM = 1, QL_LOST_TEXT = 2, QL_LOST_THINKING = 4, QL_LOST_CALLS = 8, QL_LOST_TOOLS = 16 };

/* Whether a text, without the blanks around it, stands in the page; looked for behind *at first. *n becomes how long it is, *at where it
 * was found. An empty text stands everywhere. */
bool ql_text_stands(const ql_str *page, const char *text, size_t *n, size_t *at);

/* Bits for what does not stand in the rendered text: the system text; words of the user or the assistant; what was thought before the last
 * answer; names of tools that were called; names of tools there are. Blanks around a text, and what an answer has up to
 * "</think>", do not count. */
uint32_t ql_lost_of(const ql_dialogue *d, const ql_str *text);
/* The first key of a message, beside those that every template knows, whose text does not stand in the rendered one, such as "name"; NULL: none.
 * Borrowed from the message. */
const char *ql_lost_key(const ql_dialogue *d, const ql_str *text);
