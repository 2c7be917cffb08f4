/* Wire bytes -> tree. The map or array that is being read is the top frame of an explicit stack. Its entries
 * are counted before they are read, so they get one array of the right size, and each value is written where
 * it stays. What protobuf calls merging of messages is reading their bytes one after the other, so a message
 * that comes in pieces (which no encoder makes) is put together first and then read as usual. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "base/utf8.h"
#include "storage/document/codec.h"
#include "storage/document/field_path.h"
#include "storage/document/path.h"
#include "storage/document/wire_read.h"

/* google/firestore/v1/document.proto */
enum {
  DOCUMENT_NAME = 1,
  DOCUMENT_FIELDS = 2,
  ENTRY_KEY = 1,
  ENTRY_VALUE = 2,
  ARRAY_VALUES = 1,
  MAP_FIELDS = 1,
  VALUE_BOOLEAN = 1,
  VALUE_INTEGER = 2,
  VALUE_DOUBLE = 3,
  VALUE_REFERENCE = 5,
  VALUE_MAP = 6,
  VALUE_GEO_POINT = 8,
  VALUE_ARRAY = 9,
  VALUE_TIMESTAMP = 10,
  VALUE_NULL = 11,
  VALUE_STRING = 17,
  VALUE_BYTES = 18,
  VALUE_FIELD_REFERENCE = 19,
  VALUE_FUNCTION = 20,
  VALUE_PIPELINE = 21,
  VALUE_VARIABLE_REFERENCE = 22,
  TIMESTAMP_SECONDS = 1,
  TIMESTAMP_NANOS = 2,
  POINT_LATITUDE = 1,
  POINT_LONGITUDE = 2,
};

/* The least bytes of an entry that can be accepted: a name of one byte and a value of two. */
enum { ENTRY_MIN_BYTES = 3 + 4, ITEM_MIN_BYTES = 2 };

enum { SHOWN_NAME_BYTES = 200 }; /* in messages */

static const int64_t SECONDS_MIN = -62135596800, SECONDS_MAX = 253402300799; /* years 1 to 9999 */

struct frame {
  struct wire_reader in;
  struct doc_value *target; /* gets the map or array when it is complete; NULL: the document's own map */
  str name;                 /* of the innermost field that holds it, for messages */
  struct doc_value *items;  /* of an array */
  struct doc_field *fields; /* of a map */
  size_t count, capacity;
  uint32_t number; /* of the field that holds an entry */
  bool unsorted, vector;
  bool beyond; /* the limit of nesting: only as a vector */
};

struct decoder {
  struct arena *arena;
  status error; /* set when a function returns false */
  bool stored;  /* bytes of our own: characters and names were checked before */
  enum doc_use use;
  struct frame *top; /* in frames, or NULL */
  struct frame
      frames[1 + LIMIT_VALUE_DEPTH + 2]; /* a document's own map or an operand's list, the limit, a vector */
};

static bool refuse(struct decoder *d, str name, const char *what) {
  name.len = name.len > SHOWN_NAME_BYTES ? SHOWN_NAME_BYTES : name.len;
  d->error = name.len == 0 ? status_make(STATUS_INVALID_ARGUMENT, "The value %s.", what)
                           : status_make(STATUS_INVALID_ARGUMENT, "The value of property \"" STR_FMT "\" %s.",
                                         STR_ARG(name), what);
  return false;
}

static bool exhausted(struct decoder *d) {
  d->error = status_make(STATUS_RESOURCE_EXHAUSTED, "The documents of one request take too much memory. Send "
                                                    "fewer or smaller documents in a request.");
  return false;
}

static const char BROKEN[] = "is not valid protobuf";

static void decoder_init(struct decoder *d, struct arena *arena, bool stored, enum doc_use use) {
  d->arena = arena;
  d->stored = stored;
  d->use = use;
  d->top = NULL;
}

/* ---- One Value ---- */

