#include "server/json/json_write.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/base64.h"
#include "base/limits.h"
#include "base/utf8.h"
#include "server/json/json_time.h"
#include "server/json/wire_walk.h"

enum { NUMBER_CHARS = 40 };

struct writer {
  const struct schema *schema;
  struct buf *out;
  unsigned depth;
};

static bool write_message(struct writer *w, const struct schema_message *message, str wire);

/* ---- Strings ---- */

static void write_escape(struct buf *out, unsigned char c) {
  static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
  const char *found = c == 0 ? NULL : strchr(from, c);
  if (found == NULL) {
    buf_printf(out, "\\u%04x", c);
    return;
  }
  buf_append_byte(out, '\\');
  buf_append_byte(out, (uint8_t)to[found - from]);
}

static void write_text(struct buf *out, str text) {
  buf_append_byte(out, '"');
  size_t start = 0;
  for (size_t i = 0; i < text.len; i++) {
    unsigned char c = (unsigned char)text.ptr[i];
    if (c >= 0x20 && c != '"' && c != '\\')
      continue;
    buf_append(out, text.ptr + start, i - start);
    write_escape(out, c);
    start = i + 1;
  }
  if (text.len > 0)
    buf_append(out, text.ptr + start, text.len - start);
  buf_append_byte(out, '"');
}

bool json_write_string(str text, struct buf *out) {
  if (text.len > 0 && !utf8_is_valid(text.ptr, text.len))
    return false;
  write_text(out, text);
  return true;
}

/* ---- Numbers ---- */

static void write_integer(struct buf *out, bool is_negative, uint64_t magnitude, bool is_quoted) {
  char text[NUMBER_CHARS], *at = text + sizeof text;
  if (is_quoted)
    *--at = '"';
  do {
    *--at = (char)('0' + magnitude % 10);
    magnitude /= 10;
  } while (magnitude > 0);
  if (is_negative)
    *--at = '-';
  if (is_quoted)
    *--at = '"';
  buf_append(out, at, (size_t)(text + sizeof text - at));
}

static void write_signed(struct buf *out, int64_t value, bool is_quoted) {
  write_integer(out, value < 0, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, is_quoted);
}

/* A short text that reads back as the same number; -0 keeps its sign. */
static void write_double(struct buf *out, double value, bool is_float) {
  char text[NUMBER_CHARS];
  if (isnan(value) || isinf(value)) {
    buf_append_str(out, isnan(value) ? STR("\"NaN\"")
                        : value > 0  ? STR("\"Infinity\"")
                                     : STR("\"-Infinity\""));
    return;
  }
  if (value == trunc(value) && fabs(value) < 1e15 && !(value == 0 && signbit(value))) {
    write_signed(out, (int64_t)value, false);
    return;
  }
  int most = is_float ? 9 : 17;
  for (int digits = is_float ? 6 : 15; digits <= most; digits++) {
    snprintf(text, sizeof text, "%.*g", digits, value);
    double back = strtod(text, NULL);
    if (is_float ? (float)back == (float)value : back == value)
      break;
  }
  buf_append_str(out, str_from_cstr(text));
}

/* ---- Scalars ---- */

static bool write_enum(struct writer *w, const struct schema_enum *e, int32_t value) {
  if (e->is_null) {
    buf_append_str(w->out, STR("null"));
    return true;
  }
  for (size_t i = 0; i < e->count; i++) {
    if (e->numbers[i] != value)
      continue;
    write_text(w->out, e->names[i]);
    return true;
  }
  write_signed(w->out, value, false);
  return true;
}

