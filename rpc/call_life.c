/* A call's life on its queue's thread: arrival, decoding, the handler, the end, recycling. rpc/runtime.h has
 * the design. */
#include <assert.h>
#include <grpc/slice_buffer.h>
#include <grpc/support/time.h>
#include <stdlib.h>

#include "rpc/local_call.h"
#include "rpc/message_slice.h"
#include "rpc/runtime.h"

enum {
  FREE_CALLS_MAX = 64,       /* a queue keeps: 300 KB; more calls at once than that pay malloc */
  COMPRESS_BYTES_MIN = 1024, /* smaller responses gain less than a packet */
};

/* ---- Objects ---- */

static void final_done(struct rpc_tag *tag, bool ok);
static void close_done(struct rpc_tag *tag, bool ok);
static void payload_done(struct rpc_tag *tag, bool ok);

static struct rpc_call *take_call(struct rpc_queue *queue) {
  struct rpc_call *call = queue->free_calls;
  if (call != NULL) {
    queue->free_calls = call->next_free;
    queue->free_count--;
    return call;
  }
  call = calloc(1, sizeof *call);
  if (call == NULL)
    return NULL;
  if (pthread_mutex_init(&call->mutex, NULL) != 0) {
    free(call);
    return NULL;
  }
  call->final_tag.run = final_done;
  call->close_tag.run = close_done;
  call->queue = queue;
  call->server = queue->server;
  arena_init(&call->arena, call->first_block, sizeof call->first_block,
             queue->server->options.call_memory_bytes_max);
  call->memory = call->arena.budget = &queue->server->calls_memory;
  call->out.type = GRPC_BB_RAW;
  grpc_slice_buffer_init(&call->out.data.raw.slice_buffer);
  return call;
}

void rpc_call_free(struct rpc_call *call) {
  grpc_slice_buffer_destroy(&call->out.data.raw.slice_buffer);
  arena_fini(&call->arena);
  pthread_mutex_destroy(&call->mutex);
  free(call);
}

/* The last event of the call was dealt with. */
static void release(struct rpc_call *call) {
  struct rpc_queue *queue = call->queue;
  struct port *port = queue->server->options.port;
  rpc_laggards_forget(call);
  int64_t duration_us = port->monotonic_us(port) - call->started_us;
  if (call->refused_code != STATUS_OK)
    call->code = call->refused_code;
  rpc_counters_finished(rpc_call_counters(call), call->code, duration_us);
  if (call->code != STATUS_OK || duration_us >= queue->server->logged_from_us)
    rpc_call_log(call, duration_us);
  if (call->events != NULL && call->events->released != NULL)
    call->events->released(call->state);
  if (call->attached != NULL)
    call->release_attached(call->attached);
  call->attached = NULL;
  if (rpc_call_is_stream(call))
    rpc_stream_fini(call);
  rpc_message_discard(&call->reply);
  rpc_metadata_fini(&call->headers);
  rpc_metadata_fini(&call->trailers);
  grpc_slice_buffer_reset_and_unref(&call->out.data.raw.slice_buffer);
  if (call->payload != NULL)
    grpc_byte_buffer_destroy(call->payload);
  bool is_local = call->local != NULL;
  if (is_local) {
    rpc_local_released(call->local);
  } else {
    grpc_metadata_array_destroy(&call->metadata);
    grpc_call_unref(call->grpc);
  }
  arena_reset(&call->arena);
  if (call->charged_bytes > 0)
    memory_budget_give(call->memory, call->charged_bytes);
  call->memory = call->arena.budget = &queue->server->calls_memory;
  if (!is_local)
    rpc_peers_release(queue->server->peers, call->peer);
  uint64_t active = atomic_load_explicit(&queue->calls_active, memory_order_relaxed);
  atomic_store_explicit(&queue->calls_active, active - 1, memory_order_release);
  if (queue->free_count >= FREE_CALLS_MAX) {
    rpc_call_free(call);
    return;
  }
  call->next_free = queue->free_calls;
  queue->free_calls = call;
  queue->free_count++;
}