/* How a member of the oneof comes on the wire. */
struct member_kind {
  bool known, message;
  enum wire_type type;
};
static const struct member_kind member_kinds[] = {
    [VALUE_BOOLEAN] = {true, false, WIRE_VARINT},
    [VALUE_INTEGER] = {true, false, WIRE_VARINT},
    [VALUE_DOUBLE] = {true, false, WIRE_FIXED64},
    [VALUE_REFERENCE] = {true, false, WIRE_BYTES},
    [VALUE_MAP] = {true, true, WIRE_BYTES},
    [VALUE_GEO_POINT] = {true, true, WIRE_BYTES},
    [VALUE_ARRAY] = {true, true, WIRE_BYTES},
    [VALUE_TIMESTAMP] = {true, true, WIRE_BYTES},
    [VALUE_NULL] = {true, false, WIRE_VARINT},
    [VALUE_STRING] = {true, false, WIRE_BYTES},
    [VALUE_BYTES] = {true, false, WIRE_BYTES},
    [VALUE_FIELD_REFERENCE] = {true, false, WIRE_BYTES},
    [VALUE_FUNCTION] = {true, true, WIRE_BYTES},
    [VALUE_PIPELINE] = {true, true, WIRE_BYTES},
    [VALUE_VARIABLE_REFERENCE] = {true, false, WIRE_BYTES},
};

static bool is_member(const struct wire_field *field) {
  return field->number < sizeof member_kinds / sizeof member_kinds[0] && member_kinds[field->number].known &&
         member_kinds[field->number].type == field->type;
}

/* The bytes of all fields `number` in `in`, one after the other. */
static bool gather(struct decoder *d, struct wire_reader in, uint32_t number, str *ret) {
  struct wire_field field;
  size_t total = 0;
  for (struct wire_reader again = in; wire_read_field(&again, &field) == WIRE_READ_FIELD;)
    if (field.number == number && field.type == WIRE_BYTES)
      total += field.bytes.len;
  char *all = arena_alloc(d->arena, total);
  if (all == NULL)
    return exhausted(d);
  size_t used = 0;
  while (wire_read_field(&in, &field) == WIRE_READ_FIELD) {
    if (field.number != number || field.type != WIRE_BYTES || field.bytes.len == 0)
      continue;
    memcpy(all + used, field.bytes.ptr, field.bytes.len);
    used += field.bytes.len;
  }
  assert(used == total);
  *ret = str_make(all, total);
  return true;
}

/* The member of a Value that counts. */
static bool read_member(struct decoder *d, str name, str wire, struct wire_field *ret) {
  struct wire_reader in = wire_reader_make(wire), run = in;
  if (wire_read_field(&in, ret) == WIRE_READ_FIELD && in.at == in.end && is_member(ret))
    return true; /* as every encoder writes it */
  struct wire_field field;
  bool repeated = false;
  in = run;
  ret->number = 0;
  for (;;) {
    struct wire_reader before = in;
    enum wire_read read = wire_read_field(&in, &field);
    if (read == WIRE_READ_BROKEN)
      return refuse(d, name, BROKEN);
    if (read == WIRE_READ_END)
      break;
    if (!is_member(&field))
      continue;
    repeated = field.number == ret->number && member_kinds[field.number].message;
    if (!repeated)
      run = before;
    *ret = field;
  }
  if (ret->number == 0)
    return refuse(d, name, "is not set: a Value needs one of its members, for null null_value");
  return !repeated || gather(d, run, ret->number, &ret->bytes);
}

