/* What the functions that protoc-gen-skerry generates have in common: they are typed one-liners over these.
 * Inline, so that generated code needs neither half of the runtime at link time unless it is used. Nobody
 * else includes this. */
#ifndef SKERRY_RPC_TYPED_H
#define SKERRY_RPC_TYPED_H

#include "rpc/call.h"
#include "rpc/client.h"

/* Finishes the call with the message; without memory for it, with RESOURCE_EXHAUSTED. */
static inline void rpc_typed_reply(struct rpc_call *call, const void *response) {
  rpc_message message;
  if (rpc_message_pack((const ProtobufCMessage *)response, &message))
    rpc_call_reply(call, &message);
  else
    rpc_call_finish(call, status_make(STATUS_RESOURCE_EXHAUSTED, "The server is out of memory."));
}

/* Queues a copy of the message. RPC_SEND_CLOSED also without memory for it. */
static inline enum rpc_send rpc_typed_send(struct rpc_call *call, const void *response) {
  rpc_message message;
  if (!rpc_message_pack((const ProtobufCMessage *)response, &message))
    return RPC_SEND_CLOSED;
  enum rpc_send sent = rpc_call_send(call, &message);
  if (sent != RPC_SEND_OK)
    rpc_message_discard(&message);
  return sent;
}

/* Opens a stream of responses: sends the one request. */
STATUS_MUST_USE static inline status rpc_typed_open(struct rpc_client *client,
                                                    const struct rpc_method *method,
                                                    const struct rpc_client_options *options,
                                                    const void *request, struct rpc_client_stream **ret) {
  struct rpc_client_stream *stream;
  STATUS_TRY(rpc_client_stream_open(client, method, options, &stream));
  status sent = rpc_client_stream_send(stream, request);
  if (status_is_ok(&sent)) {
    rpc_client_stream_half_close(stream);
    *ret = stream;
    return sent;
  }
  rpc_client_stream_cancel(stream); /* does nothing if the server has ended the call: then it says why */
  status ended = rpc_client_stream_finish(stream, NULL, NULL);
  return status_is_ok(&ended) || ended.code == STATUS_CANCELLED ? sent : ended;
}

/* Ends a stream of requests: says that no more come, and waits for the one response. */
STATUS_MUST_USE static inline status rpc_typed_finish(struct rpc_client_stream *stream, struct arena *arena,
                                                      str *ret_details, const void **ret_response) {
  rpc_client_stream_half_close(stream);
  const void *response;
  bool received = rpc_client_stream_receive(stream, arena, &response);
  STATUS_TRY(rpc_client_stream_finish(stream, arena, ret_details));
  if (!received)
    return status_make(STATUS_INTERNAL, "The server ended the call without a response.");
  *ret_response = response;
  return status_ok();
}

#endif
