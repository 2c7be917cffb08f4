/* Writing protobuf's wire format by hand, for the few responses that are put together from stored bytes
 * without a message in between (https://protobuf.dev/programming-guides/encoding/). Two passes: sizes first,
 * then bytes into memory that is large enough. */
#ifndef SKERRY_BASE_WIRE_H
#define SKERRY_BASE_WIRE_H

#include "base/str.h"

enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

static inline size_t wire_varint_size(uint64_t value) {
  return ((size_t)(63 - __builtin_clzll(value | 1)) * 9 + 73) /
         64; /* one byte for each 7 bits, at least one */
}

static inline uint8_t *wire_put_varint(uint8_t *at, uint64_t value) {
  while (value >= 0x80) {
    *at++ = (uint8_t)(value | 0x80);
    value >>= 7;
  }
  *at++ = (uint8_t)value;
  return at;
}

static inline uint8_t *wire_put_tag(uint8_t *at, uint32_t field, enum wire_type type) {
  return wire_put_varint(at, ((uint64_t)field << 3) | (uint64_t)type);
}

/* A field of `len` bytes: tag, length and the bytes themselves. */
static inline size_t wire_bytes_field_size(uint32_t field, size_t len) {
  return wire_varint_size((uint64_t)field << 3) + wire_varint_size(len) + len;
}

/* Tag and length of a field whose bytes follow. */
static inline uint8_t *wire_put_bytes_head(uint8_t *at, uint32_t field, size_t len) {
  return wire_put_varint(wire_put_tag(at, field, WIRE_BYTES), len);
}

static inline uint8_t *wire_put_bytes(uint8_t *at, uint32_t field, str bytes) {
  at = wire_put_bytes_head(at, field, bytes.len);
  if (bytes.len > 0)
    memcpy(at, bytes.ptr, bytes.len);
  return at + bytes.len;
}

/* A google.protobuf.Timestamp, from microseconds since 1970, as a field. */
struct wire_timestamp {
  int64_t seconds;
  int32_t nanos;
};
static inline struct wire_timestamp wire_timestamp_from_us(int64_t us) {
  int64_t seconds = us / 1000000, rest = us % 1000000;
  if (rest < 0) {
    rest += 1000000;
    seconds--;
  }
  return (struct wire_timestamp){seconds, (int32_t)rest * 1000};
}
static inline size_t wire_timestamp_body_size(struct wire_timestamp t) {
  return (t.seconds == 0 ? 0 : 1 + wire_varint_size((uint64_t)t.seconds)) +
         (t.nanos == 0 ? 0 : 1 + wire_varint_size((uint64_t)t.nanos));
}
static inline size_t wire_timestamp_field_size(uint32_t field, int64_t us) {
  return wire_bytes_field_size(field, wire_timestamp_body_size(wire_timestamp_from_us(us)));
}
static inline uint8_t *wire_put_timestamp(uint8_t *at, uint32_t field, int64_t us) {
  struct wire_timestamp t = wire_timestamp_from_us(us);
  at = wire_put_bytes_head(at, field, wire_timestamp_body_size(t));
  if (t.seconds != 0)
    at = wire_put_varint(wire_put_tag(at, 1, WIRE_VARINT), (uint64_t)t.seconds);
  if (t.nanos != 0)
    at = wire_put_varint(wire_put_tag(at, 2, WIRE_VARINT), (uint64_t)t.nanos);
  return at;
}

#endif