static bool read_timestamp(struct decoder *d, str name, str wire, struct doc_value *ret) {
  struct wire_reader in = wire_reader_make(wire);
  struct wire_field field;
  int64_t seconds = 0;
  int32_t nanos = 0;
  enum wire_read read;
  while ((read = wire_read_field(&in, &field)) == WIRE_READ_FIELD) {
    if (field.number == TIMESTAMP_SECONDS && field.type == WIRE_VARINT)
      seconds = (int64_t)field.scalar;
    else if (field.number == TIMESTAMP_NANOS && field.type == WIRE_VARINT)
      nanos = (int32_t)(uint32_t)field.scalar;
  }
  if (read == WIRE_READ_BROKEN)
    return refuse(d, name, BROKEN);
  if (seconds < SECONDS_MIN || seconds > SECONDS_MAX || nanos < 0 || nanos > 999999999)
    return refuse(d, name,
                  "is a timestamp outside of the years 1 to 9999 or of 0 to 999,999,999 nanoseconds");
  ret->type = DOC_TIMESTAMP;
  ret->as.timestamp_us = seconds * 1000000 + nanos / 1000; /* nanos count upwards: this rounds down */
  return true;
}

static double double_from_bits(uint64_t bits) {
  double number;
  memcpy(&number, &bits, sizeof number);
  return number;
}

static bool read_geo_point(struct decoder *d, str name, str wire, struct doc_value *ret) {
  struct wire_reader in = wire_reader_make(wire);
  struct wire_field field;
  double latitude = 0, longitude = 0;
  enum wire_read read;
  while ((read = wire_read_field(&in, &field)) == WIRE_READ_FIELD) {
    if (field.number == POINT_LATITUDE && field.type == WIRE_FIXED64)
      latitude = double_from_bits(field.scalar);
    else if (field.number == POINT_LONGITUDE && field.type == WIRE_FIXED64)
      longitude = double_from_bits(field.scalar);
  }
  if (read == WIRE_READ_BROKEN)
    return refuse(d, name, BROKEN);
  if (!(latitude >= -90 && latitude <= 90 && longitude >= -180 && longitude <= 180)) /* NaN too */
    return refuse(d, name, "is no point: latitude goes from -90 to 90, longitude from -180 to 180");
  ret->type = DOC_GEO_POINT;
  ret->as.geo_point.latitude = latitude;
  ret->as.geo_point.longitude = longitude;
  return true;
}

static bool read_text(struct decoder *d, str name, const struct wire_field *member, struct doc_value *ret) {
  str text = member->bytes;
  ret->type = member->number == VALUE_STRING  ? DOC_STRING
              : member->number == VALUE_BYTES ? DOC_BYTES
                                              : DOC_REFERENCE;
  ret->as.text = text;
  if (d->stored)
    return true;
  if (text.len > LIMIT_VALUE_BYTES) {
    char what[64];
    snprintf(what, sizeof what, "is longer than %d bytes", LIMIT_VALUE_BYTES);
    return refuse(d, name, what);
  }
  if (ret->type == DOC_STRING && !utf8_is_valid(text.ptr, text.len))
    return refuse(d, name, "is not valid UTF-8; send it as bytes");
  struct doc_path path;
  if (ret->type == DOC_REFERENCE) {
    status checked = doc_path_parse_document(text, &path);
    if (!status_is_ok(&checked)) {
      char what[STATUS_MESSAGE_MAX + 32];
      snprintf(what, sizeof what, "is not a valid reference: %s", checked.message);
      size_t len = strlen(what);
      what[len - (what[len - 1] == '.')] = '\0'; /* refuse ends the sentence */
      return refuse(d, name, what);
    }
  }
  return true;
}

static bool open_container(struct decoder *d, struct doc_value *target, str name, str wire, uint32_t number);

