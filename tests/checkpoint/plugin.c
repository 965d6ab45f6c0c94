/* A plug-in of the kind that a hostile HDF5_PLUGIN_PATH holds: it leaves a mark when it is loaded. */
#include <stdio.h>
#include <stdlib.h>

__attribute__((constructor)) static void leave_mark(void) {
    const char *path = getenv("QL_PLUGIN_MARK");
    FILE *f = path ? fopen(path, "w") : NULL;
    if (f) fclose(f);
}
