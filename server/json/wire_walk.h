/* Walks over the fields of a message in wire form that this program has made itself: what is broken ends the
 * walk. */
#ifndef SKERRY_SERVER_JSON_WIRE_WALK_H
#define SKERRY_SERVER_JSON_WIRE_WALK_H

#include "base/wire.h"

struct wire_walk_field {
  uint64_t number;
  enum wire_type type;
  uint64_t value; /* varints and fixed ones */
  str bytes;      /* WIRE_BYTES */
  str whole;      /* tag included */
};

static inline bool wire_walk_varint(str *rest, uint64_t *ret) {
  uint64_t value = 0;
  for (size_t i = 0; i < rest->len && i < 10; i++) {
    uint8_t byte = (uint8_t)rest->ptr[i];
    if (i < 9 || byte <= 1)
      value |= (uint64_t)(byte & 0x7f) << (7 * i);
    if (byte < 0x80) {
      *rest = str_from(*rest, i + 1);
      *ret = value;
      return true;
    }
  }
  return false;
}

static inline bool wire_walk_fixed(str *rest, size_t len, uint64_t *ret) {
  if (rest->len < len)
    return false;
  *ret = 0;
  for (size_t i = 0; i < len; i++)
    *ret |= (uint64_t)(uint8_t)rest->ptr[i] << (8 * i);
  *rest = str_from(*rest, len);
  return true;
}

/* Takes the next field off the front. False at the end, or where the bytes are none: then *rest is not empty.
 */
static inline bool wire_walk(str *rest, struct wire_walk_field *ret) {
  str at = *rest;
  uint64_t tag, len;
  if (at.len == 0 || !wire_walk_varint(&at, &tag))
    return false;
  *ret = (struct wire_walk_field){.number = tag >> 3, .type = (enum wire_type)(tag & 7)};
  bool ok = false;
  switch (tag & 7) {
  case WIRE_VARINT:
    ok = wire_walk_varint(&at, &ret->value);
    break;
  case WIRE_FIXED64:
    ok = wire_walk_fixed(&at, 8, &ret->value);
    break;
  case WIRE_FIXED32:
    ok = wire_walk_fixed(&at, 4, &ret->value);
    break;
  case WIRE_BYTES:
    ok = wire_walk_varint(&at, &len) && len <= at.len;
    if (ok) {
      ret->bytes = str_make(at.ptr, (size_t)len);
      at = str_from(at, (size_t)len);
    }
    break;
  default:
    break;
  }
  if (!ok)
    return false;
  ret->whole = str_make(rest->ptr, rest->len - at.len);
  *rest = at;
  return true;
}

#endif
