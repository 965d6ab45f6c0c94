/* Time, and the two ways in which sizes and durations are written for people. */
#pragma once
#include "base/ql.h"

double ql_seconds(void);      /* monotonic, arbitrary origin */
double ql_wall_seconds(void); /* since 1970                  */

/* "12.3 MiB", "1.50 GiB"; "1 h 02 min", "3 min 07 s", "4.2 s". `out` holds at least 32 bytes. */
const char *ql_text_bytes(char out[32], uint64_t bytes);
const char *ql_text_duration(char out[32], double seconds);
