#include "rpc/rich_status.h"

#include <assert.h>
#include <string.h>

#include "base/wire.h"

static const str TYPE_URL_PREFIX = {"type.googleapis.com/", 20};

/* Of google.rpc.Status {code = 1, message = 2, details = 3 of Any {type_url = 1, value = 2}}. */
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

size_t rpc_rich_status_size(enum status_code code, str text, const struct rpc_detail *details, size_t count) {
  size_t size = 1 + wire_varint_size((uint64_t)code) + wire_bytes_field_size(2, text.len);
  for (size_t i = 0; i < count; i++)
    size += wire_bytes_field_size(3, any_size(&details[i]));
  return size;
}

void rpc_rich_status_write(enum status_code code, str text, const struct rpc_detail *details, size_t count,
                           uint8_t *ret) {
  uint8_t *at = wire_put_varint(wire_put_tag(ret, 1, WIRE_VARINT), (uint64_t)code);
  at = wire_put_bytes(at, 2, text);
  for (size_t i = 0; i < count; i++)
    at = put_any(at, &details[i]);
  assert((size_t)(at - ret) == rpc_rich_status_size(code, text, details, count));
}

/* google.rpc.RetryInfo {retry_delay = 1 of google.protobuf.Duration {seconds = 1, nanos = 2}}. */
size_t rpc_retry_info_write(uint32_t delay_ms, uint8_t ret[RPC_RETRY_INFO_BYTES_MAX]) {
  uint8_t duration[16], *at = duration;
  if (delay_ms >= 1000)
    at = wire_put_varint(wire_put_tag(at, 1, WIRE_VARINT), delay_ms / 1000);
  if (delay_ms % 1000 != 0)
    at = wire_put_varint(wire_put_tag(at, 2, WIRE_VARINT), (uint64_t)(delay_ms % 1000) * 1000000);
  return (size_t)(wire_put_bytes(ret, 1, str_make(duration, (size_t)(at - duration))) - ret);
}

size_t rpc_overloaded_write(uint32_t delay_ms, uint8_t ret[RPC_OVERLOADED_BYTES_MAX]) {
  uint8_t bytes[RPC_RETRY_INFO_BYTES_MAX];
  const struct rpc_detail retry = {"google.rpc.RetryInfo",
                                   str_make(bytes, rpc_retry_info_write(delay_ms, bytes))};
  str text = STR(RPC_OVERLOADED_TEXT);
  size_t size = rpc_rich_status_size(STATUS_RESOURCE_EXHAUSTED, text, &retry, 1);
  assert(size <= RPC_OVERLOADED_BYTES_MAX);
  rpc_rich_status_write(STATUS_RESOURCE_EXHAUSTED, text, &retry, 1, ret);
  return size;
}
