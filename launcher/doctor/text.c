#include "launcher/doctor/text.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- lines and words ---- */

/* The next line of *at, without its end; NULL after the last. Caller frees. */
static char *take_line(const char **at) {
    if (!**at) return NULL;
    size_t n = strcspn(*at, "\n");
    char  *line = ql_strndup(*at, n);
    *at += n + ((*at)[n] == '\n');
    return line;
}

/* The `index`th word of a line; caller frees; NULL: none. */
static char *word_of(const char *line, int index) {
    for (;; index--) {
        line += strspn(line, " ");
        size_t n = strcspn(line, " ");
        if (n == 0) return NULL;
        if (index == 0) return ql_strndup(line, n);
        line += n;
    }
}

int64_t ql_number_after(const char *text, const char *name) {
    const char *at = strstr(text, name);
    if (!at) return -1;
    at += strlen(name);
    at += strspn(at, " \t");
    return isdigit((unsigned char)*at) ? strtoll(at, NULL, 10) : -1;
}

char *ql_comma_field(const char *line, int index) {
    for (; index > 0 && *line; index--) {
        line += strcspn(line, ",");
        line += *line == ',';
    }
    line += strspn(line, " ");
    size_t n = strcspn(line, ",\r\n");
    while (n > 0 && line[n - 1] == ' ') n--;
    return ql_strndup(line, n);
}

/* ---- mounts ---- */

/* Blanks in it are written as "\040". */
static void unescape(char *text) {
    char *to = text;
    for (const char *p = text; *p; to++) {
        bool octal = p[0] == '\\' && strspn(p + 1, "01234567") >= 3;
        *to = octal ? (char)((p[1] - '0') << 6 | (p[2] - '0') << 3 | (p[3] - '0')) : *p;
        p += octal ? 4 : 1;
    }
    *to = 0;
}

static bool lies_under(const char *path, const char *folder) {
    size_t n = strlen(folder);
    if (n == 1) return path[0] == '/';
    return !strncmp(path, folder, n) && (path[n] == '/' || !path[n]);
}

/* "36 35 98:0 /root /point options fields - type source options" */
typedef struct {
    char *root, *point, *type, *options;
} mount_line;

static bool read_mount(const char *line, mount_line *m) {
    const char *rest = strstr(line, " - ");
    *m = (mount_line){.root = word_of(line, 3), .point = word_of(line, 4)};
    if (rest) {
        m->type = word_of(rest + 3, 0);
        m->options = word_of(rest + 3, 2);
    }
    if (m->root) unescape(m->root);
    if (m->point) unescape(m->point);
    return m->point && m->type;
}

static void free_mount(mount_line *m) {
    free(m->root);
    free(m->point);
    free(m->type);
    free(m->options);
}

/* The longest that contains it; of two at the same place the later one, which covers the other. */
bool ql_mount_find(const char *mountinfo, const char *path, ql_mount *out) {
    *out = (ql_mount){0};
    for (char *line; (line = take_line(&mountinfo)); free(line)) {
        mount_line m;
        if (read_mount(line, &m) && lies_under(path, m.point) && (!out->point || strlen(m.point) >= strlen(out->point))) {
            ql_mount_free(out);
            *out = (ql_mount){.type = ql_strdup(m.type), .point = ql_strdup(m.point)};
        }
        free_mount(&m);
    }
    return out->type != NULL;
}

void ql_mount_free(ql_mount *m) {
    free(m->type);
    free(m->point);
    *m = (ql_mount){0};
}

#define IN_MEMORY "lies in memory: what is written there takes memory from the run and is gone after a restart of the machine"
#define DISK_CURE "choose an output_dir on a disk"
#define BY_A_PROGRAM "is served by a program (FUSE), which may not keep what was written when the machine or the program stops"

