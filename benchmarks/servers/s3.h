/* What the operations share: refusals, counters, and what a request says of the bytes that it brings. */
#ifndef S3_H
#define S3_H

#include "server.h"
#include "store.h"

struct refusal {
    int status;
    const char *code, *message;
};

extern const struct refusal NO_SUCH_KEY, NO_SUCH_UPLOAD, INVALID_PART, INVALID_PART_ORDER, MALFORMED_XML,
    INVALID_ARGUMENT, BAD_DIGEST, PRECONDITION_FAILED, NOT_IMPLEMENTED;

struct statistics {
    uint64_t put, upload_part, list, head, create, complete, delete, other;
    uint64_t bytes; /* of objects and parts */
};
extern struct statistics statistics;

#define XML_HEAD "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
#define XML_NAMESPACE " xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\""

void refuse_with(struct answer *answer, const struct refusal *refusal, const struct request *request);

/* content.c */
const struct refusal *read_content(const struct request *request, struct content *content);
struct span read_meta(const struct request *request);
void text_etag(struct text *text, const struct content *content);
void text_crc(struct text *text, uint64_t crc);
bool is_etag_of(const struct content *content, struct span etag);
void tell_content(struct answer *answer, const struct content *content);
struct span element(struct span *xml, const char *name);

/* objects.c */
void put_one(const struct request *request, struct bucket *bucket, struct answer *answer);
void tell_one(const struct request *request, struct bucket *bucket, struct answer *answer);
void delete_one(const struct request *request, struct bucket *bucket, struct answer *answer);
void delete_many(const struct request *request, struct bucket *bucket, struct answer *answer);

/* multipart.c */
void create_upload(const struct request *request, struct bucket *bucket, struct answer *answer);
void upload_part(const struct request *request, struct bucket *bucket, struct answer *answer);
void complete_upload(const struct request *request, struct bucket *bucket, struct answer *answer);
void abort_upload(const struct request *request, struct bucket *bucket, struct answer *answer);
void list_parts(const struct request *request, struct bucket *bucket, struct answer *answer);
void list_uploads(const struct request *request, struct bucket *bucket, struct answer *answer);

/* listing.c */
void list_objects(const struct request *request, struct bucket *bucket, struct answer *answer);

/* s3.c */
answering answer_s3;

#endif
