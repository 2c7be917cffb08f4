#include "server/json/json_read.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "base/base64.h"
#include "base/utf8.h"
#include "base/wire.h"
#include "server/json/json_text.h"
#include "server/json/json_time.h"
#include "server/json/wire_walk.h"

enum { NUMBER_CHARS_MAX = 400, TYPE_CHARS_MAX = 300, MOVED_BYTES_MAX = 4096, PATH_FIELDS_MAX = 16 };

/* The functions below recurse, so they do not carry a status: it is here. False: it failed. */
struct reader {
  struct json_text text;
  const struct schema *schema;
  struct buf *out;
  unsigned depth, any_depth;
  bool passes_unknown;
  status failure;
};

static bool read_value(struct reader *r, const struct schema_field *field, uint32_t number);

/* ---- Failures ---- */

static bool fail(struct reader *r, const char *what) {
  r->failure = json_text_error(&r->text, what);
  return false;
}

static bool fail_field(struct reader *r, const char *what, str name, str type) {
  name = utf8_cut(name, JSON_NAME_SHOWN_BYTES);
  r->failure =
      status_make(STATUS_INVALID_ARGUMENT, "Invalid JSON: %s \"" STR_FMT "\" in " STR_FMT " (at byte %zu).",
                  what, STR_ARG(name), STR_ARG(type), (size_t)(r->text.at - r->text.start));
  return false;
}

static bool fail_value(struct reader *r, const struct schema_field *field, const char *what) {
  r->failure =
      status_make(STATUS_INVALID_ARGUMENT, "Invalid JSON: the field \"" STR_FMT "\" %s (at byte %zu).",
                  STR_ARG(field->json_name), what, (size_t)(r->text.at - r->text.start));
  return false;
}

static bool fail_parameter(struct reader *r, str name, str type) {
  name = utf8_cut(name, JSON_NAME_SHOWN_BYTES);
  r->failure = status_make(STATUS_INVALID_ARGUMENT,
                           "There is no parameter \"" STR_FMT "\": " STR_FMT " has no such field.",
                           STR_ARG(name), STR_ARG(type));
  return false;
}

static bool take_string(struct reader *r, str *ret) {
  r->failure = json_text_string(&r->text, ret);
  return status_is_ok(&r->failure);
}

static bool take_number(struct reader *r, str *ret) {
  r->failure = json_text_number(&r->text, ret);
  return status_is_ok(&r->failure);
}

/* A key and its colon. */
static bool take_key(struct reader *r, str *ret) {
  return take_string(r, ret) && (json_text_take(&r->text, ':') || fail(r, "a colon was expected"));
}

static bool enter(struct reader *r) {
  return ++r->depth <= JSON_DEPTH_MAX || fail(r, "too many objects and arrays in each other");
}

/* Behind a value in an object or array: whether another one follows. False also at a failure. */
static bool goes_on(struct reader *r, char end, bool *ret_failed) {
  if (json_text_take(&r->text, ',')) {
    *ret_failed = json_text_peek(&r->text) == end && !fail(r, "a comma with nothing behind it");
    return !*ret_failed;
  }
  *ret_failed = !json_text_take(&r->text, end) && !fail(r, "a comma or the end was expected");
  return false;
}

/* ---- Wire ---- */

static void put_varint(struct buf *out, uint64_t value) {
  if (buf_reserve(out, 10))
    out->len = (size_t)(wire_put_varint(out->data + out->len, value) - out->data);
}

static void put_tag(struct buf *out, uint32_t number, enum wire_type type) {
  put_varint(out, (uint64_t)number << 3 | (uint64_t)type);
}

static void put_fixed(struct buf *out, uint64_t value, unsigned bytes) {
  for (unsigned i = 0; i < bytes; i++)
    buf_append_byte(out, (uint8_t)(value >> (8 * i)));
}

static void put_bytes(struct buf *out, uint32_t number, str bytes) {
  put_tag(out, number, WIRE_BYTES);
  put_varint(out, bytes.len);
  buf_append_str(out, bytes);
}

/* A field of bytes whose length is not known yet: room for it is left, by what of the text is left. */
struct opened {
  size_t at;
  unsigned room;
};

static struct opened open_bytes(struct reader *r, uint32_t number) {
  size_t left = (size_t)(r->text.end - r->text.at);
  put_tag(r->out, number, WIRE_BYTES);
  struct opened opened = {r->out->len, left < 32 ? 1 : left < 4096 ? 2 : 5};
  if (buf_reserve(r->out, opened.room))
    r->out->len += opened.room;
  return opened;
}