/* Reads a Value into *ret. A map or array becomes the top frame, and *ret is complete when that is closed. */
static bool read_value(struct decoder *d, str name, str wire, struct doc_value *ret) {
  struct wire_field member;
  if (!read_member(d, name, wire, &member))
    return false;
  switch (member.number) {
  case VALUE_NULL:
    ret->type = DOC_NULL;
    return true;
  case VALUE_BOOLEAN:
    ret->type = DOC_BOOLEAN;
    ret->as.boolean = member.scalar != 0;
    return true;
  case VALUE_INTEGER:
    ret->type = DOC_INTEGER;
    ret->as.integer = (int64_t)member.scalar;
    return true;
  case VALUE_DOUBLE:
    ret->type = DOC_DOUBLE;
    ret->as.number = double_from_bits(member.scalar);
    return true;
  case VALUE_TIMESTAMP:
    return read_timestamp(d, name, member.bytes, ret);
  case VALUE_GEO_POINT:
    return read_geo_point(d, name, member.bytes, ret);
  case VALUE_STRING:
  case VALUE_BYTES:
  case VALUE_REFERENCE:
    return read_text(d, name, &member, ret);
  case VALUE_ARRAY:
    ret->type = DOC_ARRAY;
    return open_container(d, ret, name, member.bytes, ARRAY_VALUES);
  case VALUE_MAP:
    ret->type = DOC_MAP;
    return open_container(d, ret, name, member.bytes, MAP_FIELDS);
  default:
    return refuse(d, name,
                  "is of a kind that only queries and pipelines may use: a reference to a field or a "
                  "variable, a function or a pipeline");
  }
}

/* ---- Maps and arrays ---- */

static bool frame_is_array(const struct frame *frame) {
  return frame->target != NULL && frame->target->type == DOC_ARRAY;
}

static bool too_deep(struct decoder *d, str name) {
  char what[80];
  snprintf(what, sizeof what, "has more than %d maps and arrays in each other", LIMIT_VALUE_DEPTH);
  return refuse(d, name, what);
}

/* Whether a map or array may stand below the top frame. A vector counts as one value without depth, so a map
 * and in it an array are let in past the limit, and *ret_beyond says that they must turn out to be one. */
static bool check_nesting(struct decoder *d, const struct doc_value *target, str name, bool *ret_beyond) {
  *ret_beyond = false;
  if (target == NULL)
    return true;
  const struct frame *parent = d->top;
  bool operand = d->use == DOC_USE_OPERAND;
  bool in_array = parent == NULL ? d->use == DOC_USE_ELEMENT
                                 : frame_is_array(parent) && !(operand && parent == d->frames);
  if (in_array && target->type == DOC_ARRAY)
    return refuse(d, name, "holds an array directly in an array; put a map between them");
  /* The document's own map does not count, nor does the list that an operand may be. */
  size_t uncounted = operand || (parent != NULL && d->frames[0].target == NULL) ? 1 : 0;
  size_t depth = (parent == NULL ? 0 : (size_t)(parent - d->frames) + 1) + 1;
  *ret_beyond = depth > LIMIT_VALUE_DEPTH + uncounted;
  if (!*ret_beyond)
    return true;
  bool inside = parent != NULL && parent->beyond;
  return inside == (target->type == DOC_ARRAY) || too_deep(d, name);
}

/* How many entries there are to read. An entry that is too short to be accepted ends the count: reading ends
 * there too, and no room is needed for what follows. This is what bounds the memory of a tree. */
static enum wire_read count_entries(struct wire_reader in, uint32_t number, size_t min_bytes, size_t *ret) {
  struct wire_field field;
  enum wire_read read;
  size_t count = 0;
  while ((read = wire_read_field(&in, &field)) == WIRE_READ_FIELD) {
    if (field.number != number || field.type != WIRE_BYTES)
      continue;
    count++;
    if (field.bytes.len < min_bytes)
      break;
  }
  *ret = count;
  return read;
}

