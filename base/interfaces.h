/* The network interfaces of this machine (of the network namespace that we are in), for messages about networks. Local. */
#pragma once
#include "base/mem.h"

typedef struct {
    char     name[16], address[48]; /* its first address, IPv4 before IPv6; "": it has none */
    uint64_t bytes;                 /* received and sent since it is there */
    bool     is_up;
    bool     is_inside;             /* by its name it leads to containers or virtual machines of this host, or to the host itself */
} ql_interface;

/* At most `most` of them, in the kernel's order. Returns how many. */
size_t ql_interfaces(ql_interface *out, size_t most);
/* "eth0 10.0.0.3, docker0 172.17.0.1 (leads to containers)": those that are up, without the loopback. */
void   ql_interfaces_text(ql_str *out);
/* What to do when hosts do not reach each other, or slowly: the variables that choose an interface, and those there are. */
void   ql_interfaces_cure(ql_str *out);