const ql_mount_remark *ql_mount_remark_of(const char *type) {
    static const ql_mount_remark remarks[] = {
        {"tmpfs", IN_MEMORY, DISK_CURE, false},
        {"ramfs", IN_MEMORY, DISK_CURE, false},
        {"overlay", "is a layer of a container: what is written there is gone with the container", "mount a folder of the host there, or choose one", false},
        {"aufs", "is a layer of a container: what is written there is gone with the container", "mount a folder of the host there, or choose one", false},
        {"fuse*", BY_A_PROGRAM, "choose an output_dir on a disk or on the cluster's file system", true},
        {"nfs*", NULL, NULL, true},
        {"lustre", NULL, NULL, true},
        {"gpfs", NULL, NULL, true},
        {"beegfs", NULL, NULL, true},
        {"ceph", NULL, NULL, true},
        {"cifs", "is a Windows share, where permissions mean little: others may read and change what the run writes", DISK_CURE, true},
        {"smb*", "is a Windows share, where permissions mean little: others may read and change what the run writes", DISK_CURE, true},
        {"9p", "is a folder of the host, shared into a virtual machine (9p): slow, and not safe against a power failure", DISK_CURE, false},
        {"vboxsf", "is a folder of the host, shared into a virtual machine: slow, and not safe against a power failure", DISK_CURE, false},
        {"vfat", "is FAT, without permissions and without a rename that is safe against a power failure", DISK_CURE, false},
        {"exfat", "is exFAT, without permissions and without a rename that is safe against a power failure", DISK_CURE, false},
    };
    for (size_t i = 0; i < QL_LEN(remarks); i++) {
        size_t n = strcspn(remarks[i].type, "*");
        if (!strncmp(type, remarks[i].type, n) && (remarks[i].type[n] || !type[n])) return &remarks[i];
    }
    return NULL;
}

/* ---- control groups ---- */

static bool has_word(const char *list, const char *word) {
    size_t n = strlen(word);
    for (const char *p = list; *p; p += *p == ',') {
        size_t length = strcspn(p, ",");
        if (length == n && !strncmp(p, word, n)) return true;
        p += length;
    }
    return false;
}

/* "5:memory:/path", and "0::/path" for version 2. */
static char *group_of(const char *groups, const char *controller, bool unified) {
    for (char *line; (line = take_line(&groups)); free(line)) {
        char *names = strchr(line, ':'), *path = names ? strchr(names + 1, ':') : NULL;
        if (!path) continue;
        *path++ = 0;
        if (unified ? !strcmp(line, "0:") : has_word(names + 1, controller)) {
            char *found = ql_strdup(path);
            free(line);
            return found;
        }
    }
    return NULL;
}

/* A container sees its group as the root of the mount, whatever the group is called outside. */
static char *folder_in(const mount_line *m, const char *group) {
    const char *below = group;
    if (m->root && strcmp(m->root, "/") && lies_under(group, m->root)) below = group + strlen(m->root);
    else if (m->root && strcmp(m->root, "/")) below = "";
    if (!strcmp(below, "/")) below = "";
    return ql_format("%s%s", m->point, below);
}

static char *folder_of(const char *mountinfo, const char *controller, const char *group, bool unified) {
    char *found = NULL;
    for (char *line; !found && (line = take_line(&mountinfo)); free(line)) {
        mount_line m;
        bool       is_it = read_mount(line, &m) && !strcmp(m.type, unified ? "cgroup2" : "cgroup") &&
                     (unified || (m.options && has_word(m.options, controller)));
        if (is_it) found = folder_in(&m, group);
        free_mount(&m);
    }
    return found;
}

/* Version 1 first: where both are, it has the controllers. */
char *ql_cgroup_folder(const char *groups, const char *mountinfo, const char *controller, bool *unified) {
    for (int version = 1; version <= 2; version++) {
        *unified = version == 2;
        char *group = group_of(groups, controller, *unified);
        char *folder = group ? folder_of(mountinfo, controller, group, *unified) : NULL;
        free(group);
        if (folder) return folder;
    }
    return NULL;
}

