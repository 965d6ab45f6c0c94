/* What surrounds a run: network, environment, the user, temporary files. */
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/file.h"
#include "base/private.h"
#include "launcher/doctor/doctor.h"
#include "launcher/doctor/text.h"
#include "launcher/environment.h"

/* ---- network ---- */

static bool is_up(const struct ifaddrs *i) {
    bool has_address = i->ifa_addr && (i->ifa_addr->sa_family == AF_INET || i->ifa_addr->sa_family == AF_INET6);
    return has_address && i->ifa_flags & IFF_UP;
}

static bool is_listed(const ql_str *list, const char *name) {
    size_t n = strlen(name);
    for (const char *at = list->data; at && (at = strstr(at, name)); at += n)
        if ((at == list->data || at[-1] == ' ') && (!at[n] || at[n] == ',' || at[n] == ' ')) return true;
    return false;
}

/* "eth0, ib0", each once. */
static void put_interface(ql_str *list, const char *name, const char *what) {
    if (is_listed(list, name)) return;
    ql_str_printf(list, "%s%s", list->size ? ", " : "", name);
    if (what) ql_str_printf(list, " (%s)", what);
}

typedef struct {
    ql_str real, traps, all;
    bool   loopback;
} interfaces;

static void list_interfaces(interfaces *n) {
    struct ifaddrs *first = NULL;
    if (getifaddrs(&first) != 0) return;
    for (struct ifaddrs *i = first; i; i = i->ifa_next) {
        if (!is_up(i)) continue;
        const char *trap = ql_interface_trap(i->ifa_name);
        bool        is_loopback = i->ifa_flags & IFF_LOOPBACK;
        n->loopback |= is_loopback;
        put_interface(&n->all, i->ifa_name, NULL);
        if (!is_loopback) put_interface(trap ? &n->traps : &n->real, i->ifa_name, trap);
    }
    freeifaddrs(first);
}

/* What these name may be a list, of beginnings (NCCL) or of networks (Open MPI): only the first word is looked for. */
static void check_chosen(const interfaces *n, const char *variable) {
    const char *value = getenv(variable), *word = value;
    if (!value || strchr(value, '/') || *value == '^') return;
    word += strspn(word, "=");
    char *first = ql_strndup(word, strcspn(word, ",:"));
    bool  exact = is_listed(&n->all, first), begins = n->all.data && strstr(n->all.data, first);
    if (!exact && !(begins && !strncmp(variable, "NCCL", 4)))
        ql_mistake(QL_TEMP, "unset it, or name one that is up", "%s=%s, and no interface that is up is called so; there are %s", variable, value, n->all.data ? n->all.data : "none");
    free(first);
}

static void check_own_name(void) {
    char             name[256] = "";
    struct addrinfo *found = NULL;
    gethostname(name, sizeof name - 1);
    ql_asking("the address of this machine's name, %s", name);
    int why = getaddrinfo(name, NULL, &(struct addrinfo){.ai_socktype = SOCK_STREAM}, &found);
    if (why != 0) ql_remark("add it to /etc/hosts", "this machine's own name, %s, has no address (%s); an mpirun over several machines may wait for it", name, gai_strerror(why));
    if (found) freeaddrinfo(found);
}

void ql_check_network(const ql_patient *p) {
    (void)p;
    static const char *const variables[] = {"NCCL_SOCKET_IFNAME", "OMPI_MCA_btl_tcp_if_include", "OMPI_MCA_oob_tcp_if_include", "GLOO_SOCKET_IFNAME"};
    interfaces               n = {0};
    list_interfaces(&n);
    if (!n.loopback) ql_mistake(QL_TEMP, "ip link set lo up", "the loopback interface is down: mpirun and its ranks cannot meet");
    if (n.traps.size > 0 && !getenv("NCCL_SOCKET_IFNAME"))
        ql_remark("only with several machines: name the one that leads to them, NCCL_SOCKET_IFNAME=NAME and OMPI_MCA_btl_tcp_if_include=NAME", "%s: up, and leads to no other machine%s%s", n.traps.data, n.real.size ? "; the way out is probably " : "", n.real.size ? n.real.data : "");
    for (size_t i = 0; i < QL_LEN(variables); i++) check_chosen(&n, variables[i]);
    check_own_name();
    ql_fine("interfaces: %s", n.real.size ? n.real.data : "none but the loopback; enough for one machine");
    ql_str_free(&n.real);
    ql_str_free(&n.traps);
    ql_str_free(&n.all);
}

/* ---- environment ---- */

typedef struct {
    const char *name, *value; /* value NULL: any; names that end in * stand for all that begin so */
    const char *does;
    bool        harms; /* a warning; else it is only worth knowing */
} leftover;

