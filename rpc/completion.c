/* Queue threads: each waits on its own completion queue and runs the tags that come out.
 *
 * Calls that yielded (rpc_call_yield) do not wait among the events, where a new call would come behind the
 * turns of all of them, and where gRPC, which polls sockets only when no event is there, would not hear of it
 * at all. They are a list of the thread's own. A turn is taken when no event is there, or when events have
 * had as much time as the turn before took. So whoever has little to do waits for one turn at most, and calls
 * that take turns have half of the thread, however busy the rest is. */
#include <assert.h>
#include <stdlib.h>

#include "base/crypto.h"
#include "rpc/local_call.h"
#include "rpc/runtime.h"

/* Requests that wait with gRPC for each method on each queue. Each event posts its request again before the
 * call is handled, so this is the number of calls that can arrive between two turns of the thread without
 * going through gRPC's locked list of calls that nobody asked for. */
enum { SLOTS_PER_METHOD = 8, SLOTS_GENERIC = 8 };

static void post(struct rpc_slot *slot) {
  struct rpc_queue *queue = slot->queue;
  grpc_server *server = queue->server->grpc;
  grpc_metadata_array_init(&slot->metadata);
  slot->payload = NULL;
  slot->call = NULL;
  grpc_call_error error;
  RPC_TSAN_RELEASE(&slot->tag);
  if (slot->entry != NULL) {
    grpc_byte_buffer **payload = &slot->payload;
    error = grpc_server_request_registered_call(server, slot->entry->registered, &slot->call, &slot->deadline,
                                                &slot->metadata, payload, queue->cq, queue->cq, &slot->tag);
  } else {
    grpc_call_details_init(&slot->details);
    error = grpc_server_request_call(server, &slot->call, &slot->details, &slot->metadata, queue->cq,
                                     queue->cq, &slot->tag);
  }
  assert(error == GRPC_CALL_OK);
  (void)error;
}

/* A call came; or the server shuts down, and the request with it. */
static void slot_done(struct rpc_tag *tag, bool ok) {
  struct rpc_slot *slot = RPC_OWNER(tag, struct rpc_slot, tag);
  if (!ok) {
    grpc_metadata_array_destroy(&slot->metadata);
    if (slot->entry == NULL)
      grpc_call_details_destroy(&slot->details);
    return;
  }
  struct rpc_slot arrived = *slot;
  post(slot);
  const struct rpc_entry *entry = arrived.entry;
  if (entry == NULL) {
    arrived.deadline = arrived.details.deadline;
    str path =
        str_make(GRPC_SLICE_START_PTR(arrived.details.method), GRPC_SLICE_LENGTH(arrived.details.method));
    entry = rpc_server_lookup(slot->queue->server, path);
  }
  rpc_call_begin(slot->queue, entry, &arrived);
  if (arrived.entry == NULL)
    grpc_call_details_destroy(&arrived.details);
}

/* ---- What this process posts ---- */

void rpc_queue_post(struct rpc_queue *queue, struct rpc_tag *tag, bool ok) {
  tag->posted_ok = ok;
  struct rpc_tag *first = atomic_load_explicit(&queue->posted, memory_order_relaxed);
  do
    tag->next_posted = first;
  while (!atomic_compare_exchange_weak_explicit(&queue->posted, &first, tag, memory_order_release,
                                                memory_order_relaxed));
  if (first != NULL)
    return; /* who found it empty has rung */
  /* Once it has rung, the queue's thread may run the last tag there is, and the queue be freed: what is read
   * of it is read before, for the thread sanitizer too. */
  grpc_call *bell = queue->bell_call;
  RPC_TSAN_RELEASE(&queue->bell_tag);
  grpc_call_error error = grpc_call_start_batch(bell, NULL, 0, &queue->bell_tag, NULL);
  assert(error == GRPC_CALL_OK);
  (void)error;
}

static void bell_done(struct rpc_tag *bell, bool ok) {
  (void)ok;
  struct rpc_queue *queue = RPC_OWNER(bell, struct rpc_queue, bell_tag);
  struct rpc_tag *newest = atomic_exchange_explicit(&queue->posted, NULL, memory_order_acquire);
  struct rpc_tag *oldest = NULL;
  while (newest != NULL) {
    struct rpc_tag *next = newest->next_posted;
    newest->next_posted = oldest;
    oldest = newest;
    newest = next;
  }
  while (oldest != NULL) {
    struct rpc_tag *tag = oldest;
    oldest = tag->next_posted; /* running it may free it, or post it again */
    tag->run(tag, tag->posted_ok);
  }
}

static bool hang_bell(struct rpc_queue *queue) {
  queue->bell_tag.run = bell_done;
  queue->bell_channel = grpc_lame_client_channel_create("bell", GRPC_STATUS_UNAVAILABLE, "not for calls");
  if (queue->bell_channel == NULL)
    return false;
  queue->bell_call = grpc_channel_create_call(queue->bell_channel, NULL, GRPC_PROPAGATE_DEFAULTS, queue->cq,
                                              grpc_slice_from_static_string("/bell"), NULL,
                                              gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
  return queue->bell_call != NULL;
}

static void take_bell_down(struct rpc_queue *queue) {
  if (queue->bell_call != NULL)
    grpc_call_unref(queue->bell_call);
  if (queue->bell_channel != NULL)
    grpc_channel_destroy(queue->bell_channel);
}

static void pulse_done(struct rpc_tag *pulse, bool ok) {
  (void)ok;
  atomic_store(&RPC_OWNER(pulse, struct rpc_queue, pulse_tag)->pulse_asked_us, 0);
}

int64_t rpc_queue_pulse(struct rpc_queue *queue, int64_t now_us) {
  int64_t asked_us = atomic_load(&queue->pulse_asked_us);
  if (asked_us != 0)
    return asked_us;
  atomic_store(&queue->pulse_asked_us, now_us);
  queue->pulse_tag.run = pulse_done;
  rpc_queue_post(queue, &queue->pulse_tag, true);
  return 0;
}

/* ---- The thread ---- */

/* How long it may wait for an event. */
static gpr_timespec wait_until(struct rpc_queue *queue, bool turns_wait) {
  if (turns_wait) /* the past: polls, and does not wait */
    return gpr_inf_past(GPR_CLOCK_REALTIME);
  int64_t left_us = rpc_locals_expire(queue);
  if (left_us == INT64_MAX)
    return gpr_inf_future(GPR_CLOCK_REALTIME);
  return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_micros(left_us, GPR_TIMESPAN));
}

