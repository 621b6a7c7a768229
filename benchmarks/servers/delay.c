/*
 * A TCP proxy that adds a round trip: each direction delivers bytes, ends and resets half of it after they came in.
 *
 * delay LISTEN_PORT TARGET_HOST:PORT MILLISECONDS [--port-file FILE]
 *
 * A client's connect() returns at once, for the kernel answers it; the round trip that it would have cost is made up
 * for: the target is connected half of it later, and nothing is read before the whole of it is over.
 */
#define _GNU_SOURCE
#include "fifo.h"
#include "net.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST_READS = 16 }; /* at a time, so that one connection does not hold up the others */
static const size_t MOST_HELD = 64 << 20; /* of one direction; then its sender has to wait */

struct side {
    struct link *link;
    int socket;       /* -1: closed */
    uint32_t events;  /* that epoll watches for; 0: it does not know the socket */
    /* What came in here and goes to the other side: */
    struct bytes bytes;
    size_t due;       /* of these bytes, their time has come */
    bool ended;       /* no more comes in */
    bool end_due, end_sent;
};

struct link {
    struct side sides[2]; /* the client's and the target's */
    bool open;            /* the handshake's round trip is over */
    size_t expected;      /* events that will still name it */
};

static int poller;
static uint64_t half;
static struct sockaddr_storage target;
static socklen_t target_length;

static uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* All events wait equally long, so they take place in the order in which they are pushed. */
static void expect(struct side *side, enum kind kind, size_t bytes)
{
    side->link->expected++;
    push_event((struct event){now() + half, side, bytes, kind});
}

static struct side *other(struct side *side)
{
    return side == side->link->sides ? side + 1 : side - 1;
}

static void close_side(struct side *side)
{
    if (side->socket >= 0)
        close(side->socket);
    side->socket = -1;
    side->events = 0;
}

static bool is_over(const struct link *link)
{
    return link->sides[0].socket < 0 && link->sides[1].socket < 0 && !link->expected;
}

static void forget(struct link *link)
{
    bytes_forget(&link->sides[0].bytes);
    bytes_forget(&link->sides[1].bytes);
    free(link);
}

/* The socket is of no use any more: the other side hears of it in its time. */
static void fail_side(struct side *side)
{
    close_side(side);
    if (other(side)->socket >= 0)
        expect(side, RESET, 0);
}

/* A socket that nothing is wanted of is taken out: epoll would go on to tell that its peer has hung up. */
static void watch(struct side *side)
{
    struct side *peer = other(side);
    uint32_t wanted = 0;
    if (side->socket < 0)
        return;
    if (side->link->open && !side->ended && peer->socket >= 0 && side->bytes.held < MOST_HELD)
        wanted |= EPOLLIN;
    if (peer->due)
        wanted |= EPOLLOUT;
    if (wanted == side->events)
        return;
    int change = !wanted ? EPOLL_CTL_DEL : side->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    struct epoll_event event = {.events = wanted, .data.ptr = side};
    if (epoll_ctl(poller, change, side->socket, &event))
        fail("epoll_ctl");
    side->events = wanted;
}

static void send_end(struct side *side)
{
    struct side *peer = other(side);
    side->end_sent = true;
    shutdown(peer->socket, SHUT_WR);
    if (peer->end_sent) {
        close_side(side);
        close_side(peer);
    }
}

/* Delivers to the other side what came in on `side` and is due. */
static void deliver(struct side *side)
{
    struct side *peer = other(side);
    while (side->due && peer->socket >= 0) {
        size_t length;
        const char *bytes = bytes_front(&side->bytes, &length);
        ssize_t sent = send(peer->socket, bytes, length < side->due ? length : side->due, 0);
        if (sent < 0 && errno != EAGAIN && errno != EINTR)
            fail_side(peer);
        if (sent < 0)
            return;
        side->due -= (size_t)sent;
        bytes_taken(&side->bytes, (size_t)sent);
    }
    if (side->end_due && !side->end_sent && !side->due && peer->socket >= 0)
        send_end(side);
}

