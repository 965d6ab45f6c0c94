/* What a run writes is its user's alone: folders with mode 0700, files with 0600, nothing through a symbolic link,
 * nothing where somebody else could exchange it under our hands. Refusals are QL_DENIED and name the cure. All local.
 *
 * "Ours" is what the effective user owns. Root in a container may write into anybody's folder: there, the owner of
 * what is mounted from outside says nothing. */
#pragma once
#include "base/err.h"

bool ql_in_container(void);

/* Makes the folder and its missing parents with mode 0700, or checks the one that is there: no symbolic link, ours,
 * not writable by others (but with the sticky bit), nor by a group other than the user's own. QL_IO: cannot be made. */
QL_RESULT ql_private_folder(const char *path);
/* Opens or makes (O_CREAT: 0600) a file for writing: no symbolic link, a regular file, ours. QL_IO: cannot be opened.
 * O_TRUNC empties it after these checks. */
QL_RESULT ql_private_open(const char *path, int flags, int *fd);
/* QL_DENIED when an entry of the folder that `is_ours` (a file, a folder) is a symbolic link. An absent folder has
 * none. */
QL_RESULT ql_private_no_links(const char *folder, bool (*is_ours)(const char *name));
