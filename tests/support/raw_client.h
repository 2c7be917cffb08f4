/* A blocking client on gRPC core itself, for tests that send what a typed client would not: any bytes to any
 * path, in any compression. One thread a call. A step that takes over RAW_STEP_SECONDS fails the test by an
 * assertion. */
#ifndef SKERRY_TESTS_SUPPORT_RAW_CLIENT_H
#define SKERRY_TESTS_SUPPORT_RAW_CLIENT_H

#include <grpc/grpc.h>

#include "base/status.h"
#include "base/str.h"
#include "rpc/server.h"

enum { RAW_STEP_SECONDS = 30 };

struct raw_channel {
  grpc_channel *channel;
};

/* Connects through a socketpair, as a peer with this address. */
struct raw_channel raw_channel_open(struct rpc_server *server, const char *peer_address);
/* The same as the HTTP/2 guard does it; but the header with the key is the caller's to send. */
struct raw_channel raw_channel_open_guarded(struct rpc_server *server, const struct rpc_peer *peer,
                                            struct rpc_connection_key *ret_key);
void raw_channel_close(struct raw_channel *channel);

struct raw_header {
  const char *name;
  str value;
};
struct raw_options {
  int timeout_ms; /* 0: none */
  const struct raw_header *headers;
  size_t header_count;
  grpc_compression_algorithm compressed_as; /* the bytes are compressed already, in this way */
  const char *encoding;                     /* what is said about it instead of the algorithm's name */
};

struct raw_call;
struct raw_call *raw_call_open(struct raw_channel *channel, const char *path,
                               const struct raw_options *options);
bool raw_call_send(struct raw_call *call, str message); /* false: the call has ended */
void raw_call_half_close(struct raw_call *call);
/* The next response, as it is on the wire; false at the end. The bytes live until the next receive. */
bool raw_call_receive(struct raw_call *call, str *ret, grpc_compression_algorithm *ret_compressed_as);
void raw_call_cancel(struct raw_call *call);
/* Waits for the status. The call stays readable until raw_call_free. */
status raw_call_finish(struct raw_call *call);
bool raw_call_header(const struct raw_call *call, const char *name, str *ret);
bool raw_call_trailer(const struct raw_call *call, const char *name, str *ret);
void raw_call_free(struct raw_call *call);

/* A whole unary call; *ret (may be NULL) is the response, for buf_fini. */
status raw_unary(struct raw_channel *channel, const char *path, const struct raw_options *options,
                 str request, struct buf *ret);

#endif
