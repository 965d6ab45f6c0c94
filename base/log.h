/* What a run says. Results go to standard output by printf; everything here goes to standard
 * error and, once opened, to run.log. Only rank 0 speaks, except for warnings and errors,
 * which carry their rank. */
#pragma once
#include "base/err.h"

/* Local. `path` may be NULL: no file. Appends; opened as base/private.h has it. When it cannot be, the rest goes to standard error all
 * the same. A log that cannot be written later ends nothing either. */
QL_RESULT ql_log_open(const char *path, int rank, int world_size);
/* Local. Warnings and errors name this host beside the rank; kept as it is, not copied. */
void      ql_log_host(const char *name);
void      ql_log_close(void);
int       ql_log_rank(void);
int       ql_log_ranks(void);
int       ql_log_file(void); /* the descriptor of run.log, -1: none */

void ql_info(const char *fmt, ...) QL_PRINTF(1, 2);  /* rank 0 only                       */
void ql_warn(const char *fmt, ...) QL_PRINTF(1, 2);  /* "qlora: warning: ..."             */
void ql_error(const char *fmt, ...) QL_PRINTF(1, 2); /* "qlora: error: ..."               */
/* "qlora: error: " and the parts, for signal handlers: calls nothing that they may not. */
void ql_error_parts(const char *const *part, size_t n);

/* Progress, rank 0 only. On a terminal one line that is redrawn; elsewhere a plain line at
 * most every 10 seconds, and always when `last`. `NO_COLOR` needs no care: we print none. */
void ql_progress(bool last, const char *fmt, ...) QL_PRINTF(2, 3);
bool ql_progress_is_bar(void);
