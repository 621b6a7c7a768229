/* Makes one folder as slow as a parallel file system far away: each call that asks its server waits a round trip.
 *
 * To be preloaded. SLOW_FILES_UNDER is the folder's path, SLOW_FILES_MICROSECONDS the round trip, SLOW_FILES_COUNTS a
 * file that each process adds a line of counts to when it ends: opens listings stats reads threads most-in-flight.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OPENS, LISTINGS, STATS, READS, THREADS, MOST, KINDS };
enum { KNOWN_FDS = 1 << 16 };

static const char *under;
static size_t under_length;
static useconds_t round_trip;
static atomic_int counts[KINDS];
static atomic_int in_flight;
static atomic_bool ours[KNOWN_FDS];

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void begin(void)
{
    const char *microseconds = getenv("SLOW_FILES_MICROSECONDS");
    under = getenv("SLOW_FILES_UNDER");
    under_length = under ? strlen(under) : 0;
    round_trip = microseconds ? (useconds_t)atoi(microseconds) : 0;
}

__attribute__((destructor)) static void end(void)
{
    const char *path = getenv("SLOW_FILES_COUNTS");
    FILE *file = path ? fopen(path, "a") : NULL;
    if (!file)
        return;
    fprintf(file, "%d %d %d %d %d %d\n", counts[OPENS], counts[LISTINGS], counts[STATS], counts[READS],
            counts[THREADS], counts[MOST]);
    fclose(file);
}

static int lies_under(const char *path)
{
    return under && path && !strncmp(path, under, under_length) && (path[under_length] == '/' || !path[under_length]);
}

static void wait_round_trip(void)
{
    int now = ++in_flight, most = counts[MOST];
    while (now > most && !atomic_compare_exchange_weak(&counts[MOST], &most, now))
        ;
    if (round_trip)
        usleep(round_trip);
    in_flight--;
}

static void wait_for_server(int kind)
{
    counts[kind]++;
    wait_round_trip();
}

static int opened(int fd)
{
    if (fd >= 0 && fd < KNOWN_FDS)
        ours[fd] = 1;
    return fd;
}

static int is_ours(int fd)
{
    return fd >= 0 && fd < KNOWN_FDS && ours[fd];
}

int open64(const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    mode_t mode = va_arg(rest, mode_t);
    va_end(rest);
    if (!lies_under(path))
        return REAL(open64)(path, flags, mode);
    if (flags & O_DIRECTORY) {
        wait_for_server(LISTINGS); /* the open */
        wait_round_trip();         /* the entries, which follow: what fits in one answer */
        return REAL(open64)(path, flags, mode);
    }
    wait_for_server(OPENS);
    return opened(REAL(open64)(path, flags, mode));
}

int close(int fd)
{
    if (is_ours(fd))
        ours[fd] = 0;
    return REAL(close)(fd);
}

DIR *opendir(const char *path)
{
    if (lies_under(path)) {
        wait_for_server(LISTINGS); /* the open */
        wait_round_trip();         /* the entries: what fits in one answer */
    }
    return REAL(opendir)(path);
}

int lstat64(const char *path, struct stat64 *found)
{
    if (lies_under(path))
        wait_for_server(STATS);
    return REAL(lstat64)(path, found);
}

int stat64(const char *path, struct stat64 *found)
{
    if (lies_under(path))
        wait_for_server(STATS);
    return REAL(stat64)(path, found);
}

int fstatat64(int folder, const char *path, struct stat64 *found, int flags)
{
    if (lies_under(path))
        wait_for_server(STATS);
    return REAL(fstatat64)(folder, path, found, flags);
}

ssize_t read(int fd, void *into, size_t size)
{
    if (is_ours(fd))
        wait_for_server(READS);
    return REAL(read)(fd, into, size);
}

ssize_t pread64(int fd, void *into, size_t size, off64_t offset)
{
    if (is_ours(fd))
        wait_for_server(READS);
    return REAL(pread64)(fd, into, size, offset);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument)
{
    counts[THREADS]++;
    return REAL(pthread_create)(thread, attributes, run, argument);
}
