#include "rpc/wire_check.h"

#include <assert.h>

#include "base/limits.h"
#include "base/utf8.h"
#include "base/wire.h"

/* A message that is being walked. */
struct frame {
  const ProtobufCMessageDescriptor *type;
  const uint8_t *end;
};

static status malformed(const struct frame *frame, const char *what) {
  return status_make(STATUS_INVALID_ARGUMENT, "The message is malformed: %s in %s.", what, frame->type->name);
}

static status refuse_field(const struct frame *frame, const ProtobufCFieldDescriptor *field,
                           const char *why) {
  return status_make(STATUS_INVALID_ARGUMENT, "field \"%s\" of %s %s", field->name, frame->type->name, why);
}

/* Reads a varint of at most ten bytes; bits past 64 are dropped, as every decoder does. NULL: malformed. */
static const uint8_t *read_varint(const uint8_t *at, const uint8_t *end, uint64_t *ret) {
  uint64_t value = 0;
  for (unsigned shift = 0; shift < 70 && at < end; shift += 7) {
    uint8_t byte = *at++;
    value |= shift < 64 ? (uint64_t)(byte & 0x7f) << shift : 0;
    if (byte < 0x80) {
      *ret = value;
      return at;
    }
  }
  return NULL;
}

static status check_string(const struct frame *frame, const ProtobufCFieldDescriptor *field, str text) {
  if (text.len == 0)
    return status_ok();
  if (!utf8_is_valid(text.ptr, text.len))
    return refuse_field(frame, field, "is not valid UTF-8");
  if (memchr(text.ptr, '\0', text.len) != NULL)
    return refuse_field(frame, field, "holds the character U+0000, which is not allowed here");
  return status_ok();
}

/* A packed field: its elements must fill it exactly. */
static status check_packed(const struct frame *frame, const ProtobufCFieldDescriptor *field, str bytes) {
  size_t width = 0;
  if (field->type == PROTOBUF_C_TYPE_FIXED32 || field->type == PROTOBUF_C_TYPE_SFIXED32 ||
      field->type == PROTOBUF_C_TYPE_FLOAT)
    width = 4;
  else if (field->type == PROTOBUF_C_TYPE_FIXED64 || field->type == PROTOBUF_C_TYPE_SFIXED64 ||
           field->type == PROTOBUF_C_TYPE_DOUBLE)
    width = 8;
  if (width != 0)
    return bytes.len % width == 0 ? status_ok() : refuse_field(frame, field, "is packed and cut short");
  const uint8_t *at = (const uint8_t *)bytes.ptr, *end = at + bytes.len;
  while (at < end) {
    uint64_t ignored;
    at = read_varint(at, end, &ignored);
    if (at == NULL)
      return refuse_field(frame, field, "is packed and cut short");
  }
  return status_ok();
}

static enum wire_type own_wire_type(const ProtobufCFieldDescriptor *field) {
  switch (field->type) {
  case PROTOBUF_C_TYPE_FIXED32:
  case PROTOBUF_C_TYPE_SFIXED32:
  case PROTOBUF_C_TYPE_FLOAT:
    return WIRE_FIXED32;
  case PROTOBUF_C_TYPE_FIXED64:
  case PROTOBUF_C_TYPE_SFIXED64:
  case PROTOBUF_C_TYPE_DOUBLE:
    return WIRE_FIXED64;
  case PROTOBUF_C_TYPE_STRING:
  case PROTOBUF_C_TYPE_BYTES:
  case PROTOBUF_C_TYPE_MESSAGE:
    return WIRE_BYTES;
  case PROTOBUF_C_TYPE_INT32:
  case PROTOBUF_C_TYPE_SINT32:
  case PROTOBUF_C_TYPE_UINT32:
  case PROTOBUF_C_TYPE_INT64:
  case PROTOBUF_C_TYPE_SINT64:
  case PROTOBUF_C_TYPE_UINT64:
  case PROTOBUF_C_TYPE_BOOL:
  case PROTOBUF_C_TYPE_ENUM:
  default:
    return WIRE_VARINT;
  }
}

/* A length-delimited field that the type knows; messages are left to the caller to enter. */
static status check_bytes_field(const struct frame *frame, const ProtobufCFieldDescriptor *field, str bytes) {
  if (field->type == PROTOBUF_C_TYPE_STRING)
    return check_string(frame, field, bytes);
  if (own_wire_type(field) == WIRE_BYTES)
    return status_ok();
  if (field->label == PROTOBUF_C_LABEL_REPEATED)
    return check_packed(frame, field, bytes);
  return refuse_field(frame, field, "has the wrong wire type");
}

/* Reads one field at *at. A message to enter is left in *ret_enter with its bytes in *ret_body. */
static status check_field(const struct frame *frame, const uint8_t **at,
                          const ProtobufCMessageDescriptor **ret_enter, str *ret_body) {
  uint64_t tag, value;
  const uint8_t *next = read_varint(*at, frame->end, &tag);
  if (next == NULL || tag > UINT32_MAX || tag >> 3 == 0)
    return malformed(frame, "a bad tag");
  unsigned wire = (unsigned)(tag & 7);
  const ProtobufCFieldDescriptor *field =
      protobuf_c_message_descriptor_get_field(frame->type, (unsigned)(tag >> 3));
  size_t left = (size_t)(frame->end - next);
  switch (wire) {
  case WIRE_VARINT:
    next = read_varint(next, frame->end, &value);
    if (next == NULL)
      return malformed(frame, "a bad varint");
    break;
  case WIRE_FIXED64:
  case WIRE_FIXED32: {
    size_t width = wire == WIRE_FIXED64 ? 8 : 4;
    if (left < width)
      return malformed(frame, "a number cut short");
    next += width;
    break;
  }
  case WIRE_BYTES: {
    next = read_varint(next, frame->end, &value);
    if (next == NULL || value > (uint64_t)(frame->end - next))
      return malformed(frame, "a length past the end");
    str body = str_make(next, (size_t)value);
    next += value;
    if (field == NULL)
      break;
    if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
      *ret_enter = field->descriptor;
      *ret_body = body;
      break;
    }
    STATUS_TRY(check_bytes_field(frame, field, body));
    break;
  }
  default:
    return malformed(frame, "a group, or a wire type that does not exist,");
  }
  if (field != NULL && wire != WIRE_BYTES && wire != own_wire_type(field))
    return refuse_field(frame, field, "has the wrong wire type");
  *at = next;
  return status_ok();
}

status wire_check(const ProtobufCMessageDescriptor *type, str bytes) {
  assert(type != NULL);
  struct frame stack[LIMIT_MESSAGE_DEPTH];
  const uint8_t *at = (const uint8_t *)bytes.ptr;
  stack[0] = (struct frame){type, bytes.len == 0 ? at : at + bytes.len};
  size_t depth = 1;
  while (depth > 0) {
    struct frame *frame = &stack[depth - 1];
    if (at == frame->end) { /* the message above goes on where this one ends */
      depth--;
      continue;
    }
    const ProtobufCMessageDescriptor *enter = NULL;
    str body = {0};
    STATUS_TRY(check_field(frame, &at, &enter, &body));
    if (enter == NULL)
      continue;
    if (depth == LIMIT_MESSAGE_DEPTH)
      return status_make(STATUS_INVALID_ARGUMENT, "The message is nested more than %d levels deep.",
                         (int)LIMIT_MESSAGE_DEPTH);
    at = (const uint8_t *)body.ptr;
    stack[depth++] = (struct frame){enter, at + body.len};
  }
  return status_ok();
}
