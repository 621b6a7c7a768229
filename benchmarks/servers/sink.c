/*
 * An S3 endpoint that costs next to nothing, for measuring clients: it forgets the bodies and remembers keys, sizes,
 * ETags and CRC64NVME. Path style, no signatures, loopback only.
 *
 * sink PORT [--md5] [--port-file FILE]    port 0: a free one; `listening PORT` goes to stdout and, if given, to FILE.
 * --md5: the ETag of what is put is its MD5, as Amazon's S3 answers, for some CPU on each byte. Without, it is the
 * Content-MD5 that came with it, or else made up.
 * GET /_/stats answers counters as JSON; GET or PUT /_/reset zeroes them and drops all objects, but no bucket.
 */
#include "net.h"
#include "s3.h"

#include <stdio.h>

int main(int count, char **arguments)
{
    int at = 2;
    with_md5 = at < count && !strcmp(arguments[at], "--md5");
    at += with_md5;
    bool with_file = at + 2 == count && !strcmp(arguments[at], "--port-file");
    int port = at == count || with_file ? parse_port(arguments[1]) : -1;
    if (port < 0) {
        fputs("usage: sink PORT [--md5] [--port-file FILE]\n", stderr);
        return 2;
    }
    set_up_process();
    int listener = listen_on(port);
    announce(listener, with_file ? arguments[at + 1] : NULL);
    serve(listener, answer_s3);
}
