/* What of a conversation a chat template did not write. */
#pragma once
#include "worker/data/turns.h"

/* What a chat template left out of a conversation; bits. */
enum { QL_LOST_SYSTEM = 1, QL_LOST_TEXT = 2, QL_LOST_THINKING = 4, QL_LOST_CALLS = 8, QL_LOST_TOOLS = 16 };

/* Bits for what does not stand in the rendered text: the system text; words of the user or the assistant; what was thought before the last
 * answer; names of tools that were called; names of tools there are. Blanks around a text, and what an answer has up to
 * "</think>", do not count. */
uint32_t ql_lost_of(const ql_dialogue *d, const ql_str *text);
