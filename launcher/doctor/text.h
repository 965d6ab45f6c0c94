/* Texts of the system and of other programs, read for `qlora doctor`. Pure functions: what they look at is given. */
#pragma once
#include "base/mem.h"

/* The file system under an absolute path, by the text of /proc/self/mountinfo. `type`: "ext4", "nfs4", "fuse.sshfs"; caller frees both. */
typedef struct {
    char *type, *point;
} ql_mount;
bool ql_mount_find(const char *mountinfo, const char *path, ql_mount *out);
void ql_mount_free(ql_mount *m);
/* What somebody should know who writes checkpoints to a file system of this type; NULL: nothing. */
typedef struct {
    const char *type, *what, *cure; /* a type that ends in * stands for all that begin so */
    bool        is_shared;          /* several machines see the same files */
} ql_mount_remark;
const ql_mount_remark *ql_mount_remark_of(const char *type);

/* The folder of a control group of this process that limits `controller` ("memory", "cpu"), by the texts of /proc/self/cgroup and
 * /proc/self/mountinfo; NULL: none. `*unified`: version 2. Caller frees. */
char *ql_cgroup_folder(const char *groups, const char *mountinfo, const char *controller, bool *unified);
/* The text of memory.max or memory.limit_in_bytes; 0: no limit. */
uint64_t ql_cgroup_bytes(const char *text);
/* CPUs by the text of cpu.max, or of cpu.cfs_quota_us and cpu.cfs_period_us; 0: no limit. */
double ql_cgroup_cpus(const char *cpu_max);
double ql_cgroup_cpus_v1(const char *quota, const char *period);

/* Whether srun speaks PMIx, by what `srun --mpi=list` said on either output. */
bool ql_srun_speaks_pmix(const char *text);
/* What is odd about a value of CUDA_VISIBLE_DEVICES, as the end of a sentence; NULL: nothing. */
const char *ql_visible_devices_fault(const char *value);
/* What an interface of this name usually is, if it leads to no other machine: "Docker's bridge"; NULL: it may. */
const char *ql_interface_trap(const char *name);
/* "580.65" of /proc/driver/nvidia/version; NULL: not found. Caller frees. */
char *ql_driver_version(const char *text);
/* The number after the first `name` in the text, such as "MemAvailable:"; -1: there is none. */
int64_t ql_number_after(const char *text, const char *name);
/* The `index`th field of a line with commas, without blanks around; caller frees. "" where there is none. */
char *ql_comma_field(const char *line, int index);
