/* Hugging Face tokenizers carry Unicode tables of their own: version 16 for regular expressions, version 9
 * for normal forms, 7 for punctuation, 17 for digits and small letters. The libraries here are of another age; these lists make up for that, so
 * that ids do not depend on the distribution. */
#pragma once
#include "base/mem.h"

/* A character that came with Unicode 15 to 16 is exchanged for an older one of the same category
 * and the same length in UTF-8; every other one is itself. Good for matching, never for text. */
uint32_t ql_stand_in(uint32_t c);
/* The same for a text; `store` holds the result where one differs, else the text is returned. */
const char *ql_stand_in_text(const char *text, size_t n, ql_str *store);

/* Younger than Unicode 9, and reordered, composed or decomposed by younger tables. */
bool ql_outside_normal_forms(uint32_t c);
/* A mark (Mn, Mc, Me) of Unicode 9, which is what StripAccents takes away. */
bool ql_is_mark_to_strip(uint32_t c);
/* Punctuation (P) outside ASCII, of Unicode 7, which is what Punctuation cuts at. */
bool ql_is_old_punctuation(uint32_t c);
/* The small letter of Unicode 17; U+0130, which becomes two characters, is left to the caller. */
uint32_t ql_to_lower(uint32_t c);
