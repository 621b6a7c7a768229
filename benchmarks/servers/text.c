#define _GNU_SOURCE
#include "text.h"

#include "net.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

void text_reserve(struct text *text, size_t more)
{
    if (text->room - text->length >= more)
        return;
    size_t room = text->room ? text->room : 256;
    while (room - text->length < more)
        room *= 2;
    text->bytes = grown(text->bytes, room);
    text->room = room;
}

void text_add(struct text *text, const char *bytes, size_t length)
{
    if (!length)
        return;
    text_reserve(text, length);
    memcpy(text->bytes + text->length, bytes, length);
    text->length += length;
}

void text_say(struct text *text, const char *format, ...)
{
    va_list values;
    text_reserve(text, 256);
    for (;;) {
        size_t room = text->room - text->length;
        va_start(values, format);
        size_t length = (size_t)vsnprintf(text->bytes + text->length, room, format, values);
        va_end(values);
        if (length < room) {
            text->length += length;
            return;
        }
        text_reserve(text, length + 1);
    }
}

/* By hand, as the times below: a page of a listing has a thousand of each, and printf would be most of its cost. */
void text_number(struct text *text, uint64_t number)
{
    char digits[20];
    size_t at = sizeof digits;
    do
        digits[--at] = (char)('0' + number % 10);
    while (number /= 10);
    text_add(text, digits + at, sizeof digits - at);
}

static bool plain_in_xml(unsigned char byte)
{
    return byte >= ' ' && byte != '&' && byte != '<' && byte != '>' && byte != '"' && byte != '\'';
}

void text_xml(struct text *text, struct span raw)
{
    for (size_t at = 0; at < raw.length;) {
        size_t from = at;
        while (at < raw.length && plain_in_xml((unsigned char)raw.at[at]))
            at++;
        text_add(text, raw.at + from, at - from);
        if (at < raw.length)
            text_say(text, "&#x%X;", (unsigned char)raw.at[at++]);
    }
}

static bool plain_in_url(unsigned char byte)
{
    bool letter = (unsigned)(byte | 0x20) - 'a' < 26, digit = (unsigned)byte - '0' < 10;
    return letter || digit || byte == '/' || byte == '-' || byte == '.' || byte == '_' || byte == '~';
}

void text_url(struct text *text, struct span raw)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t at = 0; at < raw.length;) {
        size_t from = at;
        while (at < raw.length && plain_in_url((unsigned char)raw.at[at]))
            at++;
        text_add(text, raw.at + from, at - from);
        if (at == raw.length)
            return;
        unsigned char byte = (unsigned char)raw.at[at++];
        char coded[3] = {'%', digits[byte >> 4], digits[byte & 15]};
        text_add(text, coded, sizeof coded);
    }
}

uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* A text of one second, kept until another second is asked for. */
struct clock_text {
    time_t second;
    char text[HTTP_TIME_LENGTH + 1];
};

static const char *time_text(struct clock_text *last, uint64_t milliseconds, const char *format)
{
    time_t second = (time_t)(milliseconds / 1000);
    if (last->second != second) {
        struct tm parts;
        last->second = second;
        strftime(last->text, sizeof last->text, format, gmtime_r(&second, &parts));
    }
    return last->text;
}

/* With milliseconds, which S3 leaves at 000: a file made and sent within a second is not newer than its object. */
void text_iso_time(struct text *text, uint64_t milliseconds)
{
    static struct clock_text last;
    unsigned rest = (unsigned)(milliseconds % 1000);
    char fraction[5] = {'.', (char)('0' + rest / 100), (char)('0' + rest / 10 % 10), (char)('0' + rest % 10), 'Z'};
    text_add(text, time_text(&last, milliseconds, "%Y-%m-%dT%H:%M:%S"), ISO_TIME_LENGTH - sizeof fraction);
    text_add(text, fraction, sizeof fraction);
}

void text_http_time(struct text *text, uint64_t milliseconds)
{
    static struct clock_text last;
    text_add(text, time_text(&last, milliseconds, "%a, %d %b %Y %H:%M:%S GMT"), HTTP_TIME_LENGTH);
}

static int hex_digit(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    digit |= 0x20;
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

/* In place; `form` for a query, where a plus is a space. Returns the new length. */
size_t url_decode(char *text, size_t length, bool form)
{
    size_t out = 0;
    for (size_t at = 0; at < length; at++, out++) {
        bool coded = text[at] == '%' && length - at > 2 && hex_digit(text[at + 1]) >= 0 && hex_digit(text[at + 2]) >= 0;
        if (coded) {
            text[out] = (char)(hex_digit(text[at + 1]) << 4 | hex_digit(text[at + 2]));
            at += 2;
        } else {
            text[out] = form && text[at] == '+' ? ' ' : text[at];
        }
    }
    return out;
}

static size_t put_utf8(char *out, unsigned long code)
{
    static const unsigned char first[] = {0, 0, 0xC0, 0xE0, 0xF0};
    size_t length = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t at = length - 1; at > 0; at--, code >>= 6)
        out[at] = (char)(0x80 | (code & 63));
    out[0] = (char)(first[length] | code);
    return length;
}

/* The character of an entity's name, which stands between `&` and `;`; its UTF-8 is never longer than the entity. */
static unsigned long entity(struct span name)
{
    static const struct {
        const char *name;
        char stands_for;
    } known[] = {{"amp", '&'}, {"lt", '<'}, {"gt", '>'}, {"quot", '"'}, {"apos", '\''}};
    for (size_t at = 0; at < sizeof known / sizeof *known; at++)
        if (name.length == strlen(known[at].name) && starts_with(name, span_of(known[at].name)))
            return (unsigned char)known[at].stands_for;
    if (name.length < 2 || name.at[0] != '#')
        return '?';
    return name.at[1] == 'x' ? strtoul(name.at + 2, NULL, 16) : strtoul(name.at + 1, NULL, 10);
}

/* In place. Returns the new length. */
size_t xml_decode(char *text, size_t length)
{
    size_t out = 0;
    for (size_t at = 0; at < length;) {
        char *end = text[at] == '&' ? memchr(text + at, ';', length - at) : NULL;
        if (!end) {
            text[out++] = text[at++];
            continue;
        }
        unsigned long code = entity((struct span){text + at + 1, (size_t)(end - text) - at - 1});
        at = (size_t)(end - text) + 1;
        out += put_utf8(text + out, code);
    }
    return out;
}

void hex_encode(char *out, const uint8_t *bytes, size_t count)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t at = 0; at < count; at++) {
        *out++ = digits[bytes[at] >> 4];
        *out++ = digits[bytes[at] & 15];
    }
}

bool hex_decode(uint8_t *out, struct span hex)
{
    for (size_t at = 0; at + 1 < hex.length; at += 2) {
        int high = hex_digit(hex.at[at]), low = hex_digit(hex.at[at + 1]);
        if (high < 0 || low < 0)
            return false;
        *out++ = (uint8_t)(high << 4 | low);
    }
    return hex.length % 2 == 0;
}
