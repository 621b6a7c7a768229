/* HTTP/1.1 on one thread: connections, their requests in turn, and the answers. */
#ifndef SERVER_H
#define SERVER_H

#include "request.h"

struct answer {
    int status;
    struct text headers, body;
    bool of_object; /* its body is, or for HEAD would be, an object's zeros */
    uint64_t object_size;
};

typedef void answering(const struct request *request, struct answer *answer);

_Noreturn void serve(int listener, answering *answer);

#endif
