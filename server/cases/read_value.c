/* Values: plain JSON, and those of Firestore's REST API for what JSON has no form for. They become a tree,
 * and the codec says whether a document may hold it. */
#include <math.h>
#include <stdlib.h>

#include "base/base64.h"
#include "base/limits.h"
#include "server/cases/reader.h"
#include "server/json/json_time.h"
#include "storage/document/codec.h"

struct value_place {
  struct cases_place place;
  unsigned depth; /* maps and arrays around it */
};

static status read_value(struct cases_reader *reader, const json_t *json, const struct value_place *at,
                         struct doc_value *ret);

/* ---- Maps and arrays ---- */

static int compare_fields(const void *a, const void *b) {
  const struct doc_field *left = a, *right = b;
  return str_cmp(left->name, right->name);
}

static status read_map(struct cases_reader *reader, const json_t *json, const struct value_place *at,
                       struct doc_map *ret) {
  if (!json_is_object(json))
    return cases_wrong(&at->place, "it must be an object, {...}");
  if (at->depth > CASES_VALUE_DEPTH_MAX)
    return cases_wrong(&at->place, "there are more than %d maps and arrays in each other", LIMIT_VALUE_DEPTH);
  struct doc_field *fields = ARENA_NEW_ARRAY(reader->arena, struct doc_field, json_object_size(json));
  size_t count = 0;
  const char *key;
  json_t *value;
  if (fields == NULL)
    return cases_no_memory();
  json_object_foreach((json_t *)(uintptr_t)json, key, value) {
    str name = arena_str_copy(reader->arena, str_from_cstr(key));
    struct value_place here = {{&at->place, name, CASES_NO_INDEX, false}, at->depth + 1};
    if (name.ptr == NULL)
      return cases_no_memory();
    fields[count].name = name;
    STATUS_TRY(read_value(reader, value, &here, &fields[count].value));
    count++;
  }
  if (count > 1)
    qsort(fields, count, sizeof *fields, compare_fields);
  *ret = (struct doc_map){fields, count};
  return status_ok();
}

static status read_array(struct cases_reader *reader, const json_t *json, const struct value_place *at,
                         struct doc_array *ret) {
  if (json != NULL)
    STATUS_TRY(cases_check_array(json, &at->place, SIZE_MAX));
  if (at->depth > CASES_VALUE_DEPTH_MAX)
    return cases_wrong(&at->place, "there are more than %d maps and arrays in each other", LIMIT_VALUE_DEPTH);
  size_t count = json_array_size(json);
  struct doc_value *items = ARENA_NEW_ARRAY(reader->arena, struct doc_value, count);
  if (items == NULL)
    return cases_no_memory();
  for (size_t i = 0; i < count; i++) {
    struct value_place here = {{&at->place, {NULL, 0}, i, false}, at->depth + 1};
    STATUS_TRY(read_value(reader, json_array_get(json, i), &here, &items[i]));
  }
  *ret = (struct doc_array){items, count};
  return status_ok();
}

/* ---- Values with a type ---- */

static status read_null(struct cases_reader *reader, const json_t *json, const struct value_place *at,
                        struct doc_value *ret) {
  (void)reader;
  ret->type = DOC_NULL;
  return json_is_null(json) ? status_ok() : cases_wrong(&at->place, "it must be null");
}

static status read_boolean(struct cases_reader *reader, const json_t *json, const struct value_place *at,
                           struct doc_value *ret) {
  (void)reader;
  *ret = (struct doc_value){.type = DOC_BOOLEAN, .as.boolean = json_is_true(json)};
  return json_is_boolean(json) ? status_ok() : cases_wrong(&at->place, "it must be true or false");
}

static bool integer_of(str text, int64_t *ret) {
  bool is_negative = text.len > 0 && text.ptr[0] == '-';
  uint64_t size;
  if (!str_to_u64(str_from(text, is_negative), &size) || size > (uint64_t)INT64_MAX + is_negative)
    return false;
  *ret = is_negative ? (int64_t)(0 - size) : (int64_t)size;
  return true;
}

static status read_integer(struct cases_reader *reader, const json_t *json, const struct value_place *at,
                           struct doc_value *ret) {
  (void)reader;
  *ret = (struct doc_value){.type = DOC_INTEGER, .as.integer = (int64_t)json_integer_value(json)};
  if (json_is_integer(json))
    return status_ok();
  if (json_is_string(json) &&
      integer_of(str_make(json_string_value(json), json_string_length(json)), &ret->as.integer))
    return status_ok();
  return cases_wrong(&at->place, "it must be an integer of 64 bits, as 5 or \"5\"");
}