/* Version 1 writes the largest number of whole pages instead of "max". */
uint64_t ql_cgroup_bytes(const char *text) {
    uint64_t bytes = strtoull(text, NULL, 10);
    return bytes >= UINT64_C(1) << 60 ? 0 : bytes;
}

double ql_cgroup_cpus_v1(const char *quota, const char *period) {
    double q = strtod(quota, NULL), p = strtod(period, NULL);
    return q > 0 && p > 0 ? q / p : 0;
}

double ql_cgroup_cpus(const char *cpu_max) {
    const char *period = strchr(cpu_max, ' ');
    return period ? ql_cgroup_cpus_v1(cpu_max, period) : 0;
}

/* ---- other programs ---- */

bool ql_srun_speaks_pmix(const char *text) {
    for (const char *at = text; (at = strstr(at, "pmix")); at += strlen("pmix")) {
        bool starts = at == text || isspace((unsigned char)at[-1]);
        char after = at[strlen("pmix")];
        if (starts && (!after || isspace((unsigned char)after) || after == '_')) return true;
    }
    return false;
}

/* A number, or what nvidia-smi -L calls GPUs and their parts. */
static bool is_device(const char *word, size_t n) {
    bool number = n > 0 && strspn(word, "0123456789") >= n;
    return number || (n > 4 && (!strncmp(word, "GPU-", 4) || !strncmp(word, "MIG-", 4)));
}

static bool comes_twice(const char *value, const char *word, size_t n) {
    for (const char *p = value; p < word; p += strcspn(p, ",") + 1)
        if (strcspn(p, ",") == n && !strncmp(p, word, n)) return true;
    return false;
}

/* CUDA takes the words up to the first that it does not know. */
const char *ql_visible_devices_fault(const char *value) {
    if (!*value) return "is empty, which hides all GPUs";
    for (const char *p = value; *p; p += *p == ',') {
        size_t n = strcspn(p, ",");
        bool   known = is_device(p, n);
        if (!known && p == value) return "begins with no number or name of a GPU, which hides all GPUs";
        if (!known) return "holds a word that is no number or name of a GPU; what follows is ignored";
        if (comes_twice(value, p, n)) return "names a GPU twice, which hides all GPUs";
        p += n;
    }
    return value[strlen(value) - 1] == ',' ? "ends with a comma" : NULL;
}

const char *ql_interface_trap(const char *name) {
    static const char *const traps[][2] = {
        {"docker", "Docker's bridge"},      {"br-", "a bridge of Docker's"},     {"veth", "an end of a container's cable"},
        {"virbr", "libvirt's bridge"},      {"vnet", "a virtual machine's cable"}, {"podman", "Podman's bridge"},
        {"cni", "a bridge of containers"},  {"flannel", "Kubernetes' network"},  {"cali", "Kubernetes' network"},
        {"lxcbr", "a bridge of containers"}, {"lxdbr", "a bridge of containers"}, {"tun", "a tunnel"},
        {"tap", "a tunnel"},                {"wg", "a tunnel"},                  {"tailscale", "a tunnel"},
        {"dummy", "no network at all"},     {"kube", "Kubernetes' network"},
    };
    for (size_t i = 0; i < QL_LEN(traps); i++)
        if (!strncmp(name, traps[i][0], strlen(traps[i][0]))) return traps[i][1];
    return NULL;
}

/* "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun Jul ..."; the open modules say "Open Kernel Module for x86_64". */
char *ql_driver_version(const char *text) {
    const char *at = strstr(text, "NVRM version:");
    for (size_t n; at && *at && *at != '\n'; at += n + (at[n] == ' ')) {
        n = strcspn(at, " \n");
        size_t digits = strspn(at, "0123456789.");
        if (n > 3 && digits == n && isdigit((unsigned char)*at) && memchr(at, '.', n)) return ql_strndup(at, n);
        if (at[n] == '\n') return NULL;
    }
    return NULL;
}
