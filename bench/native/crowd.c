/* Holds thousands of WebSocket connections that only listen, at less cost than any server has in feeding them.
 *
 *     crowd COUNTERS < SOCKET
 *
 * Connections come open and joined, as descriptors (SCM_RIGHTS) over the Unix socket that is standard input; its end is
 * the end of this program, and the kernel closes what it held. COUNTERS is a file of 64-bit words that whoever started
 * this maps as well: see `struct counters`.
 *
 * Messages are counted by their first bytes, also where a read ends within them. A body that begins with `t=` and the
 * nanoseconds of the monotonic clock is a sample of latency. Pings are answered. Nothing else is looked at. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    MAX_FD = 1 << 20,
    READ_BYTES = 256 * 1024,
    EVENTS = 256,
    FDS_AT_ONCE = 253, /* What the kernel allows in one message (SCM_MAX_FD). */
    PER_OCTAVE = 16,   /* Buckets of latency per factor of two: 4.4 % each. */
    BUCKETS = 64 * PER_OCTAVE,
};

static const char MESSAGE[] = "42/chat,[\"message\",";
static const char STAMP[] = "\"body\":\"t=";
static const char PING[] = "\x81\x01" "2";
static const char PONG[] = "\x81\x81\x5a\xc3\x96\x0f\x69"; /* "3", masked: 0x33 ^ 0x5a. */
enum {
    MESSAGE_LEN = sizeof MESSAGE - 1,
    STAMP_LEN = sizeof STAMP - 1,
    PING_LEN = sizeof PING - 1,
    CARRY = MESSAGE_LEN - 1,
};

struct counters {
    volatile uint64_t held, lost, messages, bytes;
    volatile uint64_t latency[BUCKETS]; /* How many were delivered within 2^(index / PER_OCTAVE) nanoseconds. */
};

struct tail { /* The end of the last read, which may be the beginning of a message. */
    uint8_t size;
    char text[CARRY];
};

static struct counters *counters;
static struct tail *tails;
static char space[CARRY + READ_BYTES];
static int poller;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void take_latency(const char *at, const char *end) {
    struct timespec now;
    uint64_t sent = 0, ns;
    const char *digit = at;
    while (digit < end && *digit >= '0' && *digit <= '9') sent = sent * 10 + (uint64_t)(*digit++ - '0');
    if (digit == end || digit == at) return; /* Cut off: one sample less. */
    clock_gettime(CLOCK_MONOTONIC, &now);
    ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec - sent;
    counters->latency[(int)(log2((double)(ns | 1)) * PER_OCTAVE) % BUCKETS]++;
}

static void look_at(int fd, const char *data, const char *fresh, const char *end) {
    const char *at = data;
    while ((at = memmem(at, (size_t)(end - at), MESSAGE, MESSAGE_LEN)) != NULL) {
        const char *body;
        at += MESSAGE_LEN;
        counters->messages++;
        body = memmem(at, (size_t)(end - at) < 512 ? (size_t)(end - at) : 512, STAMP, STAMP_LEN);
        if (body != NULL) take_latency(body + STAMP_LEN, end);
    }
    at = fresh - data < PING_LEN - 1 ? data : fresh - (PING_LEN - 1); /* What lies before was answered then. */
    at = memmem(at, (size_t)(end - at), PING, PING_LEN);
    /* A compressed frame of a few bytes can only be a ping: nobody says anything shorter to these. */
    if (at != NULL || (end - fresh < 10 && (uint8_t)fresh[0] == 0xc1))
        send(fd, PONG, sizeof PONG - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void read_from(int fd) {
    struct tail *tail = &tails[fd];
    char *fresh = space + CARRY, *data = fresh - tail->size, *end;
    ssize_t size = recv(fd, fresh, READ_BYTES, MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (size <= 0) {
        close(fd);
        counters->lost++;
        counters->held--;
        return;
    }
    memcpy(data, tail->text, tail->size);
    end = fresh + size;
    counters->bytes += (uint64_t)size;
    look_at(fd, data, fresh, end);
    tail->size = (uint8_t)(end - data < CARRY ? end - data : CARRY);
    memcpy(tail->text, end - tail->size, tail->size);
}

static void adopt(int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (fd >= MAX_FD) exit(1);
    tails[fd].size = 0;
    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) < 0) fail("epoll_ctl");
    counters->held++;
}

static void take_connections(void) {
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(FDS_AT_ONCE * sizeof(int))];
    } control;
    char word[256];
    struct iovec vector = {word, sizeof word};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t size = recvmsg(0, &message, MSG_CMSG_CLOEXEC);
    if (size == 0) exit(0);
    if (size < 0) fail("recvmsg");
    for (struct cmsghdr *each = CMSG_FIRSTHDR(&message); each != NULL; each = CMSG_NXTHDR(&message, each)) {
        int *fds = (int *)CMSG_DATA(each), count = (int)((each->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        for (int i = 0; i < count; i++) adopt(fds[i]);
    }
}

int main(int argc, char **argv) {
    struct epoll_event events[EVENTS], control = {.events = EPOLLIN, .data.fd = 0};
    struct rlimit limit;
    int file;
    if (argc != 2) return 2;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if ((file = open(argv[1], O_RDWR | O_CLOEXEC)) < 0 || ftruncate(file, sizeof *counters) < 0) fail(argv[1]);
    counters = mmap(NULL, sizeof *counters, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    tails = mmap(NULL, MAX_FD * sizeof *tails, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (counters == MAP_FAILED || tails == MAP_FAILED) fail("mmap");
    if ((poller = epoll_create1(EPOLL_CLOEXEC)) < 0 || epoll_ctl(poller, EPOLL_CTL_ADD, 0, &control) < 0) fail("epoll");
    for (;;) {
        int count = epoll_wait(poller, events, EVENTS, -1);
        if (count < 0 && errno != EINTR) fail("epoll_wait");
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == 0) take_connections();
            else read_from(events[i].data.fd);
        }
    }
}
