/* The chat template of a run. */
#pragma once
#include "base/config/config.h"
#include "worker/data/template/folder.h"

/* By chat_template, chat_template_kwargs and the model's folder. What strftime_now sees is when the newest data file was written,
 * so that all ranks, and a run that goes on another day, come to the same text. Local; caller closes `out`. */
QL_RESULT ql_chat_of(const ql_config *c, ql_chat *out);