void rpc_call_unref(struct rpc_call *call) {
  uint32_t before = atomic_fetch_sub_explicit(&call->refs, 1, memory_order_acq_rel);
  assert(before > 0);
  if (before == 1)
    release(call);
}

/* ---- Batches ---- */

void rpc_call_start(struct rpc_call *call, const grpc_op *ops, size_t count, struct rpc_tag *tag) {
  grpc_call *grpc = call->grpc;
  if (grpc == NULL) {
    rpc_local_start(call, ops, count, tag);
    return;
  }
  RPC_TSAN_RELEASE(tag);
  grpc_call_error error = grpc_call_start_batch(grpc, ops, count, tag, NULL);
  assert(error == GRPC_CALL_OK); /* anything else is a batch that we put together wrongly */
  (void)error;
}

void rpc_call_message_op(struct rpc_call *call, rpc_message *message, uint32_t flags, grpc_op *op) {
  call->response_bytes += message->len;
  bool compressed = call->encoding != RPC_IDENTITY && message->len >= COMPRESS_BYTES_MIN &&
                    rpc_codec_compress(call->encoding, message);
  /* What gRPC takes from a byte buffer it leaves empty, so one can be filled again; this saves its malloc. */
  grpc_slice_buffer_add(&call->out.data.raw.slice_buffer, rpc_message_take_slice(message));
  call->out.data.raw.compression = !compressed                  ? GRPC_COMPRESS_NONE
                                   : call->encoding == RPC_GZIP ? GRPC_COMPRESS_GZIP
                                                                : GRPC_COMPRESS_DEFLATE;
  *op = (grpc_op){.op = GRPC_OP_SEND_MESSAGE, .flags = flags, .data.send_message.send_message = &call->out};
}

grpc_op rpc_call_headers_op(struct rpc_call *call) {
  call->headers_sent = true;
  return (grpc_op){
      .op = GRPC_OP_SEND_INITIAL_METADATA,
      .data.send_initial_metadata = {.count = call->headers.count, .metadata = call->headers.items}};
}

size_t rpc_call_final_ops(struct rpc_call *call, grpc_op *ops, grpc_slice *details, bool with_headers,
                          bool with_close) {
  size_t count = 0;
  if (with_headers)
    ops[count++] = rpc_call_headers_op(call);
  if (call->reply.data != NULL && call->code == STATUS_OK) {
    rpc_call_message_op(call, &call->reply, 0, &ops[count++]);
    call->final_has_message = true;
  }
  /* Where the log may have it: a header more is a fortieth of what a small call costs. With the status, so
   * that a refusal stays one frame. */
  if (call->local == NULL && (call->code != STATUS_OK || call->server->logged_from_us != INT64_MAX))
    rpc_metadata_add_request_id(call, &call->trailers);
  *details = call->text == NULL ? grpc_empty_slice() : grpc_slice_from_copied_string(call->text);
  ops[count++] =
      (grpc_op){.op = GRPC_OP_SEND_STATUS_FROM_SERVER,
                .data.send_status_from_server = {.trailing_metadata_count = call->trailers.count,
                                                 .trailing_metadata = call->trailers.items,
                                                 .status = (grpc_status_code)call->code,
                                                 .status_details = call->text == NULL ? NULL : details}};
  if (with_close) {
    call->close_asked = true;
    ops[count++] = (grpc_op){.op = GRPC_OP_RECV_CLOSE_ON_SERVER,
                             .data.recv_close_on_server.cancelled = &call->close_cancelled};
  }
  return count;
}

/* Ends a unary call. Do not touch it afterwards. */
static void start_final(struct rpc_call *call, bool with_close) {
  grpc_op ops[4];
  grpc_slice details;
  size_t count = rpc_call_final_ops(call, ops, &details, true, with_close);
  if (call->charged_bytes > 0)
    rpc_laggards_add(call, RPC_DOES_NOT_TAKE);
  rpc_call_start(call, ops, count, &call->final_tag);
  grpc_slice_unref(details);
}

