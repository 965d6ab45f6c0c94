/* What is mapped at the moment, so that a fault there can be named. Private to map.c. */
#pragma once
#include "base/file.h"

/* From here on a SIGBUS in the bytes of `m` ends the process with QL_DATA (the file was cut short) or QL_IO (its disk
 * failed) and one line. Other faults go where they went before. */
void ql_map_watch(const ql_map *m);
void ql_map_unwatch(const ql_map *m);
