/* The body of a request: its framing taken off, its bytes counted and, but for a few small ones, thrown away. */
#define _GNU_SOURCE
#include "request.h"

#include <stdlib.h>
#include <strings.h>

bool with_md5;

static const char CRC_HEADER[] = "x-amz-checksum-crc64nvme";

static bool has_crc(const struct request *request)
{
    return header(request, CRC_HEADER) || has_header(request, "x-amz-trailer", CRC_HEADER);
}

void begin_body(struct request *request)
{
    struct body *body = &request->body;
    const char *length = header(request, "content-length"), *decoded = header(request, "x-amz-decoded-content-length");
    body->chunked = has_header(request, "transfer-encoding", "chunked");
    body->aws_chunked = has_header(request, "content-encoding", "aws-chunked");
    body->left = body->chunked || !length ? 0 : strtoull(length, NULL, 10);
    body->complete = !body->chunked && !body->left;
    /* All that is posted to S3 is XML to be read, all that is put is content. */
    body->kept = !strcmp(request->method, "POST");
    const char *told = body->aws_chunked && decoded ? decoded : body->chunked ? NULL : length;
    body->checked = !body->kept && has_crc(request) && (!told || strtoull(told, NULL, 10) <= LARGEST_CHECKED);
    body->digested = !body->kept && with_md5;
    if (body->digested)
        body->md5 = md5_begin();
}

static void take_content(struct body *body, const char *bytes, size_t length)
{
    body->size += length;
    if (body->checked)
        body->crc = crc64nvme(body->crc, bytes, length);
    if (body->digested)
        md5_add(&body->md5, bytes, length);
    if (body->kept && body->text.length + length <= LONGEST_KEPT)
        text_add(&body->text, bytes, length);
}

/* A line `name:value` of a trailer; only one checksum is of interest. */
static void take_trailer(struct body *body, struct chunks *chunks)
{
    size_t name = sizeof CRC_HEADER - 1;
    if (!strncasecmp(chunks->line, CRC_HEADER, name) && chunks->line[name] == ':') {
        const char *value = chunks->line + name + 1;
        value += strspn(value, " ");
        strncpy(body->trailer_crc, value, sizeof body->trailer_crc - 1);
    }
}

static void end_line(struct body *body, struct chunks *chunks)
{
    while (chunks->line_length && chunks->line[chunks->line_length - 1] == '\r')
        chunks->line_length--;
    chunks->line[chunks->line_length] = '\0';
    bool empty = !chunks->line_length;
    chunks->line_length = 0;
    if (chunks->state == CHUNK_END) {
        chunks->state = empty ? CHUNK_SIZE : CHUNKS_BROKEN;
    } else if (chunks->state == CHUNK_SIZE) {
        char *end;
        chunks->left = strtoull(chunks->line, &end, 16); /* extensions may follow */
        chunks->state = end == chunks->line ? CHUNKS_BROKEN : chunks->left ? CHUNK_DATA : CHUNK_TRAILER;
    } else if (chunks->state == CHUNK_TRAILER && empty) {
        chunks->state = CHUNKS_DONE;
    } else {
        take_trailer(body, chunks);
    }
}

/* One step: takes some of the bytes, at least one, and says which of them are data. */
static size_t take_chunks(struct body *body, struct chunks *chunks, const char *bytes, size_t length, struct span *data)
{
    *data = (struct span){bytes, 0};
    if (chunks->state >= CHUNKS_DONE)
        return length;
    if (chunks->state == CHUNK_DATA) {
        data->length = length < chunks->left ? length : (size_t)chunks->left;
        chunks->left -= data->length;
        if (!chunks->left)
            chunks->state = CHUNK_END;
        return data->length;
    }
    const char *end = memchr(bytes, '\n', length);
    size_t taken = end ? (size_t)(end - bytes) + 1 : length, piece = end ? taken - 1 : taken;
    size_t room = sizeof chunks->line - 1 - chunks->line_length, fits = piece < room ? piece : room;
    memcpy(chunks->line + chunks->line_length, bytes, fits);
    chunks->line_length += fits;
    if (end)
        end_line(body, chunks);
    return taken;
}

static void take_inner(struct body *body, const char *bytes, size_t length)
{
    if (!body->aws_chunked) {
        take_content(body, bytes, length);
        return;
    }
    while (length) {
        struct span data;
        size_t taken = take_chunks(body, &body->inner, bytes, length, &data);
        take_content(body, data.at, data.length);
        bytes += taken;
        length -= taken;
    }
}

/* Takes what belongs to the body and returns how much that was; the next request may follow it. */
size_t take_body(struct body *body, const char *bytes, size_t length)
{
    size_t used = 0;
    while (used < length && !body->complete) {
        struct span data = {bytes + used, length - used};
        if (body->chunked) {
            used += take_chunks(body, &body->outer, bytes + used, length - used, &data);
            body->complete = body->outer.state >= CHUNKS_DONE;
        } else {
            data.length = data.length < body->left ? data.length : (size_t)body->left;
            body->left -= data.length;
            body->complete = !body->left;
            used += data.length;
        }
        take_inner(body, data.at, data.length);
    }
    return used;
}

/* How many of the next bytes on the wire need not be seen, only counted. */
uint64_t dull_bytes(const struct body *body)
{
    if (body->kept || body->checked || body->digested)
        return 0;
    uint64_t dull = body->chunked ? (body->outer.state == CHUNK_DATA ? body->outer.left : 0) : body->left;
    if (!body->aws_chunked || body->inner.state >= CHUNKS_DONE)
        return dull;
    uint64_t inner = body->inner.state == CHUNK_DATA ? body->inner.left : 0;
    return inner < dull ? inner : dull;
}

static void skip_in(struct chunks *chunks, uint64_t length)
{
    chunks->left -= length;
    if (!chunks->left)
        chunks->state = CHUNK_END;
}

/* As `take_body`, for dull bytes. */
void skip_bytes(struct body *body, uint64_t length)
{
    if (body->chunked) {
        skip_in(&body->outer, length);
    } else {
        body->left -= length;
        body->complete = !body->left;
    }
    if (body->aws_chunked && body->inner.state == CHUNK_DATA)
        skip_in(&body->inner, length);
    if (!body->aws_chunked || body->inner.state < CHUNKS_DONE)
        body->size += length;
}

bool body_broken(const struct body *body)
{
    return body->outer.state == CHUNKS_BROKEN || body->inner.state == CHUNKS_BROKEN;
}
