/* metrics.jsonl: one JSON object a line (contract, section 4). Written by rank 0 only, one write
 * per line. On resume the lines of steps that will be computed again are taken out first. */
#pragma once
#include "base/err.h"
#include "base/mem.h"

typedef struct {
    int   fd; /* -1: closed */
    char *path;
} ql_metrics;

/* Keeps the lines of events up to `last_step`; -1 starts an empty file. */
QL_RESULT ql_metrics_open(const char *output_dir, int64_t last_step, ql_metrics *out);
void      ql_metrics_close(ql_metrics *m);

/* A line under construction: begin, fields, end. */
void      ql_line_begin(ql_str *line, const char *event);
void      ql_line_int(ql_str *line, const char *key, int64_t v);
void      ql_line_number(ql_str *line, const char *key, double v);
void      ql_line_flag(ql_str *line, const char *key); /* true */
void      ql_line_text(ql_str *line, const char *key, const char *v);
QL_RESULT ql_metrics_write(ql_metrics *m, ql_str *line); /* ends and frees the line */