void rpc_call_ask_close(struct rpc_call *call) {
  assert(!call->close_asked);
  call->close_asked = true;
  atomic_fetch_add_explicit(&call->refs, 1, memory_order_relaxed);
  grpc_op op = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER,
                .data.recv_close_on_server.cancelled = &call->close_cancelled};
  rpc_call_start(call, &op, 1, &call->close_tag);
}

static void final_done(struct rpc_tag *tag, bool ok) {
  struct rpc_call *call = RPC_OWNER(tag, struct rpc_call, final_tag);
  if (ok && call->final_has_message)
    counter_add(&rpc_call_counters(call)->messages_out, 1);
  rpc_call_unref(call);
}

/* The client has all it will get, or is gone. */
static void close_done(struct rpc_tag *tag, bool ok) {
  (void)ok;
  struct rpc_call *call = RPC_OWNER(tag, struct rpc_call, close_tag);
  if (call->close_cancelled != 0) {
    atomic_fetch_or_explicit(&call->flags, RPC_CALL_CANCELLED, memory_order_release);
    if (rpc_call_is_stream(call))
      rpc_stream_cancelled(call);
    else
      rpc_call_deliver_cancel(call);
  }
  rpc_call_unref(call);
}

/* ---- The result ---- */

void rpc_call_charge(struct rpc_call *call, size_t bytes) {
  if (bytes < RPC_CHARGED_BYTES_MIN)
    return;
  memory_budget_charge(call->memory, bytes);
  call->charged_bytes += bytes;
}

void rpc_call_set_result(struct rpc_call *call, const status *result) {
  call->code = result->code;
  call->text = NULL;
  if (result->code == STATUS_OK)
    return;
  str copy = arena_str_copy(&call->arena, str_from_cstr(result->message));
  call->text = copy.ptr; /* NULL past the cap: the code goes alone */
}

static void finish(struct rpc_call *call) {
  if (rpc_call_is_stream(call)) {
    rpc_stream_finish(call, &call->reply);
    return;
  }
  uint32_t before = atomic_fetch_or_explicit(&call->flags, RPC_CALL_FINISHED, memory_order_acq_rel);
  if ((before & RPC_CALL_FINISHED) != 0)
    rpc_call_misused(call, "it was finished already");
  if ((before & RPC_CALL_RETURNED) != 0)
    start_final(call, false);
}

void rpc_call_reply(struct rpc_call *call, rpc_message *message) {
  assert(message->data != NULL);
  rpc_call_charge(call, message->len);
  call->reply = *message;
  *message = (rpc_message){0};
  call->code = STATUS_OK;
  call->text = NULL;
  finish(call);
}

void rpc_call_finish(struct rpc_call *call, status result) {
  bool has_stream = call->entry->method != NULL &&
                    (call->entry->method->kind == RPC_SERVER_STREAM || call->entry->method->kind == RPC_BIDI);
  if (result.code == STATUS_OK && !has_stream)
    rpc_call_misused(call, "finished with OK, and without the one response that is owed: reply");
  rpc_call_set_result(call, &result);
  finish(call);
}

void rpc_call_finish_in_order(struct rpc_call *call, status result) {
  assert(rpc_call_is_stream(call));
  pthread_mutex_lock(&call->mutex);
  call->keeps_queue = true;
  pthread_mutex_unlock(&call->mutex);
  rpc_call_finish(call, result);
}

/* After the handler of a unary call: either it has finished, or it will, from anywhere. */
static void handler_returned(struct rpc_call *call) {
  if ((atomic_load_explicit(&call->flags, memory_order_acquire) & RPC_CALL_FINISHED) != 0) {
    start_final(call, true);
    return;
  }
  /* The call must outlive a finish that comes between the two next lines. */
  atomic_fetch_add_explicit(&call->refs, 1, memory_order_relaxed);
  uint32_t before = atomic_fetch_or_explicit(&call->flags, RPC_CALL_RETURNED, memory_order_acq_rel);
  if ((before & RPC_CALL_FINISHED) != 0)
    start_final(call, true);
  else
    rpc_call_ask_close(call);
  rpc_call_unref(call);
}

