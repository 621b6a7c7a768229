#define _GNU_SOURCE
#include "server.h"

#include "net.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* One buffer for all: what a connection cannot use at once it copies. */
static char buffer[256 << 10];
static const char ZEROS[256 << 10];

enum { BACKLOG = 1 << 20, LARGEST_SKIP = 1 << 30 };

struct connection {
    int socket;
    uint32_t events;
    bool closing;     /* after what is still to be sent */
    struct text in;   /* received and not yet understood */
    struct text out;
    size_t sent;      /* of `out` */
    uint64_t zeros;   /* to be sent behind `out` */
    struct request request;
};

static int poller;
static answering *answer_request;

static void close_connection(struct connection *connection)
{
    close(connection->socket);
    free(connection->in.bytes);
    free(connection->out.bytes);
    free_request(&connection->request);
    free(connection);
}

static void accept_all(int listener)
{
    int made;
    while ((made = accept_next(listener)) >= 0) {
        struct connection *connection = grown(NULL, sizeof *connection);
        *connection = (struct connection){.socket = made, .events = EPOLLIN};
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
        if (epoll_ctl(poller, EPOLL_CTL_ADD, made, &event))
            fail("epoll_ctl");
    }
}

static const char *reason(int status)
{
    switch (status) {
    case 200: return "OK";
    case 204: return "No Content";
    case 400: return "Bad Request";
    case 404: return "Not Found";
    case 409: return "Conflict";
    case 412: return "Precondition Failed";
    case 501: return "Not Implemented";
    default: return "Other";
    }
}

static void add_answer(struct connection *connection, const struct answer *answer)
{
    static uint64_t number;
    struct text *out = &connection->out;
    bool head_only = connection->request.method && !strcmp(connection->request.method, "HEAD");
    uint64_t length = answer->of_object ? answer->object_size : answer->body.length;
    text_say(out, "HTTP/1.1 %d %s\r\nDate: ", answer->status, reason(answer->status));
    text_http_time(out, now_ms());
    text_say(out, "\r\nx-amz-request-id: %016llX\r\n", (unsigned long long)++number);
    text_add(out, answer->headers.bytes, answer->headers.length);
    if (answer->status != 204)
        text_say(out, "Content-Length: %llu\r\n", (unsigned long long)length);
    if (connection->closing)
        TEXT(out, "Connection: close\r\n");
    TEXT(out, "\r\n");
    if (head_only)
        return;
    text_add(out, answer->body.bytes, answer->body.length);
    connection->zeros = answer->of_object ? length : 0;
}

static void refuse(struct connection *connection)
{
    struct answer answer = {.status = 400};
    connection->closing = true;
    add_answer(connection, &answer);
}

static void finish(struct connection *connection)
{
    static struct answer answer;
    if (body_broken(&connection->request.body)) {
        refuse(connection);
        return;
    }
    answer.status = 200;
    answer.headers.length = answer.body.length = 0;
    answer.of_object = false;
    answer_request(&connection->request, &answer);
    connection->closing = connection->request.closing;
    add_answer(connection, &answer);
    clear_request(&connection->request);
}

/* The request whose head begins here; 0 while the head is not whole. */
static size_t take_head(struct connection *connection, const char *bytes, size_t length)
{
    size_t head = head_length(bytes, length);
    if (head ? !begin_request(&connection->request, bytes, head) : length > LONGEST_HEAD)
        refuse(connection);
    /* Who has sent some of the body does not wait. Who has none to send does: botocore would lose the next answer. */
    else if (head == length && connection->request.wants_continue)
        TEXT(&connection->out, "HTTP/1.1 100 Continue\r\n\r\n");
    return head;
}

/* Nothing more is answered before what is answered has been taken. */
static bool held_up(const struct connection *connection)
{
    return connection->closing || connection->zeros || connection->out.length - connection->sent > BACKLOG;
}

