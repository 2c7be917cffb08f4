/* Calls with streams.
 *
 * Parties: the queue's thread, which runs handlers and events; the handler's side, on any thread, which
 * sends, asks for messages and finishes; gRPC, which takes one message and gives one message at a time.
 *
 * Sending, under the call's mutex:
 *
 *      +--> quiet --(something to send, no handler running)--> busy --(event)--+
 *      |                                                        |              |
 *      +--------------------------------------------------------+--------------+
 *                                                   (the last one carries the status) --> final
 *
 *   quiet: neither send_busy nor final_started. busy: one batch with a message is under way. final: the batch
 *   with the status was started; nothing follows it. Only the thread that moves the call out of quiet starts
 * a batch, after it let go of the mutex; so batches never overlap and gRPC is never called with it held.
 *
 *   - While a handler or an event runs (in_handler), or another thread says so (is_corked), nothing starts:
 * what it sends gathers, and a short stream goes out with its status in a few batches. It is started when the
 * handler returns, on the queue's thread.
 *   - A finish with OK waits for the messages in the queue, one with an error drops them.
 *   - GRPC_WRITE_BUFFER_HINT is given when more messages wait behind this one; so the last one of a burst
 * always flushes. Never with the headers: gRPC would then wait for ever.
 *   - `broken`: the client is gone. What is queued is dropped, sends are refused, the handler finishes as
 * usual.
 *
 * Receiving: one batch at a time, asked for by rpc_call_receive_next; the first one by rpc_stream_open.
 * Nobody asks before the message handler was called, so the message's memory has one user. NULL is the end:
 * of the client's messages if gRPC says that the call did not fail before it, else of the call, which
 * `cancelled` tells. */
#include <assert.h>
#include <grpc/slice_buffer.h>
#include <stdlib.h>

#include "rpc/runtime.h"

enum { MESSAGE_OVERHEAD_BYTES = sizeof(rpc_message) + 32 }; /* a queue of empty messages is bounded too */

static void send_done(struct rpc_tag *tag, bool ok);
static void receive_done(struct rpc_tag *tag, bool ok);
static void kick_done(struct rpc_tag *tag, bool ok);
static void tell_drained(struct rpc_call *call, const struct rpc_call_events *events);

/* ---- The queue; with the mutex held ---- */

static size_t cost(const rpc_message *message) {
  return message->len + MESSAGE_OVERHEAD_BYTES;
}

static bool push(struct rpc_call *call, rpc_message *message) {
  struct rpc_send_queue *queue = &call->sending;
  if (queue->count == queue->capacity) {
    size_t capacity = queue->capacity == 0 ? 8 : queue->capacity * 4;
    rpc_message *ring = malloc(capacity * sizeof *ring);
    if (ring == NULL)
      return false;
    for (size_t i = 0; i < queue->count; i++)
      ring[i] = queue->ring[(queue->first + i) % queue->capacity];
    free(queue->ring);
    queue->ring = ring;
    queue->capacity = capacity;
    queue->first = 0;
  }
  queue->ring[(queue->first + queue->count++) % queue->capacity] = *message;
  queue->bytes += cost(message);
  memory_budget_charge(call->memory, cost(message));
  *message = (rpc_message){0};
  return true;
}

static rpc_message pop(struct rpc_send_queue *queue) {
  assert(queue->count > 0);
  rpc_message message = queue->ring[queue->first];
  queue->first = (queue->first + 1) % queue->capacity;
  queue->count--;
  queue->bytes -= cost(&message);
  return message;
}

static void drop_all(struct rpc_call *call) {
  while (call->sending.count > 0) {
    rpc_message message = pop(&call->sending);
    memory_budget_give(call->memory, cost(&message));
    rpc_message_discard(&message);
  }
}

/* gRPC is done with the message that it had. */
static void sent(struct rpc_call *call) {
  if (call->sending.in_flight_bytes > 0)
    memory_budget_give(call->memory, call->sending.in_flight_bytes);
  call->sending.in_flight_bytes = 0;
}

/* ---- Sending ---- */

/* Starts what is to be sent now, if anything. Comes with the mutex held and lets go of it. After a final
 * batch the call may be gone. */
