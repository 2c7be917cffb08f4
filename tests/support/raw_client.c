#include "tests/support/raw_client.h"

#include <assert.h>
#include <fcntl.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc_posix.h>
#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct raw_call {
  grpc_call *call;
  grpc_completion_queue *cq;
  grpc_metadata_array headers, trailers;
  grpc_compression_algorithm compressed_as;
  bool has_headers, is_finished;
  struct buf message;
  int open_tag, step_tag, status_tag;
  grpc_status_code code;
  grpc_slice details;
};

static grpc_arg int_arg(const char *name, int value) {
  return (grpc_arg){.type = GRPC_ARG_INTEGER, .key = (char *)(uintptr_t)name, .value.integer = value};
}

static void connect_pair(int pair[2]) {
  int failed = socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair);
  assert(failed == 0);
  (void)failed;
}

static struct raw_channel open_on(int fd) {
  grpc_arg args[] = {int_arg(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, INT_MAX),
                     int_arg(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0),
                     int_arg(GRPC_ARG_ENABLE_RETRIES, 0)};
  grpc_channel_args all = {sizeof args / sizeof args[0], args};
  grpc_channel_credentials *credentials = grpc_insecure_credentials_create();
  struct raw_channel channel = {grpc_channel_create_from_fd("test", fd, credentials, &all)};
  grpc_channel_credentials_release(credentials);
  return channel;
}

struct raw_channel raw_channel_open(struct rpc_server *server, const char *peer_address) {
  int pair[2];
  connect_pair(pair);
  struct rpc_peer peer = {0};
  strncpy(peer.address, peer_address, sizeof peer.address - 1);
  rpc_server_adopt(server, pair[0], &peer);
  return open_on(pair[1]);
}

struct raw_channel raw_channel_open_guarded(struct rpc_server *server, const struct rpc_peer *peer,
                                            struct rpc_connection_key *ret_key) {
  int pair[2];
  connect_pair(pair);
  bool adopted = rpc_server_adopt_guarded(server, pair[0], peer, ret_key);
  assert(adopted);
  (void)adopted;
  return open_on(pair[1]);
}

void raw_channel_close(struct raw_channel *channel) {
  grpc_channel_destroy(channel->channel);
  channel->channel = NULL;
}

static bool wait_for(struct raw_call *call, void *tag) {
  gpr_timespec until =
      gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_seconds(RAW_STEP_SECONDS, GPR_TIMESPAN));
  grpc_event event = grpc_completion_queue_pluck(call->cq, tag, until, NULL);
  assert(event.type == GRPC_OP_COMPLETE);
  return event.success != 0;
}

static void start(struct raw_call *call, const grpc_op *ops, size_t count, void *tag) {
  grpc_call_error error = grpc_call_start_batch(call->call, ops, count, tag, NULL);
  assert(error == GRPC_CALL_OK);
  (void)error;
}

struct raw_call *raw_call_open(struct raw_channel *channel, const char *path,
                               const struct raw_options *options) {
  static const struct raw_options none;
  if (options == NULL)
    options = &none;
  struct raw_call *call = calloc(1, sizeof *call);
  assert(call != NULL);
  gpr_timespec deadline = gpr_inf_future(GPR_CLOCK_MONOTONIC);
  if (options->timeout_ms != 0)
    deadline =
        gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(options->timeout_ms, GPR_TIMESPAN));
  call->cq = grpc_completion_queue_create_for_pluck(NULL);
  grpc_slice method = grpc_slice_from_copied_string(path);
  call->call = grpc_channel_create_call(channel->channel, NULL, GRPC_PROPAGATE_DEFAULTS, call->cq, method,
                                        NULL, deadline, NULL);
  grpc_slice_unref(method);
  call->compressed_as = options->compressed_as;
  call->details = grpc_empty_slice();
  grpc_metadata *headers = calloc(options->header_count + 1, sizeof *headers);
  assert(headers != NULL);
  size_t count = options->header_count;
  if (options->compressed_as != GRPC_COMPRESS_NONE) {
    headers[count].key = grpc_slice_from_static_string("grpc-encoding");
    headers[count].value =
        grpc_slice_from_static_string(options->encoding != NULL                      ? options->encoding
                                      : options->compressed_as == GRPC_COMPRESS_GZIP ? "gzip"
                                                                                     : "deflate");
  }
  for (size_t i = 0; i < count; i++) {
    headers[i].key = grpc_slice_from_copied_string(options->headers[i].name);
    headers[i].value =
        grpc_slice_from_copied_buffer(options->headers[i].value.ptr, options->headers[i].value.len);
  }
  size_t sent = count + (options->compressed_as != GRPC_COMPRESS_NONE);
  grpc_op first[] = {
      {.op = GRPC_OP_SEND_INITIAL_METADATA, .data.send_initial_metadata = {sent, headers, {0}}},
      {.op = GRPC_OP_RECV_INITIAL_METADATA,
       .data.recv_initial_metadata.recv_initial_metadata = &call->headers}};
  grpc_op last = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT,
                  .data.recv_status_on_client = {.trailing_metadata = &call->trailers,
                                                 .status = &call->code,
                                                 .status_details = &call->details}};
  start(call, &first[0], 1, &call->step_tag);
  wait_for(call, &call->step_tag);
  start(call, &first[1], 1, &call->open_tag);
  start(call, &last, 1, &call->status_tag);
  for (size_t i = 0; i < count; i++) {
    grpc_slice_unref(headers[i].key);
    grpc_slice_unref(headers[i].value);
  }
  free(headers);
  return call;
}

