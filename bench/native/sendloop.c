/* The floor for one write per delivery: send(2) to each of a thousand sockets, in a loop, and nothing else.
 *
 *     sendloop PACKET
 *
 * The first connection commands: for each byte that it sends, everybody else is sent PACKET in a WebSocket frame, and
 * the byte comes back. There is no handshake. Sockets block, so nobody is skipped. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_AUDIENCE = 65536, MAX_PACKET = 65535 };

static int audience[MAX_AUDIENCE];
static int count;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int listening(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) < 0 || listen(fd, 1024) < 0) fail("listen");
    getsockname(fd, (struct sockaddr *)&address, &size);
    printf("the C loop is open at http://127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

static int accepted(int listener) {
    int on = 1, fd = accept(listener, NULL, NULL);
    if (fd < 0) fail("accept");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* As all the servers do. */
    return fd;
}

int main(int argc, char **argv) {
    static char frame[MAX_PACKET + 4], commands[4096];
    size_t size, head;
    struct pollfd polled[2];
    if (argc != 2 || (size = strlen(argv[1])) > MAX_PACKET) return 2;
    frame[0] = (char)0x81;
    if (size < 126) {
        frame[1] = (char)size;
        head = 2;
    } else {
        frame[1] = 126;
        frame[2] = (char)(size >> 8);
        frame[3] = (char)size;
        head = 4;
    }
    memcpy(frame + head, argv[1], size);
    size += head;
    polled[0] = (struct pollfd){.fd = listening(), .events = POLLIN};
    polled[1] = (struct pollfd){.fd = accepted(polled[0].fd), .events = POLLIN};
    for (;;) {
        if (poll(polled, 2, -1) < 0) fail("poll");
        if (polled[0].revents && count < MAX_AUDIENCE) audience[count++] = accepted(polled[0].fd);
        if (polled[1].revents) {
            ssize_t given = recv(polled[1].fd, commands, sizeof commands, 0);
            if (given <= 0) return 0;
            for (ssize_t each = 0; each < given; each++) {
                for (int i = 0; i < count; i++)
                    if (send(audience[i], frame, size, MSG_NOSIGNAL) < 0) fail("send");
                if (send(polled[1].fd, commands + each, 1, MSG_NOSIGNAL) < 0) fail("send");
            }
        }
    }
}
