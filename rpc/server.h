/* The server side of the runtime: completion-queue threads over gRPC core that look up methods, check and
 * decode requests, run handlers and keep counts. It opens no sockets: connections are handed to it
 * (server/listener accepts them).
 *
 * Compression: requests in gzip and deflate are inflated, never past message_bytes_max; other encodings are
 * UNIMPLEMENTED. A response of 1 KiB and more is compressed as the request was, on unary calls and streams of
 * responses: every client says that it accepts gzip, so only one that sends it has asked for it. Client
 * streams and bidirectional ones answer uncompressed.
 *
 * Order of use: new, add_service..., start, adopt..., drain, free. */
#ifndef SKERRY_RPC_SERVER_H
#define SKERRY_RPC_SERVER_H

#include "base/histogram.h"
#include "base/status.h"
#include "rpc/call.h"
#include "rpc/connection.h"
#include "rpc/method.h"

struct rpc_server;
struct port;

/* Zeroed memory has the defaults, given here; each has bounds, and rpc_server_new refuses what is outside of
 * them, naming the setting. */
struct rpc_server_options {
  struct port *port; /* NULL: port_linux() */
  unsigned threads;  /* completion queues, each with its thread. One a core; 1-64 */
  /* Another server of this process, started before and freed after this one ends, looks after the connections
   * of both, and this one's threads only work. gRPC's poller is one for the process: each thread that takes
   * part in it hands calls of other threads over by waking them. A thread with little to do of its own made
   * that a third of the work of a busy server. */
  bool polled_by_another;
  uint32_t message_bytes_max;          /* a request, after inflating. 10 MiB; 64 KiB-64 MiB */
  uint32_t call_memory_bytes_max;      /* a call's arena. LIMIT_CALL_ARENA_BYTES; 1 MiB-1 GiB */
  uint32_t metadata_bytes_max;         /* 8 KiB; 1-64 KiB */
  uint32_t streams_per_connection_max; /* 100; 1-10000 */
  uint32_t send_queue_bytes_max;       /* 1 MiB; 64 KiB-64 MiB */
  /* What calls may take together: their arenas, their messages both ways. Past it new ones get
   * RESOURCE_EXHAUSTED, streams send one message at a time. 256 MiB; 2 MiB and more */
  size_t calls_memory_bytes_max;
  /* What gRPC core may buffer for connections. Past it gRPC ends connections, idle ones first. 256 MiB; 2
   * MiB and more */
  size_t connections_memory_bytes_max;
  uint32_t calls_max;    /* calls at once on this server, past it RESOURCE_EXHAUSTED. 20000; 16-1000000 */
  uint32_t keepalive_ms; /* a ping after this long without a byte. 120000; 10000-86400000 */
  uint32_t keepalive_timeout_ms;   /* 20000; 1000-600000 */
  uint32_t connection_age_max_ms;  /* 0: never; 10000 and more: GOAWAY after it */
  uint32_t connection_idle_max_ms; /* 0: never; 1000 and more: GOAWAY after so long without a call */
  /* Whoever can connect administers the server: see rpc_call_administers. Its sockets are closed to others.
   */
  bool administration;
  bool reflection; /* serve grpc.reflection v1 and v1alpha */
  /* When even the calls of a method that waited least waited for longer than this, those that waited for more
   * than twice as long are refused with RESOURCE_EXHAUSTED and google.rpc.RetryInfo (rpc/shedding.h). Only on
   * guarded connections, where the runtime knows how long a request waited; not streams of requests. 5;
   * 1-1000 */
  uint32_t shed_target_ms;
  bool sheds_never;
  /* Calls that take longer are told to the log with what their handlers note. Streams of requests, health and
   * reflection are left out. 0: none; up to 3600000 */
  uint32_t slow_call_ms;
  bool access_log; /* a line for every call, at most some thousands a second */
  /* Services whose calls are not refused so, by full name; ends with NULL, may be NULL. Health and reflection
   * are among them in any case. Read by rpc_server_add_service. */
  const char *const *never_shed;
};