/* Makes a map (target NULL: the document's) or array the top frame. */
static bool open_container(struct decoder *d, struct doc_value *target, str name, str wire, uint32_t number) {
  bool beyond;
  if (!check_nesting(d, target, name, &beyond))
    return false;
  struct frame *frame = d->top == NULL ? d->frames : d->top + 1;
  assert(frame < d->frames + sizeof d->frames / sizeof d->frames[0]);
  *frame = (struct frame){
      .in = wire_reader_make(wire), .target = target, .name = name, .number = number, .beyond = beyond};
  bool array = frame_is_array(frame);
  if (count_entries(frame->in, number, array ? ITEM_MIN_BYTES : ENTRY_MIN_BYTES, &frame->capacity) ==
      WIRE_READ_BROKEN)
    return refuse(d, name, BROKEN);
  if (frame->capacity > 0) {
    size_t size = array ? sizeof *frame->items : sizeof *frame->fields;
    void *entries = arena_alloc(d->arena, frame->capacity * size); /* capacity <= wire bytes: no overflow */
    if (entries == NULL)
      return exhausted(d);
    if (array)
      frame->items = entries;
    else
      frame->fields = entries;
  }
  d->top = frame;
  return true;
}

/* Most names are good, and seen to be so without making a status. */
static bool name_is_plain(const struct decoder *d, str name) {
  if (name.len == 0 || name.len > LIMIT_ID_BYTES)
    return false;
  return d->stored || (name.ptr[0] != '_' && utf8_is_valid(name.ptr, name.len));
}

/* An entry as every encoder writes it: the key, the value, nothing else. */
static bool split_entry(str wire, str *ret_name, str *ret_value) {
  struct wire_reader in = wire_reader_make(wire);
  if (in.at == in.end || *in.at++ != (ENTRY_KEY << 3 | WIRE_BYTES) || !wire_read_bytes(&in, ret_name))
    return false;
  return in.at != in.end && *in.at++ == (ENTRY_VALUE << 3 | WIRE_BYTES) && wire_read_bytes(&in, ret_value) &&
         in.at == in.end;
}

/* The same for an entry of any form. */
static bool search_entry(struct decoder *d, str map_name, str wire, str *ret_name, str *ret_value) {
  struct wire_reader in = wire_reader_make(wire);
  struct wire_field field;
  size_t values = 0;
  enum wire_read read;
  *ret_name = *ret_value = (str){NULL, 0};
  while ((read = wire_read_field(&in, &field)) == WIRE_READ_FIELD) {
    if (field.number == ENTRY_KEY && field.type == WIRE_BYTES) {
      *ret_name = field.bytes;
    } else if (field.number == ENTRY_VALUE && field.type == WIRE_BYTES) {
      *ret_value = field.bytes;
      values++;
    }
  }
  if (read == WIRE_READ_BROKEN)
    return refuse(d, map_name, BROKEN);
  return values <= 1 || gather(d, wire_reader_make(wire), ENTRY_VALUE, ret_value);
}

/* Name and value of a map's entry. */
static bool read_entry(struct decoder *d, struct frame *frame, str wire) {
  str name, value;
  if (!split_entry(wire, &name, &value) && !search_entry(d, frame->name, wire, &name, &value))
    return false;
  if (frame->target != NULL && str_eq(name, STR("__type__"))) {
    frame->vector = true; /* or refused, when the map is complete */
  } else if (!name_is_plain(d, name)) {
    d->error = doc_field_name_check(name);
    if (!status_is_ok(&d->error))
      return false;
  }
  struct doc_field *slot = &frame->fields[frame->count++];
  if (frame->count > 1 && str_cmp(slot[-1].name, name) >= 0)
    frame->unsorted = true;
  slot->name = name;
  return read_value(d, name, value, &slot->value);
}

/* By name; of equal names the one that came first first: all names of a map point into the same bytes. */
static int compare_fields(const void *left, const void *right) {
  const struct doc_field *a = left, *b = right;
  int order = str_cmp(a->name, b->name);
  return order != 0 ? order : (a->name.ptr > b->name.ptr) - (a->name.ptr < b->name.ptr);
}