/* The length in its fewest bytes, if few bytes have to move for that; otherwise padded, as varints may be. So
 * messages in messages do not move again and again. */
static void close_bytes(struct reader *r, struct opened opened) {
  struct buf *out = r->out;
  if (out->failed)
    return;
  size_t len = out->len - opened.at - opened.room;
  unsigned wanted = (unsigned)wire_varint_size(len);
  if (wanted > opened.room && !buf_reserve(out, wanted - opened.room))
    return;
  if (wanted > opened.room || (wanted < opened.room && len <= MOVED_BYTES_MAX)) {
    memmove(out->data + opened.at + wanted, out->data + opened.at + opened.room, len);
    out->len = opened.at + wanted + len;
    opened.room = wanted;
  }
  for (unsigned i = 0; i < opened.room; i++, len >>= 7)
    out->data[opened.at + i] = (uint8_t)((len & 0x7f) | (i + 1 < opened.room ? 0x80 : 0));
}

/* ---- Numbers ---- */

/* A number as text, as a double. False: it is none, or too long to be meant. */
static bool to_double(str text, double *ret) {
  char copy[NUMBER_CHARS_MAX + 1];
  if (!json_is_number(text) || text.len > NUMBER_CHARS_MAX)
    return false;
  memcpy(copy, text.ptr, text.len);
  copy[text.len] = '\0';
  *ret = strtod(copy, NULL);
  return true;
}

/* A whole number: digits, or "1e3" and "1.0" too, which are exact as far as doubles are. */
static bool to_integer(str text, bool *ret_negative, uint64_t *ret_magnitude) {
  bool is_plain = true;
  if (!json_is_number(text))
    return false;
  for (size_t i = 0; i < text.len; i++)
    is_plain = is_plain && text.ptr[i] != '.' && text.ptr[i] != 'e' && text.ptr[i] != 'E';
  *ret_negative = text.ptr[0] == '-';
  if (is_plain)
    return str_to_u64(str_from(text, *ret_negative), ret_magnitude);
  double value;
  if (!to_double(text, &value) || value != trunc(value) || fabs(value) >= 18446744073709551616.0)
    return false;
  *ret_magnitude = (uint64_t)fabs(value);
  return true;
}

static bool to_signed(str text, int64_t min, int64_t max, int64_t *ret) {
  bool negative;
  uint64_t magnitude;
  if (!to_integer(text, &negative, &magnitude) || magnitude > (uint64_t)INT64_MAX + negative)
    return false;
  int64_t value = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
  if (value < min || value > max)
    return false;
  *ret = value;
  return true;
}

static bool to_unsigned(str text, uint64_t max, uint64_t *ret) {
  bool negative;
  return to_integer(text, &negative, ret) && (!negative || *ret == 0) && *ret <= max;
}

/* ---- Scalars ---- */

/* As it stands in the text. */
struct scalar {
  str text;
  bool is_quoted; /* a string */
  bool is_free;   /* from a URL: a string that may be anything */
};

static bool put_signed(struct reader *r, const struct schema_field *field, uint32_t number, str text) {
  bool is_32 = field->type == SCHEMA_INT32 || field->type == SCHEMA_SINT32 || field->type == SCHEMA_SFIXED32;
  int64_t value;
  if (!to_signed(text, is_32 ? INT32_MIN : INT64_MIN, is_32 ? INT32_MAX : INT64_MAX, &value))
    return fail_value(r, field, "wants a whole number that fits");
  switch ((int)field->type) {
  case SCHEMA_SFIXED32:
    put_tag(r->out, number, WIRE_FIXED32);
    put_fixed(r->out, (uint64_t)value, 4);
    break;
  case SCHEMA_SFIXED64:
    put_tag(r->out, number, WIRE_FIXED64);
    put_fixed(r->out, (uint64_t)value, 8);
    break;
  case SCHEMA_SINT32:
  case SCHEMA_SINT64:
    put_tag(r->out, number, WIRE_VARINT);
    put_varint(r->out, (uint64_t)value << 1 ^ (value < 0 ? UINT64_MAX : 0));
    break;
  default:
    put_tag(r->out, number, WIRE_VARINT);
    put_varint(r->out, (uint64_t)value);
  }
  return true;
}

