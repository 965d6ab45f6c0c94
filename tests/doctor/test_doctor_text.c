/* What qlora doctor reads of other programs and of the system: tables of texts and what they mean. */
#include <stdlib.h>
#include <string.h>

#include "launcher/doctor/text.h"
#include "tests/support/check.h"

/* ---- mounts ---- */

static const char mounts[] = "22 27 0:21 / /proc rw,relatime - proc proc rw\n"
                             "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard\n"
                             "30 27 0:27 / /home rw shared:1 master:2 - nfs4 server:/home rw,vers=4.2\n"
                             "31 30 0:28 / /home/a\\040b rw - fuse.sshfs host: rw\n"
                             "32 27 0:29 / /scratch rw - ext4 /dev/sdb rw\n"
                             "33 27 0:30 / /scratch rw - lustre mds@tcp:/x rw\n"
                             "34 27 0:31 / /data rw - overlay overlay rw\n"
                             "not a line at all\n"
                             "35 27 0:32 / /last rw - tmpfs tmpfs rw";

static void finds_mounts(void **state) {
    (void)state;
    static const char *const rows[][3] = {
        {"/etc/passwd", "ext4", "/"},         {"/home", "nfs4", "/home"},       {"/home/x/y", "nfs4", "/home"},
        {"/homes/x", "ext4", "/"},            {"/home/a b/c", "fuse.sshfs", "/home/a b"}, {"/scratch/x", "lustre", "/scratch"},
        {"/last/x", "tmpfs", "/last"},        {"/proc/self", "proc", "/proc"},
    };
    for (size_t i = 0; i < QL_LEN(rows); i++) {
        ql_mount m;
        assert_true(ql_mount_find(mounts, rows[i][0], &m));
        assert_string_equal(m.type, rows[i][1]);
        assert_string_equal(m.point, rows[i][2]);
        ql_mount_free(&m);
    }
    ql_mount m;
    assert_false(ql_mount_find("", "/x", &m));
    assert_false(ql_mount_find("30 27 0:27 / /home rw - nfs4 server:/home rw\n", "/x", &m));
}

static void judges_file_systems(void **state) {
    (void)state;
    static const char *const bad[] = {"tmpfs", "overlay", "fuse", "fuse.sshfs", "fuseblk", "9p", "cifs", "vfat"}, *const good[] = {"ext4", "xfs", "btrfs", "zfs"};
    static const char *const shared[] = {"nfs", "nfs4", "lustre", "gpfs", "beegfs"};
    for (size_t i = 0; i < QL_LEN(bad); i++) assert_non_null(ql_mount_remark_of(bad[i])->what);
    for (size_t i = 0; i < QL_LEN(good); i++) assert_null(ql_mount_remark_of(good[i]));
    for (size_t i = 0; i < QL_LEN(shared); i++) {
        assert_null(ql_mount_remark_of(shared[i])->what);
        assert_true(ql_mount_remark_of(shared[i])->is_shared);
    }
}

/* ---- control groups ---- */

typedef struct {
    const char *groups, *mounts, *controller, *folder;
    bool        unified;
} group_row;

static void finds_groups(void **state) {
    (void)state;
    static const char v1[] = "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
                             "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n";
    static const char v2[] = "29 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n";
    static const char container[] = "40 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
    static const group_row rows[] = {
        {"5:memory:/jobs/7\n4:cpu,cpuacct:/\n0::/x\n", v1, "memory", "/sys/fs/cgroup/memory/jobs/7", false},
        {"5:memory:/jobs/7\n4:cpu,cpuacct:/\n", v1, "cpu", "/sys/fs/cgroup/cpu,cpuacct", false},
        {"5:cpuset:/jobs/7\n", v1, "cpu", NULL, false},
        {"0::/user.slice/a\n", v2, "memory", "/sys/fs/cgroup/user.slice/a", true},
        {"0::/\n", v2, "cpu", "/sys/fs/cgroup", true},
        {"5:memory:/docker/abc\n", container, "memory", "/sys/fs/cgroup/memory", false},
        {"5:memory:/docker/abc/sub\n", container, "memory", "/sys/fs/cgroup/memory/sub", false},
        {"5:memory:/elsewhere\n", container, "memory", "/sys/fs/cgroup/memory", false},
        {"", v1, "memory", NULL, false},
        {"garbage\n::\n", v2, "memory", NULL, false},
    };
    for (size_t i = 0; i < QL_LEN(rows); i++) {
        bool  unified;
        char *folder = ql_cgroup_folder(rows[i].groups, rows[i].mounts, rows[i].controller, &unified);
        if (rows[i].folder) assert_string_equal(folder, rows[i].folder);
        else assert_null(folder);
        if (folder) assert_int_equal(unified, rows[i].unified);
        free(folder);
    }
}

