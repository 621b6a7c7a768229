/* Fails calls of the file system below one folder, as a bad disk, a spent quota or a server that came back does.
 *
 * To be preloaded. FAILING_FILES_UNDER is the folder's path, FAILING_FILES_AFTER how many of its calls come through
 * first, FAILING_FILES_TIMES how many fail then, FAILING_FILES_ERRNO the number that they fail with,
 * FAILING_FILES_MARK a file that is made when the first one fails.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { KNOWN_FDS = 1 << 16 };

static const char *under, *mark;
static size_t under_length;
static int after, times, number;
static atomic_int calls;
static atomic_bool ours[KNOWN_FDS];

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int from(const char *name)
{
    const char *text = getenv(name);
    return text ? atoi(text) : 0;
}

__attribute__((constructor)) static void begin(void)
{
    under = getenv("FAILING_FILES_UNDER");
    under_length = under ? strlen(under) : 0;
    mark = getenv("FAILING_FILES_MARK");
    after = from("FAILING_FILES_AFTER");
    times = from("FAILING_FILES_TIMES");
    number = from("FAILING_FILES_ERRNO");
}

static int lies_under(const char *path)
{
    return under && path && !strncmp(path, under, under_length) && (path[under_length] == '/' || !path[under_length]);
}

static int is_ours(int fd)
{
    return fd >= 0 && fd < KNOWN_FDS && ours[fd];
}

static int fails(int concerned)
{
    if (!concerned)
        return 0;
    int call = calls++;
    if (call < after || call >= after + times)
        return 0;
    if (call == after && mark) {
        int fd = REAL(open64)(mark, O_WRONLY | O_CREAT, 0666);
        if (fd >= 0)
            REAL(close)(fd);
    }
    errno = number;
    return 1;
}

int open64(const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    mode_t mode = va_arg(rest, mode_t);
    va_end(rest);
    int concerned = lies_under(path);
    if (fails(concerned))
        return -1;
    int fd = REAL(open64)(path, flags, mode);
    if (concerned && fd >= 0 && fd < KNOWN_FDS)
        ours[fd] = 1;
    return fd;
}

int close(int fd)
{
    if (is_ours(fd))
        ours[fd] = 0;
    return REAL(close)(fd);
}

DIR *opendir(const char *path)
{
    return fails(lies_under(path)) ? NULL : REAL(opendir)(path);
}

#define FAILING(result, name, parameters, concerned, arguments) \
    result name parameters { return fails(concerned) ? -1 : REAL(name) arguments; }

FAILING(ssize_t, read, (int fd, void *into, size_t size), is_ours(fd), (fd, into, size))
FAILING(ssize_t, pread64, (int fd, void *into, size_t size, off64_t at), is_ours(fd), (fd, into, size, at))
FAILING(ssize_t, write, (int fd, const void *data, size_t size), is_ours(fd), (fd, data, size))
FAILING(ssize_t, pwrite64, (int fd, const void *data, size_t size, off64_t at), is_ours(fd), (fd, data, size, at))
FAILING(int, fsync, (int fd), is_ours(fd), (fd))
FAILING(int, link, (const char *old, const char *new), lies_under(new), (old, new))
FAILING(int, linkat, (int a, const char *old, int b, const char *new, int flags), lies_under(new),
        (a, old, b, new, flags))
FAILING(int, rename, (const char *old, const char *new), lies_under(new), (old, new))
FAILING(int, renameat, (int a, const char *old, int b, const char *new), lies_under(new), (a, old, b, new))
FAILING(int, unlink, (const char *path), lies_under(path), (path))
FAILING(int, mkdir, (const char *path, mode_t mode), lies_under(path), (path, mode))
FAILING(int, stat64, (const char *path, struct stat64 *found), lies_under(path), (path, found))
FAILING(int, lstat64, (const char *path, struct stat64 *found), lies_under(path), (path, found))
FAILING(int, fstatat64, (int folder, const char *path, struct stat64 *found, int flags), lies_under(path),
        (folder, path, found, flags))