static bool put_unsigned(struct reader *r, const struct schema_field *field, uint32_t number, str text) {
  bool is_32 = field->type == SCHEMA_UINT32 || field->type == SCHEMA_FIXED32;
  uint64_t value;
  if (!to_unsigned(text, is_32 ? UINT32_MAX : UINT64_MAX, &value))
    return fail_value(r, field, "wants a whole number that fits, not less than 0");
  if (field->type == SCHEMA_FIXED32 || field->type == SCHEMA_FIXED64) {
    put_tag(r->out, number, is_32 ? WIRE_FIXED32 : WIRE_FIXED64);
    put_fixed(r->out, value, is_32 ? 4 : 8);
    return true;
  }
  put_tag(r->out, number, WIRE_VARINT);
  put_varint(r->out, value);
  return true;
}

static bool put_double(struct reader *r, const struct schema_field *field, uint32_t number,
                       const struct scalar *s) {
  double value;
  bool is_float = field->type == SCHEMA_FLOAT;
  if (s->is_quoted && str_eq(s->text, STR("NaN")))
    value = (double)NAN;
  else if (s->is_quoted && str_eq(s->text, STR("Infinity")))
    value = (double)INFINITY;
  else if (s->is_quoted && str_eq(s->text, STR("-Infinity")))
    value = -(double)INFINITY;
  else if (!to_double(s->text, &value) || isinf(value) || (is_float && isinf((float)value)))
    return fail_value(r, field, "wants a number that fits");
  put_tag(r->out, number, is_float ? WIRE_FIXED32 : WIRE_FIXED64);
  float narrow = (float)value;
  uint32_t bits32;
  uint64_t bits64;
  memcpy(&bits32, &narrow, sizeof bits32);
  memcpy(&bits64, &value, sizeof bits64);
  put_fixed(r->out, is_float ? bits32 : bits64, is_float ? 4 : 8);
  return true;
}

static bool put_enum(struct reader *r, const struct schema_field *field, uint32_t number,
                     const struct scalar *s) {
  const struct schema_enum *e = field->enumeration;
  int64_t value = 0;
  bool is_known = false;
  for (size_t i = 0; s->is_quoted && i < e->count && !is_known; i++) {
    is_known = str_eq(e->names[i], s->text);
    value = e->numbers[i];
  }
  if (!is_known && !((!s->is_quoted || s->is_free) && to_signed(s->text, INT32_MIN, INT32_MAX, &value)))
    return fail_value(r, field, "has a value that its type does not know");
  put_tag(r->out, number, WIRE_VARINT);
  put_varint(r->out, (uint64_t)value);
  return true;
}

static bool put_base64(struct reader *r, const struct schema_field *field, uint32_t number, str text) {
  struct opened opened = open_bytes(r, number);
  if (!base64_decode(text, r->out))
    return fail_value(r, field, "wants base64");
  close_bytes(r, opened);
  return true;
}

static bool put_scalar(struct reader *r, const struct schema_field *field, uint32_t number,
                       const struct scalar *s) {
  switch (field->type) {
  case SCHEMA_DOUBLE:
  case SCHEMA_FLOAT:
    return put_double(r, field, number, s);
  case SCHEMA_INT32:
  case SCHEMA_INT64:
  case SCHEMA_SINT32:
  case SCHEMA_SINT64:
  case SCHEMA_SFIXED32:
  case SCHEMA_SFIXED64:
    return put_signed(r, field, number, s->text);
  case SCHEMA_UINT32:
  case SCHEMA_UINT64:
  case SCHEMA_FIXED32:
  case SCHEMA_FIXED64:
    return put_unsigned(r, field, number, s->text);
  case SCHEMA_STRING:
    if (!s->is_quoted)
      return fail_value(r, field, "wants a string");
    put_bytes(r->out, number, s->text);
    return true;
  case SCHEMA_BYTES:
    return s->is_quoted ? put_base64(r, field, number, s->text)
                        : fail_value(r, field, "wants base64 in a string");
  case SCHEMA_ENUM:
    return put_enum(r, field, number, s);
  case SCHEMA_BOOL: /* words are dealt with where they are read; in keys and URLs they are strings */
    if (!s->is_quoted || (!str_eq(s->text, STR("true")) && !str_eq(s->text, STR("false"))))
      return fail_value(r, field, "wants true or false");
    put_tag(r->out, number, WIRE_VARINT);
    put_varint(r->out, s->text.len == 4);
    return true;
  case SCHEMA_GROUP:
  case SCHEMA_MESSAGE:
    break;
  }
  return fail_value(r, field, "has a type that has no JSON form");
}

