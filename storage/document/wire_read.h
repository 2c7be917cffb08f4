/* Reading protobuf's wire format field by field, from bytes that nobody has checked.
 * https://protobuf.dev/programming-guides/encoding/ */
#ifndef SKERRY_STORAGE_DOCUMENT_WIRE_READ_H
#define SKERRY_STORAGE_DOCUMENT_WIRE_READ_H

#include <stdbool.h>
#include <stdint.h>

#include "base/limits.h"
#include "base/str.h"
#include "base/wire.h"

struct wire_reader {
  const uint8_t *at, *end;
};

struct wire_field {
  uint32_t number;
  enum wire_type type;
  uint64_t scalar; /* WIRE_VARINT, WIRE_FIXED64, WIRE_FIXED32 */
  str bytes;       /* WIRE_BYTES; borrowed */
};

enum wire_read { WIRE_READ_FIELD, WIRE_READ_END, WIRE_READ_BROKEN };

static inline struct wire_reader wire_reader_make(str wire) {
  const uint8_t *at = (const uint8_t *)wire.ptr;
  return (struct wire_reader){at, wire.len == 0 ? at : at + wire.len};
}

/* At most ten bytes; bits past the 64th are dropped, as other parsers do. False if there is no end to it. */
static inline bool wire_read_varint(struct wire_reader *in, uint64_t *ret) {
  if (in->at != in->end && *in->at < 0x80) {
    *ret = *in->at++;
    return true;
  }
  if (in->end - in->at >= 2 && in->at[1] < 0x80) { /* most others have two bytes */
    *ret = (uint64_t)(in->at[0] & 0x7F) | (uint64_t)in->at[1] << 7;
    in->at += 2;
    return true;
  }
  uint64_t value = 0;
  for (unsigned shift = 0; shift < 70; shift += 7) {
    if (in->at == in->end)
      return false;
    uint8_t byte = *in->at++;
    value |= (uint64_t)(byte & 0x7F) << shift;
    if (byte < 0x80) {
      *ret = value;
      return true;
    }
  }
  return false;
}

static inline bool wire_read_fixed(struct wire_reader *in, size_t size, uint64_t *ret) {
  if ((size_t)(in->end - in->at) < size)
    return false;
  uint64_t value = 0;
  for (size_t i = 0; i < size; i++)
    value |= (uint64_t)in->at[i] << (8 * i);
  in->at += size;
  *ret = value;
  return true;
}

static inline bool wire_read_bytes(struct wire_reader *in, str *ret) {
  uint64_t len;
  if (!wire_read_varint(in, &len) || len > (uint64_t)(in->end - in->at))
    return false;
  *ret = str_make(in->at, (size_t)len);
  in->at += len;
  return true;
}

/* Tag of a field; `type` may be anything from 0 to 7. */
static inline bool wire_read_tag(struct wire_reader *in, uint32_t *ret_number, unsigned *ret_type) {
  uint64_t tag;
  if (!wire_read_varint(in, &tag) || tag < 8 || tag > UINT32_MAX)
    return false;
  *ret_number = (uint32_t)(tag >> 3);
  *ret_type = (unsigned)(tag & 7);
  return true;
}

/* What follows the tag of a field that is no group. */
static inline bool wire_read_payload(struct wire_reader *in, unsigned type, struct wire_field *ret) {
  switch (type) {
  case WIRE_VARINT:
    return wire_read_varint(in, &ret->scalar);
  case WIRE_FIXED64:
    return wire_read_fixed(in, 8, &ret->scalar);
  case WIRE_BYTES:
    return wire_read_bytes(in, &ret->bytes);
  case WIRE_FIXED32:
    return wire_read_fixed(in, 4, &ret->scalar);
  default:
    return false;
  }
}

/* Moves past the end of the group `number`, whose start was read. */
bool wire_skip_group(struct wire_reader *in, uint32_t number);

enum { WIRE_GROUP_START = 3, WIRE_GROUP_END = 4 };

/* The next field. Groups, which nothing uses any more, are skipped. */
static inline enum wire_read wire_read_field(struct wire_reader *in, struct wire_field *ret) {
  while (in->at != in->end) {
    unsigned type;
    if (!wire_read_tag(in, &ret->number, &type))
      return WIRE_READ_BROKEN;
    if (type != WIRE_GROUP_START) {
      ret->type = (enum wire_type)type;
      return wire_read_payload(in, type, ret) ? WIRE_READ_FIELD : WIRE_READ_BROKEN;
    }
    if (!wire_skip_group(in, ret->number))
      return WIRE_READ_BROKEN;
  }
  return WIRE_READ_END;
}

#endif
