/* The mutex of a call guards what its batches, its receiver and whoever cancels it share. No event runs with
 * it held; in_event keeps them one at a time: who wants to say something meanwhile leaves it to the thread
 * that is in the event.
 *
 * References: the receiver's until rpc_local_end, the runtime's until the call is released, and short ones.
 */
#include "rpc/local.h"

#include <assert.h>
#include <grpc/byte_buffer.h>
#include <grpc/support/alloc.h>
#include <grpc/support/time.h>
#include <stdio.h>
#include <stdlib.h>

#include "rpc/local_call.h"
#include "rpc/message_slice.h"

enum {
  TEXT_BYTES_MAX = 512,  /* of a cancellation */
  HEADERS_MAX = 80,      /* more than metadata.c lets a handler send, and the runtime's own */
  HEADER_BYTES = 32,     /* what an entry counts besides its bytes, as in HPACK */
  EXPIRE_EVERY_US = 5000 /* two walks over the calls: each may find few */
};

struct rpc_local {
  struct rpc_tag begin_tag;
  struct rpc_server *server;
  struct rpc_queue *queue;
  const struct rpc_entry *entry;
  const struct rpc_local_events *events;
  void *receiver;
  struct rpc_peer peer;
  uint64_t id;
  int64_t arrived_us, deadline_us;
  int64_t asked_deadline_us;         /* as it was asked for; the other is the queue's thread's */
  grpc_byte_buffer *payload;         /* until the call begins */
  grpc_metadata_array metadata;      /* of this memory block: never destroyed */
  struct rpc_local *previous, *next; /* in the queue's list; its thread's */
  bool is_listed;
  _Atomic uint32_t refs;

  pthread_mutex_t mutex;
  bool in_event;
  bool finished;                        /* the receiver has the status, or will have it */
  bool ended;                           /* by the receiver */
  bool broken;                          /* cancelled: nothing more is delivered */
  bool untaken;                         /* the last message */
  struct rpc_tag *send_tag, *close_tag; /* batches that wait */
  int *close_cancelled;
  bool cancel_waits, abort_waits; /* for the event under way to return */
  enum status_code cancel_code;
  char cancel_text[TEXT_BYTES_MAX];
};

/* ---- References ---- */

void rpc_local_ref(struct rpc_local *local) {
  atomic_fetch_add_explicit(&local->refs, 1, memory_order_relaxed);
}

void rpc_local_unref(struct rpc_local *local) {
  if (atomic_fetch_sub_explicit(&local->refs, 1, memory_order_acq_rel) > 1)
    return;
  if (local->events->closed != NULL)
    local->events->closed(local->receiver);
  if (local->payload != NULL)
    grpc_byte_buffer_destroy(local->payload);
  pthread_mutex_destroy(&local->mutex);
  free(local);
}

const struct rpc_peer *rpc_local_peer(const struct rpc_local *local) {
  return &local->peer;
}

int64_t rpc_local_arrived_us(const struct rpc_local *local) {
  return local->arrived_us;
}

uint64_t rpc_local_id(const struct rpc_local *local) {
  return local->id;
}

/* The upper half of the counts; calls over gRPC have the lower one. */
uint64_t rpc_local_request_id(struct rpc_server *server) {
  uint64_t count = atomic_fetch_add_explicit(&server->local_requests, 1, memory_order_relaxed);
  return rpc_request_id_make(&server->request_ids, UINT64_C(1) << 63 | count);
}

/* ---- Beginning ---- */

static void list(struct rpc_local *local) {
  struct rpc_queue *queue = local->queue;
  local->is_listed = true;
  local->previous = NULL;
  local->next = queue->locals;
  if (local->next != NULL)
    local->next->previous = local;
  queue->locals = local;
  if (local->deadline_us < queue->locals_deadline_us)
    queue->locals_deadline_us = local->deadline_us;
}

void rpc_local_released(struct rpc_local *local) {
  if (local->is_listed) {
    *(local->previous != NULL ? &local->previous->next : &local->queue->locals) = local->next;
    if (local->next != NULL)
      local->next->previous = local->previous;
  }
  struct rpc_server *server = local->server;
  rpc_local_unref(local);
  atomic_fetch_sub_explicit(&server->locals, 1, memory_order_release);
}

