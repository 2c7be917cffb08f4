/* Listening sockets, and the names of those who connect to them. */
#ifndef SKERRY_SERVER_LISTENER_SOCKET_H
#define SKERRY_SERVER_LISTENER_SOCKET_H

#include <sys/socket.h>

#include "base/status.h"
#include "rpc/call.h"

struct listener_socket {
  int fd; /* non-blocking, close-on-exec; -1: none */
  bool is_unix, is_taken;
  char address[128]; /* as listener_address gives it; of a Unix socket the path follows "unix:" */
};

STATUS_MUST_USE status listener_socket_open(const char *address, struct listener_socket *ret);
/* Takes a listening socket that somebody else opened, and keeps: a Unix socket's file stays.
 * FAILED_PRECONDITION: it is neither TCP nor Unix. */
STATUS_MUST_USE status listener_socket_take(int fd, struct listener_socket *ret);
void listener_socket_close(struct listener_socket *socket); /* and removes a Unix socket's file */

/* Fills in the peer of an accepted socket, and what connections from one place are counted by: 0 is "not
 * counted". */
void listener_socket_peer(int fd, const struct sockaddr_storage *from, struct rpc_peer *ret,
                          uint64_t *ret_place);

#endif
