/* What both programs need of the system: memory, a listening socket and its announcement, limits, signals. */
#ifndef NET_H
#define NET_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

_Noreturn void fail(const char *what);
void *grown(void *old, size_t size);
int parse_port(const char *text);
bool find_address(char *text, struct sockaddr_storage *address, socklen_t *length);
int listen_on(int port);
int accept_next(int listener);
void announce(int socket, const char *file);
void set_up_process(void);
void send_at_once(int socket);

#endif