static bool read_bool(struct reader *r, const struct schema_field *field, uint32_t number) {
  bool value = json_text_take_word(&r->text, "true");
  if (!value && !json_text_take_word(&r->text, "false"))
    return fail_value(r, field, "wants true or false");
  put_tag(r->out, number, WIRE_VARINT);
  put_varint(r->out, value);
  return true;
}

static bool read_scalar(struct reader *r, const struct schema_field *field, uint32_t number) {
  struct scalar s = {0};
  if (field->type == SCHEMA_BOOL)
    return read_bool(r, field, number);
  if (field->type == SCHEMA_ENUM && field->enumeration->is_null && json_text_take_word(&r->text, "null")) {
    put_tag(r->out, number, WIRE_VARINT);
    put_varint(r->out, 0);
    return true;
  }
  s.is_quoted = json_text_peek(&r->text) == '"';
  return (s.is_quoted ? take_string(r, &s.text) : take_number(r, &s.text)) &&
         put_scalar(r, field, number, &s);
}

/* ---- Lists and maps ---- */

static bool is_null_allowed(const struct schema_field *field) {
  return (field->type == SCHEMA_MESSAGE && field->message->kind == SCHEMA_VALUE) ||
         (field->type == SCHEMA_ENUM && field->enumeration->is_null);
}

static bool read_list(struct reader *r, const struct schema_field *field) {
  bool failed = false;
  if (!json_text_take(&r->text, '['))
    return fail_value(r, field, "wants an array");
  if (!enter(r))
    return false;
  if (!json_text_take(&r->text, ']')) {
    do {
      if (json_text_peek(&r->text) == 'n' && !is_null_allowed(field))
        return fail_value(r, field, "has null in its array");
      if (!read_value(r, field, field->number))
        return false;
    } while (goes_on(r, ']', &failed));
  }
  r->depth--;
  return !failed;
}

static bool read_map(struct reader *r, const struct schema_field *field) {
  const struct schema_field *key = &field->message->fields[0], *value = &field->message->fields[1];
  bool failed = false;
  if (!json_text_take(&r->text, '{'))
    return fail_value(r, field, "wants an object");
  if (!enter(r))
    return false;
  if (!json_text_take(&r->text, '}')) {
    do {
      struct scalar s = {.is_quoted = true};
      struct opened entry = open_bytes(r, field->number);
      if (!take_key(r, &s.text) || !put_scalar(r, key, 1, &s))
        return false;
      if (json_text_peek(&r->text) == 'n' && !is_null_allowed(value))
        return fail_value(r, field, "has null for a value");
      if (!read_value(r, value, 2))
        return false;
      close_bytes(r, entry);
    } while (goes_on(r, '}', &failed));
  }
  r->depth--;
  return !failed;
}

/* ---- Types with a form of their own; each appends the message's fields ---- */

static void put_time(struct buf *out, int64_t seconds, int32_t nanos) {
  if (seconds != 0) {
    put_tag(out, 1, WIRE_VARINT);
    put_varint(out, (uint64_t)seconds);
  }
  if (nanos != 0) {
    put_tag(out, 2, WIRE_VARINT);
    put_varint(out, (uint64_t)(int64_t)nanos);
  }
}

static bool put_time_text(struct reader *r, const struct schema_message *message, str text) {
  int64_t seconds;
  int32_t nanos;
  bool is_duration = message->kind == SCHEMA_DURATION;
  bool ok =
      is_duration ? json_duration_read(text, &seconds, &nanos) : json_timestamp_read(text, &seconds, &nanos);
  if (!ok)
    return fail(r, is_duration ? "a duration looks like \"1.5s\""
                               : "a timestamp looks like \"2026-08-01T12:00:00Z\"");
  put_time(r->out, seconds, nanos);
  return true;
}

/* "a.bC,d" to the paths a.b_c and d. */
static bool put_mask_text(struct reader *r, str text) {
  while (text.len > 0) {
    str rest, path = str_split(text, ',', &rest);
    if (path.len == 0 || (rest.ptr != NULL && rest.len == 0))
      return fail(r, "a field mask has an empty path");
    struct opened opened = open_bytes(r, 1);
    for (size_t i = 0; i < path.len; i++) {
      char c = path.ptr[i];
      if (c == '_')
        return fail(r, "a field mask has names like fieldName, not field_name");
      if (c >= 'A' && c <= 'Z')
        buf_append_byte(r->out, '_');
      buf_append_byte(r->out, (uint8_t)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c));
    }
    close_bytes(r, opened);
    text = rest;
  }
  return true;
}

