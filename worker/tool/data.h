/* What tools about data share: the data side of a run, without its model's weights. */
#pragma once
#include "worker/job.h"

/* `words`: a configuration file and KEY=VALUE; `j` is zero, but for what the tool wants. The caller closes it, whatever comes. */
QL_RESULT ql_tool_read_config(const char *tool, char **words, size_t n, ql_job *j);
QL_RESULT ql_tool_read_data(ql_job *j);