static void begin_done(struct rpc_tag *tag, bool ok) {
  (void)ok;
  struct rpc_local *local = RPC_OWNER(tag, struct rpc_local, begin_tag);
  pthread_mutex_lock(&local->mutex);
  bool is_over = local->ended;
  pthread_mutex_unlock(&local->mutex);
  if (is_over) {
    rpc_local_released(local);
    return;
  }
  list(local);
  struct rpc_slot slot = {.queue = local->queue,
                          .entry = local->entry,
                          .local = local,
                          .deadline = gpr_inf_future(GPR_CLOCK_MONOTONIC),
                          .metadata = local->metadata,
                          .payload = local->payload};
  if (local->deadline_us != INT64_MAX) {
    struct port *port = local->server->options.port;
    int64_t left_us = local->deadline_us - port->monotonic_us(port);
    slot.deadline = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_micros(left_us, GPR_TIMESPAN));
  }
  local->payload = NULL;
  rpc_call_begin(local->queue, local->entry, &slot);
}

/* The call, its metadata's entries and their bytes in one piece. NULL: no memory. */
static struct rpc_local *allocate(const struct rpc_local_request *request, size_t bytes) {
  size_t entries = request->metadata_count * sizeof(grpc_metadata);
  struct rpc_local *local = calloc(1, sizeof *local + entries + bytes);
  if (local == NULL)
    return NULL;
  if (pthread_mutex_init(&local->mutex, NULL) != 0) {
    free(local);
    return NULL;
  }
  local->metadata.metadata = (grpc_metadata *)(void *)(local + 1);
  local->metadata.count = local->metadata.capacity = request->metadata_count;
  char *at = (char *)(local->metadata.metadata + request->metadata_count);
  for (size_t i = 0; i < request->metadata_count; i++) {
    const str parts[] = {request->metadata[i].name, request->metadata[i].value};
    grpc_slice slices[2];
    for (int k = 0; k < 2; k++) {
      if (parts[k].len > 0)
        memcpy(at, parts[k].ptr, parts[k].len);
      slices[k] = grpc_slice_from_static_buffer(at, parts[k].len);
      at += parts[k].len;
    }
    local->metadata.metadata[i] = (grpc_metadata){.key = slices[0], .value = slices[1]};
  }
  return local;
}

static size_t metadata_bytes(const struct rpc_local_request *request) {
  size_t bytes = 0;
  for (size_t i = 0; i < request->metadata_count; i++)
    bytes += request->metadata[i].name.len + request->metadata[i].value.len;
  return bytes;
}

_Static_assert(sizeof(struct rpc_local) % _Alignof(grpc_metadata) == 0, "entries lie behind the call");

static status check(const struct rpc_server *server, const struct rpc_local_request *request,
                    const struct rpc_entry *entry) {
  if (entry->method == NULL)
    return status_make(STATUS_UNIMPLEMENTED, "unknown method %s", request->path);
  if (entry->method->kind != RPC_UNARY && entry->method->kind != RPC_SERVER_STREAM)
    return status_make(STATUS_UNIMPLEMENTED, "%s takes a stream of requests, which needs gRPC over HTTP/2.",
                       entry->method->path);
  if (metadata_bytes(request) + request->metadata_count * HEADER_BYTES > server->options.metadata_bytes_max)
    return status_make(STATUS_RESOURCE_EXHAUSTED, "The request's headers are larger than %u bytes.",
                       server->options.metadata_bytes_max);
  return status_ok();
}

/* Whether it may begin: then it counts, and a drain waits for it. */
static bool enter(struct rpc_server *server) {
  pthread_mutex_lock(&server->mutex);
  bool is_started = server->state == SERVER_STARTED;
  if (is_started)
    atomic_fetch_add_explicit(&server->locals, 1, memory_order_relaxed);
  pthread_mutex_unlock(&server->mutex);
  return is_started;
}

const struct rpc_method *rpc_local_method(const struct rpc_server *server, str path) {
  return rpc_server_lookup(server, path)->method;
}

