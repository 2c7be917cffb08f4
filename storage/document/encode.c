/* Tree -> canonical bytes. The bytes are written from the end to the beginning: when the head of a message is
 * due, its body stands behind it and its length is known. So one pass finds how much room is enough, exact
 * but for the lengths of maps and arrays, and one pass writes. */
#include <assert.h>
#include <math.h>

#include "base/wire.h"
#include "storage/document/codec.h"

/* Tag bytes, google/firestore/v1/document.proto. */
enum {
  TAG_DOCUMENT_FIELDS = 2 << 3 | WIRE_BYTES,
  TAG_MAP_FIELDS = 1 << 3 | WIRE_BYTES,
  TAG_ARRAY_VALUES = 1 << 3 | WIRE_BYTES,
  TAG_ENTRY_KEY = 1 << 3 | WIRE_BYTES,
  TAG_ENTRY_VALUE = 2 << 3 | WIRE_BYTES,
  TAG_BOOLEAN = 1 << 3 | WIRE_VARINT,
  TAG_INTEGER = 2 << 3 | WIRE_VARINT,
  TAG_DOUBLE = 3 << 3 | WIRE_FIXED64,
  TAG_REFERENCE = 5 << 3 | WIRE_BYTES,
  TAG_MAP = 6 << 3 | WIRE_BYTES,
  TAG_GEO_POINT = 8 << 3 | WIRE_BYTES,
  TAG_ARRAY = 9 << 3 | WIRE_BYTES,
  TAG_TIMESTAMP = 10 << 3 | WIRE_BYTES,
  TAG_NULL = 11 << 3 | WIRE_VARINT,
  TAG_LATITUDE = 1 << 3 | WIRE_FIXED64,
  TAG_LONGITUDE = 2 << 3 | WIRE_FIXED64,
  LENGTH_MAX_BYTES = 5, /* varint of a length under 2^35 */
};

/* Fields 17 and 18 have tags of two bytes. */
static const uint8_t TAG_STRING[2] = {((17 << 3 | WIRE_BYTES) & 0x7F) | 0x80, 17 >> 4};
static const uint8_t TAG_BYTES[2] = {((18 << 3 | WIRE_BYTES) & 0x7F) | 0x80, 18 >> 4};

static uint64_t double_bits(double number) {
  if (isnan(number))
    return UINT64_C(0x7FF8000000000000);
  uint64_t bits;
  memcpy(&bits, &number, sizeof bits);
  return bits;
}

static bool is_container(const struct doc_value *value) {
  return value->type == DOC_ARRAY || value->type == DOC_MAP;
}

/* ---- How much room ---- */

static size_t bytes_size(size_t tag_size, size_t len) {
  return tag_size + wire_varint_size(len) + len;
}

static size_t coordinate_size(double coordinate) {
  return double_bits(coordinate) == 0 ? 0 : 1 + 8;
}

/* The Value message of a scalar; of a map or array what its head may take. */
static size_t value_room(const struct doc_value *value) {
  switch (value->type) {
  case DOC_NULL:
  case DOC_BOOLEAN:
    return 2;
  case DOC_INTEGER:
    return 1 + wire_varint_size((uint64_t)value->as.integer);
  case DOC_DOUBLE:
    return 1 + 8;
  case DOC_TIMESTAMP:
    return 2 + wire_timestamp_body_size(wire_timestamp_from_us(value->as.timestamp_us));
  case DOC_STRING:
  case DOC_BYTES:
    return bytes_size(2, value->as.text.len);
  case DOC_REFERENCE:
    return bytes_size(1, value->as.text.len);
  case DOC_GEO_POINT:
    return 2 + coordinate_size(value->as.geo_point.latitude) + coordinate_size(value->as.geo_point.longitude);
  case DOC_ARRAY:
  case DOC_MAP:
    break;
  }
  return 1 + LENGTH_MAX_BYTES;
}

