/* ListObjectsV2, and V1 for clients that ask for no `list-type`. */
#include "s3.h"

enum { PAGE = 1000 };

struct listing {
    struct bucket *bucket;
    bool version2, coded;
    struct span prefix, delimiter;
    struct span after;       /* nothing up to and with this key, or this common prefix */
    struct span told_after;  /* as the request had it */
    uint64_t most, told;
    struct place place;
    struct span last;        /* key or common prefix that was told last */
};

static void text_key(struct text *text, const struct listing *listing, struct span key)
{
    (listing->coded ? text_url : text_xml)(text, key);
}

/* The key's part up to the first delimiter behind the prefix; length 0 where it has none. */
static struct span common_prefix(const struct listing *listing, struct span key)
{
    struct span delimiter = listing->delimiter;
    for (size_t at = listing->prefix.length; delimiter.length && at + delimiter.length <= key.length; at++)
        if (!memcmp(key.at + at, delimiter.at, delimiter.length))
            return (struct span){key.at, at + delimiter.length};
    return (struct span){key.at, 0};
}

/* Behind all keys that begin with `start`: at the first key that is not before `start` with its last byte raised. */
static struct place place_behind(const struct bucket *bucket, struct span start)
{
    char raised[LONGEST_KEY];
    size_t length = start.length;
    while (length && (unsigned char)start.at[length - 1] == 0xFF)
        length--;
    if (!length || length > sizeof raised)
        return (struct place){bucket->leaf_count, 0};
    memcpy(raised, start.at, length);
    raised[length - 1]++;
    return place_of(bucket, (struct span){raised, length}, false);
}

/* A token that was a common prefix stands for all that it covers. */
static void find_beginning(struct listing *listing)
{
    struct span after = listing->after;
    bool in_prefix = starts_with(after, listing->prefix);
    if (!after.length || (!in_prefix && compare_spans(after, listing->prefix) < 0))
        listing->place = place_of(listing->bucket, listing->prefix, false);
    else if (in_prefix && after.length && common_prefix(listing, after).length == after.length)
        listing->place = place_behind(listing->bucket, after);
    else
        listing->place = place_of(listing->bucket, after, true);
}

static struct object *next_object(const struct listing *listing)
{
    struct object *object = object_at(listing->bucket, listing->place);
    return object && starts_with(object_key(object), listing->prefix) ? object : NULL;
}

static void tell_object(struct text *body, const struct listing *listing, const struct object *object)
{
    TEXT(body, "<Contents><Key>");
    text_key(body, listing, object_key(object));
    TEXT(body, "</Key><LastModified>");
    text_iso_time(body, object->content.modified);
    TEXT(body, "</LastModified><ETag>&quot;");
    text_etag(body, &object->content);
    TEXT(body, "&quot;</ETag><Size>");
    text_number(body, object->content.size);
    TEXT(body, "</Size><StorageClass>STANDARD</StorageClass></Contents>");
}

static void tell_common(struct text *body, const struct listing *listing, struct span common)
{
    TEXT(body, "<CommonPrefixes><Prefix>");
    text_key(body, listing, common);
    TEXT(body, "</Prefix></CommonPrefixes>");
}

static void tell_entries(struct text *body, struct listing *listing)
{
    struct object *object;
    for (; listing->told < listing->most && (object = next_object(listing)); listing->told++) {
        struct span common = common_prefix(listing, object_key(object));
        if (common.length) {
            tell_common(body, listing, common);
            listing->last = common;
            listing->place = place_behind(listing->bucket, common);
        } else {
            tell_object(body, listing, object);
            listing->last = object_key(object);
            listing->place = next_place(listing->bucket, listing->place);
        }
    }
}

static void tell_field(struct text *body, const struct listing *listing, const char *name, struct span value)
{
    text_say(body, "<%s>", name);
    text_key(body, listing, value);
    text_say(body, "</%s>", name);
}

/* A token is the last key as a URL has it: XML needs no more of it, and the client encodes it once again. */
static void tell_end(struct text *body, const struct listing *listing)
{
    bool more = listing->told && next_object(listing);
    if (listing->version2)
        text_say(body, "<KeyCount>%llu</KeyCount>", (unsigned long long)listing->told);
    text_say(body, "<IsTruncated>%s</IsTruncated>", more ? "true" : "false");
    if (more && listing->version2) {
        TEXT(body, "<NextContinuationToken>");
        text_url(body, listing->last);
        TEXT(body, "</NextContinuationToken>");
    } else if (more) {
        tell_field(body, listing, "NextMarker", listing->last);
    }
}

static void tell_beginning(struct text *body, const struct listing *listing)
{
    TEXT(body, XML_HEAD "<ListBucketResult" XML_NAMESPACE "><Name>");
    text_xml(body, span_of(listing->bucket->name));
    TEXT(body, "</Name>");
    tell_field(body, listing, "Prefix", listing->prefix);
    if (listing->delimiter.length)
        tell_field(body, listing, "Delimiter", listing->delimiter);
    if (!listing->version2 || listing->told_after.length)
        tell_field(body, listing, listing->version2 ? "StartAfter" : "Marker", listing->told_after);
    text_say(body, "<MaxKeys>%llu</MaxKeys>", (unsigned long long)listing->most);
    if (listing->coded)
        TEXT(body, "<EncodingType>url</EncodingType>");
}

static void read_request(struct listing *listing, const struct request *request)
{
    struct span token, kind;
    listing->prefix = listing->delimiter = listing->after = (struct span){"", 0};
    listing->version2 = parameter(request, "list-type", &kind) && *kind.at == '2';
    listing->coded = parameter(request, "encoding-type", NULL);
    listing->most = number_parameter(request, "max-keys", PAGE);
    listing->most = listing->most < PAGE ? listing->most : PAGE;
    parameter(request, "prefix", &listing->prefix);
    parameter(request, "delimiter", &listing->delimiter);
    parameter(request, listing->version2 ? "start-after" : "marker", &listing->after);
    listing->told_after = listing->after;
    if (listing->version2 && parameter(request, "continuation-token", &token)) {
        /* In the request's own buffer, which nobody reads again. */
        token.length = url_decode((char *)token.at, token.length, false);
        listing->after = token;
    }
}

void list_objects(const struct request *request, struct bucket *bucket, struct answer *answer)
{
    struct listing listing = {.bucket = bucket};
    statistics.list++;
    read_request(&listing, request);
    find_beginning(&listing);
    TEXT(&answer->headers, "Content-Type: application/xml\r\n");
    tell_beginning(&answer->body, &listing);
    tell_entries(&answer->body, &listing);
    tell_end(&answer->body, &listing);
    TEXT(&answer->body, "</ListBucketResult>");
}