/* ---- Arrival ---- */

void rpc_call_refuse(struct rpc_call *call, enum status_code code, const char *text) {
  assert(code != STATUS_OK);
  call->code = code;
  call->text = text;
  atomic_fetch_or_explicit(&call->flags, RPC_CALL_FINISHED, memory_order_relaxed);
  start_final(call, !call->close_asked);
}

static void refuse(struct rpc_call *call, status result) {
  rpc_call_set_result(call, &result);
  rpc_call_refuse(call, call->code, call->text);
}

static int64_t deadline_us(struct rpc_call *call, gpr_timespec deadline) {
  if (deadline.tv_sec > INT64_MAX / 4000000) /* gRPC's infinity is the largest number */
    return INT64_MAX;
  gpr_timespec left = gpr_time_sub(deadline, gpr_now(deadline.clock_type));
  return call->started_us + left.tv_sec * 1000000 + left.tv_nsec / 1000;
}

status rpc_call_decode(struct rpc_call *call, struct arena *arena, const void **ret) {
  enum rpc_encoding encoding;
  bool is_known = rpc_codec_encoding(call->payload, &encoding) && encoding != RPC_IDENTITY;
  if (!is_known && call->grpc != NULL &&
      (rpc_grpc_message_flags(call->grpc) & RPC_GRPC_MESSAGE_COMPRESSED) != 0)
    return status_make(STATUS_UNIMPLEMENTED,
                       "The message's compression is not known here; use identity, deflate or gzip.");
  return rpc_codec_decode(call->payload, &call->entry->method->request,
                          call->server->options.message_bytes_max, arena, ret);
}

/* The request of a unary call or a stream of responses is here. */
static void on_request(struct rpc_call *call) {
  const struct rpc_method *method = call->entry->method;
  if (call->payload == NULL) { /* the client went before its message was complete, or never sent one */
    bool is_gone = grpc_call_failed_before_recv_message(call->grpc) != 0;
    refuse(call, is_gone ? status_default(STATUS_CANCELLED)
                         : status_make(STATUS_INVALID_ARGUMENT, "The request has no message."));
    return;
  }
  counter_add(&rpc_call_counters(call)->messages_in, 1);
  call->request_bytes += call->payload->data.raw.slice_buffer.length;
  rpc_call_charge(call, call->payload->data.raw.slice_buffer.length);
  const void *message;
  status decoded = rpc_call_decode(call, &call->arena, &message);
  if (decoded.code != STATUS_OK) {
    if (decoded.code == STATUS_UNIMPLEMENTED) /* a trailer: gRPC core drops it from headers */
      rpc_metadata_add(call, &call->trailers, "grpc-accept-encoding", STR("identity,deflate,gzip"));
    if (call->arena.over_budget)
      rpc_laggards_relieve(call->server, RPC_DOES_NOT_TAKE, call->started_us);
    refuse(call, decoded);
    return;
  }
  if (rpc_codec_encoding(call->payload, &call->encoding) && call->encoding != RPC_IDENTITY)
    rpc_metadata_add(call, &call->headers, "grpc-encoding",
                     str_from_cstr(rpc_codec_encoding_name(call->encoding)));
  if (method->kind == RPC_SERVER_STREAM) {
    rpc_stream_request(call, message);
    return;
  }
  method->message(call, call->entry->handlers, message);
  handler_returned(call);
}

static void payload_done(struct rpc_tag *tag, bool ok) {
  (void)ok; /* a failure shows as a missing payload */
  struct rpc_call *call = RPC_OWNER(tag, struct rpc_call, receive_tag);
  rpc_laggards_remove(call, RPC_SAYS_NOTHING);
  on_request(call);
  rpc_call_unref(call);
}

