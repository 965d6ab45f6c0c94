#include "worker/data/read/place.h"

#include "worker/data/read/files.h"
#include "worker/data/record/record.h"

typedef struct {
    const int64_t *record;
    char         **place;
    size_t         n, found;
    int64_t        at; /* number of the next record of the input */
} search;

/* False: the file cannot be read as it once was. */
static bool search_file(search *s, const char *path, const ql_reader_options *how, int64_t *left) {
    ql_reader reader;
    ql_span   span;
    bool      more = true;
    if (ql_bad(ql_reader_open(path, how, &reader))) return false;
    while (s->found < s->n && more) {
        if ((*left)-- == 0) {
            more = false;
            break;
        }
        if (ql_bad(ql_reader_next(&reader, &span, &more))) break;
        if (more && s->record[s->found] == s->at++) s->place[s->found++] = ql_format("%s:%zu", path, span.line);
        ql_reader_release(&reader);
    }
    ql_reader_close(&reader);
    return !more;
}

static bool search_set(search *s, const ql_dataset_spec *d, const ql_config *c) {
    ql_reader_options how = ql_reader_options_of(d, c);
    ql_file_list      files;
    if (ql_bad(ql_files_of(d->path, &files))) return false;
    bool    good = true;
    int64_t left = ql_dataset_max_records(d);
    for (size_t i = 0; i < files.count && left > 0 && s->found < s->n && good; i++) good = search_file(s, files.path[i], &how, &left);
    ql_file_list_free(&files);
    return good;
}

void ql_record_places(const ql_datasets *sets, const ql_config *c, const int64_t *record, size_t n, char **place) {
    search s = {.record = record, .place = place, .n = n};
    for (size_t i = 0; i < n; i++) place[i] = NULL;
    for (size_t i = 0; i < sets->count && s.found < n; i++)
        if (!search_set(&s, &sets->item[i], c)) return;
}
