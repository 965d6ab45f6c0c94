/* What is said and done when the numbers of a step are no use. */
#pragma once
#include "worker/step.h"

/* Collective. The step's update was left out for `trouble`: on_nonfinite: skip warns and counts; stop, or too many steps in
 * a row, is QL_DATA. Both name the records. */
QL_RESULT ql_report_trouble(ql_job *j, int64_t step, const int64_t *rows, int64_t n, ql_trouble trouble,
                            const ql_step_result *r);
