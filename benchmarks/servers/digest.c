/* Base64 and CRC64NVME. */
#include "text.h"

static const char ALPHABET[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(char *out, const uint8_t *bytes, size_t count)
{
    for (size_t at = 0; at < count; at += 3) {
        size_t left = count - at;
        uint32_t group = (uint32_t)bytes[at] << 16;
        group |= left > 1 ? (uint32_t)bytes[at + 1] << 8 : 0;
        group |= left > 2 ? bytes[at + 2] : 0;
        *out++ = ALPHABET[group >> 18];
        *out++ = ALPHABET[group >> 12 & 63];
        *out++ = left > 1 ? ALPHABET[group >> 6 & 63] : '=';
        *out++ = left > 2 ? ALPHABET[group & 63] : '=';
    }
}

/* False unless the text stands for exactly `count` bytes. */
bool base64_decode(uint8_t *out, size_t count, const char *text)
{
    uint32_t group = 0;
    size_t digits = strcspn(text, "="), made = 0;
    if (strlen(text) != (count + 2) / 3 * 4 || digits * 6 / 8 != count)
        return false;
    for (size_t at = 0; at < digits; at++) {
        const char *found = strchr(ALPHABET, text[at]);
        if (!found)
            return false;
        group = group << 6 | (uint32_t)(found - ALPHABET);
        if (at % 4)
            out[made++] = (uint8_t)(group >> (6 - 2 * (at % 4)));
    }
    return true;
}

/* CRC-64/NVME, reflected, eight bytes a step. */
static uint64_t tables[8][256];

static void make_tables(void)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        uint64_t crc = byte;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ 0x9a6c9329ac4bc9b5u : crc >> 1;
        tables[0][byte] = crc;
    }
    for (int table = 1; table < 8; table++)
        for (unsigned byte = 0; byte < 256; byte++) {
            uint64_t before = tables[table - 1][byte];
            tables[table][byte] = tables[0][before & 255] ^ before >> 8;
        }
}

/* Of all bytes so far; `previous` is the value of those before, 0 at the beginning. Little-endian machines only. */
uint64_t crc64nvme(uint64_t previous, const char *bytes, size_t length)
{
    if (!tables[0][1])
        make_tables();
    uint64_t crc = ~previous;
    for (; length >= 8; bytes += 8, length -= 8) {
        uint64_t word;
        memcpy(&word, bytes, sizeof word);
        crc ^= word;
        uint64_t next = 0;
        for (int table = 7; table >= 0; table--, crc >>= 8)
            next ^= tables[table][crc & 255];
        crc = next;
    }
    for (; length; bytes++, length--)
        crc = tables[0][(crc ^ (unsigned char)*bytes) & 255] ^ crc >> 8;
    return ~crc;
}
