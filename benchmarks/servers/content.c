/* What a request tells of its bytes, and how ETags and checksums are written. */
#define _GNU_SOURCE
#include "s3.h"

#include <strings.h>

static uint64_t from_big_endian(const uint8_t *bytes)
{
    uint64_t value = 0;
    for (int at = 0; at < 8; at++)
        value = value << 8 | bytes[at];
    return value;
}

static void to_big_endian(uint8_t *bytes, uint64_t value)
{
    for (int at = 7; at >= 0; at--, value >>= 8)
        bytes[at] = (uint8_t)value;
}

static const char *told_crc(const struct request *request)
{
    const char *crc = header(request, "x-amz-checksum-crc64nvme");
    return crc ? crc : request->body.trailer_crc[0] ? request->body.trailer_crc : NULL;
}

/* A number that differs where the bytes do, as far as the request tells; else one that never comes again. */
static uint64_t mark_of(const struct request *request)
{
    static const char *const names[] = {"x-amz-checksum-crc32", "x-amz-checksum-crc32c", "x-amz-checksum-sha1",
                                        "x-amz-checksum-sha256", "x-amz-content-sha256"};
    static uint64_t last;
    for (size_t at = 0; at < sizeof names / sizeof *names; at++) {
        const char *value = header(request, names[at]);
        if (value && strncmp(value, "UNSIGNED", 8) && strncmp(value, "STREAMING", 9))
            return crc64nvme(0, value, strlen(value));
    }
    return ++last;
}

/*
 * The MD5 where it was computed, or else where the client sent it. Else nothing that clients could take for one: `-1`
 * follows, as of an object that was sent in one part.
 */
static const struct refusal *read_etag(const struct request *request, struct content *content)
{
    const char *told = header(request, "content-md5");
    if (told && !base64_decode(content->etag, sizeof content->etag, told))
        return &BAD_DIGEST;
    if (request->body.digested) {
        uint8_t found[MD5_SIZE];
        md5_end(request->body.md5, found);
        if (told && memcmp(found, content->etag, sizeof found))
            return &BAD_DIGEST;
        memcpy(content->etag, found, sizeof found);
        return NULL;
    }
    if (told)
        return NULL;
    uint64_t mark = content->has_crc ? content->crc : mark_of(request);
    to_big_endian(content->etag, mark);
    to_big_endian(content->etag + 8, content->size ^ mark * 0x9e3779b97f4a7c15u);
    content->parts = 1;
    return NULL;
}

/* NULL, or why the bytes are not taken. */
const struct refusal *read_content(const struct request *request, struct content *content)
{
    const char *crc = told_crc(request);
    uint8_t bytes[8];
    *content = (struct content){.size = request->body.size, .modified = now_ms(), .has_crc = crc != NULL};
    if (crc) {
        if (!base64_decode(bytes, sizeof bytes, crc))
            return &BAD_DIGEST;
        content->crc = from_big_endian(bytes);
        if (request->body.checked && content->size <= LARGEST_CHECKED && content->crc != request->body.crc)
            return &BAD_DIGEST;
    }
    return read_etag(request, content);
}

/* The x-amz-meta-* headers as they are answered; good until the next call. */
struct span read_meta(const struct request *request)
{
    static struct text meta;
    meta.length = 0;
    for (size_t at = 0; at < request->header_count; at++) {
        const struct field *field = &request->headers[at];
        if (strncasecmp(field->name, "x-amz-meta-", 11))
            continue;
        if (meta.length + strlen(field->name) + field->value.length + 4 > LONGEST_META)
            break;
        text_say(&meta, "%s: %s\r\n", field->name, field->value.at);
    }
    return (struct span){meta.bytes, meta.length};
}

void text_etag(struct text *text, const struct content *content)
{
    char hex[32];
    hex_encode(hex, content->etag, sizeof content->etag);
    text_add(text, hex, sizeof hex);
    if (content->parts) {
        TEXT(text, "-");
        text_number(text, content->parts);
    }
}

void text_crc(struct text *text, uint64_t crc)
{
    uint8_t bytes[8];
    char coded[12];
    to_big_endian(bytes, crc);
    base64_encode(coded, bytes, sizeof bytes);
    text_add(text, coded, sizeof coded);
}

/* `etag` as a client writes it in XML: with quotes, without, or with their entities. */
bool is_etag_of(const struct content *content, struct span etag)
{
    static struct text own;
    own.length = 0;
    text_etag(&own, content);
    return etag.length >= own.length && memmem(etag.at, etag.length, own.bytes, own.length);
}

void tell_content(struct answer *answer, const struct content *content)
{
    TEXT(&answer->headers, "ETag: \"");
    text_etag(&answer->headers, content);
    TEXT(&answer->headers, "\"\r\n");
    if (!content->has_crc)
        return;
    TEXT(&answer->headers, "x-amz-checksum-crc64nvme: ");
    text_crc(&answer->headers, content->crc);
    TEXT(&answer->headers, "\r\nx-amz-checksum-type: FULL_OBJECT\r\n");
}

/* What stands between `<name>` and `</name>`; `*xml` goes on behind it. `at` is NULL where there is none. */
struct span element(struct span *xml, const char *name)
{
    char open[32] = "<", close[32] = "</";
    strcat(strncat(open, name, sizeof open - 4), ">");
    strcat(strncat(close, name, sizeof close - 4), ">");
    const char *from = memmem(xml->at, xml->length, open, strlen(open));
    if (!from)
        return (struct span){NULL, 0};
    from += strlen(open);
    size_t left = xml->length - (size_t)(from - xml->at);
    const char *to = memmem(from, left, close, strlen(close));
    if (!to)
        return (struct span){NULL, 0};
    *xml = (struct span){to, left - (size_t)(to - from)};
    return (struct span){from, (size_t)(to - from)};
}
