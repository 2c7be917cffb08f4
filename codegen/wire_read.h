/* Reads protobuf's wire format field by field, for what protobuf-c keeps as unknown bytes (custom options)
 * and where the bytes are wanted as they are. Borrowed bytes, no allocation. */
#ifndef SKERRY_CODEGEN_WIRE_READ_H
#define SKERRY_CODEGEN_WIRE_READ_H

#include "base/wire.h"

struct wire_field {
  uint32_t number;
  enum wire_type type;
  uint64_t value; /* of WIRE_VARINT */
  str bytes;      /* of WIRE_BYTES: without the length */
  str raw;        /* the whole field, tag included */
};

/* Takes one field off the front of *rest. False at the end, or at bytes that are not a field (groups too):
 * then *rest is not empty. */
bool wire_next(str *rest, struct wire_field *ret);

/* Takes a varint off the front of *rest. */
bool wire_varint(str *rest, uint64_t *ret);

#endif
