/* metrics.jsonl: one JSON object a line (docs/formats/metrics.md). Written by rank 0 only. On resume the lines of what will be done
 * again are taken out first. A disk that is full or fails does not end the training: whole lines wait in memory and are
 * tried again with the next one, and a line that was torn is cut off. All local. */
#pragma once
#include "base/err.h"
#include "base/mem.h"

/* What of a run lies behind. Lines of events after that are taken out: they will be written once more. */
typedef struct {
    int64_t step;      /* the last step done; -1: nothing, the file begins empty */
    bool    evaluated; /* the evaluation after that step has been made           */
    bool    ended;     /* the run came to its end                                */
} ql_metrics_past;

typedef struct {
    int    fd;      /* -1: closed, or not to be opened just now */
    char  *path;
    ql_str waiting; /* whole lines that could not be written yet */
    size_t lost;    /* lines, since there was no room for them to wait */
    bool   failing;
} ql_metrics;

/* QL_DENIED when the file is not an ordinary file of our own, QL_DATA when its end cannot be ours. */
QL_RESULT ql_metrics_open(const char *output_dir, const ql_metrics_past *past, ql_metrics *out);
void      ql_metrics_close(ql_metrics *m);

/* A line under construction: begin, fields, end. */
void ql_line_begin(ql_str *line, const char *event);
void ql_line_int(ql_str *line, const char *key, int64_t v);
void ql_line_number(ql_str *line, const char *key, double v);
void ql_line_flag(ql_str *line, const char *key); /* true */
void ql_line_text(ql_str *line, const char *key, const char *v);
/* Ends and frees the line. A failure is a warning, once, until lines can be written again. */
void ql_metrics_write(ql_metrics *m, ql_str *line);
/* A last attempt. QL_IO when lines are missing in the file. */
QL_RESULT ql_metrics_finish(ql_metrics *m);
