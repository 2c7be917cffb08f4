/* Whom a queue's thread lets in: what is decided about a call before its message is decoded or a handler sees
 * it. */
#include <grpc/support/alloc.h>

#include "base/wire.h"
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

static void find_peer_by_descriptor(struct rpc_call *call) {
  char *name = grpc_call_get_peer(call->grpc);
  call->peer = rpc_peers_find(call->server->peers, name);
  gpr_free(name);
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
    find_peer_by_descriptor(call);
    return true;
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

/* google.rpc.RetryInfo {retry_delay = 1 of google.protobuf.Duration {seconds = 1, nanos = 2}}, under 2^32 ms.
 */
static size_t put_retry_info(uint8_t out[32], uint32_t delay_ms) {
  uint8_t duration[16], *at = duration;
  if (delay_ms >= 1000)
    at = wire_put_varint(wire_put_tag(at, 1, WIRE_VARINT), delay_ms / 1000);
  if (delay_ms % 1000 != 0)
    at = wire_put_varint(wire_put_tag(at, 2, WIRE_VARINT), (uint64_t)(delay_ms % 1000) * 1000000);
  return (size_t)(wire_put_bytes(out, 1, str_make(duration, (size_t)(at - duration))) - out);
}

/* With a time after which the client may try again. */
static void refuse_for_now(struct rpc_call *call, const char *text, uint32_t overload) {
  uint8_t bytes[32];
  uint32_t delay_ms = rpc_shedding_retry_ms(shedding_of(call), overload);
  const struct rpc_detail retry = {"google.rpc.RetryInfo", str_make(bytes, put_retry_info(bytes, delay_ms))};
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

static bool waited_too_long(struct rpc_call *call) {
  return call->waited_us >= 0 && !call->entry->is_never_shed &&
         rpc_shedding_refuses(shedding_of(call), call->waited_us);
}

bool rpc_call_admit(struct rpc_call *call) {
  if (!find_peer(call))
    return false;
  if (call->entry->method == NULL)
    return true; /* its refusal has to name the method */
  if (call->waited_us >= 0)
    rpc_shedding_note(shedding_of(call), call->started_us, call->waited_us);
  if (call->deadline_us <= call->started_us) /* nobody waits for the answer */
    rpc_call_refuse(call, STATUS_DEADLINE_EXCEEDED, "The deadline passed before the call had its turn.");
  else if (waited_too_long(call))
    refuse_for_now(call, "This server is overloaded. Try again after the time given.",
                   rpc_shedding_level(shedding_of(call)));
  else if (is_crowded(call->queue))
    refuse_for_room(call, RPC_SAYS_NOTHING, "This server has too many calls under way. Try again.");
  else if (memory_budget_is_spent(&call->server->calls_memory))
    refuse_for_room(call, RPC_DOES_NOT_TAKE,
                    "The calls under way take all the memory that this server has for them. Try again.");
  else
    return true;
  return false;
}
