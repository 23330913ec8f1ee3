/*
 * An SMTP server that says yes and throws away, at as little cost as one thread can.
 *
 * usage: sink ADDRESS COUNTERS [-P] [-C] [-A] [-d USECONDS]
 *
 * It listens on a free port of ADDRESS and keeps its counters in the file COUNTERS, mapped into memory, so that reading
 * them costs it nothing: port, messages, content bytes (dots unstuffed), connections open, connections made, errors, and
 * the sum of the hashes (FNV-1a) of all recipients of messages taken: it shows that each was sent to once, and who.
 * -P and -C leave PIPELINING and CHUNKING out of the EHLO reply, -A offers AUTH PLAIN and LOGIN and lets everybody in,
 * -d adds a service time to each message. Whatever a client pipelines is answered in one write.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <signal.h>
#include <unistd.h>

enum { INPUT_BYTES = 256 * 1024, OUTPUT_BYTES = 64 * 1024, LONGEST_COMMAND = 4096, EVENTS = 64 };
enum mode { COMMANDS, CONTENT, CHUNK, SIGN_IN };

struct counters {
    uint64_t port, messages, bytes, open, made, errors, recipients;
};

struct connection {
    int fd;
    enum mode mode;
    int line_start;   /* the last two content bytes were CRLF, or the content begins here */
    int has_mail, has_recipient;
    int chunk_last, chunk_refused, leaving, dead;
    uint64_t chunk_left, content_bytes, unacknowledged_chunks, recipients;
    size_t used;      /* bytes in input not yet understood */
    size_t out_used, out_sent;
    char input[INPUT_BYTES];
    char output[OUTPUT_BYTES];
};

static struct counters *counters;
static int epoll;
static int offer_pipelining = 1, offer_chunking = 1, offer_auth = 0;
static useconds_t service_us = 0;

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void watch(struct connection *c, int operation) {
    struct epoll_event event = {.data.ptr = c};
    /* While replies wait to be taken nothing more is read, as the buffers of a server are not endless. */
    event.events = c->out_used > c->out_sent ? EPOLLOUT : EPOLLIN;
    if (epoll_ctl(epoll, operation, c->fd, &event) < 0) die("epoll_ctl");
}

static void flush_replies(struct connection *c) {
    while (c->out_sent < c->out_used) {
        ssize_t sent = send(c->fd, c->output + c->out_sent, c->out_used - c->out_sent, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno == EAGAIN || errno == EWOULDBLOCK) return;
            if (errno == EINTR) continue;
            c->dead = 1;
            return;
        }
        c->out_sent += (size_t)sent;
    }
    c->out_used = c->out_sent = 0;
}

static void say(struct connection *c, const char *text) {
    size_t length = strlen(text);
    if (c->out_used + length > OUTPUT_BYTES) {
        counters->errors++;
        c->dead = 1;
        return;
    }
    memcpy(c->output + c->out_used, text, length);
    c->out_used += length;
}

static void refuse(struct connection *c, const char *text) {
    counters->errors++;
    say(c, text);
}

static void end_transaction(struct connection *c) {
    c->has_mail = c->has_recipient = 0;
    c->content_bytes = c->unacknowledged_chunks = c->recipients = 0;
}

/* path begins behind the angle bracket */
static uint64_t hash_of(const char *path) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (; *path && *path != '>'; path++) hash = (hash ^ (unsigned char)*path) * 0x100000001b3u;
    return hash;
}

static void accepted(struct connection *c) {
    counters->messages++;
    counters->bytes += c->content_bytes;
    counters->recipients += c->recipients;
    end_transaction(c);
    if (service_us) usleep(service_us);
    say(c, "250 2.0.0 Ok: queued\r\n");
}

static void greet(struct connection *c) {
    say(c, "250-sink.test\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n");
    if (offer_pipelining) say(c, "250-PIPELINING\r\n");
    if (offer_chunking) say(c, "250-CHUNKING\r\n");
    if (offer_auth) say(c, "250-AUTH PLAIN LOGIN\r\n");
    say(c, "250 SIZE 104857600\r\n");
}