static void reads_limits(void **state) {
    (void)state;
    assert_int_equal(ql_cgroup_bytes("max\n"), 0);
    assert_int_equal(ql_cgroup_bytes("9223372036854771712\n"), 0);
    assert_int_equal(ql_cgroup_bytes("8589934592\n"), 8589934592);
    assert_int_equal(ql_cgroup_bytes(""), 0);
    assert_true(ql_cgroup_cpus("max 100000\n") == 0);
    assert_true(ql_cgroup_cpus("150000 100000\n") == 1.5);
    assert_true(ql_cgroup_cpus("") == 0);
    assert_true(ql_cgroup_cpus_v1("-1\n", "100000\n") == 0);
    assert_true(ql_cgroup_cpus_v1("50000\n", "100000\n") == 0.5);
    assert_true(ql_cgroup_cpus_v1("", "") == 0);
}

/* ---- other programs ---- */

static void reads_srun(void **state) {
    (void)state;
    static const char *const yes[] = {
        "MPI plugin types are...\n\tcray_shasta\n\tnone\n\tpmi2\n\tpmix\nspecific pmix plugin versions available: pmix_v4\n",
        "srun: MPI types are...\nsrun: pmix_v3\nsrun: none\n", "MPI plugin types are...\n\tnone\n\tpmix_v5\n"};
    static const char *const no[] = {"MPI plugin types are...\n\tnone\n\tpmi2\n", "", "srun: error: no-pmix-here\n", "\tpmixture\n"};
    for (size_t i = 0; i < QL_LEN(yes); i++) assert_true(ql_srun_speaks_pmix(yes[i]));
    for (size_t i = 0; i < QL_LEN(no); i++) assert_false(ql_srun_speaks_pmix(no[i]));
}

static void reads_visible_devices(void **state) {
    (void)state;
    static const char *const good[] = {"0", "0,1,2,3", "GPU-8932f937-d72c-4106", "MIG-GPU-1/2/3", "10,1,0", "1,10"};
    static const char *const odd[][2] = {
        {"", "hides all"},     {"-1", "hides all"},    {"all", "hides all"},    {"none", "hides all"}, {"\"0\"", "hides all"}, {"0,0", "twice"},
        {"0,x,1", "ignored"},  {"0, 1", "ignored"},    {"0,-1,1", "ignored"},   {"0,", "comma"},       {"0,,1", "ignored"},
    };
    for (size_t i = 0; i < QL_LEN(good); i++) assert_null(ql_visible_devices_fault(good[i]));
    for (size_t i = 0; i < QL_LEN(odd); i++) {
        const char *fault = ql_visible_devices_fault(odd[i][0]);
        assert_non_null(fault);
        assert_non_null(strstr(fault, odd[i][1]));
    }
}

static void knows_interfaces(void **state) {
    (void)state;
    static const char *const traps[] = {"docker0", "br-3f2a", "veth12ab", "virbr0", "cni0", "tun0", "wg0"}, *const real[] = {"eth0", "enp3s0", "ib0", "bond0", "br0", "wlan0"};
    for (size_t i = 0; i < QL_LEN(traps); i++) assert_non_null(ql_interface_trap(traps[i]));
    for (size_t i = 0; i < QL_LEN(real); i++) assert_null(ql_interface_trap(real[i]));
}

static void reads_driver_versions(void **state) {
    (void)state;
    static const char *const rows[][2] = {
        {"NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024\nGCC version:  gcc version 12.3.0\n", "535.183.01"},
        {"NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (builder@host)\n", "580.65.06"},
        {"NVRM version: nothing of the kind\nGCC version: 12.3.0\n", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < QL_LEN(rows); i++) {
        char *version = ql_driver_version(rows[i][0]);
        if (rows[i][1]) assert_string_equal(version, rows[i][1]);
        else assert_null(version);
        free(version);
    }
}

static void reads_fields(void **state) {
    (void)state;
    static const char line[] = "0, 580.65, Default,  7 \nmore";
    static const char *const fields[] = {"0", "580.65", "Default", "7", "", ""};
    for (size_t i = 0; i < QL_LEN(fields); i++) {
        char *field = ql_comma_field(line, (int)i);
        assert_string_equal(field, fields[i]);
        free(field);
    }
    assert_int_equal(ql_number_after("MemTotal:  12 kB\nMemFree: 3 kB\n", "MemFree:"), 3);
    assert_int_equal(ql_number_after("MemTotal:  12 kB\n", "SwapFree:"), -1);
    assert_int_equal(ql_number_after("MemTotal: many\n", "MemTotal:"), -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_mounts),     cmocka_unit_test(judges_file_systems),   cmocka_unit_test(finds_groups),
        cmocka_unit_test(reads_limits),     cmocka_unit_test(reads_srun),            cmocka_unit_test(reads_visible_devices),
        cmocka_unit_test(knows_interfaces), cmocka_unit_test(reads_driver_versions), cmocka_unit_test(reads_fields),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
