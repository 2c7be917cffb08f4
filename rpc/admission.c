/* Whom a queue's thread lets in: what is decided about a call before its message is decoded or a handler sees
 * it. */
#include <grpc/support/alloc.h>

#include "rpc/local_call.h"
#include "rpc/runtime.h"

/* ---- Where it came from ---- */

static str slice_str(const grpc_slice *slice) {
  return str_make(GRPC_SLICE_START_PTR(*slice), GRPC_SLICE_LENGTH(*slice));
}

/* Takes all headers of the guard's name out, so that no handler sees them, and returns how many there were;
 * *ret is the last one's value. The bytes belong to gRPC's call, only the array is ours. */
static size_t take_connection_header(grpc_metadata_array *all, grpc_slice *ret) {
  size_t found = 0;
  for (size_t i = all->count; i-- > 0;) { /* the guard appends: ordinarily nothing has to move */
    if (!str_eq(slice_str(&all->metadata[i].key), STR(RPC_CONNECTION_HEADER)))
      continue;
    if (found++ == 0)
      *ret = all->metadata[i].value;
    all->count--;
    memmove(&all->metadata[i], &all->metadata[i + 1], (all->count - i) * sizeof *all->metadata);
  }
  return found;
}

/* Of a connection that was handed over without a guard. */
static bool find_peer_by_descriptor(struct rpc_call *call) {
  const struct rpc_peer *unknown = rpc_peers_find(call->server->peers, NULL);
  char *name = grpc_call_get_peer(call->grpc);
  call->peer = rpc_peers_find(call->server->peers, name);
  gpr_free(name);
  return call->peer != unknown;
}

/* False: the call was refused. Its peer is "unknown" then. */
static bool find_peer(struct rpc_call *call) {
  if (call->local != NULL) {
    call->peer = rpc_local_peer(call->local);
    call->waited_us = call->started_us - rpc_local_arrived_us(call->local);
    return true;
  }
  grpc_slice value;
  size_t found = take_connection_header(&call->metadata, &value);
  if (found == 0) {
    if (find_peer_by_descriptor(call))
      return true;
    rpc_call_refuse(call, STATUS_UNAVAILABLE, "This server does not know the connection of the call.");
    return false;
  }
  struct rpc_connection_id id;
  bool is_valid =
      found == 1 && rpc_connection_value_read(slice_str(&value), call->started_us, &id, &call->waited_us);
  call->peer = is_valid ? rpc_peers_find_key(call->server->peers, &id) : NULL;
  if (call->peer != NULL)
    return true;
  call->peer = rpc_peers_find(call->server->peers, NULL);
  if (is_valid)
    rpc_call_refuse(call, STATUS_UNAVAILABLE, "The connection of this call is closed.");
  else
    rpc_call_refuse(call, STATUS_INVALID_ARGUMENT,
                    "The request header \"" RPC_CONNECTION_HEADER "\" is reserved for the server.");
  return false;
}

/* ---- Whether there is time and room ---- */

static struct rpc_shedding *shedding_of(const struct rpc_call *call) {
  return &call->queue->shedding[call->entry->index];
}

bool rpc_server_is_crowded(const struct rpc_server *server) {
  uint64_t all = 0;
  for (unsigned i = 0; i < server->options.threads; i++)
    all += atomic_load_explicit(&server->queues[i].calls_active, memory_order_relaxed);
  return all > server->options.calls_max;
}

static bool is_crowded(const struct rpc_queue *queue) {
  const struct rpc_server *server = queue->server;
  uint64_t own = atomic_load_explicit(&queue->calls_active, memory_order_relaxed);
  /* Otherwise the others look after theirs: no need to read them. */
  return own > server->options.calls_max / server->options.threads && rpc_server_is_crowded(server);
}

/* With a time after which the client may try again. */
static void refuse_for_now(struct rpc_call *call, const char *text, uint32_t overload) {
  uint8_t bytes[RPC_RETRY_INFO_BYTES_MAX];
  uint32_t delay_ms = rpc_shedding_retry_ms(shedding_of(call), overload);
  const struct rpc_detail retry = {"google.rpc.RetryInfo",
                                   str_make(bytes, rpc_retry_info_write(delay_ms, bytes))};
  rpc_call_add_details(call, STATUS_RESOURCE_EXHAUSTED, str_from_cstr(text), &retry, 1);
  rpc_call_refuse(call, STATUS_RESOURCE_EXHAUSTED, text);
}

/* And makes room for the next one. */
static void refuse_for_room(struct rpc_call *call, enum rpc_laggard from, const char *text) {
  struct rpc_server *server = call->server;
  int64_t now_us = call->started_us;
  refuse_for_now(call, text, RPC_SHEDDING_LEVEL_MAX);
  rpc_laggards_relieve(server, from, now_us);
}

