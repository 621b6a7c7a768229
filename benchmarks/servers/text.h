/* Bytes: spans of them, growing texts, and the ways in which S3 writes keys, dates and checksums. */
#ifndef TEXT_H
#define TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct span {
    const char *at;
    size_t length;
};

static inline struct span span_of(const char *text)
{
    return (struct span){text, strlen(text)};
}

static inline bool starts_with(struct span text, struct span start)
{
    return text.length >= start.length && !memcmp(text.at, start.at, start.length);
}

struct text {
    char *bytes;
    size_t length, room;
};

void text_reserve(struct text *text, size_t more);
void text_add(struct text *text, const char *bytes, size_t length);
void text_number(struct text *text, uint64_t number);
void text_xml(struct text *text, struct span raw);
void text_url(struct text *text, struct span raw);
__attribute__((format(printf, 2, 3))) void text_say(struct text *text, const char *format, ...);

/* A literal, whose length the compiler knows. */
#define TEXT(text, literal) text_add((text), "" literal, sizeof(literal) - 1)

enum { ISO_TIME_LENGTH = 24, HTTP_TIME_LENGTH = 29 };
void text_iso_time(struct text *text, uint64_t milliseconds);
void text_http_time(struct text *text, uint64_t milliseconds);
uint64_t now_ms(void);

size_t url_decode(char *text, size_t length, bool form);
size_t xml_decode(char *text, size_t length);
void hex_encode(char *out, const uint8_t *bytes, size_t count);
bool hex_decode(uint8_t *out, struct span hex);
bool base64_decode(uint8_t *out, size_t count, const char *text);
void base64_encode(char *out, const uint8_t *bytes, size_t count);
uint64_t crc64nvme(uint64_t previous, const char *bytes, size_t length);

#endif
