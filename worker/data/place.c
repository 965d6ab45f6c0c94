#include "worker/data/place.h"

#include "worker/data/reader.h"

typedef struct {
    const int64_t *record;
    char         **place;
    size_t         n, found;
    int64_t        at; /* number of the next record of the input */
} search;

/* False: the file cannot be read as it once was. */
static bool search_file(search *s, const char *path) {
    ql_reader reader;
    ql_span   span;
    bool      more = true;
    if (ql_bad(ql_reader_open(path, &(ql_reader_options){"text", QL_SAMPLE_LINE}, &reader))) return false;
    while (s->found < s->n && more) {
        if (ql_bad(ql_reader_next(&reader, &span, &more))) break;
        if (more && s->record[s->found] == s->at++) s->place[s->found++] = ql_format("%s:%zu", path, span.line);
        ql_reader_release(&reader);
    }
    ql_reader_close(&reader);
    return !more;
}

void ql_record_places(const ql_datasets *files, const int64_t *record, size_t n, char **place) {
    search s = {.record = record, .place = place, .n = n};
    for (size_t i = 0; i < n; i++) place[i] = NULL;
    for (size_t f = 0; f < files->count && s.found < n; f++)
        if (!search_file(&s, files->item[f].path)) return;
}
