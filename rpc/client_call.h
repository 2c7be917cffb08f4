/* What unary calls and streams of the client share: one gRPC call, its request headers, and what came back.
 *
 * Parties: the user's threads start batches on the call; the client's thread runs each batch's completion.
 * rpc_client_close waits for each call from rpc_client_call_init to rpc_client_call_release, so everything
 * here may use the client. A call that fails on
 * our side (headers that are not valid, no memory, a response that does not decode, the client closing) takes
 * the same way as any other: the failure is kept, the gRPC call cancelled, and its batches complete. */
#ifndef SKERRY_RPC_CLIENT_CALL_H
#define SKERRY_RPC_CLIENT_CALL_H

#include <grpc/grpc.h>
#include <pthread.h>

#include "rpc/client.h"

struct rpc_client {
  grpc_channel *channel;
  grpc_completion_queue *queue;
  pthread_t thread;
  struct arena responses; /* of the client's thread: what `done` is given */

  pthread_mutex_t mutex;         /* guards what follows and every call's `failure` */
  pthread_cond_t all_released;   /* calls_unreleased has become 0 */
  size_t calls_unreleased;       /* those in the list, and those about to be freed */
  struct rpc_client_call *calls; /* doubly linked */
  bool closing;
};

/* The tag of a batch; the first member of what knows more. Runs on the client's thread. */
struct rpc_client_completion {
  void (*run)(struct rpc_client_completion *completion, bool ok);
};

struct rpc_client_call {
  struct rpc_client *client;
  const struct rpc_method *method;
  struct rpc_client_call *next, *previous;
  grpc_call *core;
  grpc_metadata *headers; /* of the request */
  size_t header_count;
  uint32_t headers_flags; /* for GRPC_OP_SEND_INITIAL_METADATA */
  grpc_metadata_array initial, trailing;
  grpc_status_code code;
  grpc_slice message;
  status failure; /* on our side; it counts more than the server's status */
};

/* Never fails: what is wrong becomes the call's failure. */
void rpc_client_call_init(struct rpc_client_call *call, struct rpc_client *client,
                          const struct rpc_method *method, const struct rpc_client_options *options);
/* After the last completion. The client may be gone when this returns. */
void rpc_client_call_release(struct rpc_client_call *call);

/* Keeps the first failure and cancels. Any thread. */
void rpc_client_call_fail(struct rpc_client_call *call, status failure);

void rpc_client_call_start(struct rpc_client_call *call, const grpc_op *ops, size_t count,
                           struct rpc_client_completion *completion);

/* NULL (and the call has failed) if the request cannot be encoded. */
grpc_byte_buffer *rpc_client_call_encode(struct rpc_client_call *call, const void *request);
/* Reads a response into `arena`. Takes `bytes`. False: the call has failed. */
bool rpc_client_call_decode(struct rpc_client_call *call, grpc_byte_buffer *bytes, struct arena *arena,
                            const void **ret_response);

/* How the call ended, after GRPC_OP_RECV_STATUS_ON_CLIENT has completed. */
STATUS_MUST_USE status rpc_client_call_result(struct rpc_client_call *call);

/* The first value of that name, copied into `arena`. */
bool rpc_client_metadata_find(const grpc_metadata_array *metadata, const char *name, struct arena *arena,
                              str *ret_value);

#endif
