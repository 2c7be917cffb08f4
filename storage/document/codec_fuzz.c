/* The first byte chooses how the rest is read: as a Document or a Value from a client, or as the fields of a
 * stored document. What is accepted has a canonical form, which is accepted everywhere and is its own. */
#include <stdint.h>
#include <stdlib.h>

#include "base/arena.h"
#include "storage/document/codec.h"
#include "storage/document/size.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                                     \
  do {                                                                                                       \
    if (!(condition))                                                                                        \
      abort();                                                                                               \
  } while (0)

enum { ARENA_BYTES = 64 << 20 };

static void check_order(struct doc_map map) {
  for (size_t i = 1; i < map.count; i++)
    CHECK(str_cmp(map.fields[i - 1].name, map.fields[i].name) < 0);
}

/* Canonical bytes field by field are the map. */
static void check_parts(str bytes, struct doc_map map, struct arena *arena) {
  struct doc_value value;
  str rest = bytes, name, stored;
  bool damaged;
  for (size_t i = 0; i < map.count; i++) {
    CHECK(doc_fields_next(&rest, &name, &stored, &damaged) && str_eq(name, map.fields[i].name));
    status s = doc_decode_stored_value(stored, arena, &value);
    CHECK(s.code == STATUS_OK && doc_value_equal(&value, &map.fields[i].value));
  }
  CHECK(!doc_fields_next(&rest, &name, &stored, &damaged) && !damaged);
}

/* Bytes that may be anything. */
static void check_hostile_parts(str wire, struct arena *arena) {
  struct doc_value value;
  struct doc_map some;
  str rest = wire, name, stored;
  const str names[] = {STR("a"), STR("b")};
  bool damaged;
  while (doc_fields_next(&rest, &name, &stored, &damaged)) {
    status s = doc_decode_stored_value(stored, arena, &value);
    CHECK(s.code == STATUS_OK || s.code == STATUS_DATA_LOSS);
  }
  CHECK(damaged || rest.len == 0);
  status s = doc_decode_some_fields(wire, names, 2, arena, &some);
  CHECK(s.code == STATUS_OK || s.code == STATUS_DATA_LOSS);
}

static void check_stored(str wire, struct arena *arena) {
  struct doc_map map, again;
  str bytes, same;
  check_hostile_parts(wire, arena);
  status s = doc_decode_fields(wire, arena, &map);
  CHECK(s.code == STATUS_OK || s.code == STATUS_DATA_LOSS);
  if (s.code != STATUS_OK)
    return;
  check_order(map);
  s = doc_encode_fields(map, arena, &bytes);
  CHECK(s.code == STATUS_OK);
  s = doc_decode_fields(bytes, arena, &again);
  CHECK(s.code == STATUS_OK);
  s = doc_encode_fields(again, arena, &same);
  CHECK(s.code == STATUS_OK && str_eq(bytes, same));
  check_parts(bytes, map, arena);
}

static void check_document(str wire, struct arena *arena) {
  struct doc_document document, again;
  str bytes, same;
  status s = doc_decode_document(wire, arena, &document);
  CHECK(s.code == STATUS_OK || s.code == STATUS_INVALID_ARGUMENT);
  if (s.code != STATUS_OK)
    return;
  check_order(document.fields);
  s = doc_encode_fields(document.fields, arena, &bytes);
  CHECK(s.code == STATUS_OK);
  s = doc_decode_document(bytes, arena, &again);
  CHECK(s.code == STATUS_OK && again.fields.count == document.fields.count);
  CHECK(doc_document_size(STR(""), again.fields) == doc_document_size(STR(""), document.fields));
  struct doc_limits limits = DOC_LIMITS_DEFAULT;
  s = doc_document_check(document.name, again.fields, &limits);
  CHECK(s.code == STATUS_OK); /* an input is smaller than the limit, its nesting was checked */
  s = doc_encode_fields(again.fields, arena, &same);
  CHECK(s.code == STATUS_OK && str_eq(bytes, same));
  const struct doc_value a = {.type = DOC_MAP, .as.map = document.fields};
  const struct doc_value b = {.type = DOC_MAP, .as.map = again.fields};
  CHECK(doc_value_equal(&a, &b));
  check_stored(bytes, arena);
  s = doc_decode_fields(bytes, arena, &again.fields);
  CHECK(s.code == STATUS_OK);
}

static void check_value(str wire, enum doc_use use, struct arena *arena) {
  struct doc_value value, again;
  str bytes, same;
  status s = doc_decode_value(wire, use, arena, &value);
  CHECK(s.code == STATUS_OK || s.code == STATUS_INVALID_ARGUMENT);
  if (s.code != STATUS_OK)
    return;
  s = doc_encode_value(&value, arena, &bytes);
  CHECK(s.code == STATUS_OK);
  s = doc_decode_value(bytes, use, arena, &again);
  CHECK(s.code == STATUS_OK && doc_value_equal(&value, &again));
  s = doc_encode_value(&again, arena, &same);
  CHECK(s.code == STATUS_OK && str_eq(bytes, same));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0 || size > 256 * 1024)
    return 0;
  struct arena arena;
  arena_init(&arena, NULL, 0, ARENA_BYTES);
  str wire = str_make(data + 1, size - 1);
  switch (data[0] % 5) {
  case 0:
    check_document(wire, &arena);
    break;
  case 1:
    check_stored(wire, &arena);
    break;
  case 2:
    check_value(wire, DOC_USE_FIELD, &arena);
    break;
  case 3:
    check_value(wire, DOC_USE_ELEMENT, &arena);
    break;
  default:
    check_value(wire, DOC_USE_OPERAND, &arena);
  }
  arena_fini(&arena);
  return 0;
}
