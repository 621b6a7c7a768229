#define _GNU_SOURCE
#include "net.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

_Noreturn void fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

/* As realloc, but never NULL. */
void *grown(void *old, size_t size)
{
    void *made = realloc(old, size);
    if (!made)
        fail("memory");
    return made;
}

/* -1 where the text is no port. */
int parse_port(const char *text)
{
    char *end;
    long port = strtol(text, &end, 10);
    return *text && !*end && port >= 0 && port <= 65535 ? (int)port : -1;
}

/* Of `host:port`, which is cut at its colon. */
bool find_address(char *text, struct sockaddr_storage *address, socklen_t *length)
{
    char *colon = strrchr(text, ':');
    struct addrinfo *found, hints = {.ai_socktype = SOCK_STREAM};
    if (!colon)
        return false;
    *colon = '\0';
    if (getaddrinfo(text, colon + 1, &hints, &found))
        return false;
    memcpy(address, found->ai_addr, found->ai_addrlen);
    *length = found->ai_addrlen;
    freeaddrinfo(found);
    return true;
}

/* On the loopback only: neither program is meant to be reached from elsewhere. */
int listen_on(int port)
{
    int one = 1, made = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (made < 0 || setsockopt(made, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one))
        fail("socket");
    if (bind(made, (struct sockaddr *)&address, sizeof address) || listen(made, SOMAXCONN))
        fail("listen");
    return made;
}

/* The next connection that waits, -1 where there is none. Out of descriptors is an end: it would be told for ever. */
int accept_next(int listener)
{
    int made = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (made < 0 && errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
        fail("accept");
    if (made >= 0)
        send_at_once(made);
    return made;
}

/* The file is renamed into place, so that whoever waits for it never reads half a line. */
static void write_line(const char *file, int port)
{
    char part[4096];
    if (snprintf(part, sizeof part, "%s.part", file) >= (int)sizeof part) {
        errno = ENAMETOOLONG;
        fail(file);
    }
    FILE *out = fopen(part, "w");
    if (!out || fprintf(out, "listening %d\n", port) < 0 || fclose(out) || rename(part, file))
        fail(file);
}

void announce(int socket, const char *file)
{
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    if (getsockname(socket, (struct sockaddr *)&address, &length))
        fail("getsockname");
    int port = ntohs(address.sin_port);
    if (file)
        write_line(file, port);
    printf("listening %d\n", port);
    fflush(stdout);
}

static void leave(int signal)
{
    (void)signal;
    _exit(0);
}

void set_up_process(void)
{
    signal(SIGTERM, leave);
    signal(SIGINT, leave);
    signal(SIGPIPE, SIG_IGN);
    struct rlimit files;
    if (!getrlimit(RLIMIT_NOFILE, &files)) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

/* Nagle's algorithm would hold back the last piece of an answer until the peer's delayed ACK. */
void send_at_once(int socket)
{
    int one = 1;
    setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}