STATUS_MUST_USE status rpc_server_new(const struct rpc_server_options *options, struct rpc_server **ret);

/* `handlers` is the service's generated struct; a NULL handler answers UNIMPLEMENTED. Both pointers outlive
 * the server. */
STATUS_MUST_USE status rpc_server_add_service(struct rpc_server *server, const struct rpc_service *service,
                                              const void *handlers, void *service_state);

STATUS_MUST_USE status rpc_server_start(struct rpc_server *server);

/* Takes a connected, non-blocking stream socket and serves HTTP/2 on it; closes it also when it is refused.
 * Any thread. */
void rpc_server_adopt(struct rpc_server *server, int fd, const struct rpc_peer *peer);

/* The same for one end of a socketpair behind the HTTP/2 guard, which adds RPC_CONNECTION_HEADER with *ret to
 * each request of this connection. False: refused, `fd` is closed. Any thread. */
bool rpc_server_adopt_guarded(struct rpc_server *server, int fd, const struct rpc_peer *peer,
                              struct rpc_connection_key *ret);
/* That connection is closed, or will be. Calls under way keep their peer; one that is read only now is
 * cancelled. Once for each key; any thread, until rpc_server_free. */
void rpc_server_forget(struct rpc_server *server, const struct rpc_connection_key *key);

/* For the guard: whether to refuse a request for the method at `path` that arrives now, because there is
 * overload and it would wait too long (rpc/gate.h); if so, it tells the client to come back after
 * *ret_retry_ms. The call is counted either way. Any thread. */
bool rpc_server_turns_away(struct rpc_server *server, str path, int64_t now_us, uint32_t *ret_retry_ms);

/* grpc.health.v1: `service` "" is the whole server. All added services and "" are NOT_SERVING until set, and
 * after drain has begun. From rpc_server_start on; any thread. */
void rpc_server_set_serving(struct rpc_server *server, const char *service, bool serving);

/* The last word on it; false for a name that is not known. */
bool rpc_server_is_serving(struct rpc_server *server, const char *service);

/* About once a second: if calls take all the memory or all the places, ends those that only wait for their
 * client (rpc/laggards.h). */
void rpc_server_tick(struct rpc_server *server);

/* Asks every queue's thread for a sign of life, and says for how long, in microseconds, the one that was
 * asked first owes the last; 0: none does. From one thread, between start and drain. */
int64_t rpc_server_pulse(struct rpc_server *server);

/* Health says NOT_SERVING, connections get GOAWAY, new calls on them are refused, and calls under way may
 * finish until the deadline (monotonic microseconds); what is left then is cancelled. Blocks until all calls
 * are finished. A second call, from another thread, with an earlier deadline cuts the first short. */
void rpc_server_drain(struct rpc_server *server, int64_t deadline_us);
void rpc_server_free(struct rpc_server *server); /* after drain; NULL allowed */

/* ---- Counts ---- */

struct rpc_method_stats {
  const struct rpc_method *method;
  uint64_t started, ok, failed, messages_in, messages_out;
  uint64_t by_code[STATUS_CODE_MAX + 1];
  uint64_t latency_us_p50, latency_us_p99; /* from arrival to finish, of finished calls, to about 10% */
  struct histogram_summary latency_us;     /* likewise, exact */
};

struct rpc_server_stats {
  uint64_t connections_open, connections_total, calls_active;
  uint64_t shed;        /* calls refused because they had waited for too long, or would have */
  uint64_t turned_away; /* of these, before gRPC core saw them */
  bool is_shedding;     /* now */
  size_t calls_memory_bytes, calls_memory_bytes_max; /* what calls hold, and may hold */
};

void rpc_server_stats(struct rpc_server *server, struct rpc_server_stats *ret);
/* Calls visit for each method of each added service. */
void rpc_server_visit_methods(struct rpc_server *server,
                              void (*visit)(void *argument, const struct rpc_method_stats *stats),
                              void *argument);

#endif
