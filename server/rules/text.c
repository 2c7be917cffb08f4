/* Values as texts, and paths. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/rules/evaluation.h"

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
