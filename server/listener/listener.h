/* Opens the sockets that the server listens on, accepts connections within their limits and hands them over.
 *
 * One thread. Connections of strangers (on_stranger is set, and it is no Unix socket) are handed over as they
 * come: who takes them has TLS, the HTTP/2 guard and their deadlines (server/listener/pump.h). Others, in
 * development and on Unix sockets, go to gRPC core as they are, when their HTTP/2 preface has arrived; one
 * that stays silent is closed after handshake_timeout_ms, and of those that wait only a bounded number is
 * kept (the oldest gives way). HTTP/1.1 goes to server/gateway, or is told that this port speaks gRPC.
 * Connections past the limits are closed at once. */
#ifndef SKERRY_SERVER_LISTENER_LISTENER_H
#define SKERRY_SERVER_LISTENER_LISTENER_H

#include "base/status.h"
#include "ports/port.h"
#include "rpc/call.h"

struct listener;

/* Zeroed numbers have the defaults. Everything is copied but `port`. */
struct listener_options {
  struct port *port; /* NULL: port_linux() */
  /* "127.0.0.1:8080", "[::1]:8080", "localhost:0" (0: any free port) or "unix:/path" (mode 0600). A TCP
   * address may end in ",grpc": clients that offer HTTP/1.1 too get HTTP/2 there (tls_accept). */
  const char *const *addresses;
  size_t address_count;
  /* Sockets that listen already, one for each address, which are taken instead of opened; or NULL. */
  const int *taken;
  uint32_t connections_max;             /* 10000 */
  uint32_t connections_per_address_max; /* 0: no limit. An IPv6 /64 counts as one address; Unix sockets do not
                                           count */
  uint32_t handshake_timeout_ms;        /* 10000 */
  uint32_t handshakes_max;              /* connections that have not spoken yet; 1024 */
  /* Takes the descriptor (non-blocking, TCP_NODELAY). On the listener's thread; must not block. `peer` is
   * valid during the call; its connection_id is 0. */
  void (*on_connection)(void *argument, int fd, const struct rpc_peer *peer);
  /* The same for one that speaks HTTP/1.1. NULL: it is told that this port speaks gRPC. */
  void (*on_http)(void *argument, int fd, const struct rpc_peer *peer);
  /* NULL: on_connection for all. The same, but nothing was read yet, and the listener does not see when the
   * connection ends: listener_ended tells it, once for each ticket. */
  void (*on_stranger)(void *argument, int fd, const struct rpc_peer *peer, bool always_h2, void *ticket);
  void *argument;
};

/* INVALID_ARGUMENT: an address that cannot be read. FAILED_PRECONDITION: one in use, or that this machine
 * does not have, with the reason. A Unix socket's file that nobody answers on is removed. *ret is written
 * before the first connection is handed over. */
STATUS_MUST_USE status listener_open(const struct listener_options *options, struct listener **ret);

/* Address number `index`, with the port that it got. Lives as long as the listener. */
const char *listener_address(const struct listener *listener, size_t index);

struct listener_stats {
  uint64_t open;     /* connections handed over whose socket is not shut down yet */
  uint64_t waiting;  /* accepted, no preface yet */
  uint64_t accepted; /* ever */
  uint64_t refused;  /* for a limit, silence, or another protocol */
};
void listener_stats(struct listener *listener, struct listener_stats *ret);

/* A connection that on_stranger took is closed. Any thread, until listener_close. */
void listener_ended(struct listener *listener, void *ticket);

/* Closes the listening sockets and what has not been handed over; returns when that is done. Again or NULL:
 * nothing. */
void listener_stop_accepting(struct listener *listener);
/* The same, ends the thread and frees. Connections that were handed over stay as they are; no ticket is valid
 * any more. NULL allowed. */
void listener_close(struct listener *listener);

#endif
