/* Calls that begin inside of this process: the same methods, admission, decoding, statistics and handlers as
 * calls that come by gRPC, without a connection. server/gateway answers HTTP/1.1 through them.
 *
 * A call has a receiver, which gets what a client would get: headers, messages, the status with trailers. It
 * runs on a thread of the server's like every other; rpc_local_begin does not wait for it.
 *
 * Events come on any thread, one at a time for each call, perhaps before rpc_local_begin returns, and perhaps
 * with locks of the handler's held: an event takes what it is given and returns; of the runtime it may call
 * rpc_local_taken and rpc_local_end only. What an event points at is valid until it returns.
 *
 * The receiver ends the call once, by rpc_local_end, after `finished` or before: then the handler hears that
 * the call was cancelled. An event that has begun on another thread may still be under way after that. When
 * `closed` comes nothing follows, and the receiver's memory may go. */
#ifndef SKERRY_RPC_LOCAL_H
#define SKERRY_RPC_LOCAL_H

#include "base/status.h"
#include "rpc/call.h"
#include "rpc/message.h"
#include "rpc/server.h"

struct rpc_local;

/* Names in lower case; values of names that end in "-bin" are bytes, as handlers see them. */
struct rpc_local_header {
  str name, value;
};

struct rpc_local_end {
  enum status_code code;
  str text;
  const struct rpc_local_header *trailers; /* "grpc-status-details-bin" among them: google.rpc.Status */
  size_t trailer_count;
};

struct rpc_local_events {
  /* Once, before the first message and before `finished`; not if the call is refused or cancelled. */
  void (*headers)(struct rpc_local *local, void *receiver, const struct rpc_local_header *headers,
                  size_t count);
  /* The next one comes, or the call counts as over, after rpc_local_taken: so a receiver that is slow stops
   * the handler. Until then the message counts as memory of the call. */
  void (*message)(struct rpc_local *local, void *receiver, str message);
  /* Once, the last of the three. */
  void (*finished)(struct rpc_local *local, void *receiver, const struct rpc_local_end *end);
  /* After `finished`: the last message was not taken, and its memory is wanted. The receiver gives it up. */
  void (*aborted)(struct rpc_local *local, void *receiver);
  /* Once, the very last. */
  void (*closed)(void *receiver);
};

struct rpc_local_request {
  uint64_t id;                             /* of the log's line: rpc_local_request_id */
  const char *path;                        /* "/google.firestore.v1.Firestore/GetDocument" */
  const struct rpc_peer *peer;             /* copied */
  const struct rpc_local_header *metadata; /* copied */
  size_t metadata_count;
  int64_t timeout_us; /* INT64_MAX: none */
  rpc_message message;
};

/* The id of a request that comes in, whether a call comes of it or not (rpc/request_id.h). Any thread. */
uint64_t rpc_local_request_id(struct rpc_server *server);

/* The method of that path, NULL if no added service has it. From rpc_server_start on. */
const struct rpc_method *rpc_local_method(const struct rpc_server *server, str path);

/* Begins the call. Takes the message, whatever it returns. *ret is written before the first event. Any
 * thread. UNIMPLEMENTED: there is no such method, or it is one that the client streams to. UNAVAILABLE: the
 * server is not serving, or stops. RESOURCE_EXHAUSTED: no memory, or the metadata is larger than
 * metadata_bytes_max. Everything else comes through `finished`. */
STATUS_MUST_USE status rpc_local_begin(struct rpc_server *server, struct rpc_local_request *request,
                                       const struct rpc_local_events *events, void *receiver,
                                       struct rpc_local **ret);

/* For each message, once; in the event or later, from any thread, before rpc_local_end. */
void rpc_local_taken(struct rpc_local *local);
/* Do not touch it afterwards. Any thread. */
void rpc_local_end(struct rpc_local *local);

#endif
