/* Buckets, their objects in the order of the keys' bytes, and multipart uploads. Bodies are not kept. */
#ifndef STORE_H
#define STORE_H

#include "md5.h"
#include "text.h"

enum { LONGEST_KEY = 1024, LONGEST_META = 2048, LONGEST_BUCKET = 63 };

/* What is known of an object's or a part's bytes. */
struct content {
    uint64_t size, crc;
    uint64_t modified; /* milliseconds since 1970 */
    uint8_t etag[MD5_SIZE];
    uint32_t parts; /* follows the ETag after `-`; 0: the ETag is an MD5 */
    bool has_crc;
};

struct object {
    struct content content;
    uint16_t key_length, meta_length;
    char bytes[]; /* the key, then the x-amz-meta-* headers as they are answered */
};

static inline struct span object_key(const struct object *object)
{
    return (struct span){object->bytes, object->key_length};
}

static inline struct span object_meta(const struct object *object)
{
    return (struct span){object->bytes + object->key_length, object->meta_length};
}

/* Sorted leaves in a sorted array: one structure for look-ups and listings, 8 to 16 bytes a key. */
enum { LEAF_ROOM = 512 };
struct leaf {
    size_t count;
    struct object *objects[LEAF_ROOM];
};

struct bucket {
    struct bucket *next;
    struct leaf **leaves;
    size_t leaf_count, leaf_room;
    char name[LONGEST_BUCKET + 1];
    uint64_t made;
};

struct place {
    size_t leaf, slot;
};

struct bucket *first_bucket(void);
struct bucket *find_bucket(struct span name);
struct bucket *add_bucket(struct span name);
void remove_bucket(struct bucket *bucket);
uint64_t count_objects(void);
void drop_everything(void);

struct place place_of(const struct bucket *bucket, struct span key, bool after);
struct place next_place(const struct bucket *bucket, struct place place);
struct object *object_at(const struct bucket *bucket, struct place place);
struct object *find_object(const struct bucket *bucket, struct span key);
void put_object(struct bucket *bucket, struct span key, struct span meta, const struct content *content);
void remove_object(struct bucket *bucket, struct span key);

int compare_spans(struct span one, struct span other);

struct part {
    uint32_t number;
    struct content content;
};

struct upload {
    char id[25];
    struct bucket *bucket;
    struct text key, meta;
    bool with_crc;
    uint64_t begun;
    struct part *parts; /* in the order of their numbers */
    size_t part_count, part_room;
};

struct upload *begin_upload(struct bucket *bucket, struct span key, struct span meta);
struct upload *find_upload(struct span id);
struct part *find_part(const struct upload *upload, uint32_t number);
void put_part(struct upload *upload, uint32_t number, const struct content *content);
void end_upload(struct upload *upload);
size_t uploads_of(const struct bucket *bucket, struct span prefix, struct upload ***found);

#endif
