/* What transformers does to messages before a template sees them. */
#pragma once
#include "worker/data/template/value.h"

/* A list of messages without the keys that are null; what was thought is there as reasoning_content and thinking, whichever of
 * reasoning_content, thinking and reasoning had it. Fails when the value is no list of objects. */
jj_value jj_usual_messages(jj_heap *h, jj_value messages);
