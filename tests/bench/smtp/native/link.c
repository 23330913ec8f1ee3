/*
 * Two network namespaces with a slow wire between them.
 *
 * usage: link wire DELAY_USECONDS     make both, print "PID CLIENT_FD SERVER_FD", carry packets until killed
 *        link enter NAMESPACE COMMAND...    run a command inside a namespace
 *
 * The namespaces have no names: they are gone with the processes inside them, however those end. The client's address
 * is 198.18.0.1 and the server's 198.18.0.2, of the range that RFC 2544 sets aside for benchmarks. Each is the end of a
 * TUN device; a packet that one gives us is handed to the other DELAY later. Nothing is lost, nothing overtakes.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MTU = 1500, PACKETS = 16384, BURST = 64 };

struct packet {
    int64_t due_ns;
    size_t length;
    char data[MTU];
};

struct direction {
    int from, to;
    uint32_t head, tail; /* a ring: head - tail packets are on their way */
    struct packet *packets;
};

static void die(const char *what) {
    perror(what);
    exit(1);
}

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void control(int fd, unsigned long request, struct ifreq *interface, const char *what) {
    if (ioctl(fd, request, interface) < 0) die(what);
}

static void set_address(int fd, struct ifreq *interface, unsigned long request, const char *address) {
    struct sockaddr_in value = {.sin_family = AF_INET};
    inet_pton(AF_INET, address, &value.sin_addr);
    memcpy(&interface->ifr_addr, &value, sizeof value);
    control(fd, request, interface, address);
}

static void bring_up(int fd, const char *name) {
    struct ifreq interface = {0};
    strncpy(interface.ifr_name, name, IFNAMSIZ - 1);
    control(fd, SIOCGIFFLAGS, &interface, name);
    interface.ifr_flags |= IFF_UP;
    control(fd, SIOCSIFFLAGS, &interface, name);
}

/* A new namespace, which this process is then inside; returns it, and its end of the wire. */
static int make_namespace(const char *address, int *device) {
    struct ifreq interface = {0};
    if (unshare(CLONE_NEWNET) < 0) die("unshare");
    *device = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (*device < 0) die("/dev/net/tun");
    interface.ifr_flags = IFF_TUN | IFF_NO_PI;
    strcpy(interface.ifr_name, "wire");
    control(*device, TUNSETIFF, &interface, "TUNSETIFF");
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    set_address(fd, &interface, SIOCSIFADDR, address);
    set_address(fd, &interface, SIOCSIFNETMASK, "255.255.255.0");
    interface.ifr_mtu = MTU;
    control(fd, SIOCSIFMTU, &interface, "SIOCSIFMTU");
    interface.ifr_qlen = PACKETS;
    control(fd, SIOCSIFTXQLEN, &interface, "SIOCSIFTXQLEN");
    bring_up(fd, "wire");
    bring_up(fd, "lo");
    close(fd);
    int namespace = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (namespace < 0) die("/proc/self/ns/net");
    return namespace;
}

static void take(struct direction *d, int64_t delay_ns) {
    for (int i = 0; i < BURST && d->head - d->tail < PACKETS; i++) {
        struct packet *p = &d->packets[d->head % PACKETS];
        ssize_t got = read(d->from, p->data, MTU);
        if (got <= 0) return;
        p->length = (size_t)got;
        p->due_ns = now_ns() + delay_ns;
        d->head++;
    }
}

static int64_t give(struct direction *d) {
    int64_t now = now_ns();
    while (d->head != d->tail) {
        struct packet *p = &d->packets[d->tail % PACKETS];
        if (p->due_ns > now) return p->due_ns;
        if (write(d->to, p->data, p->length) < 0 && errno != EIO && errno != EINVAL) die("write");
        d->tail++;
    }
    return INT64_MAX;
}

static void carry(int client, int server, int64_t delay_ns) {
    struct direction there = {.from = client, .to = server}, back = {.from = server, .to = client};
    there.packets = calloc(PACKETS, sizeof(struct packet));
    back.packets = calloc(PACKETS, sizeof(struct packet));
    if (!there.packets || !back.packets) die("calloc");
    struct pollfd ends[2] = {{.fd = client, .events = POLLIN}, {.fd = server, .events = POLLIN}};
    for (;;) {
        int64_t first = give(&there), second = give(&back), next = first < second ? first : second;
        struct timespec wait, *limit = NULL;
        if (next != INT64_MAX) {
            int64_t left = next - now_ns();
            if (left < 0) left = 0;
            wait = (struct timespec){.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};
            limit = &wait;
        }
        if (ppoll(ends, 2, limit, NULL) < 0 && errno != EINTR) die("ppoll");
        take(&there, delay_ns);
        take(&back, delay_ns);
    }
}

int main(int argc, char **argv) {
    if (argc >= 4 && !strcmp(argv[1], "enter")) {
        int namespace = open(argv[2], O_RDONLY | O_CLOEXEC);
        if (namespace < 0 || setns(namespace, CLONE_NEWNET) < 0) die(argv[2]);
        execvp(argv[3], argv + 3);
        die(argv[3]);
    }
    if (argc != 3 || strcmp(argv[1], "wire")) return 2;
    /* Whoever started it may be killed; then it has no more reason to be there. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_TIMERSLACK, 1000);
    int client, server;
    int client_namespace = make_namespace("198.18.0.1", &client);
    int server_namespace = make_namespace("198.18.0.2", &server);
    printf("%d %d %d\n", (int)getpid(), client_namespace, server_namespace);
    fflush(stdout);
    carry(client, server, (int64_t)atoll(argv[2]) * 1000);
}