static void pump(struct rpc_call *call) {
  struct rpc_send_queue *queue = &call->sending;
  bool can_send = queue->count > 0 && !call->broken;
  if (call->in_handler || call->is_corked || call->send_busy || call->final_started ||
      (!can_send && !call->finished)) {
    pthread_mutex_unlock(&call->mutex);
    return;
  }
  rpc_message message = {0};
  size_t in_flight_bytes = 0;
  if (can_send) {
    message = pop(queue);
    queue->in_flight_bytes = in_flight_bytes = cost(&message);
  }
  bool more = queue->count > 0;
  bool is_final = call->finished && !more;
  bool with_headers = !call->headers_sent;
  bool with_close = is_final && !call->close_asked;
  call->send_busy = !is_final;
  call->final_started = is_final;
  if (!is_final)
    atomic_fetch_add_explicit(&call->refs, 1, memory_order_relaxed);
  pthread_mutex_unlock(&call->mutex);

  grpc_op ops[6];
  grpc_slice details = grpc_empty_slice();
  size_t count = 0;
  if (with_headers)
    ops[count++] = rpc_call_headers_op(call);
  bool has_message = message.data != NULL;
  if (has_message)
    rpc_call_message_op(call, &message, more && !with_headers ? GRPC_WRITE_BUFFER_HINT : 0, &ops[count++]);
  if (is_final) {
    call->final_has_message = has_message;
    count += rpc_call_final_ops(call, ops + count, &details, false, with_close);
  }
  if (in_flight_bytes >= RPC_CHARGED_BYTES_MIN)
    rpc_laggards_add(call, RPC_DOES_NOT_TAKE);
  rpc_call_start(call, ops, count, is_final ? &call->final_tag : &call->send_tag);
  grpc_slice_unref(details);
}

static void send_done(struct rpc_tag *tag, bool ok) {
  struct rpc_call *call = RPC_OWNER(tag, struct rpc_call, send_tag);
  const struct rpc_call_events *tell = NULL;
  if (ok)
    counter_add(&rpc_call_counters(call)->messages_out, 1);
  /* What gRPC did not take (the call failed) must not go out with the next message. */
  grpc_slice_buffer_reset_and_unref(&call->out.data.raw.slice_buffer);
  if (call->sending.in_flight_bytes >= RPC_CHARGED_BYTES_MIN) /* nobody else's while a batch is under way */
    rpc_laggards_remove(call, RPC_DOES_NOT_TAKE);
  pthread_mutex_lock(&call->mutex);
  call->send_busy = false;
  sent(call);
  if (!ok) {
    call->broken = true;
    drop_all(call);
  }
  size_t half = call->server->options.send_queue_bytes_max / 2;
  if (call->was_full && call->sending.bytes <= half && !call->finished && call->events != NULL) {
    call->was_full = false;
    tell = call->events->drained != NULL ? call->events : NULL;
  }
  if (tell != NULL) {
    pump(call); /* keep the wire busy while the handler thinks */
    tell_drained(call, tell);
  } else {
    pump(call);
  }
  rpc_call_unref(call);
}

/* Has `drained` called on the queue's thread, and sends what came of it. */
static void tell_drained(struct rpc_call *call, const struct rpc_call_events *events) {
  pthread_mutex_lock(&call->mutex);
  call->in_handler = true;
  pthread_mutex_unlock(&call->mutex);
  events->drained(call, call->state);
  pthread_mutex_lock(&call->mutex);
  call->in_handler = false;
  pump(call);
}

void rpc_call_take_turn(struct rpc_call *call) {
  if (!rpc_call_is_stream(call)) {
    if ((atomic_load_explicit(&call->flags, memory_order_acquire) & RPC_CALL_FINISHED) == 0)
      call->events->drained(call, call->state);
    rpc_call_unref(call);
    return;
  }
  pthread_mutex_lock(&call->mutex);
  bool is_over = call->finished;
  pthread_mutex_unlock(&call->mutex);
  if (!is_over)
    tell_drained(call, call->events);
  rpc_call_unref(call);
}

void rpc_call_yield(struct rpc_call *call) {
  struct rpc_queue *queue = call->queue;
  assert(call->events != NULL && call->events->drained != NULL);
  assert(pthread_equal(pthread_self(), queue->thread));
  atomic_fetch_add_explicit(&call->refs, 1, memory_order_relaxed);
  call->next_turn = NULL;
  if (queue->turns == NULL)
    queue->turns = call;
  else
    queue->turns_last->next_turn = call;
  queue->turns_last = call;
}

static void wake_done(struct rpc_tag *tag, bool ok) {
  (void)ok;
  rpc_call_take_turn(RPC_OWNER(tag, struct rpc_call, wake_tag));
}

void rpc_call_wake(struct rpc_call *call) {
  assert(call->events != NULL && call->events->drained != NULL);
  atomic_fetch_add_explicit(&call->refs, 1, memory_order_relaxed);
  call->wake_tag.run = wake_done;
  rpc_call_start(call, NULL, 0, &call->wake_tag); /* a batch of nothing completes at once */
}