static void chunk_done(struct connection *c) {
    c->mode = COMMANDS;
    if (c->chunk_refused)
        refuse(c, "503 5.5.1 No transaction\r\n");
    else if (c->chunk_last)
        accepted(c);
    else
        say(c, "250 2.0.0 Ok\r\n");
}

/* line has no CRLF and ends in a NUL */
static void command(struct connection *c, char *line) {
    if (!strncasecmp(line, "EHLO", 4) || !strncasecmp(line, "HELO", 4)) {
        end_transaction(c);
        greet(c);
    } else if (!strncasecmp(line, "MAIL FROM:", 10)) {
        if (c->has_mail) {
            refuse(c, "503 5.5.1 Nested MAIL\r\n");
        } else {
            c->has_mail = 1;
            say(c, "250 2.1.0 Ok\r\n");
        }
    } else if (!strncasecmp(line, "RCPT TO:", 8)) {
        if (c->has_mail) {
            c->has_recipient = 1;
            if (line[8] == '<') c->recipients += hash_of(line + 9);
            say(c, "250 2.1.5 Ok\r\n");
        } else {
            refuse(c, "503 5.5.1 MAIL first\r\n");
        }
    } else if (!strcasecmp(line, "DATA")) {
        if (c->has_recipient) {
            c->mode = CONTENT;
            c->line_start = 1;
            c->content_bytes = 0;
            say(c, "354 Go on\r\n");
        } else {
            refuse(c, "503 5.5.1 RCPT first\r\n");
        }
    } else if (!strncasecmp(line, "BDAT ", 5)) {
        char *rest;
        c->chunk_left = strtoull(line + 5, &rest, 10);
        c->chunk_last = !strncasecmp(rest, " LAST", 5);
        c->chunk_refused = !c->has_recipient;
        c->mode = CHUNK;
        if (!c->chunk_left) chunk_done(c);
    } else if (!strcasecmp(line, "RSET")) {
        end_transaction(c);
        say(c, "250 2.0.0 Ok\r\n");
    } else if (!strcasecmp(line, "NOOP")) {
        say(c, "250 2.0.0 Ok\r\n");
    } else if (!strncasecmp(line, "AUTH ", 5)) {
        if (!strncasecmp(line + 5, "PLAIN ", 6)) {
            say(c, "235 2.7.0 Welcome\r\n");
        } else {
            c->mode = SIGN_IN;
            say(c, !strncasecmp(line + 5, "LOGIN", 5) && line[10] == '\0' ? "334 VXNlcm5hbWU6\r\n" : "334 \r\n");
        }
    } else if (!strcasecmp(line, "QUIT")) {
        say(c, "221 2.0.0 Bye\r\n");
        c->leaving = 1;
    } else {
        refuse(c, "500 5.5.2 What?\r\n");
    }
}

/* How much of the content was understood; a last line that is not whole stays, unless it fills the buffer. */
static size_t content(struct connection *c, char *data, size_t length) {
    size_t done = 0;
    while (done < length) {
        char *start = data + done, *feed = memchr(start, '\n', length - done);
        size_t line = feed ? (size_t)(feed - start) + 1 : length - done;
        if (!feed) {
            if (length < INPUT_BYTES || line == 1) break;
            line -= 1; /* it may be the CR of a CRLF */
        }
        int ends = line >= 2 && start[line - 2] == '\r' && start[line - 1] == '\n';
        if (c->line_start && start[0] == '.') {
            if (line == 3 && ends) {
                c->mode = COMMANDS;
                accepted(c);
                return done + 3;
            }
            c->content_bytes--; /* a stuffed dot */
        }
        c->content_bytes += line;
        c->line_start = ends;
        done += line;
    }
    return done;
}