static double as_double(uint64_t bits) {
  double value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static float as_float(uint64_t bits) {
  uint32_t narrow = (uint32_t)bits;
  float value;
  memcpy(&value, &narrow, sizeof value);
  return value;
}

static enum wire_type wire_type_of(enum schema_type type) {
  switch (type) {
  case SCHEMA_DOUBLE:
  case SCHEMA_FIXED64:
  case SCHEMA_SFIXED64:
    return WIRE_FIXED64;
  case SCHEMA_FLOAT:
  case SCHEMA_FIXED32:
  case SCHEMA_SFIXED32:
    return WIRE_FIXED32;
  case SCHEMA_STRING:
  case SCHEMA_BYTES:
  case SCHEMA_MESSAGE:
  case SCHEMA_GROUP:
    return WIRE_BYTES;
  case SCHEMA_INT64:
  case SCHEMA_UINT64:
  case SCHEMA_INT32:
  case SCHEMA_BOOL:
  case SCHEMA_UINT32:
  case SCHEMA_ENUM:
  case SCHEMA_SINT32:
  case SCHEMA_SINT64:
    break;
  }
  return WIRE_VARINT;
}

/* `value` or `bytes`, by the type. */
static bool write_scalar(struct writer *w, const struct schema_field *field, uint64_t value, str bytes) {
  struct buf *out = w->out;
  int64_t zigzag = (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
  switch (field->type) {
  case SCHEMA_DOUBLE:
    write_double(out, as_double(value), false);
    return true;
  case SCHEMA_FLOAT:
    write_double(out, (double)as_float(value), true);
    return true;
  case SCHEMA_INT64:
  case SCHEMA_SFIXED64:
    write_signed(out, (int64_t)value, true);
    return true;
  case SCHEMA_SINT64:
    write_signed(out, zigzag, true);
    return true;
  case SCHEMA_UINT64:
  case SCHEMA_FIXED64:
    write_integer(out, false, value, true);
    return true;
  case SCHEMA_INT32:
  case SCHEMA_SFIXED32:
    write_signed(out, (int32_t)value, false);
    return true;
  case SCHEMA_SINT32:
    write_signed(out, (int32_t)zigzag, false);
    return true;
  case SCHEMA_UINT32:
  case SCHEMA_FIXED32:
    write_integer(out, false, (uint32_t)value, false);
    return true;
  case SCHEMA_BOOL:
    buf_append_str(out, value != 0 ? STR("true") : STR("false"));
    return true;
  case SCHEMA_STRING:
    return json_write_string(bytes, out);
  case SCHEMA_BYTES:
    buf_append_byte(out, '"');
    base64_encode(bytes, out);
    buf_append_byte(out, '"');
    return true;
  case SCHEMA_ENUM:
    return write_enum(w, field->enumeration, (int32_t)value);
  case SCHEMA_MESSAGE:
  case SCHEMA_GROUP:
    break;
  }
  return false;
}

static bool write_one(struct writer *w, const struct schema_field *field, const struct wire_walk_field *at) {
  return field->type == SCHEMA_MESSAGE ? write_message(w, field->message, at->bytes)
                                       : write_scalar(w, field, at->value, at->bytes);
}

/* Of a field that is not there. */
static bool write_default(struct writer *w, const struct schema_field *field) {
  return field->type == SCHEMA_MESSAGE ? write_message(w, field->message, STR(""))
                                       : write_scalar(w, field, 0, STR(""));
}

/* ---- Lists and maps ---- */

/* Whether the type of the wire is the field's; `packed`: or its packed form. */
static bool fits(const struct schema_field *field, const struct wire_walk_field *at, bool *ret_packed) {
  enum wire_type own = wire_type_of(field->type);
  *ret_packed = field->is_repeated && own != WIRE_BYTES && at->type == WIRE_BYTES;
  return at->type == own || *ret_packed;
}

static bool write_packed(struct writer *w, const struct schema_field *field, str bytes, bool *is_first) {
  while (bytes.len > 0) {
    uint64_t value;
    enum wire_type type = wire_type_of(field->type);
    bool ok = type == WIRE_VARINT ? wire_walk_varint(&bytes, &value)
                                  : wire_walk_fixed(&bytes, type == WIRE_FIXED64 ? 8 : 4, &value);
    if (!ok)
      return false;
    buf_append_str(w->out, *is_first ? STR("") : STR(","));
    *is_first = false;
    if (!write_scalar(w, field, value, STR("")))
      return false;
  }
  return true;
}

/* Keys are strings whatever they are. */
static bool write_key(struct writer *w, const struct schema_field *key, const struct wire_walk_field *at) {
  bool is_quoted = key->type == SCHEMA_STRING || key->type == SCHEMA_INT64 || key->type == SCHEMA_UINT64 ||
                   key->type == SCHEMA_SINT64 || key->type == SCHEMA_FIXED64 || key->type == SCHEMA_SFIXED64;
  buf_append_str(w->out, is_quoted ? STR("") : STR("\""));
  bool ok = at == NULL ? write_scalar(w, key, 0, STR("")) : write_scalar(w, key, at->value, at->bytes);
  buf_append_str(w->out, is_quoted ? STR(":") : STR("\":"));
  return ok;
}

static bool write_entry(struct writer *w, const struct schema_message *entry, str wire) {
  const struct schema_field *key = &entry->fields[0], *value = &entry->fields[1];
  struct wire_walk_field at, key_at = {0}, value_at = {0};
  while (wire_walk(&wire, &at)) {
    if (at.number == 1 && at.type == wire_type_of(key->type))
      key_at = at;
    else if (at.number == 2 && at.type == wire_type_of(value->type))
      value_at = at;
  }
  return wire.len == 0 && write_key(w, key, key_at.number == 0 ? NULL : &key_at) &&
         (value_at.number == 0 ? write_default(w, value) : write_one(w, value, &value_at));
}

/* The field at `first`, and those of the same number that follow directly. */
static bool write_repeated(struct writer *w, const struct schema_field *field,
                           const struct wire_walk_field *first, str *rest) {
  struct wire_walk_field at = *first;
  bool is_first = true;
  buf_append_byte(w->out, field->is_map ? '{' : '[');
  for (;;) {
    bool is_packed;
    if (fits(field, &at, &is_packed)) {
      if (!is_first && !is_packed)
        buf_append_byte(w->out, ',');
      bool ok = is_packed       ? write_packed(w, field, at.bytes, &is_first)
                : field->is_map ? write_entry(w, field->message, at.bytes)
                                : write_one(w, field, &at);
      if (!ok)
        return false;
      is_first = is_first && is_packed;
    }
    str ahead = *rest;
    if (!wire_walk(&ahead, &at) || at.number != field->number)
      break;
    *rest = ahead;
  }
  buf_append_byte(w->out, field->is_map ? '}' : ']');
  return true;
}

/* ---- Messages ---- */

/* The members, without braces; `is_first` false: something stands before them. */
static bool write_members(struct writer *w, const struct schema_message *message, str wire, bool is_first) {
  uint64_t seen[SCHEMA_FIELDS_MAX / 64] = {0};
  struct wire_walk_field at;
  while (wire_walk(&wire, &at)) {
    const struct schema_field *field = schema_field_numbered(message, at.number);
    bool is_packed;
    if (field == NULL || !fits(field, &at, &is_packed))
      continue;
    size_t index = schema_field_index(message, field);
    if ((seen[index / 64] & 1ULL << index % 64) != 0)
      return false;
    seen[index / 64] |= 1ULL << index % 64;
    buf_append_str(w->out, is_first ? STR("\"") : STR(",\""));
    is_first = false;
    buf_append_str(w->out, field->json_name);
    buf_append_str(w->out, STR("\":"));
    if (!(field->is_repeated ? write_repeated(w, field, &at, &wire) : write_one(w, field, &at)))
      return false;
  }
  return wire.len == 0;
}

/* The one field that counts of a message with a form of its own, the last one: false if it is not there. */
static bool find_last(str wire, uint64_t number, struct wire_walk_field *ret) {
  struct wire_walk_field at;
  bool found = false;
  while (wire_walk(&wire, &at)) {
    if (number != 0 && at.number != number)
      continue;
    *ret = at;
    found = true;
  }
  return found;
}

static bool write_time(struct writer *w, const struct schema_message *message, str wire) {
  struct wire_walk_field seconds = {0}, nanos = {0};
  find_last(wire, 1, &seconds);
  find_last(wire, 2, &nanos);
  buf_append_byte(w->out, '"');
  bool ok = message->kind == SCHEMA_DURATION
                ? json_duration_write((int64_t)seconds.value, (int32_t)nanos.value, w->out)
                : json_timestamp_write((int64_t)seconds.value, (int32_t)nanos.value, w->out);
  buf_append_byte(w->out, '"');
  return ok;
}

/* Paths as a.b_c become a.bC. */
static bool write_mask(struct writer *w, str wire) {
  struct wire_walk_field at;
  bool is_first = true;
  buf_append_byte(w->out, '"');
  while (wire_walk(&wire, &at)) {
    if (at.number != 1 || at.type != WIRE_BYTES)
      continue;
    if (at.bytes.len > 0 && !utf8_is_valid(at.bytes.ptr, at.bytes.len))
      return false;
    buf_append_str(w->out, is_first ? STR("") : STR(","));
    is_first = false;
    for (size_t i = 0; i < at.bytes.len; i++) {
      char c = at.bytes.ptr[i];
      bool is_up =
          c == '_' && i + 1 < at.bytes.len && at.bytes.ptr[i + 1] >= 'a' && at.bytes.ptr[i + 1] <= 'z';
      if (is_up)
        c = (char)(at.bytes.ptr[++i] - 'a' + 'A');
      if (c == '"' || c == '\\' || (unsigned char)c < 0x20)
        write_escape(w->out, (unsigned char)c);
      else
        buf_append_byte(w->out, (uint8_t)c);
    }
  }
  buf_append_byte(w->out, '"');
  return wire.len == 0;
}

static bool write_list(struct writer *w, const struct schema_message *message, str wire) {
  const struct schema_field *field = &message->fields[0];
  struct wire_walk_field at;
  if (wire_walk(&wire, &at) && at.number == field->number)
    return write_repeated(w, field, &at, &wire) && wire.len == 0;
  buf_append_str(w->out, field->is_map ? STR("{}") : STR("[]"));
  return wire.len == 0;
}

static bool write_any(struct writer *w, str wire) {
  struct wire_walk_field url = {0}, value = {0};
  find_last(wire, 1, &url);
  find_last(wire, 2, &value);
  if (url.bytes.len == 0) {
    buf_append_str(w->out, STR("{}"));
    return true;
  }
  str name = url.bytes;
  for (size_t i = 0; i < url.bytes.len; i++)
    if (url.bytes.ptr[i] == '/')
      name = str_from(url.bytes, i + 1);
  const struct schema_message *message = schema_find(w->schema, name);
  buf_append_str(w->out, STR("{\"@type\":"));
  if (!json_write_string(url.bytes, w->out))
    return false;
  bool ok = true;
  if (message == NULL) { /* not ours: its bytes, so that nothing is lost */
    buf_append_str(w->out, STR(",\"value\":\""));
    base64_encode(value.bytes, w->out);
    buf_append_byte(w->out, '"');
  } else if (message->kind == SCHEMA_PLAIN) {
    ok = write_members(w, message, value.bytes, false);
  } else {
    buf_append_str(w->out, STR(",\"value\":"));
    ok = write_message(w, message, value.bytes);
  }
  buf_append_byte(w->out, '}');
  return ok;
}

/* google.protobuf.Value: the member that is there. */
static bool write_value(struct writer *w, const struct schema_message *message, str wire) {
  struct wire_walk_field at;
  const struct schema_field *field =
      find_last(wire, 0, &at) ? schema_field_numbered(message, at.number) : NULL;
  bool is_packed;
  if (field != NULL && fits(field, &at, &is_packed))
    return write_one(w, field, &at);
  buf_append_str(w->out, STR("null"));
  return true;
}

static bool write_wrapper(struct writer *w, const struct schema_message *message, str wire) {
  const struct schema_field *field = &message->fields[0];
  struct wire_walk_field at;
  bool is_packed;
  if (find_last(wire, 1, &at) && fits(field, &at, &is_packed))
    return write_one(w, field, &at);
  return write_default(w, field);
}

static bool write_special(struct writer *w, const struct schema_message *message, str wire) {
  switch (message->kind) {
  case SCHEMA_ANY:
    return write_any(w, wire);
  case SCHEMA_DURATION:
  case SCHEMA_TIMESTAMP:
    return write_time(w, message, wire);
  case SCHEMA_FIELD_MASK:
    return write_mask(w, wire);
  case SCHEMA_LIST_VALUE:
  case SCHEMA_STRUCT:
    return write_list(w, message, wire);
  case SCHEMA_VALUE:
    return write_value(w, message, wire);
  case SCHEMA_WRAPPER:
    return write_wrapper(w, message, wire);
  case SCHEMA_PLAIN:
    break;
  }
  buf_append_byte(w->out, '{');
  bool ok = write_members(w, message, wire, true);
  buf_append_byte(w->out, '}');
  return ok;
}

static bool write_message(struct writer *w, const struct schema_message *message, str wire) {
  if (++w->depth > LIMIT_MESSAGE_DEPTH)
    return false;
  bool ok = write_special(w, message, wire);
  w->depth--;
  return ok;
}

bool json_write_message(const struct schema *schema, const struct schema_message *message, str wire,
                        struct buf *out) {
  struct writer w = {.schema = schema, .out = out};
  return write_message(&w, message, wire);
}