/* Tag, length and name around a child's Value, without the Value. */
static size_t wrap_room(const struct doc_value *parent, size_t at, size_t room) {
  const struct doc_value *child = doc_value_child(parent, at);
  size_t length = is_container(child) ? LENGTH_MAX_BYTES : wire_varint_size(room);
  if (parent->type == DOC_ARRAY)
    return 1 + length;
  size_t entry = bytes_size(1, parent->as.map.fields[at].name.len) + 1 + length;
  return entry + 1 + (is_container(child) ? LENGTH_MAX_BYTES : wire_varint_size(entry + room));
}

/* Enough for everything in `root`, a map or array. */
static size_t content_room(const struct doc_value *root) {
  struct {
    const struct doc_value *value;
    size_t next;
  } stack[DOC_TREE_DEPTH_MAX];
  size_t depth = 0, total = 0;
  stack[depth].value = root;
  stack[depth++].next = 0;
  while (depth > 0) {
    const struct doc_value *parent = stack[depth - 1].value;
    if (stack[depth - 1].next == doc_value_count(parent)) {
      depth--;
      continue;
    }
    size_t at = stack[depth - 1].next++;
    const struct doc_value *child = doc_value_child(parent, at);
    size_t room = value_room(child);
    total += room + wrap_room(parent, at, room);
    if (is_container(child)) {
      assert(depth < DOC_TREE_DEPTH_MAX);
      stack[depth].value = child;
      stack[depth++].next = 0;
    }
  }
  return total;
}

/* ---- Writing, backwards: each function returns where its first byte stands ---- */

static uint8_t *put_varint(uint8_t *end, uint64_t value) {
  if (value < 0x80) {
    *--end = (uint8_t)value;
    return end;
  }
  uint8_t *at = end - wire_varint_size(value);
  wire_put_varint(at, value);
  return at;
}

static uint8_t *put_bytes(uint8_t *end, const void *bytes, size_t len) {
  if (len > 0)
    memcpy(end - len, bytes, len);
  return end - len;
}

static uint8_t *put_fixed64(uint8_t *end, uint64_t bits) {
  for (size_t i = 0; i < 8; i++)
    *--end = (uint8_t)(bits >> (56 - 8 * i));
  return end;
}

static uint8_t *put_head(uint8_t *at, uint8_t tag, size_t len) {
  at = put_varint(at, len);
  *--at = tag;
  return at;
}

static uint8_t *put_text(uint8_t *end, str text, const uint8_t tag[2]) {
  uint8_t *at = put_varint(put_bytes(end, text.ptr, text.len), text.len);
  return put_bytes(at, tag, 2);
}

static uint8_t *put_geo_point(uint8_t *end, const struct doc_value *value) {
  uint64_t latitude = double_bits(value->as.geo_point.latitude);
  uint64_t longitude = double_bits(value->as.geo_point.longitude);
  uint8_t *at = end;
  if (longitude != 0) {
    at = put_fixed64(at, longitude);
    *--at = TAG_LONGITUDE;
  }
  if (latitude != 0) {
    at = put_fixed64(at, latitude);
    *--at = TAG_LATITUDE;
  }
  return put_head(at, TAG_GEO_POINT, (size_t)(end - at));
}

static uint8_t *put_scalar(uint8_t *at, const struct doc_value *value) {
  switch (value->type) {
  case DOC_NULL:
    *--at = 0;
    *--at = TAG_NULL;
    return at;
  case DOC_BOOLEAN:
    *--at = value->as.boolean;
    *--at = TAG_BOOLEAN;
    return at;
  case DOC_INTEGER:
    at = put_varint(at, (uint64_t)value->as.integer);
    *--at = TAG_INTEGER;
    return at;
  case DOC_DOUBLE:
    at = put_fixed64(at, double_bits(value->as.number));
    *--at = TAG_DOUBLE;
    return at;
  case DOC_TIMESTAMP:
    at -= wire_timestamp_field_size(10, value->as.timestamp_us);
    wire_put_timestamp(at, 10, value->as.timestamp_us);
    return at;
  case DOC_STRING:
    return put_text(at, value->as.text, TAG_STRING);
  case DOC_BYTES:
    return put_text(at, value->as.text, TAG_BYTES);
  case DOC_REFERENCE:
    return put_head(put_bytes(at, value->as.text.ptr, value->as.text.len), TAG_REFERENCE, value->as.text.len);
  case DOC_GEO_POINT:
    return put_geo_point(at, value);
  case DOC_ARRAY:
  case DOC_MAP:
    break;
  }
  assert(false);
  return at;
}

