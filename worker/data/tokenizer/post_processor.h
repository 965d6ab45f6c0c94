/* The "post_processor" of a tokenizer.json, as far as it adds ids. */
#pragma once
#include "worker/data/tokenizer/bpe.h"

enum { QL_TEXT = -1 }; /* in a template: the ids of the text */

/* A file without post-processor gives the text alone. */
QL_RESULT ql_template_load(const ql_json *document, const char *file, ql_ids *out);
