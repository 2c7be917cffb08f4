#include "server/rules/value.h"

#include "server/rules/evaluation.h"
#include "storage/document/wire_read.h"

const char *rules_kind_name(enum rules_kind kind) {
  static const char *const names[] = {
      "null", "bool", "int", "float",    "string", "bytes", "timestamp", "duration", "latlng",    "path",
      "list", "set",  "map", "map_diff", "vector", "map",   "error",     "unknown",  "constraint"};
  return names[kind];
}

/* ---- From wire bytes ---- */

enum {
  WIRE_BOOLEAN = 1,
  WIRE_INTEGER = 2,
  WIRE_DOUBLE = 3,
  WIRE_REFERENCE = 5,
  WIRE_MAP = 6,
  WIRE_POINT = 8,
  WIRE_ARRAY = 9,
  WIRE_TIME = 10,
  WIRE_NULL = 11,
  WIRE_STRING = 17,
  WIRE_BYTES_VALUE = 18,
};

static double double_of_bits(uint64_t bits) {
  double number;
  memcpy(&number, &bits, sizeof number);
  return number;
}

static struct rules_value damaged(struct rules_evaluation *e) {
  rules_fail(e, RULES_ERROR_DAMAGED);
  return rules_error_value(e, RULES_ERROR_DAMAGED, NULL);
}

static struct rules_value timestamp_from_wire(struct rules_evaluation *e, str body) {
  struct rules_value value = {.kind = VALUE_TIMESTAMP};
  struct wire_reader in = wire_reader_make(body);
  struct wire_field field;
  enum wire_read got;
  while ((got = wire_read_field(&in, &field)) == WIRE_READ_FIELD)
    if (field.number == 1 && field.type == WIRE_VARINT)
      value.as.time.seconds = (int64_t)field.scalar;
    else if (field.number == 2 && field.type == WIRE_VARINT && field.scalar < 1000000000)
      value.as.time.nanos = (int32_t)field.scalar;
  return got == WIRE_READ_END ? value : damaged(e);
}

static struct rules_value point_from_wire(struct rules_evaluation *e, str body) {
  struct rules_value value = {.kind = VALUE_LATLNG};
  struct wire_reader in = wire_reader_make(body);
  struct wire_field field;
  enum wire_read got;
  value.as.point.latitude = value.as.point.longitude = 0;
  while ((got = wire_read_field(&in, &field)) == WIRE_READ_FIELD)
    if (field.type == WIRE_FIXED64 && field.number == 1)
      value.as.point.latitude = double_of_bits(field.scalar);
    else if (field.type == WIRE_FIXED64 && field.number == 2)
      value.as.point.longitude = double_of_bits(field.scalar);
  return got == WIRE_READ_END ? value : damaged(e);
}

static struct rules_value map_from_wire(struct rules_evaluation *e, str body, uint8_t flags) {
  struct rules_value map = {.kind = VALUE_MAP, .flags = (uint8_t)(RULES_FLAG_WIRE | flags), .as.bytes = body},
                     type;
  if (body.len > 10 && rules_map_find(e, &map, STR("__type__"), &type) && type.kind == VALUE_STRING &&
      str_eq(type.as.bytes, STR("__vector__")))
    map.kind = VALUE_VECTOR;
  return map;
}

struct rules_value rules_value_from_wire(struct rules_evaluation *e, str wire, uint8_t flags) {
  struct wire_reader in = wire_reader_make(wire);
  struct wire_field field;
  flags = (uint8_t)(flags & RULES_FLAG_LOOSE);
  if (wire_read_field(&in, &field) != WIRE_READ_FIELD)
    return damaged(e);
  enum wire_type wanted = field.number == WIRE_DOUBLE                                 ? WIRE_FIXED64
                          : field.number <= WIRE_INTEGER || field.number == WIRE_NULL ? WIRE_VARINT
                                                                                      : WIRE_BYTES;
  if (field.type != wanted)
    return damaged(e);
  struct rules_value value = {.flags = flags};
  switch (field.number) {
  case WIRE_NULL:
    return rules_null();
  case WIRE_BOOLEAN:
    return rules_bool(field.scalar != 0);
  case WIRE_INTEGER:
    value.kind = VALUE_INT;
    value.as.integer = (int64_t)field.scalar;
    return value;
  case WIRE_DOUBLE:
    value.kind = VALUE_FLOAT;
    value.as.number = double_of_bits(field.scalar);
    return value;
  case WIRE_REFERENCE:
    return rules_path_from_reference(e, field.bytes);
  case WIRE_MAP:
    return map_from_wire(e, field.bytes, flags);
  case WIRE_POINT:
    return point_from_wire(e, field.bytes);
  case WIRE_ARRAY:
    value.kind = VALUE_LIST;
    value.flags |= RULES_FLAG_WIRE;
    value.as.bytes = field.bytes;
    return value;
  case WIRE_TIME:
    return timestamp_from_wire(e, field.bytes);
  case WIRE_STRING:
    return rules_string(field.bytes);
  case WIRE_BYTES_VALUE:
    value.kind = VALUE_BYTES;
    value.as.bytes = field.bytes;
    return value;
  default:
    return damaged(e);
  }
}

/* ---- Walks ---- */