/* Takes requests as far as they go; returns how many bytes that used. */
static size_t understand(struct connection *connection, const char *bytes, size_t length)
{
    size_t used = 0;
    while (used < length && !held_up(connection)) {
        struct request *request = &connection->request;
        size_t taken = request->begun ? take_body(&request->body, bytes + used, length - used)
                                      : take_head(connection, bytes + used, length - used);
        if (!taken)
            break;
        used += taken;
        if (request->begun && request->body.complete)
            finish(connection);
    }
    return used;
}

/* False where the peer is gone. */
static bool send_some(struct connection *connection)
{
    struct text *out = &connection->out;
    while (connection->sent < out->length || connection->zeros) {
        bool zeros = connection->sent == out->length;
        const char *bytes = zeros ? ZEROS : out->bytes + connection->sent;
        size_t length = zeros ? sizeof ZEROS : out->length - connection->sent;
        if (zeros && connection->zeros < length)
            length = (size_t)connection->zeros;
        ssize_t sent = send(connection->socket, bytes, length, 0);
        if (sent < 0)
            return errno == EAGAIN || errno == EINTR;
        if (zeros)
            connection->zeros -= (uint64_t)sent;
        else
            connection->sent += (size_t)sent;
    }
    out->length = connection->sent = 0;
    if (out->room > BACKLOG) {
        free(out->bytes);
        *out = (struct text){0};
    }
    return true;
}

static bool all_sent(const struct connection *connection)
{
    return !connection->out.length && !connection->zeros;
}

/* Understands, answers and sends until it waits for the peer; false where the connection is at its end. */
static bool work(struct connection *connection, const char *bytes, size_t length)
{
    struct text *in = &connection->in;
    if (in->length) {
        text_add(in, bytes, length);
        bytes = in->bytes;
        length = in->length;
    }
    size_t used, done = 0;
    do {
        used = understand(connection, bytes + done, length - done);
        done += used;
        if (!send_some(connection))
            return false;
    } while (used && all_sent(connection) && !connection->closing);
    if (in->length) {
        in->length = length - done;
        memmove(in->bytes, bytes + done, in->length);
    } else {
        text_add(in, bytes + done, length - done);
    }
    return !(connection->closing && all_sent(connection));
}

/* A body that nobody looks at is dropped by the kernel, uncopied. */
static bool skip(struct connection *connection, uint64_t dull)
{
    ssize_t count = recv(connection->socket, NULL, dull < LARGEST_SKIP ? dull : LARGEST_SKIP, MSG_TRUNC);
    if (count <= 0)
        return count < 0 && (errno == EAGAIN || errno == EINTR);
    skip_bytes(&connection->request.body, (uint64_t)count);
    if (connection->request.body.complete)
        finish(connection);
    return work(connection, NULL, 0);
}

static bool receive(struct connection *connection)
{
    uint64_t dull = connection->request.begun ? dull_bytes(&connection->request.body) : 0;
    if (dull && !connection->in.length)
        return skip(connection, dull);
    ssize_t count = recv(connection->socket, buffer, sizeof buffer, 0);
    if (count <= 0)
        return count < 0 && (errno == EAGAIN || errno == EINTR);
    return work(connection, buffer, (size_t)count);
}

static void handle(struct connection *connection, uint32_t events)
{
    bool goes_on = events & EPOLLOUT ? work(connection, NULL, 0) : receive(connection);
    if (!goes_on) {
        close_connection(connection);
        return;
    }
    uint32_t wanted = all_sent(connection) ? EPOLLIN : EPOLLOUT;
    struct epoll_event event = {.events = wanted, .data.ptr = connection};
    if (wanted != connection->events && epoll_ctl(poller, EPOLL_CTL_MOD, connection->socket, &event))
        fail("epoll_ctl");
    connection->events = wanted;
}

_Noreturn void serve(int listener, answering *answer)
{
    struct epoll_event events[256], first = {.events = EPOLLIN};
    answer_request = answer;
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (poller < 0 || epoll_ctl(poller, EPOLL_CTL_ADD, listener, &first))
        fail("epoll");
    for (;;) {
        int count = epoll_wait(poller, events, sizeof events / sizeof *events, -1);
        for (int at = 0; at < count; at++) {
            if (events[at].data.ptr)
                handle(events[at].data.ptr, events[at].events);
            else
                accept_all(listener);
        }
    }
}
