/* What the machine lets a run have: processors, memory, limits of the user, shared memory. */
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/processor.h"
#include "launcher/doctor/doctor.h"
#include "launcher/doctor/text.h"

/* A file of the kernel, whose size it does not say. Caller frees. */
static char *kernel_text(const char *path) {
    char   piece[4096];
    ql_str text = {0};
    FILE  *f = fopen(path, "re");
    for (size_t n; f && (n = fread(piece, 1, sizeof piece, f)) > 0;) ql_str_put(&text, piece, n);
    if (f) fclose(f);
    return text.data ? text.data : ql_strdup("");
}

static char *text_in(const char *folder, const char *name) {
    char *path = ql_path_join(folder, name), *text = kernel_text(path);
    free(path);
    return text;
}

static char *group_folder(const char *controller, bool *unified) {
    char *groups = kernel_text("/proc/self/cgroup"), *mounts = kernel_text("/proc/self/mountinfo");
    char *folder = ql_cgroup_folder(groups, mounts, controller, unified);
    free(groups);
    free(mounts);
    return folder;
}

/* ---- processors ---- */

static int allowed_cpus(void) {
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 0;
}

static double group_cpus(void) {
    bool   unified;
    char  *folder = group_folder("cpu", &unified);
    double cpus = 0;
    if (folder && unified) {
        char *text = text_in(folder, "cpu.max");
        cpus = ql_cgroup_cpus(text);
        free(text);
    } else if (folder) {
        char *quota = text_in(folder, "cpu.cfs_quota_us"), *period = text_in(folder, "cpu.cfs_period_us");
        cpus = ql_cgroup_cpus_v1(quota, period);
        free(quota);
        free(period);
    }
    free(folder);
    return cpus;
}

static void check_instructions(void) {
    ql_instructions used;
    if (ql_bad(ql_processor_choose(&used))) ql_mistake(QL_USAGE, "unset QLORA_CPU", "%s", ql_err_text());
    else if (used == QL_PORTABLE) ql_warning("train on a newer processor or on a GPU", "this processor has no AVX2, or QLORA_CPU forgoes it: the CPU back end computes slowly");
    else ql_fine("the CPU back end uses %s", ql_instructions_name(used));
}

static void check_load(int cpus) {
    double load[1];
    if (getloadavg(load, 1) != 1 || cpus < 1) return;
    if (load[0] > 0.75 * cpus) ql_warning("see what else runs (top), or give the run fewer threads: --threads N", "the load is %.1f on %d processor%s: other programs use them", load[0], cpus, cpus == 1 ? "" : "s");
}

static void check_threads_variable(int cpus) {
    const char *value = getenv("OMP_NUM_THREADS");
    if (value && atoi(value) > 0 && atoi(value) < cpus)
        ql_remark(NULL, "OMP_NUM_THREADS=%d: a worker on the CPU uses the allowed processors all the same; --threads N limits it", atoi(value));
}

/* Schedulers and containers hand out a part of a machine; what hurts is to have fewer than ranks. */
static void check_binding(const ql_patient *p, int there, int allowed) {
    static const char cure[] = "qlora run binds nothing; by hand: mpirun --bind-to none, srun --cpu-bind=none, no taskset; in a job: ask for more CPUs";
    char             *siblings = kernel_text("/sys/devices/system/cpu/smt/active");
    if (allowed >= there) ql_fine("%d processor%s, all allowed%s", there, there == 1 ? "" : "s", atoi(siblings) == 1 ? "; two to a core (hyper-threads)" : "");
    else if (allowed <= p->ranks) ql_warning(cure, "only %d of %d processors are allowed (CPU binding)", allowed, there);
    else ql_remark(cure, "%d of %d processors are allowed: a worker has as many threads", allowed, there);
    free(siblings);
}

void ql_check_cpus(const ql_patient *p) {
    int    there = (int)sysconf(_SC_NPROCESSORS_ONLN), allowed = allowed_cpus();
    double quota = group_cpus();
    if (allowed > 0) check_binding(p, there, allowed);
    if (quota > 0 && quota < allowed)
        ql_warning("raise the limit (docker run --cpus), or --threads as many as it allows", "a control group allows %.3g processors' time, and threads are started for %d: they will be halted again and again", quota, allowed);
    check_instructions();
    check_load(allowed);
    check_threads_variable(allowed);
}

/* ---- memory ---- */

static uint64_t group_bytes(void) {
    bool     unified;
    char    *folder = group_folder("memory", &unified);
    char    *text = folder ? text_in(folder, unified ? "memory.max" : "memory.limit_in_bytes") : ql_strdup("");
    uint64_t bytes = ql_cgroup_bytes(text);
    free(text);
    free(folder);
    return bytes;
}

