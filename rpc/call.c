/* What a handler asks of its call. */
#include <assert.h>

#include "rpc/runtime.h"

const struct rpc_method *rpc_call_method(const struct rpc_call *call) {
  return call->entry->method;
}

void *rpc_call_service(const struct rpc_call *call) {
  return call->entry->service_state;
}

struct arena *rpc_call_arena(struct rpc_call *call) {
  return &call->arena;
}

const struct rpc_peer *rpc_call_peer(const struct rpc_call *call) {
  return call->peer;
}

int64_t rpc_call_deadline_us(const struct rpc_call *call) {
  return call->deadline_us;
}

void rpc_call_attach(struct rpc_call *call, void *attached, void (*release)(void *attached)) {
  assert(call->attached == NULL);
  call->attached = attached;
  call->release_attached = release;
}

void *rpc_call_attached(const struct rpc_call *call) {
  return call->attached;
}

uint64_t rpc_call_id(const struct rpc_call *call) {
  return call->id;
}

bool rpc_call_is_cancelled(const struct rpc_call *call) {
  if ((atomic_load_explicit(&call->flags, memory_order_acquire) & RPC_CALL_CANCELLED) != 0)
    return true;
  struct port *port = call->server->options.port;
  return call->deadline_us != INT64_MAX && port->monotonic_us(port) >= call->deadline_us;
}

/* ---- Rich errors ---- */

void rpc_call_add_details(struct rpc_call *call, enum status_code code, str text,
                          const struct rpc_detail *details, size_t count) {
  size_t size = rpc_rich_status_size(code, text, details, count);
  uint8_t *bytes = arena_alloc(&call->arena, size);
  if (bytes == NULL)
    return;
  rpc_rich_status_write(code, text, details, count, bytes);
  rpc_metadata_add(call, &call->trailers, "grpc-status-details-bin", str_make(bytes, size));
}

void rpc_call_finish_with_details(struct rpc_call *call, status result, const struct rpc_detail *details,
                                  size_t count) {
  assert(result.code != STATUS_OK);
  rpc_call_add_details(call, result.code, str_from_cstr(result.message), details, count);
  rpc_call_finish(call, result);
}

bool rpc_call_administers(const struct rpc_call *call) {
  return call->server->options.administration;
}
