#include "base/interfaces.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <inttypes.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool leads_inside(const char *name) {
    static const char *const beginnings[] = {"lo", "docker", "veth", "br-", "virbr", "vnet", "cni", "flannel", "cali", "podman", "lxc", "lxdbr", "tun", "tap"};
    for (size_t i = 0; i < QL_LEN(beginnings); i++)
        if (!strncmp(name, beginnings[i], strlen(beginnings[i]))) return true;
    return false;
}

/* "  eth0: RECEIVED 7 numbers SENT ..." of /proc/net/dev, which unlike /sys is that of our network namespace. */
static bool read_counters(const char *line, ql_interface *out) {
    char     name[64];
    uint64_t received, sent;
    if (sscanf(line, " %63[^: ]: %" SCNu64 " %*u %*u %*u %*u %*u %*u %*u %" SCNu64, name, &received, &sent) != 3) return false;
    *out = (ql_interface){.bytes = received + sent, .is_inside = leads_inside(name)};
    snprintf(out->name, sizeof out->name, "%.15s", name);
    return true;
}

static void take_address(const struct ifaddrs *a, ql_interface *i) {
    int family = a->ifa_addr ? a->ifa_addr->sa_family : AF_UNSPEC;
    i->is_up = a->ifa_flags & IFF_UP;
    bool has_better = i->address[0] && (family != AF_INET || !strchr(i->address, ':'));
    if (has_better) return;
    if (family == AF_INET) inet_ntop(family, &((const struct sockaddr_in *)(const void *)a->ifa_addr)->sin_addr, i->address, sizeof i->address);
    if (family == AF_INET6) inet_ntop(family, &((const struct sockaddr_in6 *)(const void *)a->ifa_addr)->sin6_addr, i->address, sizeof i->address);
}

static void add_addresses(ql_interface *list, size_t n) {
    struct ifaddrs *all;
    if (getifaddrs(&all) != 0) return;
    for (const struct ifaddrs *a = all; a; a = a->ifa_next)
        for (size_t i = 0; i < n; i++)
            if (!strncmp(a->ifa_name, list[i].name, sizeof list[i].name)) take_address(a, &list[i]);
    freeifaddrs(all);
}

size_t ql_interfaces(ql_interface *out, size_t most) {
    FILE  *f = fopen("/proc/self/net/dev", "re");
    char   line[512];
    size_t n = 0;
    while (f && n < most && fgets(line, sizeof line, f)) n += read_counters(line, &out[n]);
    if (f) fclose(f);
    add_addresses(out, n);
    return n;
}

void ql_interfaces_cure(ql_str *out) {
    ql_str_puts(out, "name the interface that connects the hosts in OMPI_MCA_btl_tcp_if_include and NCCL_SOCKET_IFNAME; here: ");
    ql_interfaces_text(out);
}

void ql_interfaces_text(ql_str *out) {
    ql_interface list[64];
    size_t       n = ql_interfaces(list, QL_LEN(list)), listed = 0;
    for (size_t i = 0; i < n; i++) {
        if (!list[i].is_up || !list[i].address[0] || !strcmp(list[i].name, "lo")) continue;
        ql_str_printf(out, "%s%s %s%s", listed++ ? ", " : "", list[i].name, list[i].address, list[i].is_inside ? " (to containers, not to hosts)" : "");
    }
    if (listed == 0) ql_str_puts(out, "none that is up");
}