/* Sorts by name; of a name that came several times the last stays. */
static void sort_fields(struct frame *frame) {
  enum { SMALL = 16 };
  struct doc_field *fields = frame->fields;
  if (frame->count > SMALL) {
    qsort(fields, frame->count, sizeof *fields, compare_fields);
  } else {
    for (size_t i = 1; i < frame->count; i++) {
      struct doc_field moved = fields[i];
      size_t at = i;
      for (; at > 0 && str_cmp(fields[at - 1].name, moved.name) > 0; at--)
        fields[at] = fields[at - 1];
      fields[at] = moved;
    }
  }
  size_t kept = 0;
  for (size_t i = 0; i < frame->count; i++) {
    bool again = kept > 0 && str_eq(fields[kept - 1].name, fields[i].name);
    fields[again ? kept - 1 : kept++] = fields[i];
  }
  frame->count = kept;
}

/* A map with `__type__` must be a vector. */
static bool check_vector(struct decoder *d, const struct frame *frame) {
  const struct doc_value map = {.type = DOC_MAP, .as.map = {frame->fields, frame->count}};
  if (!doc_value_is_vector(&map))
    return refuse(d, frame->name, "has the reserved field \"__type__\" and is not a vector");
  struct doc_array array = frame->fields[1].value.as.array;
  if (array.count == 0 || array.count > LIMIT_VECTOR_DIMENSIONS)
    return refuse(d, frame->name, "is a vector without dimensions, or with more than 2048");
  for (size_t i = 0; i < array.count; i++)
    if (array.items[i].type != DOC_DOUBLE)
      return refuse(d, frame->name, "is a vector with something that is not a double");
  return true;
}

/* The top frame is read: gives its entries to the target, or to *ret_root if it was a document's. */
static bool close_container(struct decoder *d, struct doc_document *ret_root) {
  struct frame *frame = d->top;
  d->top = frame == d->frames ? NULL : frame - 1;
  if (frame_is_array(frame)) {
    frame->target->as.array = (struct doc_array){frame->items, frame->count};
    return true;
  }
  if (frame->unsorted && d->stored)
    return refuse(d, frame->name, "has fields out of order");
  if (frame->unsorted)
    sort_fields(frame);
  if (frame->beyond && !frame->vector)
    return too_deep(d, frame->name);
  if (frame->vector && !check_vector(d, frame))
    return false;
  struct doc_map map = {frame->fields, frame->count};
  if (frame->target == NULL) {
    assert(ret_root != NULL);
    ret_root->fields = map;
  } else {
    frame->target->as.map = map;
  }
  return true;
}

/* Reads until the stack is empty. */
static bool run(struct decoder *d, struct doc_document *ret_root) {
  while (d->top != NULL) {
    struct frame *frame = d->top;
    struct wire_field field;
    enum wire_read read = wire_read_field(&frame->in, &field);
    assert(read != WIRE_READ_BROKEN || frame->count == frame->capacity); /* count_entries saw it */
    if (read == WIRE_READ_BROKEN)
      return refuse(d, frame->name, BROKEN);
    bool good;
    if (read == WIRE_READ_END) {
      good = close_container(d, ret_root);
    } else if (field.type != WIRE_BYTES || field.number != frame->number) {
      if (frame->target == NULL && field.type == WIRE_BYTES && field.number == DOCUMENT_NAME) {
        assert(ret_root != NULL);
        ret_root->name = field.bytes;
      }
      continue;
    } else {
      assert(frame->count < frame->capacity);
      good = frame_is_array(frame) ? read_value(d, frame->name, field.bytes, &frame->items[frame->count++])
                                   : read_entry(d, frame, field.bytes);
    }
    if (!good)
      return false;
  }
  return true;
}

/* ---- What callers see ---- */

status doc_decode_document(str wire, struct arena *arena, struct doc_document *ret) {
  struct decoder d;
  decoder_init(&d, arena, false, DOC_USE_FIELD);
  struct doc_document document = {.name = {NULL, 0}};
  if (!open_container(&d, NULL, (str){NULL, 0}, wire, DOCUMENT_FIELDS) || !run(&d, &document))
    return d.error;
  if (!utf8_is_valid(document.name.ptr, document.name.len))
    return status_make(STATUS_INVALID_ARGUMENT, "The document's name is not valid UTF-8.");
  *ret = document;
  return status_ok();
}

