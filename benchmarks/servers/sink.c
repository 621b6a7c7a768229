/*
 * An S3 endpoint that costs next to nothing, for measuring clients: it forgets the bodies and remembers keys, sizes,
 * ETags and CRC64NVME. Path style, no signatures, loopback only.
 *
 * sink PORT [--port-file FILE]    port 0: a free one; `listening PORT` goes to stdout and, if given, to FILE.
 * GET /_/stats answers counters as JSON; GET or PUT /_/reset zeroes them and drops all objects, but no bucket.
 */
#include "net.h"
#include "s3.h"

#include <stdio.h>

int main(int count, char **arguments)
{
    bool with_file = count == 4 && !strcmp(arguments[2], "--port-file");
    int port = count == 2 || with_file ? parse_port(arguments[1]) : -1;
    if (port < 0) {
        fputs("usage: sink PORT [--port-file FILE]\n", stderr);
        return 2;
    }
    set_up_process();
    int listener = listen_on(port);
    announce(listener, with_file ? arguments[3] : NULL);
    serve(listener, answer_s3);
}
