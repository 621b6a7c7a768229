#include "store.h"

#include "net.h"

#include <malloc.h>
#include <stdlib.h>

static struct bucket *buckets;
static uint64_t object_count;

int compare_spans(struct span one, struct span other)
{
    size_t common = one.length < other.length ? one.length : other.length;
    int order = memcmp(one.at, other.at, common);
    return order ? order : (one.length > other.length) - (one.length < other.length);
}

struct bucket *first_bucket(void)
{
    return buckets;
}

struct bucket *find_bucket(struct span name)
{
    for (struct bucket *bucket = buckets; bucket; bucket = bucket->next)
        if (!compare_spans(span_of(bucket->name), name))
            return bucket;
    return NULL;
}

/* NULL where the name cannot be a bucket's. */
struct bucket *add_bucket(struct span name)
{
    if (name.length < 3 || name.length > LONGEST_BUCKET)
        return NULL;
    struct bucket *made = grown(NULL, sizeof *made);
    *made = (struct bucket){.next = buckets, .made = now_ms()};
    memcpy(made->name, name.at, name.length);
    return buckets = made;
}

static void drop_objects(struct bucket *bucket)
{
    for (size_t leaf = 0; leaf < bucket->leaf_count; leaf++) {
        for (size_t slot = 0; slot < bucket->leaves[leaf]->count; slot++)
            free(bucket->leaves[leaf]->objects[slot]);
        object_count -= bucket->leaves[leaf]->count;
        free(bucket->leaves[leaf]);
    }
    free(bucket->leaves);
    bucket->leaves = NULL;
    bucket->leaf_count = bucket->leaf_room = 0;
}

static void drop_uploads(const struct bucket *bucket)
{
    struct upload **found;
    size_t count = uploads_of(bucket, (struct span){"", 0}, &found);
    for (size_t at = 0; at < count; at++)
        end_upload(found[at]);
}

void remove_bucket(struct bucket *bucket)
{
    struct bucket **link = &buckets;
    while (*link != bucket)
        link = &(*link)->next;
    *link = bucket->next;
    drop_uploads(bucket);
    drop_objects(bucket);
    free(bucket);
}

uint64_t count_objects(void)
{
    return object_count;
}

/* All objects and uploads; the buckets stay. */
void drop_everything(void)
{
    for (struct bucket *bucket = buckets; bucket; bucket = bucket->next) {
        drop_uploads(bucket);
        drop_objects(bucket);
    }
    malloc_trim(0);
}

