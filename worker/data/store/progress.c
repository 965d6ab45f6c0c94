#include "worker/data/store/progress.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"

void ql_set_progress_start(ql_set_progress *p, const char *path, const ql_file_list *files) {
    *p = (ql_set_progress){.path = path, .began = ql_seconds()};
    for (size_t i = 0; i < files->count; i++) p->bytes += ql_file_bytes(files->path[i]);
}

void ql_set_progress_file(ql_set_progress *p, const char *path) {
    p->before += p->file;
    p->file = ql_file_bytes(path);
}

static void say(ql_set_progress *p, double done, int64_t records, double patience, bool last) {
    double seconds = ql_seconds() - p->began, all = (double)p->bytes;
    char   left[32];
    if (done <= 0 && !last) return;
    ql_text_duration(left, done > 0 ? seconds * (all - done) / done : 0);
    snprintf(p->text, sizeof p->text, "%.0f %%, %lld records, %.1f MB/s, %s left", all > 0 ? 100 * done / all : 100.0, (long long)records,
             seconds > 0 ? done / 1e6 / seconds : 0.0, left);
    if (seconds >= patience) ql_progress(last, "preparing %s: %s", p->path, p->text);
}

void ql_set_progress_show(ql_set_progress *p, double part, int64_t records, double patience) {
    say(p, (double)p->before + part * (double)p->file, records, patience, false);
}

void ql_set_progress_end(ql_set_progress *p, int64_t records, double patience) {
    say(p, (double)p->bytes, records, patience, true);
}
