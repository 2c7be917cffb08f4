/* Streams: each kind of operation has a tag of its own, at most one of each under way. The client's thread
 * only notes completions and wakes; messages are encoded and decoded on the user's threads.
 *
 * Nothing is read ahead: the next message is asked for in rpc_client_stream_receive, so gRPC's
 * flow-control window is the back-pressure on the server. One message may be on its way out when
 * rpc_client_stream_send returns; the next send waits for it. */
#include <assert.h>
#include <grpc/byte_buffer.h>
#include <stdlib.h>

#include "rpc/client_call.h"

struct operation {
  struct rpc_client_completion completion;
  struct rpc_client_stream *stream;
  bool is_pending, ok;
};

struct rpc_client_stream {
  struct rpc_client_call call;
  struct operation headers, writing, reading, end;
  grpc_byte_buffer *outgoing, *incoming;
  bool is_half_closed; /* the sending thread's */

  pthread_mutex_t mutex; /* guards is_pending and ok of the operations */
  pthread_cond_t changed;
};

/* ---- Operations ---- */

static void complete(struct rpc_client_completion *completion, bool ok) {
  struct operation *operation = (struct operation *)completion;
  struct rpc_client_stream *stream = operation->stream;
  pthread_mutex_lock(&stream->mutex);
  assert(operation->is_pending);
  operation->is_pending = false;
  operation->ok = ok;
  pthread_cond_broadcast(&stream->changed);
  pthread_mutex_unlock(&stream->mutex);
}

static void begin(struct rpc_client_stream *stream, struct operation *operation, const grpc_op *ops,
                  size_t count) {
  pthread_mutex_lock(&stream->mutex);
  assert(!operation->is_pending);
  operation->is_pending = true;
  pthread_mutex_unlock(&stream->mutex);
  rpc_client_call_start(&stream->call, ops, count, &operation->completion);
}

static bool wait_for(struct rpc_client_stream *stream, const struct operation *operation) {
  pthread_mutex_lock(&stream->mutex);
  while (operation->is_pending)
    pthread_cond_wait(&stream->changed, &stream->mutex);
  bool ok = operation->ok;
  pthread_mutex_unlock(&stream->mutex);
  return ok;
}

static bool has_ended(struct rpc_client_stream *stream) {
  pthread_mutex_lock(&stream->mutex);
  bool ended = !stream->end.is_pending;
  pthread_mutex_unlock(&stream->mutex);
  return ended;
}

/* ---- Opening ---- */

static void begin_call(struct rpc_client_stream *stream) {
  struct rpc_client_call *call = &stream->call;
  grpc_op end = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT};
  end.data.recv_status_on_client.trailing_metadata = &call->trailing;
  end.data.recv_status_on_client.status = &call->code;
  end.data.recv_status_on_client.status_details = &call->message;
  begin(stream, &stream->end, &end, 1);
  grpc_op headers[2] = {{.op = GRPC_OP_SEND_INITIAL_METADATA, .flags = call->headers_flags},
                        {.op = GRPC_OP_RECV_INITIAL_METADATA}};
  headers[0].data.send_initial_metadata.count = call->header_count;
  headers[0].data.send_initial_metadata.metadata = call->headers;
  headers[1].data.recv_initial_metadata.recv_initial_metadata = &call->initial;
  begin(stream, &stream->headers, headers, 2);
}

status rpc_client_stream_open(struct rpc_client *client, const struct rpc_method *method,
                              const struct rpc_client_options *options, struct rpc_client_stream **ret) {
  struct rpc_client_stream *stream = calloc(1, sizeof *stream);
  if (stream == NULL)
    return status_make(STATUS_RESOURCE_EXHAUSTED, "No memory for a stream.");
  pthread_mutex_init(&stream->mutex, NULL);
  pthread_cond_init(&stream->changed, NULL);
  struct operation *operations[] = {&stream->headers, &stream->writing, &stream->reading, &stream->end};
  for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++)
    *operations[i] = (struct operation){{complete}, stream, false, true};
  rpc_client_call_init(&stream->call, client, method, options);
  begin_call(stream);
  *ret = stream;
  return status_ok();
}