/* google.protobuf.Value by what comes. */
static bool read_any_value(struct reader *r, const struct schema_message *message) {
  char c = json_text_peek(&r->text);
  uint32_t number = c == 'n' ? 1 : c == '"' ? 3 : c == 't' || c == 'f' ? 4 : c == '{' ? 5 : c == '[' ? 6 : 2;
  const struct schema_field *field = schema_field_numbered(message, number);
  return field != NULL && read_value(r, field, number);
}

static bool read_fields(struct reader *r, const struct schema_message *message, bool in_any);
static bool read_special(struct reader *r, const struct schema_message *message);

/* Finds "@type" in the object that comes, without taking it. Empty: there is none. */
static bool find_type(struct reader *r, char type[TYPE_CHARS_MAX], size_t *ret_len) {
  struct json_text saved = r->text;
  bool failed = false;
  *ret_len = 0;
  if (!json_text_take(&r->text, '{'))
    return fail(r, "an object was expected");
  if (!json_text_take(&r->text, '}')) {
    do {
      str key;
      if (!take_key(r, &key))
        return false;
      if (!str_eq(key, STR("@type"))) {
        if (!json_text_skip(&r->text))
          return fail(r, "it ends too soon");
        continue;
      }
      if (!take_string(r, &key))
        return false;
      if (key.len >= TYPE_CHARS_MAX)
        return fail(r, "a type's name is too long");
      memcpy(type, key.ptr, key.len);
      *ret_len = key.len;
      break;
    } while (goes_on(r, '}', &failed));
  }
  r->text.at = saved.at;
  return !failed;
}

/* {"@type": ..., "value": ...} of a type with a form of its own. */
static bool read_any_special(struct reader *r, const struct schema_message *message) {
  bool failed = false, has_value = false;
  json_text_take(&r->text, '{');
  do {
    str key;
    if (!take_key(r, &key))
      return false;
    if (str_eq(key, STR("@type"))) {
      if (!take_string(r, &key))
        return false;
    } else if (str_eq(key, STR("value")) && !has_value) {
      has_value = true;
      if (!read_special(r, message))
        return false;
    } else {
      return fail_field(r, "unknown field", key, message->name);
    }
  } while (goes_on(r, '}', &failed));
  return !failed;
}

static bool read_any(struct reader *r) {
  char type[TYPE_CHARS_MAX];
  size_t len;
  if (++r->any_depth > JSON_ANY_DEPTH_MAX)
    return fail(r, "too many messages of any type in each other");
  if (!find_type(r, type, &len))
    return false;
  if (len == 0) {
    bool is_empty = json_text_take(&r->text, '{') && json_text_take(&r->text, '}');
    r->any_depth--;
    return is_empty || fail(r, "\"@type\" is missing");
  }
  str url = str_make(type, len), name = url;
  for (size_t i = 0; i < len; i++)
    if (type[i] == '/')
      name = str_from(url, i + 1);
  const struct schema_message *message = schema_find(r->schema, name);
  if (message == NULL)
    return fail_field(r, "unknown type", url, STR("@type"));
  put_bytes(r->out, 1, url);
  struct opened opened = open_bytes(r, 2);
  bool ok = message->kind == SCHEMA_PLAIN ? read_fields(r, message, true) : read_any_special(r, message);
  if (ok)
    close_bytes(r, opened);
  r->any_depth--;
  return ok;
}

static bool read_special(struct reader *r, const struct schema_message *message) {
  str text;
  switch (message->kind) {
  case SCHEMA_ANY:
    return read_any(r);
  case SCHEMA_DURATION:
  case SCHEMA_TIMESTAMP:
    return take_string(r, &text) && put_time_text(r, message, text);
  case SCHEMA_FIELD_MASK:
    return take_string(r, &text) && put_mask_text(r, text);
  case SCHEMA_LIST_VALUE:
    return read_list(r, &message->fields[0]);
  case SCHEMA_STRUCT:
    return read_map(r, &message->fields[0]);
  case SCHEMA_VALUE:
    return read_any_value(r, message);
  case SCHEMA_WRAPPER:
    return read_scalar(r, &message->fields[0], 1);
  case SCHEMA_PLAIN:
    break;
  }
  return read_fields(r, message, false);
}

