#include "codegen/wire_read.h"

bool wire_varint(str *rest, uint64_t *ret) {
  uint64_t value = 0;
  for (size_t i = 0; i < rest->len && i < 10; i++) {
    uint8_t byte = (uint8_t)rest->ptr[i];
    value |= (uint64_t)(byte & 0x7f) << (7 * i);
    if ((byte & 0x80) == 0) {
      *rest = str_from(*rest, i + 1);
      *ret = value;
      return true;
    }
  }
  return false;
}

/* The payload that follows a tag. */
static bool read_payload(str *rest, struct wire_field *field) {
  uint64_t len;
  switch (field->type) {
  case WIRE_VARINT:
    return wire_varint(rest, &field->value);
  case WIRE_FIXED64:
    len = 8;
    break;
  case WIRE_FIXED32:
    len = 4;
    break;
  case WIRE_BYTES:
    if (!wire_varint(rest, &len))
      return false;
    break;
  default:
    return false;
  }
  if (len > rest->len)
    return false;
  field->bytes = str_make(rest->ptr, (size_t)len);
  *rest = str_from(*rest, (size_t)len);
  return true;
}

bool wire_next(str *rest, struct wire_field *ret) {
  str at = *rest;
  uint64_t tag;
  if (at.len == 0 || !wire_varint(&at, &tag) || tag >> 32 != 0 || tag >> 3 == 0)
    return false;
  struct wire_field field = {.number = (uint32_t)(tag >> 3), .type = (enum wire_type)(tag & 7)};
  if (!read_payload(&at, &field))
    return false;
  field.raw = str_make(rest->ptr, rest->len - at.len);
  *rest = at;
  *ret = field;
  return true;
}
