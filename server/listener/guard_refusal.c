#include "server/listener/guard_refusal.h"

#include <assert.h>
#include <string.h>

#include "base/base64.h"
#include "base/str.h"
#include "rpc/rich_status.h"
#include "server/listener/guard_frame.h"

enum { BASE64_CHARS_MAX = (RPC_OVERLOADED_BYTES_MAX + 2) / 3 * 4 };

/* HPACK (RFC 7541). Values under 127 bytes have their length in one byte. */
enum {
  STATUS_200 = 0x88,             /* an entry of the static table */
  LITERAL = 0x00,                /* without indexing, with a name of its own */
  LITERAL_CONTENT_TYPE_1 = 0x0f, /* the same, with the name of entry 31 */
  LITERAL_CONTENT_TYPE_2 = 31 - 15,
  LENGTH_MAX = 127,
};

static uint8_t *put_length(uint8_t *at, size_t len) {
  if (len < LENGTH_MAX) {
    *at++ = (uint8_t)len;
    return at;
  }
  *at++ = LENGTH_MAX; /* a prefix of seven bits, and the rest in groups of seven */
  for (len -= LENGTH_MAX; len >= 128; len >>= 7)
    *at++ = (uint8_t)(len | 128);
  *at++ = (uint8_t)len;
  return at;
}

static uint8_t *put_text(uint8_t *at, str text) {
  at = put_length(at, text.len);
  memcpy(at, text.ptr, text.len);
  return at + text.len;
}

static uint8_t *put_field(uint8_t *at, str name, str value) {
  *at++ = LITERAL;
  return put_text(put_text(at, name), value);
}

static uint8_t *put_block(uint8_t *at, uint32_t retry_ms) {
  uint8_t details[RPC_OVERLOADED_BYTES_MAX];
  char text[BASE64_CHARS_MAX];
  size_t len = rpc_overloaded_write(retry_ms, details);
  base64_write(str_make(details, len), text);
  size_t digits = (len * 8 + 5) / 6; /* gRPC wants it without padding */
  *at++ = STATUS_200;
  *at++ = LITERAL_CONTENT_TYPE_1;
  *at++ = LITERAL_CONTENT_TYPE_2;
  at = put_text(at, STR("application/grpc"));
  at = put_field(at, STR("grpc-status"), STR("8"));
  at = put_field(at, STR("grpc-message"), STR(RPC_OVERLOADED_TEXT));
  return put_field(at, STR("grpc-status-details-bin"), str_make(text, digits));
}

size_t guard_refusal_write(uint32_t stream_id, bool client_has_ended, uint32_t retry_ms,
                           uint8_t ret[GUARD_REFUSAL_BYTES_MAX]) {
  uint8_t *at = put_block(ret + FRAME_HEADER_BYTES, retry_ms);
  struct guard_frame headers = {.length = (uint32_t)(at - ret) - FRAME_HEADER_BYTES,
                                .type = FRAME_HEADERS,
                                .flags = FLAG_END_HEADERS | FLAG_END_STREAM,
                                .stream_id = stream_id};
  guard_frame_write(headers, ret);
  if (!client_has_ended) {
    struct guard_frame reset = {
        .length = FRAME_RST_STREAM_BYTES, .type = FRAME_RST_STREAM, .stream_id = stream_id};
    guard_frame_write(reset, at);
    at += FRAME_HEADER_BYTES;
    memset(at, 0, FRAME_RST_STREAM_BYTES); /* NO_ERROR */
    at += FRAME_RST_STREAM_BYTES;
  }
  assert((size_t)(at - ret) <= GUARD_REFUSAL_BYTES_MAX);
  return (size_t)(at - ret);
}