void ql_check_memory(const ql_patient *p) {
    (void)p;
    char   *text = kernel_text("/proc/meminfo"), a[32], b[32];
    int64_t total = ql_number_after(text, "MemTotal:") * 1024, available = ql_number_after(text, "MemAvailable:") * 1024;
    int64_t swap = ql_number_after(text, "SwapTotal:") * 1024, swap_free = ql_number_after(text, "SwapFree:") * 1024;
    char   *commit = kernel_text("/proc/sys/vm/overcommit_memory");
    uint64_t limit = group_bytes();
    ql_text_bytes(a, (uint64_t)ql_max(available, 0));
    ql_text_bytes(b, (uint64_t)ql_max(total, 0));
    if (available < total / 4) ql_warning("see who uses it (top, sorted by M)", "only %s of %s of memory are available", a, b);
    else ql_fine("%s of %s of memory are available", a, b);
    if (limit > 0 && limit < (uint64_t)total)
        ql_remark("docker run --memory, or the scheduler's --mem, raise it", "a control group limits memory to %s; runs are planned within that", ql_text_bytes(a, limit));
    if (swap - swap_free > (1 << 30)) ql_remark("steps that wait for swap are slow: end what needs the memory", "%s are swapped out", ql_text_bytes(a, (uint64_t)(swap - swap_free)));
    if (atoi(commit) == 2) ql_warning("sysctl vm.overcommit_memory=0", "vm.overcommit_memory is 2: drivers of GPUs and MPI reserve far more addresses than they use, and are refused them");
    free(text);
    free(commit);
}

/* ---- limits ---- */

typedef struct {
    int         resource;
    const char *name, *option; /* of ulimit */
    rlim_t      least;         /* below: a warning; 0: any limit at all is one */
    const char *suffers;
} limit_rule;

static const limit_rule limit_rules[] = {
    {RLIMIT_NOFILE, "open files", "-n", 256, "a run may not open its model and its connections"},
    {RLIMIT_NPROC, "processes", "-u", 256, "threads and MPI's helpers may not start"},
    {RLIMIT_FSIZE, "the size of files", "-f", 0, "a checkpoint that is larger cannot be written"},
    {RLIMIT_AS, "addresses", "-v", 0, "models are mapped and GPUs reserve addresses without using memory; both are refused"},
    {RLIMIT_DATA, "data", "-d", 0, "memory is refused although there is some"},
    {RLIMIT_CPU, "processor time", "-t", 0, "the run is killed when it is used up"},
};

static void check_limit(const limit_rule *rule) {
    struct rlimit r;
    if (getrlimit((__rlimit_resource_t)rule->resource, &r) != 0 || r.rlim_cur == RLIM_INFINITY) return;
    if (rule->least > 0 && r.rlim_cur >= rule->least) return;
    char *cure = ql_format("ulimit %s unlimited, or as much as you may%s", rule->option, r.rlim_max != r.rlim_cur ? "" : "; this is the most you may, ask who runs the machine");
    ql_warning(cure, "ulimit %s: %s limited to %llu: %s", rule->option, rule->name, (unsigned long long)r.rlim_cur, rule->suffers);
    free(cure);
}

static bool has_infiniband(void) {
    DIR *d = opendir("/sys/class/infiniband");
    int  n = 0;
    for (struct dirent *entry; d && (entry = readdir(d));) n += entry->d_name[0] != '.';
    if (d) closedir(d);
    return n > 0;
}

static void check_stack_and_locks(void) {
    struct rlimit r;
    if (getrlimit(RLIMIT_STACK, &r) == 0 && r.rlim_cur == RLIM_INFINITY)
        ql_remark("ulimit -s 8192", "ulimit -s is unlimited, which gives helper threads of libraries (NCCL's among them) smaller stacks");
    if (getrlimit(RLIMIT_MEMLOCK, &r) == 0 && r.rlim_cur != RLIM_INFINITY && has_infiniband())
        ql_warning("ulimit -l unlimited; in Slurm also for slurmd (LimitMEMLOCK=infinity); docker run --ulimit memlock=-1", "ulimit -l: only %llu bytes may be locked, and InfiniBand needs to lock its buffers", (unsigned long long)r.rlim_cur);
}

void ql_check_limits(const ql_patient *p) {
    (void)p;
    struct rlimit files;
    for (size_t i = 0; i < QL_LEN(limit_rules); i++) check_limit(&limit_rules[i]);
    check_stack_and_locks();
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) ql_fine("%llu files may be open", (unsigned long long)files.rlim_cur);
}

/* ---- shared memory ---- */

void ql_check_shared_memory(const ql_patient *p) {
    enum { OF_A_RANK = 16 << 20, OF_A_CONTAINER = 64 << 20 };
    static const char cure[] = "docker run --shm-size=1g (or --ipc=host); in Kubernetes an emptyDir of medium Memory at /dev/shm; else remove what lies there";
    struct statvfs    s;
    char              a[32], b[32];
    ql_asking("/dev/shm");
    if (statvfs("/dev/shm", &s) != 0 || access("/dev/shm", W_OK) != 0) {
        ql_trouble(ql_gpus(p) > 1, "mount a tmpfs there", "/dev/shm cannot be used: %s; several ranks need it", strerror(errno));
        return;
    }
    uint64_t size = (uint64_t)s.f_blocks * s.f_frsize, available = (uint64_t)s.f_bavail * s.f_frsize, need = (uint64_t)OF_A_RANK * (uint64_t)ql_max(p->ranks, 2);
    ql_text_bytes(a, available);
    ql_text_bytes(b, size);
    if (available < need) ql_trouble(p->ranks > 1, cure, "/dev/shm has %s of %s free; %d ranks need %llu MiB", a, b, (int)ql_max(p->ranks, 2), (unsigned long long)(need >> 20));
    else if (size <= OF_A_CONTAINER) ql_warning(cure, "/dev/shm has only %s, as containers have by default: enough for a few ranks, not for NCCL on many GPUs", b);
    else ql_fine("%s of %s free", a, b);
}