static void receive(struct side *side)
{
    size_t before = side->bytes.held;
    ssize_t count = 1;
    for (int reads = 0; reads < MOST_READS && side->bytes.held < MOST_HELD; reads++) {
        size_t room;
        char *bytes = bytes_room(&side->bytes, &room);
        count = recv(side->socket, bytes, room, 0);
        if (count > 0)
            bytes_added(&side->bytes, (size_t)count);
        if (count < (ssize_t)room)
            break;
    }
    bool broken = count < 0 && errno != EAGAIN && errno != EINTR;
    if (side->bytes.held > before)
        expect(side, BYTES, side->bytes.held - before);
    if (count == 0) {
        side->ended = true;
        expect(side, END, 0);
    } else if (broken) {
        fail_side(side);
    }
}

static void connect_target(struct side *client)
{
    struct side *side = other(client);
    if (client->socket < 0)
        return;
    side->socket = socket(target.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (side->socket < 0)
        fail("socket");
    send_at_once(side->socket);
    if (connect(side->socket, (struct sockaddr *)&target, target_length) && errno != EINPROGRESS)
        fail_side(side);
    else
        expect(side, OPEN, 0);
}

static void reset(struct side *side)
{
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    if (side->socket >= 0)
        setsockopt(side->socket, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close_side(side);
}

static void take_place(const struct event *event)
{
    struct side *side = event->side;
    switch (event->kind) {
    case CONNECT:
        connect_target(side);
        break;
    case OPEN:
        side->link->open = true;
        break;
    case BYTES:
        side->due += event->bytes;
        deliver(side);
        break;
    case END:
        side->end_due = true;
        deliver(side);
        break;
    case RESET:
        reset(other(side));
        break;
    case FORGET:
        break;
    }
}

static void watch_both(struct link *link)
{
    watch(&link->sides[0]);
    watch(&link->sides[1]);
}

/* Links are forgotten here alone: of those that epoll told of, several events may name one. */
static void take_due_events(void)
{
    uint64_t time = now();
    while (first_event() && first_event()->when <= time) {
        struct event event = pop_event();
        struct link *link = event.side->link;
        link->expected--;
        take_place(&event);
        if (is_over(link))
            forget(link);
        else
            watch_both(link);
    }
}

static void accept_all(int listener)
{
    int made;
    while ((made = accept_next(listener)) >= 0) {
        struct link *link = grown(NULL, sizeof *link);
        *link = (struct link){.sides = {{.link = link, .socket = made}, {.link = link, .socket = -1}}};
        expect(&link->sides[0], CONNECT, 0);
    }
}

static void handle(struct side *side, uint32_t events)
{
    if (events & EPOLLOUT)
        deliver(other(side));
    if (events & (EPOLLIN | EPOLLERR | EPOLLHUP) && side->socket >= 0 && !side->ended)
        receive(side);
    else if (events & EPOLLERR && side->socket >= 0)
        fail_side(side);
    if (is_over(side->link))
        expect(side, FORGET, 0);
    else
        watch_both(side->link);
}

/* The time until the next event, NULL where none is expected. */
static const struct timespec *patience(void)
{
    static struct timespec left;
    const struct event *next = first_event();
    uint64_t time = now(), wait = next && next->when > time ? next->when - time : 0;
    left = (struct timespec){(time_t)(wait / 1000000000u), (long)(wait % 1000000000u)};
    return next ? &left : NULL;
}

static void run(int listener)
{
    struct epoll_event events[256], first = {.events = EPOLLIN};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, listener, &first))
        fail("epoll_ctl");
    for (;;) {
        int count = epoll_pwait2(poller, events, sizeof events / sizeof *events, patience(), NULL);
        for (int at = 0; at < count; at++) {
            if (events[at].data.ptr)
                handle(events[at].data.ptr, events[at].events);
            else
                accept_all(listener);
        }
        take_due_events();
    }
}

int main(int count, char **arguments)
{
    bool with_file = count == 6 && !strcmp(arguments[4], "--port-file");
    int port = count == 4 || with_file ? parse_port(arguments[1]) : -1;
    double milliseconds = port < 0 ? -1 : atof(arguments[3]);
    if (milliseconds < 0 || !find_address(arguments[2], &target, &target_length)) {
        fputs("usage: delay LISTEN_PORT TARGET_HOST:PORT MILLISECONDS [--port-file FILE]\n", stderr);
        return 2;
    }
    half = (uint64_t)(milliseconds * 500000);
    set_up_process();
    poller = epoll_create1(EPOLL_CLOEXEC);
    int listener = listen_on(port);
    announce(listener, with_file ? arguments[5] : NULL);
    run(listener);
}
