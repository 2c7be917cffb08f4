/* Whom a queue's thread lets in: what is decided about a call before its message is decoded or a handler sees
 * it. */
#include <grpc/support/alloc.h>

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

/* ---- Whether there is room ---- */

static bool is_crowded(const struct rpc_queue *queue) {
  const struct rpc_server *server = queue->server;
  uint64_t own = atomic_load_explicit(&queue->calls_active, memory_order_relaxed);
  if (own <= server->options.calls_max / server->options.threads)
    return false; /* the others look after theirs: no need to read them */
  uint64_t all = 0;
  for (unsigned i = 0; i < server->options.threads; i++)
    all += atomic_load_explicit(&server->queues[i].calls_active, memory_order_relaxed);
  return all > server->options.calls_max;
}

bool rpc_call_admit(struct rpc_call *call) {
  if (!find_peer(call))
    return false;
  if (call->entry->method == NULL)
    return true; /* its refusal has to name the method */
  const char *why = NULL;
  if (is_crowded(call->queue))
    why = "This server has too many calls under way. Try again.";
  else if (memory_budget_is_spent(&call->server->calls_memory))
    why = "The calls under way take all the memory that this server has for them. Try again.";
  if (why != NULL)
    rpc_call_refuse(call, STATUS_RESOURCE_EXHAUSTED, why);
  return why == NULL;
}