/* ---- Messages ---- */

/* Which fields and which oneofs came. */
struct seen {
  uint64_t fields[SCHEMA_FIELDS_MAX / 64];
  uint64_t oneofs[SCHEMA_FIELDS_MAX / 64];
};

static bool mark(uint64_t *bits, size_t index) {
  uint64_t bit = 1ULL << (index % 64);
  bool is_new = (bits[index / 64] & bit) == 0;
  bits[index / 64] |= bit;
  return is_new;
}

static bool read_field(struct reader *r, const struct schema_message *message, struct seen *seen, str name) {
  const struct schema_field *field = schema_field_named(message, name);
  if (field == NULL && r->passes_unknown)
    return json_text_skip(&r->text) || fail(r, "it ends too soon");
  if (field == NULL)
    return fail_field(r, "unknown field", name, message->name);
  if (!mark(seen->fields, schema_field_index(message, field)))
    return fail_field(r, "more than one field", field->json_name, message->name);
  if (json_text_peek(&r->text) == 'n' && !(is_null_allowed(field) && !field->is_repeated))
    return json_text_take_word(&r->text, "null") || fail(r, "a value was expected");
  if (field->oneof >= 0 && !mark(seen->oneofs, (size_t)field->oneof % SCHEMA_FIELDS_MAX))
    return fail_field(r, "more than one field of the alternatives of", field->json_name, message->name);
  if (field->is_map)
    return read_map(r, field);
  return field->is_repeated ? read_list(r, field) : read_value(r, field, field->number);
}

/* An object. `in_any`: "@type" is not a field. */
static bool read_fields(struct reader *r, const struct schema_message *message, bool in_any) {
  struct seen seen = {0};
  bool failed = false;
  if (!json_text_take(&r->text, '{'))
    return fail(r, "an object was expected");
  if (!enter(r))
    return false;
  if (!json_text_take(&r->text, '}')) {
    do {
      str name;
      if (!take_key(r, &name))
        return false;
      if (in_any && str_eq(name, STR("@type"))) {
        if (!take_string(r, &name))
          return false;
      } else if (!read_field(r, message, &seen, name)) {
        return false;
      }
    } while (goes_on(r, '}', &failed));
  }
  r->depth--;
  return !failed;
}

/* One value of a field, under that number. */
static bool read_value(struct reader *r, const struct schema_field *field, uint32_t number) {
  if (field->type != SCHEMA_MESSAGE)
    return read_scalar(r, field, number);
  struct opened opened = open_bytes(r, number);
  if (!read_special(r, field->message))
    return false;
  close_bytes(r, opened);
  return true;
}

/* ---- Interface ---- */

static status finish(struct reader *r, bool ok) {
  if (ok && (json_text_peek(&r->text) != 0 || r->text.at != r->text.end))
    ok = fail(r, "something follows its end");
  if (ok && r->out->failed)
    r->failure =
        status_make(STATUS_RESOURCE_EXHAUSTED, "The message is too large. Send less in one message.");
  json_text_fini(&r->text);
  return r->failure;
}

static bool begin(struct reader *r, const struct schema *schema, str json, struct buf *out) {
  *r = (struct reader){.schema = schema, .out = out, .failure = status_ok()};
  r->failure = json_text_init(&r->text, json);
  return status_is_ok(&r->failure);
}

static status read_whole(const struct schema *schema, const struct schema_message *message, str json,
                         bool passes_unknown, struct buf *out) {
  struct reader r;
  bool ok = begin(&r, schema, json, out);
  r.passes_unknown = passes_unknown;
  if (ok && json_text_peek(&r.text) == 0 && r.text.at == r.text.end)
    return finish(&r, true);
  return finish(&r, ok && read_special(&r, message));
}

status json_read_message(const struct schema *schema, const struct schema_message *message, str json,
                         struct buf *out) {
  return read_whole(schema, message, json, false, out);
}

status json_read_known_fields(const struct schema *schema, const struct schema_message *message, str json,
                              struct buf *out) {
  return read_whole(schema, message, json, true, out);
}