static void understand(struct connection *c) {
    size_t done = 0;
    while (done < c->used && !c->leaving && !c->dead) {
        char *start = c->input + done;
        size_t left = c->used - done, taken;
        if (c->mode == CHUNK) {
            taken = left < c->chunk_left ? left : c->chunk_left;
            c->chunk_left -= taken;
            c->content_bytes += taken;
            done += taken;
            if (!c->chunk_left) chunk_done(c);
        } else if (c->mode == CONTENT) {
            taken = content(c, start, left);
            done += taken;
            if (!taken) break;
        } else {
            char *feed = memchr(start, '\n', left);
            if (!feed) {
                if (left > LONGEST_COMMAND) {
                    refuse(c, "500 5.5.2 Line too long\r\n");
                    c->leaving = 1;
                }
                break;
            }
            done += (size_t)(feed - start) + 1;
            *feed = '\0';
            if (feed > start && feed[-1] == '\r') feed[-1] = '\0';
            if (c->mode == SIGN_IN) {
                c->mode = COMMANDS;
                say(c, "235 2.7.0 Welcome\r\n");
            } else {
                command(c, start);
            }
        }
        if (c->out_used > OUTPUT_BYTES / 2) flush_replies(c);
    }
    memmove(c->input, c->input + done, c->used - done);
    c->used -= done;
}

static void drop(struct connection *c) {
    counters->open--;
    close(c->fd);
    free(c);
}

static void serve(struct connection *c) {
    int waited = c->out_used > c->out_sent;
    flush_replies(c);
    if (!waited) {
        ssize_t got = recv(c->fd, c->input + c->used, INPUT_BYTES - c->used, 0);
        if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
            drop(c);
            return;
        }
        if (got > 0) {
            c->used += (size_t)got;
            understand(c);
            flush_replies(c);
        }
    }
    if (c->dead || (c->leaving && c->out_used == c->out_sent)) {
        drop(c);
        return;
    }
    if (waited != (c->out_used > c->out_sent)) watch(c, EPOLL_CTL_MOD);
}

static void welcome(int listener) {
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct connection *c = malloc(sizeof *c);
    if (!c) die("malloc");
    memset(c, 0, offsetof(struct connection, input));
    c->fd = fd;
    counters->open++;
    counters->made++;
    say(c, "220 sink.test ESMTP\r\n");
    flush_replies(c);
    watch(c, EPOLL_CTL_ADD);
}

static int listen_on(const char *address) {
    struct sockaddr_in place = {.sin_family = AF_INET};
    socklen_t length = sizeof place;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || inet_pton(AF_INET, address, &place.sin_addr) != 1) die("address");
    if (bind(fd, (struct sockaddr *)&place, sizeof place) < 0 || listen(fd, 1024) < 0) die("listen");
    if (getsockname(fd, (struct sockaddr *)&place, &length) < 0) die("getsockname");
    counters->port = ntohs(place.sin_port);
    return fd;
}

static void map_counters(const char *path) {
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, sizeof *counters) < 0) die(path);
    counters = mmap(NULL, sizeof *counters, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (counters == MAP_FAILED) die("mmap");
    close(fd);
}

int main(int argc, char **argv) {
    int option;
    while ((option = getopt(argc, argv, "PCAd:")) != -1) {
        if (option == 'P') offer_pipelining = 0;
        else if (option == 'C') offer_chunking = 0;
        else if (option == 'A') offer_auth = 1;
        else if (option == 'd') service_us = (useconds_t)atoi(optarg);
        else return 2;
    }
    if (argc - optind != 2) return 2;
    /* Whoever started it may be killed; then it has no more reason to be there. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    map_counters(argv[optind + 1]);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    int listener = listen_on(argv[optind]);
    struct epoll_event events[EVENTS], event = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) < 0) die("epoll_ctl");
    for (;;) {
        int ready = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            if (events[i].data.ptr) serve(events[i].data.ptr);
            else welcome(listener);
        }
    }
}
