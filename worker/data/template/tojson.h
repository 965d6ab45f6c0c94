/* json.dumps as transformers' tojson calls it. */
#pragma once
#include "worker/data/template/text.h"

typedef struct {
    bool ensure_ascii, sort_keys;
    const jj_text *indent; /* what one level is indented by; NULL: all on one line */
    const jj_text *item, *key; /* separators */
} jj_json_style;
void jj_put_json(jj_heap *h, jj_buffer *b, jj_value v, const jj_json_style *style);
