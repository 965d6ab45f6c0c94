/* Text as HTML, whatever it holds: nothing of it can become a tag, leave its attribute, or turn the direction of what follows. */
#pragma once
#include "base/mem.h"

/* Of a label or an attribute: what is no character, or none that can be seen, becomes U+FFFD. */
void ql_html_put(ql_str *out, const char *text, size_t n);
void ql_html_puts(ql_str *out, const char *text);
/* Of a document: line breaks and tabs are shown and followed, other characters that cannot be seen are named. */
void ql_html_quote(ql_str *out, const char *text, size_t n);
