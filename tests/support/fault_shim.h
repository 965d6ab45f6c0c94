/* Faults of the operating system on demand. fault_shim.c stands before the C library, either
 * linked into a test or as a shared object in LD_PRELOAD, and counts the calls that change files:
 * open with O_CREAT, write, pwrite, ftruncate, fsync, close, rename, mkdir, unlink, rmdir. Calls
 * on standard output and error are not counted.
 *
 * In LD_PRELOAD it is armed by the environment: QL_SHIM_AT=7 QL_SHIM_DOES=kill. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

typedef enum {
    SHIM_NOTHING,
    SHIM_KILL,   /* "kill": SIGKILL instead of the call                                     */
    SHIM_TEAR,   /* "tear": does half of a write, or the whole of another call, and SIGKILL */
    SHIM_EIO,    /* "eio": this one call fails                                              */
    SHIM_ENOSPC, /* "enospc": from here on whatever needs space fails                       */
} shim_fault;

/* Faults at the `at`-th counted call from now on, 1 the first. */
void shim_arm(int at, shim_fault fault);
/* Disarms; says whether the fault was reached. */
bool shim_disarm(void);
/* File systems that cannot exchange two names: renameat2 with RENAME_EXCHANGE says EINVAL. */
void shim_forbid_exchange(bool forbidden);
/* statvfs finds plenty of free space everywhere. */
void shim_promise_space(bool promised);
/* statvfs finds that many free bytes; 0: as many as there are. */
void shim_leave_space(uint64_t bytes);