bool raw_call_send(struct raw_call *call, str message) {
  grpc_slice slice = grpc_slice_from_copied_buffer(message.ptr == NULL ? "" : message.ptr, message.len);
  grpc_byte_buffer *buffer = call->compressed_as == GRPC_COMPRESS_NONE
                                 ? grpc_raw_byte_buffer_create(&slice, 1)
                                 : grpc_raw_compressed_byte_buffer_create(&slice, 1, call->compressed_as);
  grpc_slice_unref(slice);
  grpc_op op = {.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = buffer};
  start(call, &op, 1, &call->step_tag);
  bool ok = wait_for(call, &call->step_tag);
  grpc_byte_buffer_destroy(buffer);
  return ok;
}

void raw_call_half_close(struct raw_call *call) {
  grpc_op op = {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT};
  start(call, &op, 1, &call->step_tag);
  wait_for(call, &call->step_tag);
}

static void want_headers(struct raw_call *call) {
  if (!call->has_headers)
    wait_for(call, &call->open_tag);
  call->has_headers = true;
}

bool raw_call_receive(struct raw_call *call, str *ret, grpc_compression_algorithm *ret_compressed_as) {
  want_headers(call);
  grpc_byte_buffer *buffer = NULL;
  grpc_op op = {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &buffer};
  start(call, &op, 1, &call->step_tag);
  wait_for(call, &call->step_tag);
  if (buffer == NULL)
    return false;
  buf_clear(&call->message);
  const grpc_slice_buffer *in = &buffer->data.raw.slice_buffer;
  for (size_t i = 0; i < in->count; i++)
    buf_append(&call->message, GRPC_SLICE_START_PTR(in->slices[i]), GRPC_SLICE_LENGTH(in->slices[i]));
  if (ret_compressed_as != NULL)
    *ret_compressed_as = buffer->data.raw.compression;
  grpc_byte_buffer_destroy(buffer);
  *ret = buf_str(&call->message);
  return true;
}

void raw_call_cancel(struct raw_call *call) {
  grpc_call_cancel(call->call, NULL);
}

status raw_call_finish(struct raw_call *call) {
  want_headers(call);
  if (!call->is_finished)
    wait_for(call, &call->status_tag);
  call->is_finished = true;
  if (call->code == GRPC_STATUS_OK)
    return status_ok();
  return status_make((enum status_code)call->code, "%.*s", (int)GRPC_SLICE_LENGTH(call->details),
                     (const char *)GRPC_SLICE_START_PTR(call->details));
}

static bool find(const grpc_metadata_array *array, const char *name, str *ret) {
  for (size_t i = 0; i < array->count; i++) {
    const grpc_slice *key = &array->metadata[i].key, *value = &array->metadata[i].value;
    if (str_eq(str_make(GRPC_SLICE_START_PTR(*key), GRPC_SLICE_LENGTH(*key)), str_from_cstr(name))) {
      *ret = str_make(GRPC_SLICE_START_PTR(*value), GRPC_SLICE_LENGTH(*value));
      return true;
    }
  }
  return false;
}

bool raw_call_header(const struct raw_call *call, const char *name, str *ret) {
  return find(&call->headers, name, ret);
}

bool raw_call_trailer(const struct raw_call *call, const char *name, str *ret) {
  return find(&call->trailers, name, ret);
}

void raw_call_free(struct raw_call *call) {
  if (!call->is_finished) {
    raw_call_cancel(call);
    status ignored = raw_call_finish(call);
    (void)ignored;
  }
  grpc_call_unref(call->call);
  grpc_completion_queue_shutdown(call->cq);
  grpc_completion_queue_destroy(call->cq);
  grpc_metadata_array_destroy(&call->headers);
  grpc_metadata_array_destroy(&call->trailers);
  grpc_slice_unref(call->details);
  buf_fini(&call->message);
  free(call);
}

status raw_unary(struct raw_channel *channel, const char *path, const struct raw_options *options,
                 str request, struct buf *ret) {
  struct raw_call *call = raw_call_open(channel, path, options);
  if (raw_call_send(call, request))
    raw_call_half_close(call);
  str response;
  if (raw_call_receive(call, &response, NULL) && ret != NULL)
    buf_append_str(ret, response);
  status result = raw_call_finish(call);
  raw_call_free(call);
  return result;
}