status doc_decode_value(str wire, enum doc_use use, struct arena *arena, struct doc_value *ret) {
  struct decoder d;
  decoder_init(&d, arena, false, use);
  struct doc_value value;
  struct doc_document none; /* the stack holds no document */
  if (!read_value(&d, (str){NULL, 0}, wire, &value) || !run(&d, &none))
    return d.error;
  *ret = value;
  return status_ok();
}

/* What reading stored bytes gives instead of the error of a client's. */
static status stored_error(const struct decoder *d) {
  if (d->error.code == STATUS_INVALID_ARGUMENT)
    return status_make(STATUS_DATA_LOSS, "A stored document is damaged: %s", d->error.message);
  return d->error;
}

status doc_decode_fields(str stored, struct arena *arena, struct doc_map *ret) {
  struct decoder d;
  decoder_init(&d, arena, true, DOC_USE_FIELD);
  struct doc_document document;
  if (!open_container(&d, NULL, (str){NULL, 0}, stored, DOCUMENT_FIELDS) || !run(&d, &document))
    return stored_error(&d);
  *ret = document.fields;
  return status_ok();
}

/* ---- Stored fields one by one ---- */

bool doc_fields_next(str *rest, str *ret_name, str *ret_value, bool *ret_damaged) {
  *ret_damaged = false;
  if (rest->len == 0)
    return false;
  struct wire_reader in = wire_reader_make(*rest);
  str entry, name, value;
  if (*in.at++ != (DOCUMENT_FIELDS << 3 | WIRE_BYTES) || !wire_read_bytes(&in, &entry) ||
      !split_entry(entry, &name, &value) || name.len == 0 || name.len > LIMIT_ID_BYTES) {
    *ret_damaged = true;
    return false;
  }
  *rest = str_make(in.at, (size_t)(in.end - in.at));
  *ret_name = name;
  *ret_value = value;
  return true;
}

/* A stored field's value, with the field's name for the message. */
static status decode_stored(str name, str value, struct arena *arena, struct doc_value *ret) {
  struct decoder d;
  decoder_init(&d, arena, true, DOC_USE_FIELD);
  struct doc_document none; /* the stack holds no document */
  if (!read_value(&d, name, value, ret) || !run(&d, &none))
    return stored_error(&d);
  return status_ok();
}

status doc_decode_stored_value(str value, struct arena *arena, struct doc_value *ret) {
  struct doc_value decoded;
  STATUS_TRY(decode_stored((str){NULL, 0}, value, arena, &decoded));
  *ret = decoded;
  return status_ok();
}

status doc_decode_some_fields(str stored, const str *names, size_t count, struct arena *arena,
                              struct doc_map *ret) {
  struct doc_field *fields =
      arena_alloc(arena, count * sizeof *fields); /* names are in memory: no overflow */
  if (fields == NULL)
    return status_make(STATUS_RESOURCE_EXHAUSTED, "Too many fields for the memory of one call.");
  size_t found = 0;
  bool damaged = false;
  str name, value;
  for (size_t wanted = 0; wanted < count && doc_fields_next(&stored, &name, &value, &damaged);) {
    int order = str_cmp(names[wanted], name);
    while (order < 0 && ++wanted < count)
      order = str_cmp(names[wanted], name);
    if (wanted == count || order > 0)
      continue;
    fields[found].name = name;
    STATUS_TRY(decode_stored(name, value, arena, &fields[found++].value));
    wanted++;
  }
  if (damaged)
    return status_make(STATUS_DATA_LOSS, "A stored document is damaged: its fields do not come one by one.");
  *ret = (struct doc_map){fields, found};
  return status_ok();
}
