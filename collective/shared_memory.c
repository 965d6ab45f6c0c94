#include "collective/shared_memory.h"

#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/clock.h"

/* Open MPI 4 calls its transport through shared memory "vader", Open MPI 5 "sm". */
static const char *setting(const char *vader, const char *sm, const char *otherwise) {
    const char *value = getenv(vader);
    if (!value) value = getenv(sm);
    return value && *value ? value : otherwise;
}

static bool names_it(const char *list) {
    return strstr(list, "vader") || strstr(list, "sm");
}

/* A list of transports, or with '^' of those to leave out. */
static bool is_used(void) {
    const char *list = getenv("OMPI_MCA_btl");
    if (!list || !*list) return true;
    return list[0] == '^' ? !names_it(list) : names_it(list);
}

static uint64_t ranks_here(void) {
    const char *told = getenv("OMPI_COMM_WORLD_LOCAL_SIZE");
    return told ? strtoull(told, NULL, 10) : 1;
}

ql_err ql_shared_memory_check(void) {
    const char    *folder = setting("OMPI_MCA_btl_vader_backing_directory", "OMPI_MCA_btl_sm_backing_directory", "/dev/shm");
    const char    *segment = setting("OMPI_MCA_btl_vader_segment_size", "OMPI_MCA_btl_sm_segment_size", "4194304");
    uint64_t       ranks = ranks_here(), needed = ranks * strtoull(segment, NULL, 10), left;
    char           free_text[32], needed_text[32];
    struct statvfs fs;
    if (ranks < 2 || !is_used() || statvfs(folder, &fs) != 0) return ql_ok();
    left = (uint64_t)fs.f_bavail * fs.f_frsize;
    QL_CHECK(left >= needed, QL_USAGE,
             "%s: %s are free, and %d ranks on one machine need %s for their messages; give the container more (--shm-size), clear it, "
             "or set OMPI_MCA_btl=self,tcp",
             folder, ql_text_bytes(free_text, left), (int)ranks, ql_text_bytes(needed_text, needed));
    return ql_ok();
}