static status prepare(struct rpc_server *server, struct rpc_local_request *request, struct rpc_local **ret) {
  const struct rpc_entry *entry = rpc_server_lookup(server, str_from_cstr(request->path));
  STATUS_TRY(check(server, request, entry));
  struct rpc_local *local = allocate(request, metadata_bytes(request));
  if (local == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  struct port *port = server->options.port;
  local->server = server;
  local->entry = entry;
  local->peer = *request->peer;
  local->id = request->id;
  local->arrived_us = port->monotonic_us(port);
  local->deadline_us = request->timeout_us >= INT64_MAX - local->arrived_us
                           ? INT64_MAX
                           : local->arrived_us + request->timeout_us;
  local->asked_deadline_us = local->deadline_us;
  local->begin_tag.run = begin_done;
  unsigned turn = atomic_fetch_add_explicit(&server->locals_turn, 1, memory_order_relaxed);
  local->queue = &server->queues[turn % server->options.threads];
  grpc_slice slice = rpc_message_take_slice(&request->message);
  local->payload = grpc_raw_byte_buffer_create(&slice, 1);
  grpc_slice_unref(slice);
  *ret = local;
  return status_ok();
}

status rpc_local_begin(struct rpc_server *server, struct rpc_local_request *request,
                       const struct rpc_local_events *events, void *receiver, struct rpc_local **ret) {
  struct rpc_local *local = NULL;
  status result = enter(server) ? status_ok() : status_make(STATUS_UNAVAILABLE, "The server is stopping.");
  if (status_is_ok(&result)) {
    result = prepare(server, request, &local);
    if (!status_is_ok(&result))
      atomic_fetch_sub_explicit(&server->locals, 1, memory_order_release);
  }
  rpc_message_discard(&request->message);
  if (!status_is_ok(&result))
    return result;
  local->events = events;
  local->receiver = receiver;
  atomic_store_explicit(&local->refs, 2, memory_order_relaxed);
  *ret = local;
  rpc_queue_post(local->queue, &local->begin_tag, true);
  return result;
}

/* ---- Cancelling ---- */

/* With the mutex held: takes the batches that wait, for finish_batches. */
struct waiting {
  struct rpc_tag *send, *close;
  bool send_ok;
};

static struct waiting take_waiting(struct rpc_local *local, bool is_cancelled) {
  struct waiting waiting = {local->send_tag, local->close_tag, !is_cancelled};
  if (local->close_tag != NULL)
    *local->close_cancelled = is_cancelled;
  local->send_tag = local->close_tag = NULL;
  return waiting;
}

static void finish_batches(struct rpc_queue *queue, const struct waiting *waiting) {
  /* The close first: the handler hears that it was cancelled before a send of its own fails. */
  if (waiting->close != NULL)
    rpc_queue_post(queue, waiting->close, true);
  if (waiting->send != NULL)
    rpc_queue_post(queue, waiting->send, waiting->send_ok);
}

static void tell_cancelled(struct rpc_local *local) {
  const struct rpc_local_end end = {.code = local->cancel_code, .text = str_from_cstr(local->cancel_text)};
  local->events->finished(local, local->receiver, &end);
}

static void tell_aborted(struct rpc_local *local) {
  if (local->events->aborted != NULL)
    local->events->aborted(local, local->receiver);
}

/* Comes with the mutex held, lets go of it, and says what was left to say. */
static void leave_event(struct rpc_local *local) {
  for (;;) {
    bool cancelled = local->cancel_waits && !local->ended, aborted = local->abort_waits && !local->ended;
    local->cancel_waits = local->abort_waits = false;
    local->in_event = cancelled || aborted;
    pthread_mutex_unlock(&local->mutex);
    if (!cancelled && !aborted)
      return;
    if (cancelled)
      tell_cancelled(local);
    else
      tell_aborted(local);
    pthread_mutex_lock(&local->mutex);
  }
}

void rpc_local_cancel(struct rpc_local *local, enum status_code code, const char *text) {
  struct waiting waiting = {0};
  rpc_local_ref(local);
  pthread_mutex_lock(&local->mutex);
  if (local->ended || local->broken) {
    pthread_mutex_unlock(&local->mutex);
    rpc_local_unref(local);
    return;
  }
  if (local->finished) {
    local->abort_waits = local->untaken;
  } else {
    local->broken = local->finished = local->cancel_waits = true;
    local->cancel_code = code;
    snprintf(local->cancel_text, sizeof local->cancel_text, "%s", text);
    waiting = take_waiting(local, true);
  }
  if (local->in_event)
    pthread_mutex_unlock(&local->mutex);
  else
    leave_event(local);
  finish_batches(local->queue, &waiting);
  rpc_local_unref(local);
}

/* ---- Batches ---- */

struct batch {
  const grpc_op *headers, *message, *status, *close;
};

static struct batch sort(const grpc_op *ops, size_t count) {
  struct batch batch = {0};
  for (size_t i = 0; i < count; i++) {
    switch ((int)ops[i].op) {
    case GRPC_OP_SEND_INITIAL_METADATA:
      batch.headers = &ops[i];
      break;
    case GRPC_OP_SEND_MESSAGE:
      batch.message = &ops[i];
      break;
    case GRPC_OP_SEND_STATUS_FROM_SERVER:
      batch.status = &ops[i];
      break;
    case GRPC_OP_RECV_CLOSE_ON_SERVER:
      batch.close = &ops[i];
      break;
    default:
      assert(false); /* the runtime asks nothing else of calls of these kinds */
    }
  }
  return batch;
}

static str slice_str(const grpc_slice *slice) {
  return str_make(GRPC_SLICE_START_PTR(*slice), GRPC_SLICE_LENGTH(*slice));
}

static size_t translate(const grpc_metadata *items, size_t count, struct rpc_local_header *ret) {
  assert(count <= HEADERS_MAX);
  for (size_t i = 0; i < count; i++)
    ret[i] = (struct rpc_local_header){slice_str(&items[i].key), slice_str(&items[i].value)};
  return count;
}

static void deliver_headers(struct rpc_local *local, const grpc_op *op) {
  struct rpc_local_header headers[HEADERS_MAX];
  if (local->events->headers == NULL)
    return;
  size_t count =
      translate(op->data.send_initial_metadata.metadata, op->data.send_initial_metadata.count, headers);
  local->events->headers(local, local->receiver, headers, count);
}

/* The receiver has copied what it wants: the message's memory goes here, not when it was taken. */
static void deliver_message(struct rpc_local *local, const grpc_op *op) {
  grpc_slice_buffer *buffer = &op->data.send_message.send_message->data.raw.slice_buffer;
  assert(buffer->count == 1 || (buffer->count == 0 && buffer->length == 0));
  local->events->message(local, local->receiver,
                         buffer->count == 0 ? STR("") : slice_str(&buffer->slices[0]));
  grpc_slice_buffer_reset_and_unref(buffer);
}

/* A handler that sees that its call's time is over finishes it as cancelled, perhaps before the queue's
 * thread sees it: a client over gRPC hears of its deadline then. */
static bool is_late(const struct rpc_local *local, enum status_code code) {
  struct port *port = local->queue->server->options.port;
  return code == STATUS_CANCELLED && local->asked_deadline_us != INT64_MAX &&
         port->monotonic_us(port) >= local->asked_deadline_us;
}

static void deliver_status(struct rpc_local *local, const grpc_op *op) {
  struct rpc_local_header trailers[HEADERS_MAX];
  const grpc_slice *text = op->data.send_status_from_server.status_details;
  struct rpc_local_end end = {.code = (enum status_code)op->data.send_status_from_server.status,
                              .text = text == NULL ? STR("") : slice_str(text),
                              .trailers = trailers};
  if (is_late(local, end.code)) {
    end.code = STATUS_DEADLINE_EXCEEDED;
    end.text = STR("The deadline passed before the call was done.");
  }
  end.trailer_count = translate(op->data.send_status_from_server.trailing_metadata,
                                op->data.send_status_from_server.trailing_metadata_count, trailers);
  local->events->finished(local, local->receiver, &end);
}

/* Comes with the mutex held, of a call that is neither ended nor broken, and comes back with it. */
static void deliver(struct rpc_local *local, const struct batch *batch) {
  local->in_event = true;
  local->untaken = batch->message != NULL;
  if (batch->status != NULL)
    local->finished = true;
  pthread_mutex_unlock(&local->mutex);
  if (batch->headers != NULL)
    deliver_headers(local, batch->headers);
  if (batch->message != NULL)
    deliver_message(local, batch->message);
  if (batch->status != NULL)
    deliver_status(local, batch->status);
  pthread_mutex_lock(&local->mutex);
}

/* With the mutex held: what became of a batch, or whether it waits. */
enum outcome { DONE, FAILED, WAITS };

static enum outcome settle(struct rpc_local *local, const struct batch *batch, bool was_delivered,
                           struct rpc_tag *tag) {
  bool is_over = local->ended || local->broken;
  if (batch->close != NULL && batch->status != NULL)
    *batch->close->data.recv_close_on_server.cancelled = !was_delivered;
  if (batch->message != NULL || batch->status != NULL || batch->headers != NULL) {
    if (!was_delivered)
      return batch->status != NULL ? DONE : FAILED;
    if (!local->untaken || is_over)
      return DONE;
    local->send_tag = tag;
    return WAITS;
  }
  if (is_over || local->finished) { /* the close alone */
    *batch->close->data.recv_close_on_server.cancelled = local->broken || !local->finished;
    return DONE;
  }
  local->close_tag = tag;
  local->close_cancelled = batch->close->data.recv_close_on_server.cancelled;
  return WAITS;
}

void rpc_local_start(struct rpc_call *call, const grpc_op *ops, size_t count, struct rpc_tag *tag) {
  struct rpc_local *local = call->local;
  struct rpc_queue *queue = call->queue;
  if (count == 0) {
    rpc_queue_post(queue, tag, true);
    return;
  }
  const struct batch batch = sort(ops, count);
  struct waiting waiting = {0};
  bool sends = batch.headers != NULL || batch.message != NULL || batch.status != NULL;
  rpc_local_ref(local); /* once a batch is settled the call may be gone, and its reference with it */
  pthread_mutex_lock(&local->mutex);
  bool delivers = sends && !local->ended && !local->broken;
  if (delivers)
    deliver(local, &batch);
  enum outcome outcome = settle(local, &batch, delivers, tag);
  if (delivers && batch.status != NULL && local->close_tag != NULL) { /* asked for before */
    *local->close_cancelled = 0;
    waiting.close = local->close_tag;
    local->close_tag = NULL;
  }
  if (delivers)
    leave_event(local);
  else
    pthread_mutex_unlock(&local->mutex);
  if (outcome != WAITS)
    rpc_queue_post(queue, tag, outcome == DONE);
  finish_batches(queue, &waiting);
  rpc_local_unref(local);
}

/* ---- The receiver's side ---- */

void rpc_local_taken(struct rpc_local *local) {
  pthread_mutex_lock(&local->mutex);
  assert(local->untaken || local->broken);
  local->untaken = false;
  struct rpc_tag *tag = local->send_tag;
  local->send_tag = NULL;
  pthread_mutex_unlock(&local->mutex);
  if (tag != NULL)
    rpc_queue_post(local->queue, tag, true);
}

void rpc_local_end(struct rpc_local *local) {
  pthread_mutex_lock(&local->mutex);
  assert(!local->ended);
  local->ended = true;
  struct waiting waiting = take_waiting(local, !local->finished);
  struct rpc_queue *queue = local->queue;
  pthread_mutex_unlock(&local->mutex);
  finish_batches(queue, &waiting);
  rpc_local_unref(local);
}

/* ---- All of a queue ---- */

static void cancel_all_done(struct rpc_tag *tag, bool ok) {
  (void)ok;
  struct rpc_queue *queue = RPC_OWNER(tag, struct rpc_queue, locals_tag);
  struct rpc_local *next;
  for (struct rpc_local *local = queue->locals; local != NULL; local = next) {
    next = local->next;
    rpc_local_cancel(local, STATUS_UNAVAILABLE, "The server is stopping.");
  }
}

void rpc_locals_cancel(struct rpc_queue *queue) {
  queue->locals_tag.run = cancel_all_done;
  rpc_queue_post(queue, &queue->locals_tag, true);
}

int64_t rpc_locals_expire(struct rpc_queue *queue) {
  if (queue->locals_deadline_us == INT64_MAX)
    return INT64_MAX;
  struct port *port = queue->server->options.port;
  int64_t now_us = port->monotonic_us(port);
  if (now_us < queue->locals_deadline_us)
    return queue->locals_deadline_us - now_us;
  int64_t first_us = INT64_MAX;
  struct rpc_local *next;
  for (struct rpc_local *local = queue->locals; local != NULL; local = next) {
    next = local->next; /* a cancelled one leaves the list later, by an event */
    if (local->deadline_us <= now_us) {
      rpc_local_cancel(local, STATUS_DEADLINE_EXCEEDED, "The deadline passed before the call was done.");
      local->deadline_us = INT64_MAX;
    } else if (local->deadline_us < first_us) {
      first_us = local->deadline_us;
    }
  }
  if (first_us != INT64_MAX && first_us < now_us + EXPIRE_EVERY_US)
    first_us = now_us + EXPIRE_EVERY_US;
  queue->locals_deadline_us = first_us;
  return first_us == INT64_MAX ? INT64_MAX : first_us - now_us;
}