static void dispatch(struct rpc_call *call, const struct rpc_slot *slot) {
  const struct rpc_entry *entry = call->entry;
  if (entry->method == NULL) {
    str path = str_make(GRPC_SLICE_START_PTR(slot->details.method), GRPC_SLICE_LENGTH(slot->details.method));
    str query;
    path = str_split(path, '?', &query); /* where somebody may have put a token: it would be in the log */
    refuse(call, status_make(STATUS_UNIMPLEMENTED, "unknown method " STR_FMT, STR_ARG(path)));
  } else if (!entry->is_implemented) {
    refuse(call,
           status_make(STATUS_UNIMPLEMENTED, "%s is not implemented by this server.", entry->method->path));
  } else if (entry->method->kind == RPC_CLIENT_STREAM || entry->method->kind == RPC_BIDI) {
    rpc_stream_open(call);
  } else if (slot->entry != NULL) {
    on_request(call);
  } else {
    atomic_fetch_add_explicit(&call->refs, 1, memory_order_relaxed);
    call->receive_tag.run = payload_done;
    rpc_laggards_add(call, RPC_SAYS_NOTHING);
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &call->payload};
    rpc_call_start(call, &op, 1, &call->receive_tag);
  }
}

void rpc_call_begin(struct rpc_queue *queue, const struct rpc_entry *entry, struct rpc_slot *slot) {
  struct rpc_server *server = queue->server;
  struct rpc_call *call = take_call(queue);
  if (call == NULL && slot->local != NULL) {
    rpc_local_cancel(slot->local, STATUS_RESOURCE_EXHAUSTED, "The server is out of memory.");
    if (slot->payload != NULL)
      grpc_byte_buffer_destroy(slot->payload);
    rpc_local_released(slot->local);
    return;
  }
  if (call == NULL) {
    grpc_call_cancel_with_status(slot->call, GRPC_STATUS_RESOURCE_EXHAUSTED, "The server is out of memory.",
                                 NULL);
    grpc_call_unref(slot->call);
    grpc_metadata_array_destroy(&slot->metadata);
    if (slot->payload != NULL)
      grpc_byte_buffer_destroy(slot->payload);
    return;
  }
  call->entry = entry;
  call->grpc = slot->call;
  call->local = slot->local;
  call->metadata = slot->metadata;
  call->payload = slot->payload;
  call->id = call->local != NULL
                 ? rpc_local_id(call->local)
                 : rpc_request_id_make(&server->request_ids, ++queue->calls_begun * 64 + queue->index);
  call->started_us = server->options.port->monotonic_us(server->options.port);
  call->waited_us = -1;
  call->deadline_us = deadline_us(call, slot->deadline);
  call->close_cancelled = 0;
  call->encoding = RPC_IDENTITY;
  call->headers_sent = call->close_asked = call->final_has_message = false;
  call->refused_code = STATUS_OK;
  call->code = STATUS_OK;
  call->text = NULL;
  call->reply = (rpc_message){0};
  call->charged_bytes = 0;
  call->request_bytes = call->response_bytes = 0;
  call->note = (str){NULL, 0};
  call->laggard = RPC_LAGGARD_NONE;
  call->was_laggard = call->says_nothing = false;
  call->headers = call->trailers = (struct rpc_metadata_list){0};
  call->events = NULL;
  call->state = NULL;
  call->cancel_delivered = false;
  atomic_store_explicit(&call->refs, 1, memory_order_relaxed);
  atomic_store_explicit(&call->flags, 0, memory_order_relaxed);
  uint64_t active = atomic_load_explicit(&queue->calls_active, memory_order_relaxed);
  atomic_store_explicit(&queue->calls_active, active + 1, memory_order_relaxed);
  counter_add(&rpc_call_counters(call)->started, 1);
  if (rpc_call_admit(call))
    dispatch(call, slot);
}
