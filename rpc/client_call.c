#include "rpc/client_call.h"

#include <assert.h>
#include <grpc/byte_buffer.h>
#include <grpc/compression.h>
#include <grpc/support/time.h>
#include <stdlib.h>

#include "rpc/call.h"
#include "rpc/codec.h"
#include "rpc/message_slice.h"
#include "rpc/tsan.h"

enum { TIMEOUT_US_DEFAULT = 60 * 1000 * 1000 };

static gpr_timespec deadline_of(const struct rpc_client_options *options) {
  int64_t timeout_us = options->timeout_us == 0 ? TIMEOUT_US_DEFAULT : options->timeout_us;
  if (timeout_us < 0)
    return gpr_inf_future(GPR_CLOCK_MONOTONIC);
  return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_micros(timeout_us, GPR_TIMESPAN));
}

/* ---- Request headers ---- */

static bool header_is_valid(const grpc_metadata *header) {
  if (!grpc_header_key_is_legal(header->key))
    return false;
  return grpc_is_binary_header(header->key) || grpc_header_nonbin_value_is_legal(header->value);
}

static void drop_headers(struct rpc_client_call *call) {
  for (size_t i = 0; i < call->header_count; i++) {
    grpc_slice_unref(call->headers[i].key);
    grpc_slice_unref(call->headers[i].value);
  }
  free(call->headers);
  call->headers = NULL;
  call->header_count = 0;
}

static void set_headers(struct rpc_client_call *call, const struct rpc_client_options *options) {
  size_t count = options->header_count + (options->compress ? 1 : 0);
  if (count == 0)
    return;
  call->headers = calloc(count, sizeof *call->headers);
  if (call->headers == NULL) {
    call->failure = status_make(STATUS_RESOURCE_EXHAUSTED, "No memory for the headers of a call.");
    return;
  }
  for (size_t i = 0; i < options->header_count; i++) {
    const struct rpc_client_header *from = &options->headers[i];
    grpc_metadata *to = &call->headers[call->header_count++];
    to->key = grpc_slice_from_copied_string(from->name);
    to->value = grpc_slice_from_copied_buffer(from->value.ptr, from->value.len);
    if (!header_is_valid(to))
      call->failure =
          status_make(STATUS_INVALID_ARGUMENT,
                      "The header \"%.64s\" has a name or a value that gRPC does not allow.", from->name);
  }
  if (options->compress) {
    grpc_metadata *to = &call->headers[call->header_count++];
    to->key = grpc_slice_from_static_string(GRPC_COMPRESSION_REQUEST_ALGORITHM_MD_KEY);
    to->value = grpc_slice_from_static_string("gzip");
  }
}

/* ---- The life of a call ---- */

/* False: the call has failed already. */
static bool enlist(struct rpc_client_call *call) {
  struct rpc_client *client = call->client;
  pthread_mutex_lock(&client->mutex);
  call->previous = NULL;
  call->next = client->calls;
  if (call->next != NULL)
    call->next->previous = call;
  client->calls = call;
  client->calls_unreleased++;
  if (client->closing && status_is_ok(&call->failure))
    call->failure = status_make(STATUS_CANCELLED, "The client is closing.");
  bool ok = status_is_ok(&call->failure);
  pthread_mutex_unlock(&client->mutex);
  return ok;
}

static void delist(struct rpc_client_call *call) {
  struct rpc_client *client = call->client;
  pthread_mutex_lock(&client->mutex);
  if (call->next != NULL)
    call->next->previous = call->previous;
  if (call->previous != NULL)
    call->previous->next = call->next;
  else
    client->calls = call->next;
  pthread_mutex_unlock(&client->mutex);
}

void rpc_client_call_init(struct rpc_client_call *call, struct rpc_client *client,
                          const struct rpc_method *method, const struct rpc_client_options *options) {
  static const struct rpc_client_options defaults;
  if (options == NULL)
    options = &defaults;
  call->client = client;
  call->method = method;
  call->headers = NULL;
  call->header_count = 0;
  call->headers_flags = options->wait_for_ready ? GRPC_INITIAL_METADATA_WAIT_FOR_READY |
                                                      GRPC_INITIAL_METADATA_WAIT_FOR_READY_EXPLICITLY_SET
                                                : 0;
  call->code = GRPC_STATUS_UNKNOWN;
  call->message = grpc_empty_slice();
  call->failure = status_ok();
  grpc_metadata_array_init(&call->initial);
  grpc_metadata_array_init(&call->trailing);
  set_headers(call, options);
  call->core =
      grpc_channel_create_call(client->channel, NULL, GRPC_PROPAGATE_DEFAULTS, client->queue,
                               grpc_slice_from_static_string(method->path), NULL, deadline_of(options), NULL);
  assert(call->core != NULL);
  if (!enlist(call)) {
    drop_headers(call); /* gRPC core refuses the whole batch if one is not valid */
    grpc_call_cancel(call->core, NULL);
  }
}