static const char OF_PYTORCH[] = "is a setting of PyTorch and does nothing here";
/* Of debugging, from templates and forum posts: they stay behind and make runs slow, or hang. */
static const leftover leftovers[] = {
    {"CUDA_LAUNCH_BLOCKING", "1", "makes every kernel wait for the one before: slow", true},
    {"NCCL_P2P_DISABLE", "1", "forbids GPUs to reach each other's memory: exchanges go through the host", true},
    {"NCCL_SHM_DISABLE", "1", "forbids ranks of a machine to exchange through its memory: they use the network", true},
    {"NCCL_IB_DISABLE", "1", "forbids InfiniBand: machines exchange over Ethernet", true},
    {"NCCL_ALGO", NULL, "forces an algorithm of NCCL, which chooses better by itself", true},
    {"NCCL_PROTO", NULL, "forces a protocol of NCCL, which chooses better by itself", true},
    {"NCCL_DEBUG", "INFO", "prints hundreds of lines a rank", false},
    {"NCCL_DEBUG", "TRACE", "prints thousands of lines a rank, and makes exchanges slow", true},
    {"NCCL_LAUNCH_MODE", NULL, "forces how NCCL launches kernels; old versions hang with it", true},
    {"NCCL_MULTI_RANK_GPU_ENABLE", "1", "lets two ranks share a GPU, which may hang", true},
    {"NCCL_BLOCKING_WAIT", NULL, OF_PYTORCH, false},
    {"NCCL_ASYNC_ERROR_HANDLING", NULL, OF_PYTORCH, false},
    {"TORCH_NCCL_*", NULL, OF_PYTORCH, false},
    {"PYTORCH_CUDA_ALLOC_CONF", NULL, OF_PYTORCH, false},
    {"OMPI_MCA_orte_abort_on_non_zero_status", "0", "keeps mpirun waiting for a run whose rank has died", true},
    {"OMPI_MCA_pml", NULL, "forces how Open MPI sends messages", false},
    {"OMPI_MCA_btl", NULL, "forces what Open MPI sends messages by; without vader (in version 5: sm) ranks of a machine are slow", false},
    {"CUDA_DEVICE_ORDER", "FASTEST_FIRST", "numbers GPUs differently from nvidia-smi", false},
    {"MALLOC_CHECK_", NULL, "makes memory slow", true},
    {"MALLOC_PERTURB_", NULL, "makes memory slow", true},
};

static bool fits(const char *pattern, const char *word, size_t n) {
    size_t length = strlen(pattern);
    if (pattern[length - 1] == '*') return n >= length - 1 && !strncmp(pattern, word, length - 1);
    return n == length && !strncmp(pattern, word, n);
}

static void check_leftover(const char *word) {
    size_t n = strcspn(word, "=");
    for (size_t i = 0; i < QL_LEN(leftovers); i++) {
        const leftover *l = &leftovers[i];
        if (!fits(l->name, word, n) || (l->value && strcasecmp(l->value, word + n + (word[n] == '=')))) continue;
        char *cure = ql_format("unset %.*s, unless you know why it is there", (int)n, word);
        if (l->harms) ql_warning(cure, "%.200s %s", word, l->does);
        else ql_remark(cure, "%.200s %s", word, l->does);
        free(cure);
    }
}

/* Where modules are loaded the path of libraries is set, rightly: no reason to worry. */
static bool check_danger(const char *name) {
    static const char cure[] = "unset it, unless you know why it is there; qlora run takes it away from root's workers";
    const char       *does = ql_environment_danger(name);
    if (does && !strcmp(name, "LD_LIBRARY_PATH")) ql_remark(cure, "%s %s", name, does);
    else if (does) ql_warning(cure, "%s %s", name, does);
    return does != NULL;
}

void ql_check_environment(const ql_patient *p) {
    (void)p;
    bool quiet = true;
    for (char **word = environ; *word; word++) {
        char *name = ql_strndup(*word, strcspn(*word, "="));
        quiet &= !check_danger(name);
        check_leftover(*word);
        free(name);
    }
    if (quiet) ql_fine("no variable loads code into the workers or redirects their files");
}

/* ---- user ---- */

void ql_check_user(const ql_patient *p) {
    (void)p;
    const char *home = getenv("HOME");
    bool        root = geteuid() == 0, container = ql_in_container();
    if (root && !container) ql_remark("use a user of your own, or qlora run -n N --allow-root; mpirun by hand wants --allow-run-as-root", "this is root, outside a container: several workers are not started without being told");
    else ql_fine("user %ld%s", (long)geteuid(), container ? ", in a container" : "");
    if (!home || *home != '/' || access(home, X_OK) != 0) ql_warning("export HOME=/a/folder/of/yours", "HOME is %s%s: nothing is cached, and Open MPI may complain", home ? home : "not set", home ? ", which cannot be entered" : "");
}

/* ---- temporary files ---- */

static void check_folder(const char *folder, bool is_ours) {
    enum { LONGEST = 60, LEAST = 16 << 20 };
    struct statvfs s;
    ql_asking("%s", folder);
    if (access(folder, W_OK | X_OK) != 0) {
        ql_mistake(QL_TEMP, "export TMPDIR=/a/folder/of/yours", "%s, where mpirun keeps its sockets, cannot be written: %s", folder, strerror(errno));
        return;
    }
    if (statvfs(folder, &s) == 0 && (uint64_t)s.f_bavail * s.f_frsize < LEAST) ql_trouble(true, "remove what lies there, or export TMPDIR", "%s has less than 16 MiB free: mpirun cannot start", folder);
    else ql_fine("%s can be written", folder);
    if (is_ours && strlen(folder) > LONGEST) ql_warning("export TMPDIR=/tmp", "TMPDIR has %zu characters: names of sockets in it are too long for Open MPI", strlen(folder));
}

void ql_check_temporary(const ql_patient *p) {
    (void)p;
    const char *folder = getenv("TMPDIR");
    check_folder(folder && *folder ? folder : "/tmp", folder && *folder);
}
