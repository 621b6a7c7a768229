/* Which operation a request asks for, and the operations on buckets. */
#include "s3.h"

#include <stdlib.h>

const struct refusal NO_SUCH_KEY = {404, "NoSuchKey", "The specified key does not exist."};
const struct refusal NO_SUCH_UPLOAD = {404, "NoSuchUpload", "The specified upload does not exist."};
const struct refusal INVALID_PART = {400, "InvalidPart", "A part was not found, or its ETag does not match."};
const struct refusal INVALID_PART_ORDER = {400, "InvalidPartOrder", "The list of parts is not in ascending order."};
const struct refusal MALFORMED_XML = {400, "MalformedXML", "The XML you provided was not well-formed."};
const struct refusal INVALID_ARGUMENT = {400, "InvalidArgument", "An argument has a value that it cannot have."};
const struct refusal BAD_DIGEST = {400, "BadDigest", "The checksum did not match the content that was received."};
const struct refusal PRECONDITION_FAILED = {412, "PreconditionFailed", "A pre-condition that you gave did not hold."};
const struct refusal NOT_IMPLEMENTED = {501, "NotImplemented", "This server does not do that."};
static const struct refusal NO_SUCH_BUCKET = {404, "NoSuchBucket", "The specified bucket does not exist."};
static const struct refusal NOT_EMPTY = {409, "BucketNotEmpty", "The bucket you tried to delete is not empty."};
static const struct refusal OWNED = {409, "BucketAlreadyOwnedByYou", "The bucket exists already."};
static const struct refusal INVALID_NAME = {400, "InvalidBucketName", "The specified bucket is not valid."};
static const struct refusal KEY_TOO_LONG = {400, "KeyTooLongError", "Your key is too long."};

struct statistics statistics;

typedef void operation(const struct request *request, struct bucket *bucket, struct answer *answer);

void refuse_with(struct answer *answer, const struct refusal *refusal, const struct request *request)
{
    answer->status = refusal->status;
    answer->of_object = false;
    answer->headers.length = answer->body.length = 0;
    if (!strcmp(request->method, "HEAD"))
        return;
    TEXT(&answer->headers, "Content-Type: application/xml\r\n");
    text_say(&answer->body, XML_HEAD "<Error><Code>%s</Code><Message>%s</Message><Resource>/", refusal->code,
             refusal->message);
    text_xml(&answer->body, request->bucket);
    TEXT(&answer->body, "/");
    text_xml(&answer->body, request->key);
    TEXT(&answer->body, "</Resource></Error>");
}

static void tell_statistics(struct answer *answer)
{
    const struct statistics *s = &statistics;
    const struct {
        const char *name;
        uint64_t value;
    } all[] = {{"put", s->put}, {"upload_part", s->upload_part}, {"list", s->list}, {"head", s->head},
               {"create", s->create}, {"complete", s->complete}, {"delete", s->delete}, {"other", s->other},
               {"bytes", s->bytes}, {"objects", count_objects()}};
    TEXT(&answer->headers, "Content-Type: application/json\r\n");
    for (size_t at = 0; at < sizeof all / sizeof *all; at++)
        text_say(&answer->body, "%s\"%s\": %llu", at ? ", " : "{", all[at].name, (unsigned long long)all[at].value);
    TEXT(&answer->body, "}\n");
}

static void tell_own(const struct request *request, struct answer *answer)
{
    if (!compare_spans(request->key, span_of("reset"))) {
        statistics = (struct statistics){0};
        drop_everything();
    } else if (compare_spans(request->key, span_of("stats"))) {
        refuse_with(answer, &NO_SUCH_KEY, request);
        return;
    }
    tell_statistics(answer);
}

static void list_buckets(struct answer *answer)
{
    statistics.other++;
    TEXT(&answer->headers, "Content-Type: application/xml\r\n");
    TEXT(&answer->body, XML_HEAD "<ListAllMyBucketsResult" XML_NAMESPACE "><Owner><ID>sink</ID></Owner><Buckets>");
    for (const struct bucket *bucket = first_bucket(); bucket; bucket = bucket->next) {
        TEXT(&answer->body, "<Bucket><Name>");
        text_xml(&answer->body, span_of(bucket->name));
        TEXT(&answer->body, "</Name><CreationDate>");
        text_iso_time(&answer->body, bucket->made);
        TEXT(&answer->body, "</CreationDate></Bucket>");
    }
    TEXT(&answer->body, "</Buckets></ListAllMyBucketsResult>");
}