void rpc_client_call_release(struct rpc_client_call *call) {
  struct rpc_client *client = call->client;
  delist(call); /* from here on nobody cancels it */
  grpc_metadata_array_destroy(&call->initial);
  grpc_metadata_array_destroy(&call->trailing);
  grpc_slice_unref(call->message);
  drop_headers(call);
  grpc_call_unref(call->core);
  pthread_mutex_lock(&client->mutex);
  if (--client->calls_unreleased == 0)
    pthread_cond_signal(&client->all_released);
  pthread_mutex_unlock(&client->mutex);
}

void rpc_client_call_fail(struct rpc_client_call *call, status failure) {
  pthread_mutex_lock(&call->client->mutex);
  if (status_is_ok(&call->failure))
    call->failure = failure;
  pthread_mutex_unlock(&call->client->mutex);
  grpc_call_cancel(call->core, NULL);
}

void rpc_client_call_start(struct rpc_client_call *call, const grpc_op *ops, size_t count,
                           struct rpc_client_completion *completion) {
  RPC_TSAN_RELEASE(completion);
  grpc_call_error error = grpc_call_start_batch(call->core, ops, count, completion, NULL);
  assert(error == GRPC_CALL_OK); /* anything else is our bug, by gRPC's word */
  (void)error;
}

/* ---- Messages ---- */

grpc_byte_buffer *rpc_client_call_encode(struct rpc_client_call *call, const void *request) {
  rpc_message message;
  bool encoded;
  if (call->method->request.descriptor != NULL) {
    encoded = rpc_message_pack(request, &message);
  } else {
    const str *bytes = request;
    encoded = rpc_message_alloc(bytes->len, &message);
    if (encoded && bytes->len > 0)
      memcpy(message.data, bytes->ptr, bytes->len);
  }
  if (!encoded) {
    rpc_client_call_fail(call, status_make(STATUS_RESOURCE_EXHAUSTED, "No memory to encode the request."));
    return NULL;
  }
  grpc_slice slice = rpc_message_take_slice(&message);
  grpc_byte_buffer *bytes = grpc_raw_byte_buffer_create(&slice, 1);
  grpc_slice_unref(slice);
  return bytes;
}

static void destroy_buffer(void *buffer) {
  grpc_byte_buffer_destroy(buffer);
}

bool rpc_client_call_decode(struct rpc_client_call *call, grpc_byte_buffer *bytes, struct arena *arena,
                            const void **ret_response) {
  const struct rpc_type *type = &call->method->response;
  status decoded = rpc_codec_decode(bytes, type, arena->cap_bytes, arena, ret_response);
  /* An opaque message may point into the buffer, which lives as long as the arena then. */
  if (status_is_ok(&decoded) && type->descriptor == NULL) {
    if (arena_defer(arena, destroy_buffer, bytes))
      return true;
    decoded = status_make(STATUS_RESOURCE_EXHAUSTED, "The memory given for the response is full.");
  }
  grpc_byte_buffer_destroy(bytes);
  if (status_is_ok(&decoded))
    return true;
  /* The request was fine: what the codec says of a message is said of the server here. */
  enum status_code code = decoded.code == STATUS_RESOURCE_EXHAUSTED ? decoded.code : STATUS_INTERNAL;
  rpc_client_call_fail(call,
                       status_make(code, "The response of %s: %s", call->method->path, decoded.message));
  return false;
}

/* ---- The end ---- */

status rpc_client_call_result(struct rpc_client_call *call) {
  pthread_mutex_lock(&call->client->mutex);
  status failure = call->failure;
  pthread_mutex_unlock(&call->client->mutex);
  if (!status_is_ok(&failure))
    return failure;
  if (call->code == GRPC_STATUS_OK)
    return status_ok();
  bool is_known = call->code > GRPC_STATUS_OK && (int)call->code <= (int)STATUS_CODE_MAX;
  return status_make(is_known ? (enum status_code)call->code : STATUS_UNKNOWN, "%.*s",
                     (int)GRPC_SLICE_LENGTH(call->message),
                     (const char *)GRPC_SLICE_START_PTR(call->message));
}

bool rpc_client_metadata_find(const grpc_metadata_array *metadata, const char *name, struct arena *arena,
                              str *ret_value) {
  for (size_t i = 0; i < metadata->count; i++) {
    const grpc_metadata *entry = &metadata->metadata[i];
    if (grpc_slice_str_cmp(entry->key, name) != 0)
      continue;
    str copy =
        arena_str_copy(arena, str_make(GRPC_SLICE_START_PTR(entry->value), GRPC_SLICE_LENGTH(entry->value)));
    if (copy.ptr == NULL)
      return false;
    *ret_value = copy;
    return true;
  }
  return false;
}