struct rules_cursor rules_cursor_make(struct rules_evaluation *e, const struct rules_value *value) {
  return (struct rules_cursor){e, value,
                               (value->flags & RULES_FLAG_WIRE) != 0 ? value->as.bytes : (str){NULL, 0}, 0};
}

static bool next_wire_field(struct rules_cursor *cursor, uint32_t number, str *ret) {
  struct wire_reader in = wire_reader_make(cursor->rest);
  struct wire_field field;
  enum wire_read got = wire_read_field(&in, &field);
  if (got == WIRE_READ_END)
    return false;
  if (got == WIRE_READ_BROKEN || field.number != number || field.type != WIRE_BYTES) {
    rules_fail(cursor->e, RULES_ERROR_DAMAGED);
    return false;
  }
  cursor->rest = str_make(in.at, (size_t)(in.end - in.at));
  *ret = field.bytes;
  return true;
}

bool rules_cursor_item(struct rules_cursor *cursor, struct rules_value *ret) {
  if (!rules_work(cursor->e, 1))
    return false;
  if ((cursor->value->flags & RULES_FLAG_WIRE) != 0) {
    str wire;
    if (!next_wire_field(cursor, 1, &wire))
      return false;
    *ret = rules_value_from_wire(cursor->e, wire, cursor->value->flags);
    return cursor->e->fatal == RULES_ERROR_NONE;
  }
  if (cursor->at == cursor->value->count)
    return false;
  *ret = cursor->value->as.items[cursor->at++];
  return true;
}

/* The entry's key, and the bytes of its value. */
static bool next_wire_entry(struct rules_cursor *cursor, str *ret_key, str *ret_value) {
  str entry;
  if (!next_wire_field(cursor, (cursor->value->flags & RULES_FLAG_TOP) != 0 ? 2 : 1, &entry))
    return false;
  struct wire_reader in = wire_reader_make(entry);
  struct wire_field key, value;
  if (wire_read_field(&in, &key) != WIRE_READ_FIELD || key.number != 1 || key.type != WIRE_BYTES ||
      wire_read_field(&in, &value) != WIRE_READ_FIELD || value.number != 2 || value.type != WIRE_BYTES) {
    rules_fail(cursor->e, RULES_ERROR_DAMAGED);
    return false;
  }
  *ret_key = key.bytes;
  *ret_value = value.bytes;
  return true;
}

bool rules_cursor_entry(struct rules_cursor *cursor, str *ret_key, struct rules_value *ret) {
  if (!rules_work(cursor->e, 1))
    return false;
  if ((cursor->value->flags & RULES_FLAG_WIRE) != 0) {
    str wire;
    if (!next_wire_entry(cursor, ret_key, &wire))
      return false;
    if (ret != NULL)
      *ret = rules_value_from_wire(cursor->e, wire, cursor->value->flags);
    return cursor->e->fatal == RULES_ERROR_NONE;
  }
  if (cursor->at == cursor->value->count)
    return false;
  const struct rules_entry *entry = &cursor->value->as.entries[cursor->at++];
  *ret_key = entry->key;
  if (ret != NULL)
    *ret = entry->value;
  return true;
}

bool rules_map_find(struct rules_evaluation *e, const struct rules_value *map, str key,
                    struct rules_value *ret) {
  struct rules_cursor cursor = rules_cursor_make(e, map);
  if ((map->flags & RULES_FLAG_WIRE) == 0) {
    for (uint32_t i = 0; i < map->count; i++)
      if (str_eq(map->as.entries[i].key, key)) {
        *ret = map->as.entries[i].value;
        return true;
      }
    return false;
  }
  str name, wire;
  while (rules_work(e, 1) && next_wire_entry(&cursor, &name, &wire)) {
    if (str_eq(name, key)) {
      *ret = rules_value_from_wire(e, wire, map->flags);
      return true;
    }
    if (name.len > 0 && key.len > 0 && (unsigned char)name.ptr[0] > (unsigned char)key.ptr[0])
      break; /* they are sorted */
  }
  return false;
}

size_t rules_count(struct rules_evaluation *e, const struct rules_value *value) {
  if ((value->flags & RULES_FLAG_WIRE) == 0)
    return value->count;
  struct rules_cursor cursor = rules_cursor_make(e, value);
  size_t count = 0;
  str bytes;
  uint32_t number = value->kind == VALUE_MAP && (value->flags & RULES_FLAG_TOP) != 0 ? 2 : 1;
  while (rules_work(e, 1) && next_wire_field(&cursor, number, &bytes))
    count++;
  return count;
}

bool rules_list_items(struct rules_evaluation *e, const struct rules_value *list, struct rules_value *ret) {
  if ((list->flags & RULES_FLAG_WIRE) == 0) {
    *ret = *list;
    return true;
  }
  size_t count = rules_count(e, list), at = 0;
  struct rules_value *items = rules_memory(e, count, sizeof *items);
  if (items == NULL)
    return false;
  struct rules_cursor cursor = rules_cursor_make(e, list);
  while (at < count && rules_cursor_item(&cursor, &items[at]))
    at++;
  *ret = rules_items(VALUE_LIST, items, at);
  ret->flags = (uint8_t)(list->flags & RULES_FLAG_LOOSE);
  return e->fatal == RULES_ERROR_NONE;
}
