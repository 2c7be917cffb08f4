#include "server/rules/value.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

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

/* ---- Equality and order ---- */

static enum rules_truth equal_items(struct rules_evaluation *e, const struct rules_value *a,
                                    const struct rules_value *b, enum rules_equality how) {
  struct rules_cursor in_a = rules_cursor_make(e, a), in_b = rules_cursor_make(e, b);
  struct rules_value one, other;
  enum rules_truth result = RULES_TRUE;
  for (;;) {
    bool has_a = rules_cursor_item(&in_a, &one), has_b = rules_cursor_item(&in_b, &other);
    if (has_a != has_b)
      return RULES_FALSE;
    if (!has_a)
      return result;
    enum rules_truth truth = rules_equal(e, &one, &other, how == EQUAL_SAME ? EQUAL_SAME : EQUAL_STRICT);
    if (truth == RULES_FALSE)
      return RULES_FALSE;
    if (truth == RULES_MAYBE)
      result = RULES_MAYBE;
  }
}

static enum rules_truth equal_entries(struct rules_evaluation *e, const struct rules_value *a,
                                      const struct rules_value *b, enum rules_equality how) {
  struct rules_cursor in_a = rules_cursor_make(e, a), in_b = rules_cursor_make(e, b);
  struct rules_value one, other;
  str key_a, key_b;
  enum rules_truth result = RULES_TRUE;
  for (;;) {
    bool has_a = rules_cursor_entry(&in_a, &key_a, &one), has_b = rules_cursor_entry(&in_b, &key_b, &other);
    if (has_a != has_b || (has_a && !str_eq(key_a, key_b)))
      return RULES_FALSE;
    if (!has_a)
      return result;
    enum rules_truth truth = rules_equal(e, &one, &other, how == EQUAL_SAME ? EQUAL_SAME : EQUAL_STRICT);
    if (truth == RULES_FALSE)
      return RULES_FALSE;
    if (truth == RULES_MAYBE)
      result = RULES_MAYBE;
  }
}

static enum rules_truth equal_sets(struct rules_evaluation *e, const struct rules_value *a,
                                   const struct rules_value *b) {
  if (a->count != b->count)
    return RULES_FALSE;
  for (uint32_t i = 0; i < a->count; i++) {
    enum rules_truth found = RULES_FALSE;
    for (uint32_t j = 0; j < b->count && found != RULES_TRUE; j++) {
      enum rules_truth truth = rules_equal(e, &a->as.items[i], &b->as.items[j], EQUAL_SAME);
      if (truth != RULES_FALSE)
        found = truth;
    }
    if (found != RULES_TRUE)
      return found;
  }
  return RULES_TRUE;
}

static enum rules_truth equal_numbers(const struct rules_value *a, const struct rules_value *b,
                                      enum rules_equality how) {
  bool loose = ((a->flags | b->flags) & RULES_FLAG_LOOSE) != 0;
  if (a->kind == b->kind && a->kind == VALUE_INT)
    return a->as.integer == b->as.integer ? RULES_TRUE : RULES_FALSE;
  if (a->kind != b->kind && how == EQUAL_STRICT && !loose)
    return RULES_FALSE;
  double one = rules_to_double(a), other = rules_to_double(b);
  bool both_nan = how == EQUAL_SAME && isnan(one) && isnan(other);
  return one == other || both_nan ? RULES_TRUE : RULES_FALSE;
}