/* The last leaf that can hold the key: its first object does not come after it. There is at least one leaf. */
static size_t leaf_for(const struct bucket *bucket, struct span key)
{
    size_t low = 0, high = bucket->leaf_count;
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (compare_spans(object_key(bucket->leaves[middle]->objects[0]), key) <= 0)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* Where the first object stands whose key is not before `key`; with `after`, whose key comes after it. */
struct place place_of(const struct bucket *bucket, struct span key, bool after)
{
    if (!bucket->leaf_count)
        return (struct place){0, 0};
    struct place place = {leaf_for(bucket, key), 0};
    const struct leaf *leaf = bucket->leaves[place.leaf];
    size_t high = leaf->count;
    while (place.slot < high) {
        size_t middle = (place.slot + high) / 2;
        if (compare_spans(object_key(leaf->objects[middle]), key) < (after ? 1 : 0))
            place.slot = middle + 1;
        else
            high = middle;
    }
    return place;
}

/* A place at the end of a leaf is the beginning of the next one. */
struct object *object_at(const struct bucket *bucket, struct place place)
{
    if (place.leaf < bucket->leaf_count && place.slot == bucket->leaves[place.leaf]->count)
        place = (struct place){place.leaf + 1, 0};
    return place.leaf < bucket->leaf_count ? bucket->leaves[place.leaf]->objects[place.slot] : NULL;
}

struct place next_place(const struct bucket *bucket, struct place place)
{
    enum { STEPS = 8, LINE = 64, LINES = 3 };
    if (place.slot == bucket->leaves[place.leaf]->count)
        place = (struct place){place.leaf + 1, 0};
    const struct leaf *leaf = bucket->leaves[place.leaf];
    /* Objects lie anywhere in memory: the one that a listing comes to some steps later is fetched meanwhile. */
    if (place.slot + STEPS < leaf->count)
        for (size_t line = 0; line < LINES; line++)
            __builtin_prefetch((const char *)leaf->objects[place.slot + STEPS] + line * LINE);
    return (struct place){place.leaf, place.slot + 1};
}

struct object *find_object(const struct bucket *bucket, struct span key)
{
    struct object *found = object_at(bucket, place_of(bucket, key, false));
    return found && !compare_spans(object_key(found), key) ? found : NULL;
}

static void insert_leaf(struct bucket *bucket, size_t at, struct leaf *leaf)
{
    if (bucket->leaf_count == bucket->leaf_room) {
        bucket->leaf_room = bucket->leaf_room ? 2 * bucket->leaf_room : 16;
        bucket->leaves = grown(bucket->leaves, bucket->leaf_room * sizeof *bucket->leaves);
    }
    struct leaf **place = bucket->leaves + at;
    memmove(place + 1, place, (bucket->leaf_count - at) * sizeof *place);
    *place = leaf;
    bucket->leaf_count++;
}

/* Keys mostly come in order, and would leave half of each leaf empty if a full last one were halved. */
static struct place split(struct bucket *bucket, struct place place)
{
    struct leaf *full = bucket->leaves[place.leaf], *made = grown(NULL, sizeof *made);
    size_t kept = place.slot == LEAF_ROOM ? LEAF_ROOM : LEAF_ROOM / 2;
    made->count = LEAF_ROOM - kept;
    memcpy(made->objects, full->objects + kept, made->count * sizeof *made->objects);
    full->count = kept;
    insert_leaf(bucket, place.leaf + 1, made);
    return place.slot < kept ? place : (struct place){place.leaf + 1, place.slot - kept};
}

static void insert(struct bucket *bucket, struct place place, struct object *object)
{
    if (!bucket->leaf_count) {
        struct leaf *made = grown(NULL, sizeof *made);
        made->count = 0;
        insert_leaf(bucket, 0, made);
    }
    if (bucket->leaves[place.leaf]->count == LEAF_ROOM)
        place = split(bucket, place);
    struct leaf *leaf = bucket->leaves[place.leaf];
    struct object **slot = leaf->objects + place.slot;
    memmove(slot + 1, slot, (leaf->count - place.slot) * sizeof *slot);
    *slot = object;
    leaf->count++;
    object_count++;
}

static struct object *make_object(struct span key, struct span meta, const struct content *content)
{
    struct object *made = grown(NULL, sizeof *made + key.length + meta.length);
    made->content = *content;
    made->key_length = (uint16_t)key.length;
    made->meta_length = (uint16_t)meta.length;
    memcpy(made->bytes, key.at, key.length);
    if (meta.length)
        memcpy(made->bytes + key.length, meta.at, meta.length);
    return made;
}

void put_object(struct bucket *bucket, struct span key, struct span meta, const struct content *content)
{
    struct place place = place_of(bucket, key, false);
    struct object *old = object_at(bucket, place), *made = make_object(key, meta, content);
    if (!old || compare_spans(object_key(old), key)) {
        insert(bucket, place, made);
        return;
    }
    /* The place of a key that is there is never the end of a leaf. */
    bucket->leaves[place.leaf]->objects[place.slot] = made;
    free(old);
}

void remove_object(struct bucket *bucket, struct span key)
{
    struct object *old = find_object(bucket, key);
    if (!old)
        return;
    struct place place = place_of(bucket, key, false);
    struct leaf *leaf = bucket->leaves[place.leaf];
    struct object **slot = leaf->objects + place.slot;
    leaf->count--;
    object_count--;
    memmove(slot, slot + 1, (leaf->count - place.slot) * sizeof *slot);
    free(old);
    if (leaf->count)
        return;
    struct leaf **emptied = bucket->leaves + place.leaf;
    bucket->leaf_count--;
    memmove(emptied, emptied + 1, (bucket->leaf_count - place.leaf) * sizeof *emptied);
    free(leaf);
}
