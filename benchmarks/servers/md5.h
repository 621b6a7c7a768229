/* MD5 (RFC 1321) of bytes that come in pieces. */
#ifndef MD5_H
#define MD5_H

#include <stddef.h>
#include <stdint.h>

enum { MD5_BLOCK = 64, MD5_SIZE = 16 };

struct md5 {
    uint32_t state[4];
    uint64_t size;
    uint8_t block[MD5_BLOCK]; /* its first `size % MD5_BLOCK` bytes wait for the rest */
};

struct md5 md5_begin(void);
void md5_add(struct md5 *md5, const void *bytes, size_t length);
void md5_end(struct md5 md5, uint8_t digest[MD5_SIZE]);

#endif
