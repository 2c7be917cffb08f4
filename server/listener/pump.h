/* Moves bytes between strangers and gRPC core: TLS (server/listener/tls.h), the choice of protocol, the
 * HTTP/2 guard (server/listener/guard.h). One thread, thousands of connections; a larger box has several
 * pumps.
 *
 * A connection that has not finished its TLS handshake and HTTP/2 preface in time is closed, and of those
 * only a bounded number is kept (the oldest gives way); gRPC core hears of a connection only after its
 * preface. HTTP/1.1 goes to server/gateway, or is told that this port speaks gRPC. When the gateway has no
 * place, one that rests there gives its own away, or the request waits in line; who waited too long, or came
 * when those in line already held as many bytes as they may, is told so with 503. */
#ifndef SKERRY_SERVER_LISTENER_PUMP_H
#define SKERRY_SERVER_LISTENER_PUMP_H

#include "base/status.h"
#include "ports/port.h"
#include "rpc/call.h"
#include "server/listener/guard.h"

struct pump;
struct tls;

struct pump_options {
  struct port *port; /* NULL: port_linux() */
  struct tls *tls;   /* NULL: plaintext. Outlives the pump */
  struct guard_options guard;
  uint32_t handshake_timeout_ms; /* TLS and preface together. 10000 */
  uint32_t handshakes_max;       /* 1024 */
  /* A client for which there are bytes and that takes none for so long is disconnected (to some seconds):
   * they keep gRPC core's answers in memory. 30000 */
  uint32_t reader_timeout_ms;
  /* Gives gRPC core its end of a socketpair; false: refused, and `fd` is closed. */
  bool (*open_grpc)(void *argument, int fd, const struct rpc_peer *peer, struct rpc_connection_key *ret);
  /* The same for a client that speaks HTTP/1.1; gives what the next three know the connection by, NULL: there
   * is no place now. NULL for all four: such a client is told that this port speaks gRPC. */
  void *(*open_http)(void *argument, int fd, const struct rpc_peer *peer);
  /* Whether one more would have no place, or only that of another who has to leave. */
  bool (*http_is_full)(void *argument);
  /* Whether all these requests are answered, so that the connection can be taken away. */
  bool (*http_rests)(void *argument, void *connection, uint64_t requests);
  void (*close_http)(void *argument, void *connection);
  uint32_t http_idle_timeout_ms; /* of a client whose connection was taken away. 60000 */
  uint32_t http_line_timeout_ms; /* for a place. 10000 */
  size_t http_line_bytes_max;    /* of requests in line, together; 64 KiB of each at most. 1 MiB */
  /* That connection is over; open_grpc's only. */
  void (*close_grpc)(void *argument, const struct rpc_connection_key *key);
  /* The client's socket is closed. */
  void (*ended)(void *argument, void *ticket);
  void *argument; /* all are called on the pump's thread */
};

STATUS_MUST_USE status pump_open(const struct pump_options *options, struct pump **ret);

/* Takes a connected, non-blocking TCP socket. `ticket` comes back through `ended`. Any thread. */
void pump_take(struct pump *pump, int fd, const struct rpc_peer *peer, bool always_h2, void *ticket);

struct pump_stats {
  uint64_t open; /* connections that gRPC core or the gateway has; of HTTP/1.1 those that rest are not */
  uint64_t http; /* that spoke HTTP/1.1, ever */
  uint64_t http_offences; /* of these, ended for what they sent */
  uint64_t http_line;     /* in line for a place, now */
  uint64_t http_busy;     /* told that there was none, ever */
  uint64_t waiting;       /* in their handshake or preface */
  uint64_t handshakes;    /* of TLS, finished */
  uint64_t resumed;       /* of these, by a ticket */
  uint64_t handshakes_failed;
  uint64_t silent;  /* closed because they took too long, or gave way */
  uint64_t foreign; /* spoke something else */
  uint64_t offences[GUARD_OFFENCE_COUNT];
};
/* Any thread; numbers of the last moments. */
void pump_stats(struct pump *pump, struct pump_stats *ret);

/* Closes all connections, ends the thread, frees. gRPC core has been drained before. NULL allowed. */
void pump_close(struct pump *pump);

#endif