enum rules_truth rules_equal(struct rules_evaluation *e, const struct rules_value *a,
                             const struct rules_value *b, enum rules_equality how) {
  if (!rules_work(e, 1))
    return RULES_FALSE;
  if (a->kind >= VALUE_ERROR || b->kind >= VALUE_ERROR)
    return RULES_MAYBE;
  if (rules_is_number(a) && rules_is_number(b))
    return equal_numbers(a, b, how);
  struct rules_value map_a, map_b;
  if (a->kind == VALUE_OBJECT) {
    map_a = rules_object_to_map(e, a);
    a = &map_a;
  }
  if (b->kind == VALUE_OBJECT) {
    map_b = rules_object_to_map(e, b);
    b = &map_b;
  }
  if (a->kind != b->kind)
    return RULES_FALSE;
  bool same;
  switch ((enum rules_kind)a->kind) {
  case VALUE_NULL:
    return RULES_TRUE;
  case VALUE_BOOL:
    same = a->as.boolean == b->as.boolean;
    break;
  case VALUE_STRING:
  case VALUE_BYTES:
    rules_work(e, a->as.bytes.len / 64);
    same = str_eq(a->as.bytes, b->as.bytes);
    break;
  case VALUE_TIMESTAMP:
  case VALUE_DURATION:
    same = a->as.time.seconds == b->as.time.seconds && a->as.time.nanos == b->as.time.nanos;
    break;
  case VALUE_LATLNG:
    same = a->as.point.latitude == b->as.point.latitude && a->as.point.longitude == b->as.point.longitude;
    break;
  case VALUE_PATH:
  case VALUE_LIST:
    return equal_items(e, a, b, how);
  case VALUE_SET:
    return equal_sets(e, a, b);
  case VALUE_MAP:
  case VALUE_VECTOR:
    return equal_entries(e, a, b, how);
  case VALUE_INT:
  case VALUE_FLOAT:
  case VALUE_OBJECT:
  case VALUE_MAP_DIFF:
  case VALUE_ERROR:
  case VALUE_UNKNOWN:
  case VALUE_PARTIAL:
  default:
    return RULES_FALSE;
  }
  return same ? RULES_TRUE : RULES_FALSE;
}

bool rules_compare(const struct rules_value *a, const struct rules_value *b, int *ret, bool *ret_unordered) {
  *ret_unordered = false;
  if (rules_is_number(a) && rules_is_number(b)) {
    if (a->kind == VALUE_INT && b->kind == VALUE_INT) {
      *ret = (a->as.integer > b->as.integer) - (a->as.integer < b->as.integer);
      return true;
    }
    double left = rules_to_double(a), right = rules_to_double(b);
    *ret_unordered = isnan(left) || isnan(right);
    *ret = (left > right) - (left < right);
    return true;
  }
  if (a->kind != b->kind)
    return false;
  if (a->kind == VALUE_STRING || a->kind == VALUE_BYTES) {
    *ret = str_cmp(a->as.bytes, b->as.bytes);
    return true;
  }
  if (a->kind != VALUE_TIMESTAMP && a->kind != VALUE_DURATION)
    return false;
  *ret = (a->as.time.seconds > b->as.time.seconds) - (a->as.time.seconds < b->as.time.seconds);
  if (*ret == 0)
    *ret = (a->as.time.nanos > b->as.time.nanos) - (a->as.time.nanos < b->as.time.nanos);
  return true;
}

/* ---- Paths ---- */

struct rules_value rules_path_from_text(struct rules_evaluation *e, str text) {
  size_t count = 1, at = 0;
  for (size_t i = 0; i < text.len; i++)
    count += text.ptr[i] == '/';
  struct rules_value *items = rules_memory(e, count, sizeof *items);
  if (items == NULL)
    return rules_error_value(e, RULES_ERROR_MEMORY, NULL);
  str rest = text;
  while (rest.len > 0) {
    str segment = str_split(rest, '/', &rest);
    if (segment.len > 0)
      items[at++] = rules_string(segment);
  }
  return rules_items(VALUE_PATH, items, at);
}

struct rules_value rules_path_from_reference(struct rules_evaluation *e, str reference) {
  str rest = reference, after;
  if (str_has_prefix(reference, STR("projects/"))) {
    str_split(str_from(reference, 9), '/', &after);
    rest = after;
  }
  return rules_path_from_text(e, rest);
}

