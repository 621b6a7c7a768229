/* Multipart uploads. */
#include "s3.h"

#include <stdlib.h>

enum { PAGE = 1000, LAST_PART = 10000 };

static struct span text_span(const struct text *text)
{
    return (struct span){text->bytes, text->length};
}

static struct upload *upload_of(const struct request *request, const struct bucket *bucket)
{
    struct span id;
    struct upload *upload = parameter(request, "uploadId", &id) ? find_upload(id) : NULL;
    bool same = upload && upload->bucket == bucket && !compare_spans(text_span(&upload->key), request->key);
    return same ? upload : NULL;
}

static void begin_xml(const struct request *request, struct answer *answer, const char *root)
{
    TEXT(&answer->headers, "Content-Type: application/xml\r\n");
    text_say(&answer->body, XML_HEAD "<%s" XML_NAMESPACE "><Bucket>", root);
    text_xml(&answer->body, request->bucket);
    TEXT(&answer->body, "</Bucket>");
    if (!request->key.length)
        return;
    TEXT(&answer->body, "<Key>");
    text_xml(&answer->body, request->key);
    TEXT(&answer->body, "</Key>");
}

void create_upload(const struct request *request, struct bucket *bucket, struct answer *answer)
{
    statistics.create++;
    struct upload *upload = begin_upload(bucket, request->key, read_meta(request));
    upload->with_crc = has_header(request, "x-amz-checksum-algorithm", "crc64nvme");
    if (upload->with_crc)
        TEXT(&answer->headers, "x-amz-checksum-algorithm: CRC64NVME\r\nx-amz-checksum-type: FULL_OBJECT\r\n");
    begin_xml(request, answer, "InitiateMultipartUploadResult");
    text_say(&answer->body, "<UploadId>%s</UploadId></InitiateMultipartUploadResult>", upload->id);
}

void upload_part(const struct request *request, struct bucket *bucket, struct answer *answer)
{
    struct content content;
    const struct refusal *refusal = read_content(request, &content);
    struct upload *upload = upload_of(request, bucket);
    uint64_t number = number_parameter(request, "partNumber", 0);
    statistics.upload_part++;
    statistics.bytes += request->body.size;
    if (!upload)
        refusal = &NO_SUCH_UPLOAD;
    else if (number < 1 || number > LAST_PART)
        refusal = &INVALID_ARGUMENT;
    else if (header(request, "x-amz-copy-source"))
        refusal = &NOT_IMPLEMENTED;
    if (refusal) {
        refuse_with(answer, refusal, request);
        return;
    }
    put_part(upload, (uint32_t)number, &content);
    tell_content(answer, &content);
}

/* Adds one `<Part>` of the client's list to the whole, and its ETag to the whole's. */
static const struct refusal *add_part(const struct upload *upload, struct span xml, uint32_t *last,
                                      struct content *whole, struct md5 *etags)
{
    struct span again = xml, number = element(&xml, "PartNumber"), etag = element(&again, "ETag");
    unsigned long wanted = number.at ? strtoul(number.at, NULL, 10) : 0;
    if (wanted <= *last || wanted > LAST_PART)
        return &INVALID_PART_ORDER;
    *last = (uint32_t)wanted;
    const struct part *part = find_part(upload, *last);
    if (!part || !etag.at || !is_etag_of(&part->content, etag))
        return &INVALID_PART;
    whole->size += part->content.size;
    whole->parts++;
    md5_add(etags, part->content.etag, sizeof part->content.etag);
    return NULL;
}

static const struct refusal *put_together(const struct request *request, const struct upload *upload,
                                          struct content *whole)
{
    struct span xml = {request->body.text.bytes, request->body.text.length};
    uint32_t last = 0;
    struct md5 etags = md5_begin();
    const struct refusal *refusal = read_content(request, whole); /* its checksum, if it tells one */
    if (refusal)
        return refusal;
    *whole = (struct content){.modified = whole->modified, .crc = whole->crc, .has_crc = whole->has_crc};
    for (struct span part = element(&xml, "Part"); part.at && !refusal; part = element(&xml, "Part"))
        refusal = add_part(upload, part, &last, whole, &etags);
    md5_end(etags, whole->etag);
    return refusal || whole->parts ? refusal : &MALFORMED_XML;
}

static void tell_whole(const struct request *request, const struct content *whole, struct answer *answer)
{
    begin_xml(request, answer, "CompleteMultipartUploadResult");
    TEXT(&answer->body, "<ETag>&quot;");
    text_etag(&answer->body, whole);
    TEXT(&answer->body, "&quot;</ETag>");
    if (whole->has_crc) {
        TEXT(&answer->body, "<ChecksumCRC64NVME>");
        text_crc(&answer->body, whole->crc);
        TEXT(&answer->body, "</ChecksumCRC64NVME><ChecksumType>FULL_OBJECT</ChecksumType>");
    }
    TEXT(&answer->body, "</CompleteMultipartUploadResult>");
}

