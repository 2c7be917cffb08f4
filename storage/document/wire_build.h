/* For tests: wire bytes put together by hand, right or wrong, in one static buffer that grows downwards in
 * calls like doc(entry("a", string_value("x"))). Nothing is freed before wire_build_reset. */
#ifndef SKERRY_STORAGE_DOCUMENT_WIRE_BUILD_H
#define SKERRY_STORAGE_DOCUMENT_WIRE_BUILD_H

#include <stdarg.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/wire.h"

#define UNUSED_OK __attribute__((unused))

static struct arena build_arena;

static UNUSED_OK void wire_build_init(void) {
  arena_init(&build_arena, NULL, 0, (size_t)1 << 30);
}
static UNUSED_OK void wire_build_fini(void) {
  arena_fini(&build_arena);
}

static UNUSED_OK uint8_t *build_room(size_t size) {
  uint8_t *at = arena_alloc(&build_arena, size);
  if (at == NULL)
    abort();
  return at;
}

static UNUSED_OK str raw_field(uint32_t number, str bytes) {
  uint8_t *at = build_room(bytes.len + 20);
  uint8_t *end = wire_put_bytes(at, number, bytes);
  return str_make(at, (size_t)(end - at));
}

static UNUSED_OK str varint_field(uint32_t number, uint64_t value) {
  uint8_t *at = build_room(20);
  uint8_t *end = wire_put_varint(wire_put_tag(at, number, WIRE_VARINT), value);
  return str_make(at, (size_t)(end - at));
}

static UNUSED_OK str fixed64_field(uint32_t number, uint64_t bits) {
  uint8_t *at = build_room(20);
  uint8_t *end = wire_put_tag(at, number, WIRE_FIXED64);
  for (unsigned i = 0; i < 8; i++)
    *end++ = (uint8_t)(bits >> (8 * i));
  return str_make(at, (size_t)(end - at));
}

static UNUSED_OK str double_field(uint32_t number, double value) {
  uint64_t bits;
  memcpy(&bits, &value, sizeof bits);
  return fixed64_field(number, bits);
}

static UNUSED_OK str join_all(const str *parts, size_t count) {
  size_t len = 0;
  for (size_t i = 0; i < count; i++)
    len += parts[i].len;
  uint8_t *at = build_room(len);
  size_t used = 0;
  for (size_t i = 0; i < count; i++) {
    if (parts[i].len > 0)
      memcpy(at + used, parts[i].ptr, parts[i].len);
    used += parts[i].len;
  }
  return str_make(at, len);
}
#define JOIN(...) join_all((const str[]){__VA_ARGS__}, sizeof((const str[]){__VA_ARGS__}) / sizeof(str))
#define NOTHING ((str){NULL, 0})

/* Value messages. */
#define V_NULL varint_field(11, 0)
#define V_BOOL(b) varint_field(1, (b))
#define V_INT(i) varint_field(2, (uint64_t)(int64_t)(i))
#define V_DOUBLE(d) double_field(3, (d))
#define V_REFERENCE(s) raw_field(5, (s))
#define V_MAP(...) raw_field(6, JOIN(__VA_ARGS__))
#define V_POINT(lat, lon) raw_field(8, JOIN(double_field(1, (lat)), double_field(2, (lon))))
#define V_ARRAY(...) raw_field(9, JOIN(__VA_ARGS__))
#define V_TIME(s, n)                                                                                         \
  raw_field(10, JOIN(varint_field(1, (uint64_t)(int64_t)(s)), varint_field(2, (uint64_t)(int64_t)(n))))
#define V_STRING(s) raw_field(17, (s))
#define V_BYTES(s) raw_field(18, (s))

/* An entry of a map<string, Value> in field `number`, an item of an array, a field of a document. */
#define ENTRY(number, key, value) raw_field((number), JOIN(raw_field(1, (key)), raw_field(2, (value))))
#define M(key, value) ENTRY(1, STR(key), (value))
#define F(key, value) ENTRY(2, STR(key), (value))
#define ITEM(value) raw_field(1, (value))

static UNUSED_OK str repeat(char byte, size_t count) {
  uint8_t *at = build_room(count);
  memset(at, byte, count);
  return str_make(at, count);
}

#endif
