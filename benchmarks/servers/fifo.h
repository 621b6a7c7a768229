/* Two kinds of queue for the proxy: bytes in blocks, and events in a ring. */
#ifndef FIFO_H
#define FIFO_H

#include <stddef.h>
#include <stdint.h>

struct side;

/* An empty one is all zeros and holds no memory. */
struct bytes {
    struct block *first, *last;
    size_t held;
};

char *bytes_room(struct bytes *bytes, size_t *room);
void bytes_added(struct bytes *bytes, size_t count);
const char *bytes_front(const struct bytes *bytes, size_t *count);
void bytes_taken(struct bytes *bytes, size_t count);
void bytes_forget(struct bytes *bytes);

enum kind { CONNECT, OPEN, BYTES, END, RESET, FORGET };

struct event {
    uint64_t when; /* nanoseconds */
    struct side *side;
    size_t bytes;
    enum kind kind;
};

void push_event(struct event event);
const struct event *first_event(void);
struct event pop_event(void);

#endif