static void take_turn(struct rpc_queue *queue) {
  struct rpc_call *call = queue->turns;
  queue->turns = call->next_turn;
  rpc_call_take_turn(call);
}

static void *run(void *argument) {
  struct rpc_queue *queue = argument;
  struct port *port = queue->server->options.port;
  int64_t turn_took_us = 0, turn_ended_us = 0;
  pthread_setname_np(pthread_self(), "rpc-queue");
  for (;;) {
    bool turns_wait = queue->turns != NULL;
    grpc_event event = grpc_completion_queue_next(queue->cq, wait_until(queue, turns_wait), NULL);
    if (event.type == GRPC_OP_COMPLETE) {
      struct rpc_tag *tag = event.tag;
      RPC_TSAN_ACQUIRE(tag);
      tag->run(tag, event.success != 0);
    }
    if (turns_wait) {
      int64_t now_us = port->monotonic_us(port);
      if (event.type == GRPC_OP_COMPLETE && now_us - turn_ended_us < turn_took_us)
        continue;
      take_turn(queue);
      turn_ended_us = port->monotonic_us(port);
      turn_took_us = turn_ended_us - now_us;
    } else if (event.type == GRPC_QUEUE_SHUTDOWN) {
      return NULL;
    }
  }
}

static grpc_completion_queue *create_queue(bool polls) {
  grpc_completion_queue_attributes attributes = {.version = GRPC_CQ_CURRENT_VERSION,
                                                 .cq_completion_type = GRPC_CQ_NEXT,
                                                 .cq_polling_type =
                                                     polls ? GRPC_CQ_DEFAULT_POLLING : GRPC_CQ_NON_POLLING};
  return grpc_completion_queue_create(grpc_completion_queue_factory_lookup(&attributes), &attributes, NULL);
}

static void init_shedding(struct rpc_queue *queue) {
  const struct rpc_server *server = queue->server;
  uint32_t seed;
  crypto_random(&seed, sizeof seed); /* servers that fail over to each other refuse at different times */
  for (size_t i = 0; i <= server->entry_count; i++)
    rpc_shedding_init(&queue->shedding[i], (int64_t)server->options.shed_target_ms * 1000,
                      i < server->gate_count ? &server->gates[i].refused : NULL, seed + (uint32_t)i);
}

bool rpc_queue_init(struct rpc_queue *queue, struct rpc_server *server, unsigned index) {
  queue->server = server;
  queue->index = index;
  queue->locals_deadline_us = INT64_MAX;
  rpc_laggards_init(&queue->laggards);
  queue->cq = create_queue(!server->options.polled_by_another);
  queue->counters = calloc(server->entry_count + 1, sizeof *queue->counters);
  queue->shedding = calloc(server->entry_count + 1, sizeof *queue->shedding);
  size_t registered = 0;
  for (size_t i = 0; i < server->entry_count; i++)
    registered += server->entries[i]->registered != NULL;
  queue->slot_count = registered * SLOTS_PER_METHOD + SLOTS_GENERIC;
  queue->slots = calloc(queue->slot_count, sizeof *queue->slots);
  if (queue->counters == NULL || queue->shedding == NULL || queue->slots == NULL || !hang_bell(queue))
    return false;
  init_shedding(queue);
  size_t at = 0;
  for (size_t i = 0; i < server->entry_count; i++)
    for (int k = 0; k < SLOTS_PER_METHOD && server->entries[i]->registered != NULL; k++)
      queue->slots[at++].entry = server->entries[i];
  for (size_t i = 0; i < queue->slot_count; i++) {
    queue->slots[i].tag.run = slot_done;
    queue->slots[i].queue = queue;
  }
  return true;
}

bool rpc_queue_start(struct rpc_queue *queue) {
  for (size_t i = 0; i < queue->slot_count; i++)
    post(&queue->slots[i]);
  queue->is_running = pthread_create(&queue->thread, NULL, run, queue) == 0;
  return queue->is_running;
}

void rpc_queue_fini(struct rpc_queue *queue) {
  if (queue->cq != NULL) {
    take_bell_down(queue);
    grpc_completion_queue_shutdown(queue->cq);
    if (queue->is_running)
      pthread_join(queue->thread, NULL);
    else /* drain it here: gRPC wants every event taken */
      run(queue);
    grpc_completion_queue_destroy(queue->cq);
  }
  assert(atomic_load(&queue->calls_active) == 0);
  while (queue->free_calls != NULL) {
    struct rpc_call *next = queue->free_calls->next_free;
    rpc_call_free(queue->free_calls);
    queue->free_calls = next;
  }
  rpc_laggards_fini(&queue->laggards);
  free(queue->slots);
  free(queue->counters);
  free(queue->shedding);
}
