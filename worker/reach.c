#include "worker/reach.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { MOST = 4096 };
/* The kernel asks when nothing else is under way, and leaves it to us what to make of no answer. */
enum { ASK_AFTER = 5, ASK_EVERY = 2, ASK_OFTEN = 100 };

static int        watched[MOST];
static atomic_int n_watched;

typedef union {
    struct sockaddr         any;
    struct sockaddr_in      four;
    struct sockaddr_in6     six;
    struct sockaddr_storage room;
} peer;

static bool find_peer(int fd, peer *p) {
    socklen_t size = sizeof *p;
    int       type = 0;
    socklen_t type_size = sizeof type;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_size) != 0 || type != SOCK_STREAM || getpeername(fd, &p->any, &size) != 0) return false;
    if (p->any.sa_family == AF_INET) return ntohl(p->four.sin_addr.s_addr) >> 24 != IN_LOOPBACKNET;
    return p->any.sa_family == AF_INET6 && !IN6_IS_ADDR_LOOPBACK(&p->six.sin6_addr);
}

static bool keep_asking(int fd) {
    const int on = 1, after = ASK_AFTER, every = ASK_EVERY, often = ASK_OFTEN;
    return setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on) == 0 && setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &after, sizeof after) == 0 &&
           setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every, sizeof every) == 0 && setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &often, sizeof often) == 0;
}

static bool is_watched(int fd, int n) {
    for (int i = 0; i < n; i++)
        if (watched[i] == fd) return true;
    return false;
}

void ql_reach_watch(void) {
    DIR *open = opendir("/proc/self/fd");
    int  n = n_watched;
    for (struct dirent *entry; open && n < MOST && (entry = readdir(open));) {
        int  fd = atoi(entry->d_name);
        peer p;
        if (entry->d_name[0] == '.' || is_watched(fd, n) || !find_peer(fd, &p) || !keep_asking(fd)) continue;
        watched[n++] = fd;
        atomic_store(&n_watched, n);
    }
    if (open) closedir(open);
}

/* What was sent or asked again and again, with no answer of any kind. */
static bool is_silent(int fd, double seconds) {
    struct tcp_info info = {0};
    socklen_t       size = sizeof info;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return false;
    return (info.tcpi_retransmits > 0 || info.tcpi_probes > 0) && info.tcpi_last_ack_recv >= seconds * 1000;
}

bool ql_reach_lost(double seconds, char address[64]) {
    peer p;
    int  n = atomic_load(&n_watched);
    for (int i = 0; i < n; i++) {
        if (!is_silent(watched[i], seconds) || !find_peer(watched[i], &p)) continue;
        const void *from = p.any.sa_family == AF_INET ? (const void *)&p.four.sin_addr : (const void *)&p.six.sin6_addr;
        if (inet_ntop(p.any.sa_family, from, address, 64)) return true;
    }
    return false;
}
