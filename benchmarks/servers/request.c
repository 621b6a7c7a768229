#define _GNU_SOURCE
#include "request.h"

#include <stdlib.h>
#include <strings.h>

/* With its empty line; 0 while that has not come yet. */
size_t head_length(const char *bytes, size_t length)
{
    const char *end = memmem(bytes, length, "\r\n\r\n", 4);
    return end ? (size_t)(end - bytes) + 4 : 0;
}

/* The rest of a line up to its `\r\n`, cut off there; `*text` goes to the next line. */
static char *next_line(char **text)
{
    char *line = *text, *end = strstr(line, "\r\n");
    if (!end)
        return NULL;
    *end = '\0';
    *text = end + 2;
    return line;
}

static bool add_header(struct request *request, char *line)
{
    char *colon = strchr(line, ':');
    if (!colon || request->header_count == MOST_HEADERS)
        return false;
    *colon = '\0';
    char *value = colon + 1 + strspn(colon + 1, " \t"), *end = value + strlen(value);
    while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
        *--end = '\0';
    request->headers[request->header_count++] = (struct field){line, {value, (size_t)(end - value)}};
    return true;
}

static bool parse_query(struct request *request, char *query)
{
    char *rest, *piece = strtok_r(query, "&", &rest);
    for (; piece; piece = strtok_r(NULL, "&", &rest)) {
        char *value = piece + strcspn(piece, "=");
        if (*value)
            *value++ = '\0';
        piece[url_decode(piece, strlen(piece), true)] = '\0';
        size_t length = url_decode(value, strlen(value), true);
        value[length] = '\0';
        if (request->parameter_count == MOST_PARAMETERS)
            return false;
        request->parameters[request->parameter_count++] = (struct field){piece, {value, length}};
    }
    return true;
}

/* `/bucket/key?query`, also behind `http://host`. Split before it is decoded: a key may hold any byte. */
static bool parse_target(struct request *request, char *target)
{
    if (*target != '/') {
        char *host = strstr(target, "://");
        target = host ? strchr(host + 3, '/') : NULL;
        if (!target)
            return false;
    }
    char *query = target + strcspn(target, "?"), *bucket = target + 1;
    if (*query)
        *query++ = '\0';
    char *key = bucket + strcspn(bucket, "/");
    request->bucket = (struct span){bucket, url_decode(bucket, (size_t)(key - bucket), false)};
    if (*key)
        key++;
    request->key = (struct span){key, url_decode(key, strlen(key), false)};
    return parse_query(request, query);
}

static bool parse_request_line(struct request *request, char *line)
{
    char *target = strchr(line, ' '), *version = target ? strchr(target + 1, ' ') : NULL;
    if (!version)
        return false;
    *target++ = '\0';
    *version++ = '\0';
    request->method = line;
    request->closing = strcmp(version, "HTTP/1.1") != 0;
    return parse_target(request, target);
}

/* False where the head cannot be understood. The head is copied: its buffer is everybody's. */
bool begin_request(struct request *request, const char *head, size_t length)
{
    text_add(&request->head, head, length);
    text_add(&request->head, "", 1);
    char *rest = request->head.bytes;
    bool whole = strlen(rest) == length; /* no NUL in it */
    char *line = next_line(&rest);
    if (!whole || !parse_request_line(request, line))
        return false;
    while ((line = next_line(&rest)) && *line)
        if (!add_header(request, line))
            return false;
    if (has_header(request, "connection", "close"))
        request->closing = true;
    request->wants_continue = has_header(request, "expect", "100-continue");
    request->begun = true;
    begin_body(request);
    return true;
}

/* For the next one on the same connection; what it has allocated is used again, unless it is large. */
void clear_request(struct request *request)
{
    struct text head = request->head, kept = request->body.text;
    if (kept.room > LONGEST_HEAD) {
        free(kept.bytes);
        kept = (struct text){0};
    }
    head.length = kept.length = 0;
    request->begun = false;
    request->method = NULL;
    request->head = head;
    request->header_count = request->parameter_count = 0;
    request->body = (struct body){.text = kept};
}

void free_request(struct request *request)
{
    free(request->head.bytes);
    free(request->body.text.bytes);
}

/* NULL where there is none. */
const char *header(const struct request *request, const char *name)
{
    for (size_t at = 0; at < request->header_count; at++)
        if (!strcasecmp(request->headers[at].name, name))
            return request->headers[at].value.at;
    return NULL;
}

bool has_header(const struct request *request, const char *name, const char *value)
{
    const char *found = header(request, name);
    return found && strcasestr(found, value);
}

/* `value` may be NULL. */
bool parameter(const struct request *request, const char *name, struct span *value)
{
    for (size_t at = 0; at < request->parameter_count; at++)
        if (!strcmp(request->parameters[at].name, name)) {
            if (value)
                *value = request->parameters[at].value;
            return true;
        }
    return false;
}

uint64_t number_parameter(const struct request *request, const char *name, uint64_t otherwise)
{
    struct span value;
    return parameter(request, name, &value) && value.length ? strtoull(value.at, NULL, 10) : otherwise;
}