void complete_upload(const struct request *request, struct bucket *bucket, struct answer *answer)
{
    struct content whole;
    struct upload *upload = upload_of(request, bucket);
    const struct refusal *refusal = upload ? put_together(request, upload, &whole) : &NO_SUCH_UPLOAD;
    statistics.complete++;
    if (!refusal && has_header(request, "if-none-match", "*") && find_object(bucket, request->key))
        refusal = &PRECONDITION_FAILED;
    if (refusal) {
        refuse_with(answer, refusal, request);
        return;
    }
    put_object(bucket, request->key, text_span(&upload->meta), &whole);
    end_upload(upload);
    tell_whole(request, &whole, answer);
}

void abort_upload(const struct request *request, struct bucket *bucket, struct answer *answer)
{
    struct upload *upload = upload_of(request, bucket);
    statistics.other++;
    if (!upload) {
        refuse_with(answer, &NO_SUCH_UPLOAD, request);
        return;
    }
    end_upload(upload);
    answer->status = 204;
}

static void tell_part(struct text *body, const struct part *part)
{
    text_say(body, "<Part><PartNumber>%u</PartNumber><LastModified>", part->number);
    text_iso_time(body, part->content.modified);
    TEXT(body, "</LastModified><ETag>&quot;");
    text_etag(body, &part->content);
    text_say(body, "&quot;</ETag><Size>%llu</Size>", (unsigned long long)part->content.size);
    if (part->content.has_crc) {
        TEXT(body, "<ChecksumCRC64NVME>");
        text_crc(body, part->content.crc);
        TEXT(body, "</ChecksumCRC64NVME>");
    }
    TEXT(body, "</Part>");
}

void list_parts(const struct request *request, struct bucket *bucket, struct answer *answer)
{
    const struct upload *upload = upload_of(request, bucket);
    uint64_t after = number_parameter(request, "part-number-marker", 0);
    uint64_t most = number_parameter(request, "max-parts", PAGE), told = 0, at = 0;
    struct text *body = &answer->body;
    statistics.other++;
    if (!upload) {
        refuse_with(answer, &NO_SUCH_UPLOAD, request);
        return;
    }
    most = most < PAGE ? most : PAGE;
    begin_xml(request, answer, "ListPartsResult");
    text_say(body, "<UploadId>%s</UploadId><PartNumberMarker>%llu</PartNumberMarker><MaxParts>%llu</MaxParts>",
             upload->id, (unsigned long long)after, (unsigned long long)most);
    if (upload->with_crc)
        TEXT(body, "<ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType>");
    while (at < upload->part_count && upload->parts[at].number <= after)
        at++;
    for (; at < upload->part_count && told < most; at++, told++) {
        tell_part(body, &upload->parts[at]);
        after = upload->parts[at].number;
    }
    text_say(body, "<NextPartNumberMarker>%llu</NextPartNumberMarker><IsTruncated>%s</IsTruncated></ListPartsResult>",
             (unsigned long long)after, at < upload->part_count ? "true" : "false");
}

static bool comes_after(const struct upload *upload, struct span key, struct span id)
{
    int order = compare_spans(text_span(&upload->key), key);
    return order > 0 || (!order && id.length && compare_spans(span_of(upload->id), id) > 0);
}

void list_uploads(const struct request *request, struct bucket *bucket, struct answer *answer)
{
    struct span prefix = {"", 0}, key = {"", 0}, id = {"", 0};
    struct upload **found;
    struct text *body = &answer->body;
    uint64_t most = number_parameter(request, "max-uploads", PAGE), told = 0;
    bool coded = parameter(request, "encoding-type", NULL), marked = parameter(request, "key-marker", &key);
    void (*text_key)(struct text *, struct span) = coded ? text_url : text_xml;
    statistics.other++;
    parameter(request, "prefix", &prefix);
    parameter(request, "upload-id-marker", &id);
    most = most < PAGE ? most : PAGE;
    size_t count = uploads_of(bucket, prefix, &found), at = 0;
    begin_xml(request, answer, "ListMultipartUploadsResult");
    TEXT(body, "<Prefix>");
    text_key(body, prefix);
    TEXT(body, "</Prefix>");
    if (coded)
        TEXT(body, "<EncodingType>url</EncodingType>");
    while (at < count && marked && key.length && !comes_after(found[at], key, id))
        at++;
    for (; at < count && told < most; at++, told++) {
        TEXT(body, "<Upload><Key>");
        text_key(body, text_span(&found[at]->key));
        text_say(body, "</Key><UploadId>%s</UploadId><Initiated>", found[at]->id);
        text_iso_time(body, found[at]->begun);
        TEXT(body, "</Initiated><StorageClass>STANDARD</StorageClass></Upload>");
    }
    if (told && at < count) {
        TEXT(body, "<NextKeyMarker>");
        text_key(body, text_span(&found[at - 1]->key));
        text_say(body, "</NextKeyMarker><NextUploadIdMarker>%s</NextUploadIdMarker>", found[at - 1]->id);
    }
    text_say(body, "<MaxUploads>%llu</MaxUploads><IsTruncated>%s</IsTruncated></ListMultipartUploadsResult>",
             (unsigned long long)most, told && at < count ? "true" : "false");
}