str rules_path_text(struct rules_evaluation *e, const struct rules_value *path) {
  size_t len = path->count == 0 ? 1 : 0;
  for (uint32_t i = 0; i < path->count; i++)
    len += path->as.items[i].as.bytes.len + 1;
  char *text = rules_work(e, len / 64) ? rules_memory(e, len, 1) : NULL;
  if (text == NULL)
    return (str){NULL, 0};
  size_t at = 0;
  if (path->count == 0)
    text[at++] = '/';
  for (uint32_t i = 0; i < path->count; i++) {
    str segment = path->as.items[i].as.bytes;
    text[at++] = '/';
    if (segment.len > 0)
      memcpy(text + at, segment.ptr, segment.len);
    at += segment.len;
  }
  return str_make(text, at);
}

/* ---- Texts ---- */

size_t rules_text_units(str text) {
  size_t units = 0;
  for (size_t i = 0; i < text.len; i++) {
    unsigned char c = (unsigned char)text.ptr[i];
    units += (c & 0xC0) != 0x80 ? 1 : 0;
    units += c >= 0xF0 ? 1 : 0;
  }
  return units;
}

/* A double as Java writes it, which is what rules have always shown: the fewest digits that say which number
 * it is. */
static str double_text(struct rules_evaluation *e, double number) {
  if (isnan(number))
    return STR("NaN");
  if (isinf(number))
    return number > 0 ? STR("Infinity") : STR("-Infinity");
  char digits[40];
  int precision = 0;
  do
    snprintf(digits, sizeof digits, "%.*e", precision, number);
  while (strtod(digits, NULL) != number && ++precision < 17);
  const char *sign = digits[0] == '-' ? "-" : "";
  char *mantissa = digits + (digits[0] == '-');
  char *exponent_text = strchr(mantissa, 'e');
  int exponent = (int)strtol(exponent_text + 1, NULL, 10);
  *exponent_text = '\0';
  const char *fraction = mantissa[1] == '.' ? mantissa + 2 : "0";
  str text;
  if (number == 0) {
    text = arena_printf(e->arena, "%s0.0", sign);
  } else if (exponent >= -3 && exponent < 7) {
    int decimals = precision - exponent > 1 ? precision - exponent : 1;
    text = arena_printf(e->arena, "%.*f", decimals, number);
  } else {
    text = arena_printf(e->arena, "%s%c.%sE%d", sign, mantissa[0], fraction, exponent);
  }
  if (text.ptr == NULL)
    rules_fail(e, RULES_ERROR_MEMORY);
  return text;
}

bool rules_to_text(struct rules_evaluation *e, const struct rules_value *value, str *ret) {
  switch ((enum rules_kind)value->kind) {
  case VALUE_NULL:
    *ret = STR("null");
    return true;
  case VALUE_BOOL:
    *ret = value->as.boolean ? STR("true") : STR("false");
    return true;
  case VALUE_STRING:
    *ret = value->as.bytes;
    return true;
  case VALUE_INT:
    *ret = arena_printf(e->arena, "%lld", (long long)value->as.integer);
    if (ret->ptr == NULL)
      rules_fail(e, RULES_ERROR_MEMORY);
    return true;
  case VALUE_FLOAT:
    *ret = double_text(e, value->as.number);
    return true;
  case VALUE_PATH:
    *ret = rules_path_text(e, value);
    return true;
  case VALUE_BYTES:
  case VALUE_TIMESTAMP:
  case VALUE_DURATION:
  case VALUE_LATLNG:
  case VALUE_LIST:
  case VALUE_SET:
  case VALUE_MAP:
  case VALUE_MAP_DIFF:
  case VALUE_VECTOR:
  case VALUE_OBJECT:
  case VALUE_ERROR:
  case VALUE_UNKNOWN:
  case VALUE_PARTIAL:
  default:
    return false;
  }
}