static void create_bucket(const struct request *request, struct answer *answer)
{
    statistics.other++;
    if (find_bucket(request->bucket))
        refuse_with(answer, &OWNED, request);
    else if (!add_bucket(request->bucket))
        refuse_with(answer, &INVALID_NAME, request);
    else
        TEXT(&answer->headers, "Location: /\r\n");
}

static void head_bucket(const struct request *request, struct bucket *bucket, struct answer *answer)
{
    (void)request;
    (void)bucket;
    statistics.head++;
    TEXT(&answer->headers, "x-amz-bucket-region: us-east-1\r\n");
}

static void delete_bucket(const struct request *request, struct bucket *bucket, struct answer *answer)
{
    statistics.other++;
    if (bucket->leaf_count) {
        refuse_with(answer, &NOT_EMPTY, request);
        return;
    }
    remove_bucket(bucket);
    answer->status = 204;
}

static void tell_location(const struct request *request, struct bucket *bucket, struct answer *answer)
{
    (void)request;
    (void)bucket;
    statistics.other++;
    TEXT(&answer->headers, "Content-Type: application/xml\r\n");
    TEXT(&answer->body, XML_HEAD "<LocationConstraint" XML_NAMESPACE "></LocationConstraint>");
}

static void refuse_unknown(const struct request *request, struct bucket *bucket, struct answer *answer)
{
    (void)bucket;
    statistics.other++;
    refuse_with(answer, &NOT_IMPLEMENTED, request);
}

/* The first row that fits; one with a parameter fits where the request has it. */
static const struct {
    const char *method;
    bool on_key;
    const char *parameter;
    operation *operation;
} OPERATIONS[] = {
    {"PUT", true, "uploadId", upload_part},
    {"PUT", true, NULL, put_one},
    {"HEAD", true, NULL, tell_one},
    {"GET", true, "uploadId", list_parts},
    {"GET", true, NULL, tell_one},
    {"DELETE", true, "uploadId", abort_upload},
    {"DELETE", true, NULL, delete_one},
    {"POST", true, "uploads", create_upload},
    {"POST", true, "uploadId", complete_upload},
    {"GET", false, "location", tell_location},
    {"GET", false, "uploads", list_uploads},
    {"GET", false, NULL, list_objects},
    {"HEAD", false, NULL, head_bucket},
    {"POST", false, "delete", delete_many},
    {"DELETE", false, NULL, delete_bucket},
};

/* What S3 has and this server has not: such a request must not be taken for a plain one. */
static bool asks_for_more(const struct request *request)
{
    static const char *const parts[] = {
        "accelerate", "acl", "attributes", "cors", "encryption", "inventory", "legal-hold", "lifecycle", "logging",
        "metrics", "notification", "object-lock", "ownershipControls", "policy", "publicAccessBlock", "replication",
        "requestPayment", "restore", "retention", "select", "tagging", "torrent", "versioning", "versions", "website"};
    for (size_t at = 0; at < sizeof parts / sizeof *parts; at++)
        if (parameter(request, parts[at], NULL))
            return true;
    return false;
}

static operation *operation_of(const struct request *request)
{
    if (asks_for_more(request))
        return refuse_unknown;
    for (size_t at = 0; at < sizeof OPERATIONS / sizeof *OPERATIONS; at++) {
        const char *name = OPERATIONS[at].parameter;
        if (!strcmp(OPERATIONS[at].method, request->method) && OPERATIONS[at].on_key == (request->key.length > 0)
            && (!name || parameter(request, name, NULL)))
            return OPERATIONS[at].operation;
    }
    return refuse_unknown;
}

void answer_s3(const struct request *request, struct answer *answer)
{
    bool on_key = request->key.length > 0;
    if (!compare_spans(request->bucket, span_of("_"))) {
        tell_own(request, answer);
        return;
    }
    if (!request->bucket.length && !strcmp(request->method, "GET")) {
        list_buckets(answer);
        return;
    }
    if (!on_key && !strcmp(request->method, "PUT") && !asks_for_more(request)) {
        create_bucket(request, answer);
        return;
    }
    struct bucket *bucket = find_bucket(request->bucket);
    if (bucket && request->key.length <= LONGEST_KEY) {
        operation_of(request)(request, bucket, answer);
        return;
    }
    statistics.other++;
    refuse_with(answer, bucket ? &KEY_TOO_LONG : &NO_SUCH_BUCKET, request);
}