status json_read_field(const struct schema *schema, const struct schema_field *field, str json,
                       struct buf *out) {
  struct reader r;
  bool ok = begin(&r, schema, json, out);
  if (ok && json_text_peek(&r.text) == 0 && r.text.at == r.text.end)
    return finish(&r, true);
  if (ok)
    ok = field->is_map        ? read_map(&r, field)
         : field->is_repeated ? read_list(&r, field)
                              : read_value(&r, field, field->number);
  return finish(&r, ok);
}

/* ---- Parameters ---- */

static bool put_parameter(struct reader *r, const struct schema_field *field, str value) {
  struct scalar s = {.text = value, .is_quoted = true, .is_free = true};
  if (field->is_map)
    return fail_value(r, field, "cannot be a parameter");
  if (field->type != SCHEMA_MESSAGE)
    return put_scalar(r, field, field->number, &s);
  struct opened opened = open_bytes(r, field->number);
  bool ok;
  switch (field->message->kind) {
  case SCHEMA_DURATION:
  case SCHEMA_TIMESTAMP:
    ok = put_time_text(r, field->message, value);
    break;
  case SCHEMA_FIELD_MASK:
    ok = put_mask_text(r, value);
    break;
  case SCHEMA_WRAPPER:
    ok = put_scalar(r, &field->message->fields[0], 1, &s);
    break;
  case SCHEMA_ANY:
  case SCHEMA_LIST_VALUE:
  case SCHEMA_PLAIN:
  case SCHEMA_STRUCT:
  case SCHEMA_VALUE:
  default:
    ok = fail_value(r, field, "cannot be a parameter");
  }
  if (ok)
    close_bytes(r, opened);
  return ok;
}

static bool put_path(struct reader *r, const struct schema_message *message, str path, str value) {
  struct opened opened[PATH_FIELDS_MAX];
  size_t count = 0;
  for (;;) {
    str rest, name = str_split(path, '.', &rest);
    const struct schema_field *field = schema_field_named(message, name);
    if (field == NULL)
      return fail_parameter(r, name, message->name);
    if (rest.ptr == NULL) {
      if (!put_parameter(r, field, value))
        return false;
      break;
    }
    if (field->type != SCHEMA_MESSAGE || field->is_repeated || field->message->kind != SCHEMA_PLAIN ||
        count == PATH_FIELDS_MAX)
      return fail_value(r, field, "has no fields that a parameter could name");
    opened[count++] = open_bytes(r, field->number);
    message = field->message;
    path = rest;
  }
  while (count > 0)
    close_bytes(r, opened[--count]);
  return true;
}

status json_read_parameter(const struct schema *schema, const struct schema_message *message, str path,
                           str value, struct buf *out) {
  struct reader r;
  bool ok = begin(&r, schema, value, out); /* for the check of UTF-8, and the size */
  ok = ok && put_path(&r, message, path, value);
  r.text.at = r.text.end;
  return finish(&r, ok);
}

/* ---- Putting together ---- */

static bool is_single_message(const struct schema_field *field) {
  return field != NULL && field->type == SCHEMA_MESSAGE && !field->is_repeated;
}

void json_merge_fields(const struct schema_message *message, str wire, struct buf *out) {
  struct wire_walk_field field;
  uint8_t count[SCHEMA_FIELDS_MAX] = {0};
  bool is_split = false;
  for (str rest = wire; wire_walk(&rest, &field);) {
    const struct schema_field *known = schema_field_numbered(message, field.number);
    if (is_single_message(known)) {
      uint8_t *seen = &count[schema_field_index(message, known)];
      is_split = is_split || *seen > 0;
      *seen = *seen == 0 ? 1 : 2;
    }
  }
  if (!is_split) {
    buf_append_str(out, wire);
    return;
  }
  for (str rest = wire; wire_walk(&rest, &field);) {
    const struct schema_field *known = schema_field_numbered(message, field.number);
    if (!is_single_message(known) || count[schema_field_index(message, known)] == 1)
      buf_append_str(out, field.whole);
  }
  for (size_t i = 0; i < message->field_count; i++) {
    if (count[i] != 2)
      continue;
    size_t len = 0;
    for (str rest = wire; wire_walk(&rest, &field);)
      len += field.number == message->fields[i].number ? field.bytes.len : 0;
    put_tag(out, message->fields[i].number, WIRE_BYTES);
    put_varint(out, len);
    for (str rest = wire; wire_walk(&rest, &field);)
      if (field.number == message->fields[i].number)
        buf_append_str(out, field.bytes);
  }
}
