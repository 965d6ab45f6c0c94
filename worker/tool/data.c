#include "worker/tool/data.h"

ql_err ql_tool_read_config(const char *tool, char **words, size_t n, ql_job *j) {
    QL_CHECK(n > 0, QL_USAGE, "%s: a configuration file is missing", tool);
    j->place = (ql_place){0, 1, 0, 1};
    return ql_config_read(words[0], words + 1, n - 1, &j->config, NULL);
}

ql_err ql_tool_read_data(ql_job *j) {
    QL_TRY(ql_model_config_read(j->config.model_name_or_path, &j->model.config));
    return ql_job_read_data(j, QL_JOB_TRAIN);
}
