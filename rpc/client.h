/* The client side: typed calls to any gRPC server, through generated functions over these. Plaintext TCP and
 * Unix sockets.
 *
 * A client has one connection and one thread of its own that drives it. All functions may be called from any
 * thread; a stream belongs to one thread for sending and one for receiving. */
#ifndef SKERRY_RPC_CLIENT_H
#define SKERRY_RPC_CLIENT_H

#include "base/arena.h"
#include "base/status.h"
#include "rpc/method.h"

struct rpc_client;
struct rpc_client_stream;

/* `target`: "127.0.0.1:8080", "[::1]:8080" or "unix:/path". Connects when first used. `own_connection`: do
 * not share a connection with other clients of this process to the same target. */
STATUS_MUST_USE status rpc_client_open(const char *target, bool own_connection, struct rpc_client **ret);
/* Ends calls under way, and those that start meanwhile, with CANCELLED, waits for them (for a stream: until
 * its owner finishes it) and frees the client. Not from `done`. NULL allowed. */
void rpc_client_close(struct rpc_client *client);

struct rpc_client_header {
  const char *name;
  str value;
};

/* NULL, or zeroed memory: the defaults. */
struct rpc_client_options {
  int64_t timeout_us;  /* 0: 60 seconds; negative: none */
  bool wait_for_ready; /* wait for the server to come up rather than fail with UNAVAILABLE */
  bool compress;       /* gzip the requests */
  const struct rpc_client_header *headers;
  size_t header_count;
};

/* Blocks for the response, which lives in `arena` (its cap bounds it). Messages are of method->request and
 * method->response: `const ProtobufCMessage *`, or `const str *` if opaque. */
STATUS_MUST_USE status rpc_client_unary(struct rpc_client *client, const struct rpc_method *method,
                                        const struct rpc_client_options *options, const void *request,
                                        struct arena *arena, const void **ret_response);

/* The same without blocking. The request is encoded before the function returns. `done` runs on the client's
 * thread, once, and must not block; `response` (NULL unless OK) is valid during it. */
void rpc_client_unary_start(struct rpc_client *client, const struct rpc_method *method,
                            const struct rpc_client_options *options, const void *request,
                            void (*done)(void *argument, const status *result, const void *response),
                            void *argument);

/* Streams of all three kinds; a unary method may be called so too, for its metadata and details. */
STATUS_MUST_USE status rpc_client_stream_open(struct rpc_client *client, const struct rpc_method *method,
                                              const struct rpc_client_options *options,
                                              struct rpc_client_stream **ret);
/* Blocks while the message before is held by a full flow-control window. Fails if the call has ended: ask
 * rpc_client_stream_finish why. */
STATUS_MUST_USE status rpc_client_stream_send(struct rpc_client_stream *stream, const void *message);
void rpc_client_stream_half_close(struct rpc_client_stream *stream);
/* Blocks for the next message. False at the end of the stream. */
bool rpc_client_stream_receive(struct rpc_client_stream *stream, struct arena *arena,
                               const void **ret_message);
/* The first value of a response header (blocks until they are there) or trailer (blocks until the call has
 * ended: after the last message), copied into `arena`. Names in lower case, values of "-bin" names decoded.
 */
bool rpc_client_stream_header(struct rpc_client_stream *stream, const char *name, struct arena *arena,
                              str *ret_value);
bool rpc_client_stream_trailer(struct rpc_client_stream *stream, const char *name, struct arena *arena,
                               str *ret_value);
/* Any thread, until the stream is finished. */
void rpc_client_stream_cancel(struct rpc_client_stream *stream);
/* Half-closes, drops messages that nobody received, blocks for the server's status and frees the stream; to
 * leave early, cancel first. `ret_details` (may be NULL, then `arena` too) gets grpc-status-details-bin, in
 * `arena`; empty if there is none. Of the status on our own side (no memory, a response that does not decode)
 * and the server's, ours is returned. */
STATUS_MUST_USE status rpc_client_stream_finish(struct rpc_client_stream *stream, struct arena *arena,
                                                str *ret_details);

#endif
