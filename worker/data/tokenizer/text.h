/* UTF-8 and the character classes that tokenizers ask about. Text that reaches the inner
 * functions has passed ql_utf8_check. */
#pragma once
#include "base/err.h"
#include "base/mem.h"

/* The number of leading bytes that are valid UTF-8; n when all are. */
size_t ql_utf8_check(const char *text, size_t n);
/* The character at p (valid UTF-8, p < end) and its length in bytes. */
size_t ql_utf8_get(const char *p, uint32_t *character);
/* The start of the character that ends before p. */
const char *ql_utf8_back(const char *begin, const char *p);
size_t ql_utf8_put(char out[4], uint32_t character);
void ql_utf8_append(ql_str *out, uint32_t character);
/* Appends bytes; each maximal part that is not UTF-8 becomes one U+FFFD. */
void ql_utf8_lossy(ql_str *out, const char *bytes, size_t n);

bool ql_is_space(uint32_t c);       /* White_Space, 25 code points                        */
bool ql_is_word(uint32_t c);        /* Alphabetic, M, Nd, Pc, Join_Control                */
bool ql_is_numeric(uint32_t c);     /* Nd, Nl, No                                         */
bool ql_is_punctuation(uint32_t c); /* P, and the ASCII characters that C calls punctuation */

/* GPT-2's printable stand-ins for bytes. */
uint32_t ql_byte_to_char(uint8_t byte);
int ql_char_to_byte(uint32_t character); /* -1: stands for no byte */
void ql_byte_map(ql_str *out, const char *bytes, size_t n);

/* Messages quote what files contain: makes a bad verdict's sentence one line of valid UTF-8. */
QL_RESULT ql_one_line(ql_err e);