enum rpc_send rpc_call_send(struct rpc_call *call, rpc_message *message) {
  assert(message->data != NULL && rpc_call_is_stream(call));
  pthread_mutex_lock(&call->mutex);
  if (call->finished)
    rpc_call_misused(call, "sent to after it was finished");
  enum rpc_send result = RPC_SEND_OK;
  /* Without memory each stream goes on with one message at a time. */
  bool spent = memory_budget_is_spent(call->memory);
  size_t room = spent ? 0 : call->server->options.send_queue_bytes_max;
  if (call->broken) {
    result = RPC_SEND_CLOSED;
  } else if (call->sending.count > 0 && call->sending.bytes + cost(message) > room) {
    call->was_full = true;
    result = RPC_SEND_FULL;
  } else if (!push(call, message)) {
    result = RPC_SEND_CLOSED; /* no memory for a place in the queue: this stream cannot go on */
  }
  pump(call);
  return result;
}

void rpc_call_cork(struct rpc_call *call) {
  pthread_mutex_lock(&call->mutex);
  assert(!call->is_corked && !call->finished);
  call->is_corked = true;
  pthread_mutex_unlock(&call->mutex);
}

void rpc_call_uncork(struct rpc_call *call) {
  pthread_mutex_lock(&call->mutex);
  call->is_corked = false;
  pump(call);
}

size_t rpc_call_send_queue_bytes(const struct rpc_call *call) {
  pthread_mutex_t *mutex = &((struct rpc_call *)(uintptr_t)call)->mutex;
  pthread_mutex_lock(mutex);
  size_t bytes = call->sending.bytes;
  pthread_mutex_unlock(mutex);
  return bytes;
}

void rpc_stream_finish(struct rpc_call *call, rpc_message *message) {
  pthread_mutex_lock(&call->mutex);
  if (call->finished)
    rpc_call_misused(call, "it was finished already");
  call->finished = true;
  if ((call->code != STATUS_OK && !call->keeps_queue) || call->broken)
    drop_all(call);
  /* The one response of a client stream stays in call->reply and goes with the final batch. */
  if (call->broken)
    rpc_message_discard(message);
  pump(call);
}

void rpc_stream_cancelled(struct rpc_call *call) {
  pthread_mutex_lock(&call->mutex);
  call->broken = true;
  drop_all(call);
  pthread_mutex_unlock(&call->mutex);
  rpc_call_deliver_cancel(call);
}

/* ---- Handlers and events ---- */

static void enter_handler(struct rpc_call *call) {
  pthread_mutex_lock(&call->mutex);
  call->in_handler = true;
  pthread_mutex_unlock(&call->mutex);
}

/* The call may be gone afterwards, unless the caller holds a reference. */
static void leave_handler(struct rpc_call *call) {
  pthread_mutex_lock(&call->mutex);
  call->in_handler = false;
  pump(call);
}

static void init(struct rpc_call *call) {
  call->send_tag.run = send_done;
  call->receive_tag.run = receive_done;
  call->broken = call->keeps_queue = call->was_full = call->half_closed = call->has_message_arena = false;
  call->in_handler = call->is_corked = call->send_busy = call->finished = call->final_started = false;
  call->sending = (struct rpc_send_queue){0};
}

void rpc_stream_open(struct rpc_call *call) {
  init(call);
  atomic_fetch_add_explicit(&call->refs, 1, memory_order_relaxed); /* until this function is done */
  rpc_call_ask_close(call);
  arena_init(&call->message_arena, NULL, 0, call->server->options.call_memory_bytes_max);
  call->message_arena.budget = call->memory;
  call->has_message_arena = true;
  call->says_nothing = true;
  rpc_laggards_add(call, RPC_SAYS_NOTHING);
  enter_handler(call);
  if (call->entry->method->open != NULL)
    call->entry->method->open(call, call->entry->handlers);
  rpc_call_receive_next(call);
  leave_handler(call);
  rpc_call_unref(call);
}

void rpc_stream_request(struct rpc_call *call, const void *message) {
  init(call);
  atomic_fetch_add_explicit(&call->refs, 1, memory_order_relaxed);
  enter_handler(call);
  call->entry->method->message(call, call->entry->handlers, message);
  pthread_mutex_lock(&call->mutex);
  /* A stream that is complete already needs no word of the client's going: its final batch asks for it. */
  bool goes_on = !call->finished || call->sending.count > 1;
  pthread_mutex_unlock(&call->mutex);
  if (goes_on)
    rpc_call_ask_close(call);
  leave_handler(call);
  rpc_call_unref(call);
}