/* ---- Sending ---- */

static bool wait_to_write(struct rpc_client_stream *stream) {
  bool ok = wait_for(stream, &stream->writing);
  if (stream->outgoing != NULL)
    grpc_byte_buffer_destroy(stream->outgoing);
  stream->outgoing = NULL;
  return ok;
}

status rpc_client_stream_send(struct rpc_client_stream *stream, const void *message) {
  assert(!stream->is_half_closed);
  if (!wait_to_write(stream) || has_ended(stream))
    return status_make(STATUS_CANCELLED, "The call has ended; its status says why.");
  stream->outgoing = rpc_client_call_encode(&stream->call, message);
  if (stream->outgoing == NULL)
    return rpc_client_call_result(&stream->call);
  grpc_op op = {.op = GRPC_OP_SEND_MESSAGE};
  op.data.send_message.send_message = stream->outgoing;
  begin(stream, &stream->writing, &op, 1);
  return status_ok();
}

void rpc_client_stream_half_close(struct rpc_client_stream *stream) {
  if (stream->is_half_closed)
    return;
  stream->is_half_closed = true;
  wait_to_write(stream);
  grpc_op op = {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT};
  begin(stream, &stream->writing, &op, 1);
}

/* ---- Receiving ---- */

/* NULL at the end of the stream. */
static grpc_byte_buffer *read_next(struct rpc_client_stream *stream) {
  grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};
  op.data.recv_message.recv_message = &stream->incoming;
  begin(stream, &stream->reading, &op, 1);
  wait_for(stream, &stream->reading);
  grpc_byte_buffer *bytes = stream->incoming;
  if (bytes == NULL)
    wait_for(stream, &stream->end); /* comes at once: then sends know it too */
  stream->incoming = NULL;
  return bytes;
}

bool rpc_client_stream_receive(struct rpc_client_stream *stream, struct arena *arena,
                               const void **ret_message) {
  grpc_byte_buffer *bytes = read_next(stream);
  return bytes != NULL && rpc_client_call_decode(&stream->call, bytes, arena, ret_message);
}

bool rpc_client_stream_header(struct rpc_client_stream *stream, const char *name, struct arena *arena,
                              str *ret_value) {
  wait_for(stream, &stream->headers);
  return rpc_client_metadata_find(&stream->call.initial, name, arena, ret_value);
}

bool rpc_client_stream_trailer(struct rpc_client_stream *stream, const char *name, struct arena *arena,
                               str *ret_value) {
  wait_for(stream, &stream->end);
  return rpc_client_metadata_find(&stream->call.trailing, name, arena, ret_value);
}

/* ---- The end ---- */

void rpc_client_stream_cancel(struct rpc_client_stream *stream) {
  grpc_call_cancel(stream->call.core, NULL);
}

status rpc_client_stream_finish(struct rpc_client_stream *stream, struct arena *arena, str *ret_details) {
  rpc_client_stream_half_close(stream);
  /* The status comes after all messages: what nobody read is read here. */
  for (grpc_byte_buffer *bytes; (bytes = read_next(stream)) != NULL;)
    grpc_byte_buffer_destroy(bytes);
  wait_to_write(stream);
  wait_for(stream, &stream->headers);
  wait_for(stream, &stream->end);
  status result = rpc_client_call_result(&stream->call);
  if (ret_details != NULL &&
      !rpc_client_metadata_find(&stream->call.trailing, "grpc-status-details-bin", arena, ret_details))
    *ret_details = (str){0};
  rpc_client_call_release(&stream->call);
  pthread_cond_destroy(&stream->changed);
  pthread_mutex_destroy(&stream->mutex);
  free(stream);
  return result;
}
