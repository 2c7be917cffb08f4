/* What a handler asks of its call. */
#include <assert.h>

#include "base/wire.h"
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

uint64_t rpc_call_id(const struct rpc_call *call) {
  return call->id;
}

bool rpc_call_is_cancelled(const struct rpc_call *call) {
  if ((atomic_load_explicit(&call->flags, memory_order_acquire) & RPC_CALL_CANCELLED) != 0)
    return true;
  struct port *port = call->server->options.port;
  return call->deadline_us != INT64_MAX && port->monotonic_us(port) >= call->deadline_us;
}

/* ---- Rich errors: google.rpc.Status {code = 1, message = 2, details = 3 of Any {type_url = 1, value = 2}}
 * ---- */

static const str TYPE_URL_PREFIX = {"type.googleapis.com/", 20};

static size_t any_size(const struct rpc_detail *detail) {
  return wire_bytes_field_size(1, TYPE_URL_PREFIX.len + strlen(detail->type)) +
         wire_bytes_field_size(2, detail->message.len);
}

static uint8_t *put_any(uint8_t *at, const struct rpc_detail *detail) {
  size_t type_len = strlen(detail->type);
  at = wire_put_bytes_head(at, 3, any_size(detail));
  at = wire_put_bytes_head(at, 1, TYPE_URL_PREFIX.len + type_len);
  memcpy(at, TYPE_URL_PREFIX.ptr, TYPE_URL_PREFIX.len);
  memcpy(at + TYPE_URL_PREFIX.len, detail->type, type_len);
  at += TYPE_URL_PREFIX.len + type_len;
  return wire_put_bytes(at, 2, detail->message);
}

void rpc_call_add_details(struct rpc_call *call, enum status_code code, str text,
                          const struct rpc_detail *details, size_t count) {
  size_t size = 1 + wire_varint_size((uint64_t)code) + wire_bytes_field_size(2, text.len);
  for (size_t i = 0; i < count; i++)
    size += wire_bytes_field_size(3, any_size(&details[i]));
  uint8_t *bytes = arena_alloc(&call->arena, size);
  if (bytes == NULL)
    return;
  uint8_t *at = wire_put_varint(wire_put_tag(bytes, 1, WIRE_VARINT), (uint64_t)code);
  at = wire_put_bytes(at, 2, text);
  for (size_t i = 0; i < count; i++)
    at = put_any(at, &details[i]);
  assert((size_t)(at - bytes) == size);
  rpc_metadata_add(call, &call->trailers, "grpc-status-details-bin", str_make(bytes, size));
}

void rpc_call_finish_with_details(struct rpc_call *call, status result, const struct rpc_detail *details,
                                  size_t count) {
  assert(result.code != STATUS_OK);
  rpc_call_add_details(call, result.code, str_from_cstr(result.message), details, count);
  rpc_call_finish(call, result);
}
