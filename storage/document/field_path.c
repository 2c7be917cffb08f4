#include "storage/document/field_path.h"

#include "base/limits.h"
#include "base/utf8.h"

enum {
  SHOWN_BYTES = 100, /* of a path in a message */
  /* No valid text is longer: each byte escaped, each segment quoted, and the dots. */
  TEXT_BYTES = 5 * LIMIT_ID_BYTES,
};

static bool is_simple_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
static bool is_simple(char c) {
  return is_simple_start(c) || (c >= '0' && c <= '9');
}
static bool is_simple_segment(str segment) {
  if (segment.len == 0 || !is_simple_start(segment.ptr[0]))
    return false;
  for (size_t i = 1; i < segment.len; i++)
    if (!is_simple(segment.ptr[i]))
      return false;
  return true;
}

static str shown(str text) {
  size_t length = text.len < SHOWN_BYTES ? text.len : SHOWN_BYTES;
  while (length < text.len && length > 0 && ((uint8_t)text.ptr[length] & 0xC0) == 0x80)
    length--;
  return str_make(text.ptr, length);
}

#define SHOWN_FMT "\"" STR_FMT "%s\""
#define SHOWN_ARG(text) STR_ARG(shown(text)), ((text).len > SHOWN_BYTES ? "..." : "")

static status invalid(str text) {
  return status_make(
      STATUS_INVALID_ARGUMENT,
      "Invalid property path " SHOWN_FMT
      ". Unquoted property names must match regex ([a-zA-Z_][a-zA-Z_0-9]*), and quoted property "
      "names must match regex (`(?:[^`\\\\]|\\\\[`\\\\])+`).",
      SHOWN_ARG(text));
}

static status too_long(str text) {
  return status_make(STATUS_INVALID_ARGUMENT, "Property path " SHOWN_FMT " is longer than %d bytes.",
                     SHOWN_ARG(text), LIMIT_ID_BYTES);
}

static status check_not_reserved(str name) {
  if (name.len >= 4 && str_has_prefix(name, STR("__")) && str_has_suffix(name, STR("__")))
    return status_make(STATUS_INVALID_ARGUMENT,
                       "Property name " SHOWN_FMT " is invalid because it is reserved.", SHOWN_ARG(name));
  return status_ok();
}

status doc_field_name_check(str name) {
  if (name.len == 0)
    return status_make(STATUS_INVALID_ARGUMENT, "Property name \"\" is invalid because it is empty.");
  if (name.len > LIMIT_ID_BYTES)
    return status_make(STATUS_INVALID_ARGUMENT, "Property name " SHOWN_FMT " is longer than %d bytes.",
                       SHOWN_ARG(name), LIMIT_ID_BYTES);
  if (!utf8_is_valid(name.ptr, name.len))
    return status_make(STATUS_INVALID_ARGUMENT, "Property name " SHOWN_FMT " is not valid UTF-8.",
                       SHOWN_ARG(name));
  return check_not_reserved(name);
}

/* ---- Parsing ---- */

/* A quoted segment at *at, which stands on the opening quote. Without escapes it borrows. */
static status read_quoted(str text, size_t *at, struct arena *arena, str *ret) {
  size_t start = *at + 1, end = start, escapes = 0;
  while (end < text.len && text.ptr[end] != '`') {
    if (text.ptr[end] == '\\') {
      end++;
      escapes++;
      if (end == text.len || (text.ptr[end] != '`' && text.ptr[end] != '\\'))
        return invalid(text);
    }
    end++;
  }
  if (end >= text.len || end == start)
    return invalid(text);
  *at = end + 1;
  str segment = str_make(text.ptr + start, end - start);
  if (escapes > 0) {
    char *plain = arena_alloc(arena, segment.len - escapes);
    if (plain == NULL)
      return status_default(STATUS_RESOURCE_EXHAUSTED);
    size_t length = 0;
    for (size_t i = 0; i < segment.len; i++) {
      if (segment.ptr[i] == '\\')
        i++;
      plain[length++] = segment.ptr[i];
    }
    segment = str_make(plain, length);
  }
  *ret = segment;
  return status_ok();
}

