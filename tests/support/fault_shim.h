/* Faults of the operating system on demand. fault_shim.c stands before the C library, either linked into a program or as
 * a shared object in LD_PRELOAD, and counts the calls that change files: open and openat with O_CREAT, write, pwrite,
 * writev, fallocate, ftruncate, fsync, fdatasync, close, rename, renameat, renameat2, link, symlink, mkdir, mkdirat,
 * unlink, unlinkat, rmdir. Calls on standard output and error, and on the rings of ranks (*.ring), are not counted.
 *
 * By the environment, in any program:
 *   QL_SHIM_DOES=kill         one of the faults below, by its word
 *   QL_SHIM_AT=7              at which counted call (1)
 *   QL_SHIM_UNDER=/a/folder   only calls on this folder and what is in it count; absolute. A worker under mpirun needs it, or the
 *                             files of MPI count, too
 *   QL_SHIM_RANK=1            only on this rank of an mpirun
 *   QL_SHIM_SECONDS=0.5       of "slow" (0.05) and "stall" (an hour)
 *   QL_SHIM_LOG=/a/file       a line "NUMBER CALL PATH" for each counted call, written before it is made; with or without a fault
 *   QL_SHIM_LOCKS=enolck      flock fails so (or enosys)
 *   QL_SHIM_SPACE=1000        statvfs finds so many free bytes (under QL_SHIM_UNDER) */
#pragma once
#include <stdbool.h>
#include <stdint.h>

typedef enum {
    SHIM_NOTHING,
    SHIM_KILL,   /* "kill": SIGKILL instead of the call                                     */
    SHIM_TEAR,   /* "tear": does half of a write, or the whole of another call, and SIGKILL */
    SHIM_EIO,    /* "eio": this one call fails                                              */
    SHIM_STALL,  /* "stall": this one call takes QL_SHIM_SECONDS                             */
    /* From here on: */
    SHIM_ENOSPC, /* "enospc": whatever needs space fails                                    */
    SHIM_EDQUOT, /* "edquot": the same, for a quota                                          */
    SHIM_EROFS,  /* "erofs": whatever changes a file fails                                  */
    SHIM_DEAD,   /* "dead": everything fails with EIO                                       */
    SHIM_FSYNC,  /* "fsync": fsync and fdatasync fail with EIO                              */
    SHIM_SLOW,   /* "slow": each write and fsync takes QL_SHIM_SECONDS longer                */
} shim_fault;

/* Faults at the `at`-th counted call from now on, 1 the first. */
void shim_arm(int at, shim_fault fault);
/* The fault of that word; SHIM_NOTHING: there is none. */
shim_fault shim_named(const char *word);
/* Disarms; says whether the fault was reached. */
bool shim_disarm(void);
/* File systems that cannot exchange two names: renameat2 with RENAME_EXCHANGE says EINVAL. */
void shim_forbid_exchange(bool forbidden);
/* statvfs finds plenty of free space everywhere. */
void shim_promise_space(bool promised);
/* statvfs finds that many free bytes; 0: as many as there are. */
void shim_leave_space(uint64_t bytes);