static status read_double(struct cases_reader *reader, const json_t *json, const struct value_place *at,
                          struct doc_value *ret) {
  (void)reader;
  *ret = (struct doc_value){.type = DOC_DOUBLE, .as.number = json_number_value(json)};
  if (json_is_number(json))
    return status_ok();
  const char *text = json_is_string(json) ? json_string_value(json) : "";
  if (strcmp(text, "NaN") == 0)
    ret->as.number = NAN;
  else if (strcmp(text, "Infinity") == 0 || strcmp(text, "-Infinity") == 0)
    ret->as.number = text[0] == '-' ? -INFINITY : INFINITY;
  else
    return cases_wrong(&at->place, "it must be a number, \"NaN\", \"Infinity\" or \"-Infinity\"");
  return status_ok();
}

static status read_timestamp(struct cases_reader *reader, const json_t *json, const struct value_place *at,
                             struct doc_value *ret) {
  (void)reader;
  int64_t seconds;
  int32_t nanos;
  if (!json_is_string(json) ||
      !json_timestamp_read(str_make(json_string_value(json), json_string_length(json)), &seconds, &nanos))
    return cases_wrong(&at->place, "it must be a time as in \"2026-08-01T12:00:00Z\"");
  *ret = (struct doc_value){.type = DOC_TIMESTAMP, .as.timestamp_us = seconds * 1000000 + nanos / 1000};
  return status_ok();
}

static status read_string(struct cases_reader *reader, const json_t *json, const struct value_place *at,
                          struct doc_value *ret) {
  ret->type = DOC_STRING;
  return cases_read_text(reader, json, &at->place, &ret->as.text);
}

static status read_bytes(struct cases_reader *reader, const json_t *json, const struct value_place *at,
                         struct doc_value *ret) {
  str text;
  struct buf bytes = {0};
  STATUS_TRY(cases_read_text(reader, json, &at->place, &text));
  bool is_base64 = base64_decode(text, &bytes);
  *ret = (struct doc_value){.type = DOC_BYTES, .as.text = arena_str_copy(reader->arena, buf_str(&bytes))};
  bool failed = bytes.failed || ret->as.text.ptr == NULL;
  buf_fini(&bytes);
  if (failed)
    return cases_no_memory();
  return is_base64 ? status_ok() : cases_wrong(&at->place, "it must be base64");
}

/* The full name as in the REST API, or a path in the database of the cases. */
static status read_reference(struct cases_reader *reader, const json_t *json, const struct value_place *at,
                             struct doc_value *ret) {
  struct doc_path path;
  str text;
  STATUS_TRY(cases_read_text(reader, json, &at->place, &text));
  *ret = (struct doc_value){.type = DOC_REFERENCE, .as.text = text};
  if (str_has_prefix(text, STR("projects/")))
    return status_ok();
  STATUS_TRY(cases_read_path(reader, text, &at->place, &path));
  ret->as.text = path.name;
  return status_ok();
}

static status read_geo_point(struct cases_reader *reader, const json_t *json, const struct value_place *at,
                             struct doc_value *ret) {
  static const char *const known[] = {"latitude", "longitude", NULL};
  (void)reader;
  STATUS_TRY(cases_check_object(json, &at->place, known));
  const json_t *latitude = json_object_get(json, "latitude"), *longitude = json_object_get(json, "longitude");
  if ((latitude != NULL && !json_is_number(latitude)) || (longitude != NULL && !json_is_number(longitude)))
    return cases_wrong(&at->place, "latitude and longitude must be numbers");
  *ret = (struct doc_value){.type = DOC_GEO_POINT,
                            .as.geo_point = {json_number_value(latitude), json_number_value(longitude)}};
  return status_ok();
}

static status read_array_value(struct cases_reader *reader, const json_t *json, const struct value_place *at,
                               struct doc_value *ret) {
  static const char *const known[] = {"values", NULL};
  STATUS_TRY(cases_check_object(json, &at->place, known));
  ret->type = DOC_ARRAY;
  return read_array(reader, json_object_get(json, "values"), at, &ret->as.array);
}