static status read_segment(str text, size_t *at, struct arena *arena, str *ret) {
  if (*at < text.len && text.ptr[*at] == '`')
    return read_quoted(text, at, arena, ret);
  size_t start = *at;
  if (start == text.len || !is_simple_start(text.ptr[start]))
    return invalid(text);
  size_t end = start + 1;
  while (end < text.len && is_simple(text.ptr[end]))
    end++;
  *at = end;
  *ret = str_make(text.ptr + start, end - start);
  return status_ok();
}

static size_t count_bytes(str text, char wanted) {
  size_t count = 0;
  for (size_t i = 0; i < text.len; i++)
    count += text.ptr[i] == wanted;
  return count;
}

status doc_field_path_parse(str text, struct arena *arena, struct doc_field_path *ret) {
  if (text.len == 0)
    return status_make(STATUS_INVALID_ARGUMENT, "Property path \"\" is invalid because it is empty.");
  if (text.len > TEXT_BYTES)
    return too_long(text);
  if (!utf8_is_valid(text.ptr, text.len))
    return status_make(STATUS_INVALID_ARGUMENT, "Property path " SHOWN_FMT " is not valid UTF-8.",
                       SHOWN_ARG(text));
  /* Dots within quotes are counted too: a little more memory, and one pass less. */
  str *segments = ARENA_NEW_ARRAY(arena, str, count_bytes(text, '.') + 1);
  if (segments == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  size_t count = 0, at = 0, length = 0;
  for (;;) {
    str segment;
    STATUS_TRY(read_segment(text, &at, arena, &segment));
    STATUS_TRY(check_not_reserved(segment));
    length += segment.len + (count > 0);
    segments[count++] = segment;
    if (at == text.len)
      break;
    if (text.ptr[at] != '.')
      return invalid(text);
    at++;
  }
  if (length > LIMIT_ID_BYTES)
    return too_long(text);
  *ret = (struct doc_field_path){segments, count};
  return status_ok();
}

bool doc_field_path_is_name(str text) {
  return str_eq(text, STR("__name__")) || str_eq(text, STR("`__name__`"));
}

/* ---- Formatting and order ---- */

static size_t formatted_length(str segment) {
  if (is_simple_segment(segment))
    return segment.len;
  return segment.len + 2 + count_bytes(segment, '`') + count_bytes(segment, '\\');
}

static char *put_segment(char *at, str segment) {
  if (is_simple_segment(segment)) {
    memcpy(at, segment.ptr, segment.len);
    return at + segment.len;
  }
  *at++ = '`';
  for (size_t i = 0; i < segment.len; i++) {
    if (segment.ptr[i] == '`' || segment.ptr[i] == '\\')
      *at++ = '\\';
    *at++ = segment.ptr[i];
  }
  *at++ = '`';
  return at;
}

str doc_field_path_format(const struct doc_field_path *path, struct arena *arena) {
  size_t length = path->count - 1; /* dots */
  for (size_t i = 0; i < path->count; i++)
    length += formatted_length(path->segments[i]);
  char *text = arena_alloc(arena, length), *at = text;
  if (text == NULL)
    return (str){NULL, 0};
  for (size_t i = 0; i < path->count; i++) {
    if (i > 0)
      *at++ = '.';
    at = put_segment(at, path->segments[i]);
  }
  return str_make(text, length);
}

int doc_field_path_compare(const struct doc_field_path *a, const struct doc_field_path *b) {
  for (size_t i = 0; i < a->count && i < b->count; i++) {
    int order = str_cmp(a->segments[i], b->segments[i]);
    if (order != 0)
      return order;
  }
  return (a->count > b->count) - (a->count < b->count);
}

bool doc_field_path_has_prefix(const struct doc_field_path *path, const struct doc_field_path *prefix) {
  if (prefix->count > path->count)
    return false;
  for (size_t i = 0; i < prefix->count; i++)
    if (!str_eq(path->segments[i], prefix->segments[i]))
      return false;
  return true;
}