void rpc_stream_fini(struct rpc_call *call) {
  drop_all(call);
  sent(call); /* the final batch may have had one */
  free(call->sending.ring);
  call->sending = (struct rpc_send_queue){0};
  if (call->has_message_arena)
    arena_fini(&call->message_arena);
  call->has_message_arena = false;
}

/* ---- Receiving ---- */

void rpc_call_receive_next(struct rpc_call *call) {
  pthread_mutex_lock(&call->mutex);
  bool pointless = call->half_closed || call->finished;
  if (!pointless)
    atomic_fetch_add_explicit(&call->refs, 1, memory_order_relaxed);
  pthread_mutex_unlock(&call->mutex);
  if (pointless)
    return;
  if (call->payload != NULL) {
    grpc_byte_buffer_destroy(call->payload);
    call->payload = NULL;
  }
  arena_reset(&call->message_arena); /* a stream that rests holds no more than its state */
  grpc_op op = {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &call->payload};
  rpc_call_start(call, &op, 1, &call->receive_tag);
}

/* The handler owns the call, so it is the client's view that ends here; the handler hears `cancelled`. */
static void refuse_message(struct rpc_call *call, const status *why) {
  call->refused_code = why->code;
  grpc_call_cancel_with_status(call->grpc, (grpc_status_code)why->code, why->message, NULL);
}

static void on_message(struct rpc_call *call) {
  const struct rpc_method *method = call->entry->method;
  counter_add(&rpc_call_counters(call)->messages_in, 1);
  call->request_bytes += call->payload->data.raw.slice_buffer.length;
  arena_reset(&call->message_arena);
  const void *message;
  status decoded = rpc_call_decode(call, &call->message_arena, &message);
  if (decoded.code != STATUS_OK) {
    refuse_message(call, &decoded);
    return;
  }
  method->message(call, call->entry->handlers, message);
}

static void receive_done(struct rpc_tag *tag, bool ok) {
  struct rpc_call *call = RPC_OWNER(tag, struct rpc_call, receive_tag);
  const struct rpc_method *method = call->entry->method;
  bool is_end = !ok || call->payload == NULL;
  if (call->says_nothing)
    rpc_laggards_remove(call, RPC_SAYS_NOTHING);
  call->says_nothing = false;
  bool is_clean_end = is_end && ok && grpc_call_failed_before_recv_message(call->grpc) == 0;
  pthread_mutex_lock(&call->mutex);
  bool deliver = !call->finished && !call->broken && (!is_end || is_clean_end);
  call->half_closed = is_end;
  call->in_handler = true;
  pthread_mutex_unlock(&call->mutex);
  if (deliver && !is_end)
    on_message(call);
  else if (deliver && method->half_close != NULL)
    method->half_close(call, call->entry->handlers);
  leave_handler(call);
  rpc_call_unref(call);
}

/* ---- Watching ---- */

/* On the queue's thread. */
void rpc_call_deliver_cancel(struct rpc_call *call) {
  bool is_stream = rpc_call_is_stream(call);
  pthread_mutex_lock(&call->mutex);
  bool is_finished = is_stream ? call->finished : (atomic_load(&call->flags) & RPC_CALL_FINISHED) != 0;
  bool deliver = !is_finished && !call->cancel_delivered && call->events != NULL;
  call->cancel_delivered = call->cancel_delivered || deliver;
  const struct rpc_call_events *events = call->events;
  if (is_stream)
    call->in_handler = true;
  pthread_mutex_unlock(&call->mutex);
  if (deliver && events->cancelled != NULL)
    events->cancelled(call, call->state);
  if (is_stream)
    leave_handler(call);
}

static void kick_done(struct rpc_tag *tag, bool ok) {
  (void)ok;
  struct rpc_call *call = RPC_OWNER(tag, struct rpc_call, kick_tag);
  rpc_call_deliver_cancel(call);
  rpc_call_unref(call);
}

void rpc_call_watch(struct rpc_call *call, const struct rpc_call_events *events, void *state) {
  pthread_mutex_lock(&call->mutex);
  assert(call->events == NULL && events != NULL);
  call->events = events;
  call->state = state;
  bool is_late = (atomic_load_explicit(&call->flags, memory_order_acquire) & RPC_CALL_CANCELLED) != 0;
  if (is_late)
    atomic_fetch_add_explicit(&call->refs, 1, memory_order_relaxed);
  pthread_mutex_unlock(&call->mutex);
  if (!is_late)
    return;
  /* A batch of nothing completes at once: it brings us to the queue's thread. */
  call->kick_tag.run = kick_done;
  rpc_call_start(call, NULL, 0, &call->kick_tag);
}

void *rpc_call_state(const struct rpc_call *call) {
  return call->state;
}