static status read_map_value(struct cases_reader *reader, const json_t *json, const struct value_place *at,
                             struct doc_value *ret) {
  static const char *const known[] = {"fields", NULL};
  STATUS_TRY(cases_check_object(json, &at->place, known));
  *ret = (struct doc_value){.type = DOC_MAP};
  const json_t *fields = json_object_get(json, "fields");
  return fields == NULL ? status_ok() : read_map(reader, fields, at, &ret->as.map);
}

/* As DocumentTransform.FieldTransform has it: what the time in a write is, in milliseconds. */
static status read_server_value(struct cases_reader *reader, const json_t *json, const struct value_place *at,
                                struct doc_value *ret) {
  if (!json_is_string(json) || strcmp(json_string_value(json), "REQUEST_TIME") != 0)
    return cases_wrong(&at->place, "it must be \"REQUEST_TIME\"");
  if (!reader->has_request_time)
    return cases_wrong(&at->place, "setToServerValue is for the data of writes");
  *ret = (struct doc_value){.type = DOC_TIMESTAMP, .as.timestamp_us = reader->time_us / 1000 * 1000};
  return status_ok();
}

typedef status typed_reader(struct cases_reader *reader, const json_t *json, const struct value_place *at,
                            struct doc_value *ret);

static const struct {
  const char *name;
  typed_reader *read;
} types[] = {
    {"nullValue", read_null},           {"booleanValue", read_boolean},
    {"integerValue", read_integer},     {"doubleValue", read_double},
    {"timestampValue", read_timestamp}, {"stringValue", read_string},
    {"bytesValue", read_bytes},         {"referenceValue", read_reference},
    {"geoPointValue", read_geo_point},  {"arrayValue", read_array_value},
    {"mapValue", read_map_value},       {"setToServerValue", read_server_value},
};

/* How the only name in an object has it read; NULL: it is a map. */
static typed_reader *type_of(const json_t *json, const json_t **ret_value) {
  if (json_object_size(json) != 1)
    return NULL;
  void *only = json_object_iter((json_t *)(uintptr_t)json);
  *ret_value = json_object_iter_value(only);
  for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
    if (strcmp(json_object_iter_key(only), types[i].name) == 0)
      return types[i].read;
  return NULL;
}

/* ---- All of them ---- */

/* Recurses as deep as CASES_JSON_DEPTH_MAX. */
static status read_value(struct cases_reader *reader, const json_t *json, const struct value_place *at,
                         struct doc_value *ret) {
  const json_t *inner = NULL;
  typed_reader *read_typed;
  switch (json_typeof(json)) {
  case JSON_OBJECT:
    read_typed = type_of(json, &inner);
    if (read_typed != NULL)
      return read_typed(reader, inner, at, ret);
    ret->type = DOC_MAP;
    return read_map(reader, json, at, &ret->as.map);
  case JSON_ARRAY:
    ret->type = DOC_ARRAY;
    return read_array(reader, json, at, &ret->as.array);
  case JSON_STRING:
    return read_string(reader, json, at, ret);
  case JSON_INTEGER:
    return read_integer(reader, json, at, ret);
  case JSON_REAL:
    return read_double(reader, json, at, ret);
  case JSON_TRUE:
  case JSON_FALSE:
    return read_boolean(reader, json, at, ret);
  case JSON_NULL:
  default:
    return read_null(reader, json, at, ret);
  }
}

status cases_read_fields(struct cases_reader *reader, const json_t *json, const struct cases_place *at,
                         struct doc_map *ret) {
  struct value_place here = {*at, 0};
  struct doc_map fields = {0};
  struct doc_document document = {0};
  str wire;
  STATUS_TRY(read_map(reader, json, &here, &fields));
  STATUS_TRY(doc_encode_fields(fields, reader->arena, &wire));
  status result = doc_decode_document(wire, reader->arena, &document);
  if (!status_is_ok(&result))
    return cases_wrong_status(at, result);
  *ret = document.fields;
  return status_ok();
}

status cases_read_operand(struct cases_reader *reader, const json_t *json, const struct cases_place *at,
                          struct doc_value *ret) {
  struct value_place here = {*at, 0};
  struct doc_value value = {0};
  str wire;
  STATUS_TRY(read_value(reader, json, &here, &value));
  STATUS_TRY(doc_encode_value(&value, reader->arena, &wire));
  status result = doc_decode_value(wire, DOC_USE_OPERAND, reader->arena, ret);
  return status_is_ok(&result) ? result : cases_wrong_status(at, result);
}
