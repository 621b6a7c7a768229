/* One HTTP request: its head, and its body as it comes in. */
#ifndef REQUEST_H
#define REQUEST_H

#include "md5.h"
#include "text.h"

enum { MOST_HEADERS = 64, MOST_PARAMETERS = 24, LONGEST_HEAD = 64 << 10, LONGEST_KEPT = 16 << 20 };

/* Bodies up to this size are checked against their CRC64NVME, larger ones are trusted. */
enum { LARGEST_CHECKED = 4096 };

/* The MD5 of all that is put is computed. */
extern bool with_md5;

struct field {
    const char *name;
    struct span value; /* ends with a NUL, too */
};

/* `Transfer-Encoding: chunked` and `Content-Encoding: aws-chunked` are written alike. */
enum chunk_state { CHUNK_SIZE, CHUNK_DATA, CHUNK_END, CHUNK_TRAILER, CHUNKS_DONE, CHUNKS_BROKEN };
struct chunks {
    enum chunk_state state;
    uint64_t left;
    char line[256];
    size_t line_length;
};

struct body {
    bool chunked, aws_chunked, kept, checked, digested, complete;
    uint64_t left; /* of Content-Length */
    struct chunks outer, inner;
    uint64_t size; /* without any chunks' framing */
    uint64_t crc;  /* where it is checked */
    struct md5 md5; /* where it is digested */
    struct text text; /* where it is kept */
    char trailer_crc[16];
};

struct request {
    bool begun; /* the head is there */
    struct text head;
    const char *method;
    struct span bucket, key;
    struct field headers[MOST_HEADERS], parameters[MOST_PARAMETERS];
    size_t header_count, parameter_count;
    bool closing, wants_continue;
    struct body body;
};

size_t head_length(const char *bytes, size_t length);
bool begin_request(struct request *request, const char *head, size_t length);
void clear_request(struct request *request);
void free_request(struct request *request);

const char *header(const struct request *request, const char *name);
bool has_header(const struct request *request, const char *name, const char *value);
bool parameter(const struct request *request, const char *name, struct span *value);
uint64_t number_parameter(const struct request *request, const char *name, uint64_t otherwise);

void begin_body(struct request *request);
size_t take_body(struct body *body, const char *bytes, size_t length);
uint64_t dull_bytes(const struct body *body);
void skip_bytes(struct body *body, uint64_t length);
bool body_broken(const struct body *body);

#endif
