/* Multipart uploads, each in a slot of its own; its id names the slot. */
#include "store.h"

#include "net.h"

#include <stdio.h>
#include <stdlib.h>

static struct upload **slots;
static size_t slot_count;
static uint64_t begun_before;

static size_t free_slot(void)
{
    size_t slot = 0;
    while (slot < slot_count && slots[slot])
        slot++;
    if (slot < slot_count)
        return slot;
    size_t more = slot_count ? slot_count : 64;
    slots = grown(slots, (slot_count + more) * sizeof *slots);
    memset(slots + slot_count, 0, more * sizeof *slots);
    slot_count += more;
    return slot;
}

struct upload *begin_upload(struct bucket *bucket, struct span key, struct span meta)
{
    size_t slot = free_slot();
    struct upload *made = grown(NULL, sizeof *made);
    *made = (struct upload){.bucket = bucket, .begun = now_ms()};
    snprintf(made->id, sizeof made->id, "%08zx%016llx", slot, (unsigned long long)++begun_before);
    text_add(&made->key, key.at, key.length);
    text_add(&made->meta, meta.at, meta.length);
    return slots[slot] = made;
}

struct upload *find_upload(struct span id)
{
    uint8_t bytes[12];
    if (id.length != 24 || !hex_decode(bytes, id))
        return NULL;
    size_t slot = (size_t)bytes[0] << 24 | (size_t)bytes[1] << 16 | (size_t)bytes[2] << 8 | bytes[3];
    struct upload *found = slot < slot_count ? slots[slot] : NULL;
    return found && !memcmp(found->id, id.at, id.length) ? found : NULL;
}

/* Where the part stands, or belongs. */
static size_t part_place(const struct upload *upload, uint32_t number)
{
    size_t low = 0, high = upload->part_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (upload->parts[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct part *find_part(const struct upload *upload, uint32_t number)
{
    size_t at = part_place(upload, number);
    return at < upload->part_count && upload->parts[at].number == number ? upload->parts + at : NULL;
}

void put_part(struct upload *upload, uint32_t number, const struct content *content)
{
    struct part *old = find_part(upload, number);
    if (old) {
        old->content = *content;
        return;
    }
    if (upload->part_count == upload->part_room) {
        upload->part_room = upload->part_room ? 2 * upload->part_room : 16;
        upload->parts = grown(upload->parts, upload->part_room * sizeof *upload->parts);
    }
    size_t at = part_place(upload, number);
    struct part *place = upload->parts + at;
    memmove(place + 1, place, (upload->part_count - at) * sizeof *place);
    *place = (struct part){number, *content};
    upload->part_count++;
}

void end_upload(struct upload *upload)
{
    for (size_t slot = 0; slot < slot_count; slot++)
        if (slots[slot] == upload)
            slots[slot] = NULL;
    free(upload->parts);
    free(upload->key.bytes);
    free(upload->meta.bytes);
    free(upload);
}

static int by_key_and_id(const void *left, const void *right)
{
    const struct upload *one = *(struct upload *const *)left, *other = *(struct upload *const *)right;
    struct span key = {one->key.bytes, one->key.length}, other_key = {other->key.bytes, other->key.length};
    int order = compare_spans(key, other_key);
    return order ? order : strcmp(one->id, other->id);
}

/* In the order of a listing; the array is good until the next call. */
size_t uploads_of(const struct bucket *bucket, struct span prefix, struct upload ***found)
{
    static struct upload **some;
    size_t count = 0;
    some = grown(some, (slot_count + 1) * sizeof *some);
    for (size_t slot = 0; slot < slot_count; slot++) {
        struct upload *upload = slots[slot];
        if (upload && upload->bucket == bucket
            && starts_with((struct span){upload->key.bytes, upload->key.length}, prefix))
            some[count++] = upload;
    }
    if (count)
        qsort(some, count, sizeof *some, by_key_and_id);
    *found = some;
    return count;
}
