/* Strings of code points, as Python has them, kept as UTF-8. */
#pragma once
#include "worker/data/template/value.h"

/* A growing string on the heap. */
typedef struct {
    char *data;
    size_t size, capacity;
} jj_buffer;
void jj_put(jj_heap *h, jj_buffer *b, const char *data, size_t size);
void jj_puts(jj_heap *h, jj_buffer *b, const char *word);
static inline void jj_put_text(jj_heap *h, jj_buffer *b, const jj_text *t) { jj_put(h, b, t->data, t->size); }
void jj_put_char(jj_heap *h, jj_buffer *b, uint32_t code); /* code: a Unicode scalar value */
jj_value jj_finish(jj_heap *h, const jj_buffer *b);        /* as a string */

bool jj_valid_utf8(const char *data, size_t size);
size_t jj_char_size(const jj_text *t, size_t at); /* bytes of the code point at a byte */
uint32_t jj_char(const jj_text *t, size_t at);
size_t jj_chars(jj_heap *h, jj_text *t);
size_t jj_byte_of(jj_heap *h, jj_text *t, size_t index); /* where code point `index` begins */
bool jj_is_space(uint32_t code);                         /* str.isspace of one character */
size_t jj_find(jj_heap *h, const jj_text *in, const jj_text *what, size_t from); /* bytes; SIZE_MAX: not there */

/* Both ends by bytes: white space, or the code points of `chars` unless it is NULL. */
enum { JJ_LEFT = 1, JJ_RIGHT = 2 };
jj_text *jj_strip(jj_heap *h, jj_text *t, const jj_text *chars, int sides);
typedef enum { JJ_UPPER, JJ_LOWER, JJ_TITLE } jj_case;
void jj_put_cased(jj_heap *h, jj_buffer *b, const jj_text *t, size_t from, size_t to, jj_case c);
jj_value jj_cased(jj_heap *h, const jj_text *t, jj_case c);
jj_value jj_capitalized(jj_heap *h, const jj_text *t);
jj_value jj_replaced(jj_heap *h, const jj_text *t, const jj_text *from, const jj_text *to, int64_t most);
jj_list *jj_lines(jj_heap *h, const jj_text *t, bool keep_ends);
jj_text *jj_escaped(jj_heap *h, jj_text *t); /* for HTML, and marked as such; a marked one is returned as it is */

/* str() and repr(). */
jj_text *jj_string(jj_heap *h, jj_value v);
void jj_put_string(jj_heap *h, jj_buffer *b, jj_value v);
void jj_put_repr(jj_heap *h, jj_buffer *b, jj_value v);
void jj_put_real(jj_heap *h, jj_buffer *b, double v);
