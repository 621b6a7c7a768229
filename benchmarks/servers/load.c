/*
 * A load of PUTs for the sink: load PORT BUCKET COUNT SIZE [CONNECTIONS [THREADS]]
 *
 * Each thread writes a request to each of its connections and then reads their answers; keys are unique.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static int port, connections = 32, threads = 2;
static long count, size;
static const char *bucket;

static _Noreturn void fail(const char *what)
{
    perror(what);
    exit(1);
}

static int connected(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int one = 1, made = socket(AF_INET, SOCK_STREAM, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(made, (struct sockaddr *)&address, sizeof address))
        fail("connect");
    setsockopt(made, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return made;
}

static void put(int socket, char *request, long number)
{
    int head = sprintf(request, "PUT /%s/cpg0016-jump/source_8/workspace/segmentation/cellpose/objects/J1/A1170383/"
                       "A1170383.zarr/%ld/%ld/0.0.0 HTTP/1.1\r\nHost: localhost\r\nContent-Length: %ld\r\n"
                       "x-amz-checksum-crc64nvme: AAAAAAAAAAA=\r\nx-amz-content-sha256: UNSIGNED-PAYLOAD\r\n\r\n",
                       bucket, number / 1000, number % 1000, size);
    for (long sent = 0, all = head + size; sent < all;) {
        ssize_t some = send(socket, request + sent, (size_t)(all - sent), 0);
        if (some < 0)
            fail("send");
        sent += some;
    }
}

static void *drive(void *argument)
{
    long thread = (long)argument, own = count / threads;
    int each = connections / threads, sockets[each];
    char *request = calloc(1, (size_t)size + 4096), answer[4096];
    for (int at = 0; at < each; at++)
        sockets[at] = connected();
    for (long done = 0; done < own; done += each) {
        int now = own - done < each ? (int)(own - done) : each;
        for (int at = 0; at < now; at++)
            put(sockets[at], request, thread * own + done + at);
        for (int at = 0; at < now; at++)
            if (recv(sockets[at], answer, sizeof answer, 0) <= 0 || strncmp(answer, "HTTP/1.1 200", 12))
                fail("answer");
    }
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc < 5)
        return 2;
    port = atoi(argv[1]);
    bucket = argv[2];
    count = atol(argv[3]);
    size = atol(argv[4]);
    connections = argc > 5 ? atoi(argv[5]) : connections;
    threads = argc > 6 ? atoi(argv[6]) : threads;
    pthread_t running[threads];
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (long at = 0; at < threads; at++)
        pthread_create(&running[at], NULL, drive, (void *)at);
    for (int at = 0; at < threads; at++)
        pthread_join(running[at], NULL);
    clock_gettime(CLOCK_MONOTONIC, &to);
    double seconds = (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
    count -= count % threads;
    printf("%ld puts in %.3f s: %.0f/s\n", count, seconds, (double)count / seconds);
}
