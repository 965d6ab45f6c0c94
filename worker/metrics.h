/* metrics.jsonl: one JSON object a line (contract, section 4). Written by rank 0 only, one write
 * per line. On resume the lines of steps that will be computed again are taken out first. */
#pragma once
#include "base/err.h"
#include "base/mem.h"

typedef struct {
    int   fd; /* -1: closed */
    char *path;
} ql_metrics;

/* What of a run lies behind. Lines of events after that are taken out: they will be written once more. */
typedef struct {
    int64_t step;      /* the last step done; -1: nothing, the file begins empty */
    bool    evaluated; /* the evaluation after that step has been made           */
    bool    ended;     /* the run came to its end                                */
} ql_metrics_past;
QL_RESULT ql_metrics_open(const char *output_dir, const ql_metrics_past *past, ql_metrics *out);
void      ql_metrics_close(ql_metrics *m);

/* A line under construction: begin, fields, end. */
void      ql_line_begin(ql_str *line, const char *event);
void      ql_line_int(ql_str *line, const char *key, int64_t v);
void      ql_line_number(ql_str *line, const char *key, double v);
void      ql_line_flag(ql_str *line, const char *key); /* true */
void      ql_line_text(ql_str *line, const char *key, const char *v);
QL_RESULT ql_metrics_write(ql_metrics *m, ql_str *line); /* ends and frees the line */
