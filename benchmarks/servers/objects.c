/* Operations on objects that are sent in one piece. */
#include "s3.h"

void put_one(const struct request *request, struct bucket *bucket, struct answer *answer)
{
    struct content content;
    const struct refusal *refusal = read_content(request, &content);
    statistics.put++;
    statistics.bytes += request->body.size;
    if (header(request, "x-amz-copy-source"))
        refusal = &NOT_IMPLEMENTED;
    else if (!refusal && has_header(request, "if-none-match", "*") && find_object(bucket, request->key))
        refusal = &PRECONDITION_FAILED;
    if (refusal) {
        refuse_with(answer, refusal, request);
        return;
    }
    put_object(bucket, request->key, read_meta(request), &content);
    tell_content(answer, &content);
}

/* HEAD and GET; what GET brings are zeros, which the checksum does not fit. */
void tell_one(const struct request *request, struct bucket *bucket, struct answer *answer)
{
    const struct object *object = find_object(bucket, request->key);
    bool head = !strcmp(request->method, "HEAD");
    *(head ? &statistics.head : &statistics.other) += 1;
    if (!object) {
        refuse_with(answer, &NO_SUCH_KEY, request);
        return;
    }
    struct content content = object->content;
    content.has_crc = content.has_crc && head && has_header(request, "x-amz-checksum-mode", "enabled");
    tell_content(answer, &content);
    TEXT(&answer->headers, "Last-Modified: ");
    text_http_time(&answer->headers, content.modified);
    TEXT(&answer->headers, "\r\nContent-Type: binary/octet-stream\r\n");
    text_add(&answer->headers, object_meta(object).at, object_meta(object).length);
    answer->of_object = true;
    answer->object_size = content.size;
}

void delete_one(const struct request *request, struct bucket *bucket, struct answer *answer)
{
    statistics.delete++;
    remove_object(bucket, request->key);
    answer->status = 204;
}

void delete_many(const struct request *request, struct bucket *bucket, struct answer *answer)
{
    struct span xml = {request->body.text.bytes, request->body.text.length}, probe = xml;
    struct text *body = &answer->body;
    struct span quiet = element(&probe, "Quiet");
    bool tell = !(quiet.at && starts_with(quiet, span_of("true")));
    statistics.delete++;
    TEXT(&answer->headers, "Content-Type: application/xml\r\n");
    TEXT(body, XML_HEAD "<DeleteResult" XML_NAMESPACE ">");
    for (struct span key = element(&xml, "Key"); key.at; key = element(&xml, "Key")) {
        /* In the request's own buffer, which nobody reads again. */
        key.length = xml_decode((char *)key.at, key.length);
        remove_object(bucket, key);
        if (!tell)
            continue;
        TEXT(body, "<Deleted><Key>");
        text_xml(body, key);
        TEXT(body, "</Key></Deleted>");
    }
    TEXT(body, "</DeleteResult>");
}