/* Around the Value of parent's child, which stands at [at, end). */
static uint8_t *put_wrap(uint8_t *at, const uint8_t *end, const struct doc_value *parent, size_t child,
                         uint8_t field_tag) {
  if (parent->type == DOC_ARRAY)
    return put_head(at, TAG_ARRAY_VALUES, (size_t)(end - at));
  str name = parent->as.map.fields[child].name;
  at = put_head(at, TAG_ENTRY_VALUE, (size_t)(end - at));
  at = put_head(put_bytes(at, name.ptr, name.len), TAG_ENTRY_KEY, name.len);
  return put_head(at, field_tag, (size_t)(end - at));
}

/* Everything in `root`, a map or array, ending at `end`. */
static uint8_t *put_content(uint8_t *end, const struct doc_value *root, uint8_t root_field_tag) {
  struct {
    const struct doc_value *value;
    size_t left;  /* children not written */
    uint8_t *end; /* of its bytes */
  } stack[DOC_TREE_DEPTH_MAX];
  size_t depth = 0;
  uint8_t *at = end;
  stack[depth].value = root;
  stack[depth].left = doc_value_count(root);
  stack[depth++].end = end;
  for (;;) {
    const struct doc_value *parent = stack[depth - 1].value;
    if (stack[depth - 1].left > 0) {
      size_t child = --stack[depth - 1].left;
      const struct doc_value *value = doc_value_child(parent, child);
      if (is_container(value)) {
        assert(depth < DOC_TREE_DEPTH_MAX);
        stack[depth].value = value;
        stack[depth].left = doc_value_count(value);
        stack[depth++].end = at;
      } else {
        const uint8_t *value_end = at;
        at = put_scalar(at, value);
        at = put_wrap(at, value_end, parent, child, depth == 1 ? root_field_tag : TAG_MAP_FIELDS);
      }
    } else {
      const uint8_t *value_end = stack[--depth].end;
      if (depth == 0)
        return at;
      at = put_head(at, parent->type == DOC_ARRAY ? TAG_ARRAY : TAG_MAP, (size_t)(value_end - at));
      at = put_wrap(at, value_end, stack[depth - 1].value, stack[depth - 1].left,
                    depth == 1 ? root_field_tag : TAG_MAP_FIELDS);
    }
  }
}

/* ---- What callers see ---- */

static status exhausted(void) {
  return status_make(STATUS_RESOURCE_EXHAUSTED, "The documents of one request take too much memory. Ask for "
                                                "fewer or smaller documents in a request.");
}

status doc_encode_fields(struct doc_map fields, struct arena *arena, str *ret) {
  const struct doc_value root = {.type = DOC_MAP, .as.map = fields};
  size_t room = content_room(&root);
  uint8_t *memory = arena_alloc(arena, room);
  if (memory == NULL)
    return exhausted();
  uint8_t *at = put_content(memory + room, &root, TAG_DOCUMENT_FIELDS);
  assert(at >= memory);
  *ret = str_make(at, (size_t)(memory + room - at));
  return status_ok();
}

status doc_encode_value(const struct doc_value *value, struct arena *arena, str *ret) {
  size_t room = value_room(value) + (is_container(value) ? content_room(value) : 0);
  uint8_t *memory = arena_alloc(arena, room);
  if (memory == NULL)
    return exhausted();
  uint8_t *end = memory + room, *at;
  if (is_container(value)) {
    at = put_content(end, value, TAG_MAP_FIELDS);
    at = put_head(at, value->type == DOC_ARRAY ? TAG_ARRAY : TAG_MAP, (size_t)(end - at));
  } else {
    at = put_scalar(end, value);
  }
  assert(at >= memory);
  *ret = str_make(at, (size_t)(end - at));
  return status_ok();
}
