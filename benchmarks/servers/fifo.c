#include "fifo.h"

#include "net.h"

#include <stdlib.h>

enum { BLOCK = 64 << 10, LEAST_ROOM = 4 << 10 };

struct block {
    struct block *next;
    size_t from, to;
    char bytes[BLOCK];
};

/* Blocks are kept for the next use: fresh memory costs a page fault every 4 KiB. */
static struct block *spare;

static struct block *new_block(void)
{
    struct block *block = spare ? spare : grown(NULL, sizeof *block);
    spare = spare ? spare->next : NULL;
    block->next = NULL;
    block->from = block->to = 0;
    return block;
}

static void drop_first(struct bytes *bytes)
{
    struct block *block = bytes->first;
    bytes->first = block->next;
    if (!bytes->first)
        bytes->last = NULL;
    block->next = spare;
    spare = block;
}

/* Where the next bytes go; never too little to be worth a call. */
char *bytes_room(struct bytes *bytes, size_t *room)
{
    struct block *last = bytes->last;
    if (!last || BLOCK - last->to < LEAST_ROOM) {
        struct block *block = new_block();
        *(last ? &last->next : &bytes->first) = block;
        last = bytes->last = block;
    }
    *room = BLOCK - last->to;
    return last->bytes + last->to;
}

void bytes_added(struct bytes *bytes, size_t count)
{
    bytes->last->to += count;
    bytes->held += count;
}

/* As many of the first bytes as lie together. */
const char *bytes_front(const struct bytes *bytes, size_t *count)
{
    *count = bytes->first->to - bytes->first->from;
    return bytes->first->bytes + bytes->first->from;
}

void bytes_taken(struct bytes *bytes, size_t count)
{
    bytes->held -= count;
    bytes->first->from += count;
    if (bytes->first->from == bytes->first->to)
        drop_first(bytes);
}

void bytes_forget(struct bytes *bytes)
{
    while (bytes->first)
        drop_first(bytes);
    bytes->held = 0;
}

static struct {
    struct event *events;
    size_t first, count, room; /* room is a power of two */
} ring;

static struct event *event_at(size_t at)
{
    return &ring.events[(ring.first + at) & (ring.room - 1)];
}

static void grow_ring(void)
{
    size_t room = ring.room ? 2 * ring.room : 1024;
    struct event *events = grown(NULL, room * sizeof *events);
    for (size_t at = 0; at < ring.count; at++)
        events[at] = *event_at(at);
    free(ring.events);
    ring.events = events;
    ring.first = 0;
    ring.room = room;
}

void push_event(struct event event)
{
    if (ring.count == ring.room)
        grow_ring();
    *event_at(ring.count++) = event;
}

/* NULL where there is none. */
const struct event *first_event(void)
{
    return ring.count ? event_at(0) : NULL;
}

struct event pop_event(void)
{
    struct event event = *event_at(0);
    ring.first = (ring.first + 1) & (ring.room - 1);
    ring.count--;
    return event;
}
