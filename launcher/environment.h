/* The environment that workers are started with: what in it loads code or redirects files, and what of it decides how they run. */
#pragma once
#include "base/err.h"

/* Says which variables load code into the workers or redirect files, each once, and takes them away when `drop`: root's programs load
 * nothing because a variable was left over. Values are shown, but none that may be a secret. */
void ql_environment_check(bool drop);
/* What the variable of this name does that a run should not be led by: "loads code into the workers", ...; NULL: nothing. */
const char *ql_environment_danger(const char *name);
/* Says on one line what is set of the variables that the workers' libraries listen to. */
void ql_environment_print(void);
