/* HTTP/1.1 on the port that gRPC has: JSON by the bindings of google.api.http, gRPC-Web, health, and what
 * others register. Calls reach the handlers of the runtime through rpc/local.h.
 *
 *   POST /v1/projects/p/databases/(default)/documents:commit     JSON, errors as google.rpc.Status
 *   POST /google.firestore.v1.Firestore/Commit                   application/grpc-web, grpc-web-text
 *   GET /healthz, /readyz                                        "ok", or 503
 *
 * libmicrohttpd does HTTP, on threads of its own; this is the only directory that sees it. It gets connected
 * sockets: a stranger's from the pump (server/listener/pump.h), which has TLS and the limits of connections,
 * others from the listener. Handlers run on the runtime's threads, what is registered here too runs on a
 * thread of the gateway's.
 *
 * Limits: the head of a request (header_bytes_max, head_timeout_ms), its body (body_bytes_max, and not slower
 * than GATEWAY_BODY_BYTES_PER_SECOND), the time between requests (idle_timeout_ms), bodies and answers of all
 * connections together (half of memory_bytes_max), and connections: as many as have room in the other half,
 * past which the one that has rested longest gives way (with somebody in front of it, only after five seconds
 * without a request line). What could be read in two ways (two lengths, a length
 * and chunks) is refused with 400 and the connection is closed. Requests whose client has gone are cancelled,
 * within about a second; one that only says that it sends no more counts as gone. */
#ifndef SKERRY_SERVER_GATEWAY_GATEWAY_H
#define SKERRY_SERVER_GATEWAY_GATEWAY_H

#include "ports/port.h"
#include "rpc/server.h"

struct gateway;
struct gateway_request;

enum { GATEWAY_BODY_BYTES_PER_SECOND = 8 * 1024, GATEWAY_ROUTES_MAX = 64 };

/* Zeroed numbers have the defaults. The pointers outlive the gateway. */
struct gateway_options {
  struct port *port;          /* NULL: port_linux() */
  struct rpc_server *rpc;     /* started */
  unsigned threads;           /* 1 */
  uint32_t body_bytes_max;    /* LIMIT_MESSAGE_BYTES; JSON is longer than the message, so more is useful */
  uint32_t message_bytes_max; /* of a request, in wire form. LIMIT_MESSAGE_BYTES */
  uint32_t header_bytes_max;  /* request line and headers, 16 KiB */
  uint32_t head_timeout_ms;   /* from the request line to the end of the headers. 10000 */
  uint32_t idle_timeout_ms;   /* between requests, and before the first. 60000 */
  uint64_t memory_bytes_max;  /* 64 MiB */
  /* Web pages of which origins may read answers ("https://app.example", "*" for all). */
  const char *const *cors_origins;
  size_t cors_origin_count;
  bool dev; /* GET / answers as the official emulator does */
  /* Services, by full name, whose clients are of an older kind and want: unknown fields and parameters passed
   * over; bodies that are forms (application/x-www-form-urlencoded) as well as JSON; 400 for all that a
   * client has done wrong but lack of permission; and errors with a list `errors` in them. */
  const char *const *lenient_services;
  size_t lenient_service_count;
  /* Whether a value of a URL is what the method's field can have; of bindings that match, the first of which
   * all values fit is taken. NULL: all fit. Any thread. */
  bool (*fits)(const struct rpc_method *method, str field, str value);
};

/* FAILED_PRECONDITION: a binding that cannot be served. RESOURCE_EXHAUSTED. */
STATUS_MUST_USE status gateway_open(const struct gateway_options *options, struct gateway **ret);

/* Takes a connected, non-blocking stream socket whose client speaks HTTP/1.1. Any thread. */
void gateway_take(struct gateway *gateway, int fd, const struct rpc_peer *peer);

/* ---- Connections that somebody in front keeps while they rest ---- */

/* A connection here has a buffer for a request's head, whether there is one or not. Who stands in front of
 * it (the pump) may take it away while nothing is under way, and bring another for the client's next
 * request. */
struct gateway_link;
/* As gateway_take. NULL: no memory, or no place; `fd` is closed. */
struct gateway_link *gateway_take_linked(struct gateway *gateway, int fd, const struct rpc_peer *peer);
/* Whether it has answered `requests` requests (one at least) and nothing of another has come. Then it counts
 * as gone: the caller, who has sent nothing else, sends nothing more but the end of the input. */
bool gateway_rests(struct gateway *gateway, const struct gateway_link *link, uint64_t requests);
void gateway_unlink(struct gateway_link *link); /* also when the gateway is closed; NULL allowed */
/* Whether one more would end another, or be refused. */
bool gateway_is_full(struct gateway *gateway);

/* ---- Routes of others ---- */

/* "PUT", "/emulator/v1/projects/{project}:securityRules": a template as in url.h. The handler runs on the
 * gateway's thread for this, one at a time, may block, and answers once. Before the first gateway_take. */
STATUS_MUST_USE status gateway_route(struct gateway *gateway, const char *verb, const char *pattern,
                                     void (*handle)(void *argument, struct gateway_request *request),
                                     void *argument);
/* A variable of the pattern, decoded; empty if there is none of that name. */
str gateway_request_variable(const struct gateway_request *request, const char *name);
str gateway_request_body(const struct gateway_request *request);
/* The Authorization header; empty if there is none. */
str gateway_request_authorization(const struct gateway_request *request);
const struct rpc_peer *gateway_request_peer(const struct gateway_request *request);
/* Ends the request; do not touch it afterwards. */
void gateway_answer(struct gateway_request *request, unsigned http_status, const char *content_type,
                    str body);
/* As errors of the API look: {"error": {"code": 404, "message": ..., "status": "NOT_FOUND"}}. */
void gateway_answer_status(struct gateway_request *request, status result);

/* ---- Counts and the end ---- */

struct gateway_stats {
  uint64_t open;                         /* connections */
  uint64_t requests;                     /* ever */
  uint64_t refused;                      /* answered 400 to 499 by the gateway itself */
  size_t memory_bytes, memory_bytes_max; /* bodies and answers */
  size_t bodies_waiting;                 /* large ones that are to be read */
};
void gateway_stats(struct gateway *gateway, struct gateway_stats *ret);
void gateway_tick(struct gateway *gateway); /* about once a second: times, and clients that have gone */

/* After the runtime was drained: answers that are ready go out, for a moment, then everything is closed. NULL
 * allowed. */
void gateway_close(struct gateway *gateway);

#endif
