#include "worker/data/target/chat_of.h"

#include <sys/stat.h>

#include "worker/data/read/files.h"

/* What cannot be found is reported when it is read. */
static void look_at(const ql_datasets *sets, int64_t *newest) {
    for (size_t i = 0; i < sets->count; i++) {
        ql_file_list files;
        struct stat  s;
        if (ql_bad(ql_files_of(sets->item[i].path, &files))) continue;
        for (size_t k = 0; k < files.count; k++)
            if (stat(files.path[k], &s) == 0 && s.st_mtime > *newest) *newest = s.st_mtime;
        ql_file_list_free(&files);
    }
}

ql_err ql_chat_of(const ql_config *c, ql_chat *out) {
    QL_TRY(ql_chat_choose(c->model_name_or_path, c->chat_template, c->chat_template_kwargs, out));
    if (!out->asks_clock) return ql_ok();
    look_at(&c->dataset, &out->now);
    look_at(&c->eval_dataset, &out->now);
    return ql_ok();
}
