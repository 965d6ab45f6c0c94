/* A cable between two hosts of the tests (tests/support/hosts.sh) that takes its time, since kernels without netem have none.
 *   slow_wire PID PID INTERFACE MILLISECONDS      processes whose networks get an interface of that name, the way between them
 * Says "ready" on standard output, and goes on until it is killed. */
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"

enum { WAITING = 8192, FRAME = 2048 };
typedef struct {
    double  due;
    ssize_t n;
    char    frame[FRAME];
} parcel;
/* Frames on their way, the oldest at `first`. */
typedef struct {
    int     from, to;
    size_t  first, count;
    parcel *ring;
} direction;

static void need(bool good, const char *what) {
    if (good) return;
    perror(what);
    exit(1);
}

/* An end of the cable in another network. */
static int plug(const char *pid, const char *name) {
    char         path[64];
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    snprintf(path, sizeof path, "/proc/%s/ns/net", pid);
    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
    int network = open(path, O_RDONLY | O_CLOEXEC);
    need(network >= 0 && setns(network, CLONE_NEWNET) == 0, path);
    int end = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    need(end >= 0 && ioctl(end, TUNSETIFF, &request) == 0, "/dev/net/tun");
    close(network);
    return end;
}

static void take(direction *d, double delay) {
    while (d->count < WAITING) {
        parcel *p = &d->ring[(d->first + d->count) % WAITING];
        p->n = read(d->from, p->frame, sizeof p->frame);
        if (p->n <= 0) return;
        p->due = ql_seconds() + delay;
        d->count++;
    }
}

/* A frame that nobody takes is lost, as on a cable. */
static void deliver(direction *d) {
    for (; d->count > 0 && d->ring[d->first].due <= ql_seconds(); d->count--, d->first = (d->first + 1) % WAITING) {
        ssize_t lost = write(d->to, d->ring[d->first].frame, (size_t)d->ring[d->first].n);
        (void)lost;
    }
}

/* Milliseconds until the next frame is due; for ever when there is none. */
static int patience(const direction *d) {
    double left = d->count > 0 ? d->ring[d->first].due - ql_seconds() : 0;
    return d->count == 0 ? -1 : left > 0 ? (int)(left * 1000) + 1 : 0;
}

int main(int argc, char **argv) {
    if (argc != 5) return 64;
    double    delay = atof(argv[4]) / 1000;
    int       a = plug(argv[1], argv[3]), b = plug(argv[2], argv[3]);
    direction way[2] = {{.from = a, .to = b}, {.from = b, .to = a}};
    for (int i = 0; i < 2; i++) need((way[i].ring = calloc(WAITING, sizeof(parcel))) != NULL, "memory");
    puts("ready");
    fflush(stdout);
    for (;;) {
        struct pollfd ready[2] = {{.fd = a, .events = POLLIN}, {.fd = b, .events = POLLIN}};
        int           first = patience(&way[0]), second = patience(&way[1]);
        poll(ready, 2, first < 0 ? second : second < 0 || first < second ? first : second);
        for (int i = 0; i < 2; i++) take(&way[i], delay), deliver(&way[i]);
    }
}