/* The gate is looked at as long as overloaded calls begin, or some are turned away: the thread may be late,
 * and those that were let in forgotten, before they begin. */
static void keep_watching(struct rpc_server *server, struct rpc_gate *gate, int64_t now_us) {
  int64_t until_us = now_us + RPC_SHEDDING_INTERVAL_US;
  atomic_store_explicit(&gate->watched_until_us, until_us, memory_order_relaxed);
  atomic_store_explicit(&server->overloaded_until_us, until_us, memory_order_relaxed);
}

/* While there is overload, and as long as it counts calls, the gate in front of gRPC core is told how they
 * move on. */
static void note_wait(struct rpc_call *call) {
  struct rpc_server *server = call->server;
  struct rpc_shedding *shedding = shedding_of(call);
  struct rpc_gate *gate = &server->gates[call->entry->index];
  rpc_shedding_note(shedding, call->started_us, call->waited_us);
  bool is_overloaded = !call->entry->is_never_shed && rpc_shedding_level(shedding) > 0;
  if (is_overloaded || rpc_gate_counts(gate))
    rpc_gate_begun(gate, call->started_us, call->waited_us);
  if (is_overloaded)
    keep_watching(server, gate, call->started_us);
}

/* The sum over the queues on which the method is overloaded; 0: on none. */
static uint32_t overloaded_per_second(const struct rpc_server *server, const struct rpc_entry *entry,
                                      uint32_t *ret_level) {
  uint32_t per_second = 0;
  for (unsigned i = 0; i < server->options.threads; i++) {
    const struct rpc_shedding *shedding = &server->queues[i].shedding[entry->index];
    uint32_t level = rpc_shedding_level(shedding);
    *ret_level = level > *ret_level ? level : *ret_level;
    per_second += level > 0 ? rpc_shedding_per_second(shedding) + 1 : 0;
  }
  return per_second;
}

bool rpc_server_turns_away(struct rpc_server *server, str path, int64_t now_us, uint32_t *ret_retry_ms) {
  if (now_us >= atomic_load_explicit(&server->overloaded_until_us, memory_order_relaxed))
    return false;
  const struct rpc_entry *entry = rpc_server_lookup(server, path);
  if (entry->method == NULL || entry->is_never_shed)
    return false;
  struct rpc_gate *gate = &server->gates[entry->index];
  if (now_us >= atomic_load_explicit(&gate->watched_until_us, memory_order_relaxed))
    return false;
  uint32_t level = 0, per_second = overloaded_per_second(server, entry, &level);
  if (per_second == 0 || !rpc_gate_turns_away(gate, now_us, per_second))
    return false;
  keep_watching(server, gate, now_us);
  *ret_retry_ms = rpc_shedding_spread_ms((uint32_t)(rpc_gate_refused(gate) ^ (uint64_t)now_us), level);
  return true;
}

static bool waited_too_long(struct rpc_call *call) {
  return call->waited_us >= 0 && !call->entry->is_never_shed &&
         rpc_shedding_refuses(shedding_of(call), call->waited_us);
}

bool rpc_call_admit(struct rpc_call *call) {
  if (!find_peer(call))
    return false;
  /* Nothing was taken so far, as a rule; what was goes back to where it came from. */
  if (call->local == NULL && arena_used_bytes(&call->arena) == 0 && call->charged_bytes == 0)
    call->memory = call->arena.budget = rpc_peers_memory(call->server->peers, call->peer);
  if (call->entry->method == NULL)
    return true; /* its refusal has to name the method */
  if (call->waited_us >= 0)
    note_wait(call);
  if (call->deadline_us <= call->started_us) /* nobody waits for the answer */
    rpc_call_refuse(call, STATUS_DEADLINE_EXCEEDED, "The deadline passed before the call had its turn.");
  else if (waited_too_long(call))
    refuse_for_now(call, RPC_OVERLOADED_TEXT, rpc_shedding_level(shedding_of(call)));
  else if (is_crowded(call->queue))
    refuse_for_room(call, RPC_SAYS_NOTHING, "This server has too many calls under way. Try again.");
  else if (memory_budget_is_spent(&call->server->calls_memory))
    refuse_for_room(call, RPC_DOES_NOT_TAKE,
                    "The calls under way take all the memory that this server has for them. Try again.");
  else if (memory_budget_is_spent(call->memory))
    refuse_for_room(
        call, RPC_DOES_NOT_TAKE,
        "The other calls of this connection take all the memory that it may have now. Try again.");
  else
    return true;
  return false;
}
