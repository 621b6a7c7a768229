#include "md5.h"

#include <math.h>
#include <string.h>

enum { STEPS = 64, LENGTH_AT = MD5_BLOCK - 8 };

/* Of each round, how far its four kinds of step rotate. */
static const uint8_t SHIFTS[4][4] = {{7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};

static uint32_t sines[STEPS];

static void make_sines(void)
{
    for (int step = 0; step < STEPS; step++)
        sines[step] = (uint32_t)(fabs(sin(step + 1)) * 4294967296.0);
}

/* Little-endian machines only. */
static void take_block(uint32_t state[4], const uint8_t *block)
{
    uint32_t words[16], a = state[0], b = state[1], c = state[2], d = state[3];
    memcpy(words, block, sizeof words);
    for (unsigned step = 0; step < STEPS; step++) {
        uint32_t mixed;
        unsigned word;
        switch (step / 16) {
        case 0: mixed = (b & c) | (~b & d), word = step; break;
        case 1: mixed = (b & d) | (c & ~d), word = 5 * step + 1; break;
        case 2: mixed = b ^ c ^ d, word = 3 * step + 5; break;
        default: mixed = c ^ (b | ~d), word = 7 * step;
        }
        uint32_t sum = a + mixed + words[word % 16] + sines[step];
        unsigned shift = SHIFTS[step / 16][step % 4];
        a = d;
        d = c;
        c = b;
        b += sum << shift | sum >> (32 - shift);
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
}

struct md5 md5_begin(void)
{
    return (struct md5){.state = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476}};
}

void md5_add(struct md5 *md5, const void *bytes, size_t length)
{
    const uint8_t *from = bytes;
    size_t waiting = md5->size % MD5_BLOCK;
    if (!sines[0])
        make_sines();
    md5->size += length;
    if (waiting + length >= MD5_BLOCK) {
        size_t missing = MD5_BLOCK - waiting;
        memcpy(md5->block + waiting, from, missing);
        take_block(md5->state, md5->block);
        for (from += missing, length -= missing; length >= MD5_BLOCK; from += MD5_BLOCK, length -= MD5_BLOCK)
            take_block(md5->state, from);
        waiting = 0;
    }
    memcpy(md5->block + waiting, from, length);
}

/* Of all bytes so far; `md5` is a copy, so that more may follow. */
void md5_end(struct md5 md5, uint8_t digest[MD5_SIZE])
{
    static const uint8_t PADDING[MD5_BLOCK] = {0x80};
    uint64_t bits = md5.size * 8;
    size_t waiting = md5.size % MD5_BLOCK;
    md5_add(&md5, PADDING, (waiting < LENGTH_AT ? LENGTH_AT : LENGTH_AT + MD5_BLOCK) - waiting);
    md5_add(&md5, &bits, sizeof bits);
    memcpy(digest, md5.state, MD5_SIZE);
}
