/* Strings and bytes, and conversions to and from strings. */
#include <errno.h>
#include <stdlib.h>

#include "server/rules/builtin.h"
#include "server/rules/evaluation.h"
#include "server/rules/regex.h"

enum { FLOAT_TEXT_MAX = 64 };

static struct rules_value taken(struct rules_evaluation *e, struct buf *built, const struct rules_node *at) {
  if (built->failed) {
    buf_fini(built);
    return rules_error_value(e, RULES_ERROR_MEMORY, at);
  }
  str copy = arena_str_copy(e->arena, buf_str(built));
  buf_fini(built);
  return copy.ptr == NULL ? rules_error_value(e, RULES_ERROR_MEMORY, at) : rules_string(copy);
}

/* ---- Patterns ---- */

static const struct rules_pattern *pattern_of(struct rules_evaluation *e, const struct rules_call *call,
                                              struct rules_value *ret) {
  if (call->node->as.pattern != NULL)
    return call->node->as.pattern;
  struct rules_pattern *pattern;
  if (rules_work(e, 1000) && rules_pattern_compile(call->arguments[0].as.bytes, e->arena, &pattern) == NULL)
    return pattern;
  *ret = rules_error_value(e, e->arena->exhausted ? RULES_ERROR_MEMORY : RULES_ERROR_PATTERN, call->node);
  return NULL;
}

static void matches(struct rules_evaluation *e, const struct rules_call *call, struct rules_value *ret) {
  const struct rules_pattern *pattern = pattern_of(e, call, ret);
  if (pattern == NULL || !rules_work(e, 16 + call->target->as.bytes.len))
    return;
  bool is_costly;
  enum rules_match_result result =
      rules_pattern_matches(pattern, call->target->as.bytes, e->arena, &is_costly);
  rules_work(e, is_costly ? RULES_WORK_MAX / 16 : 0);
  if (e->arena->exhausted)
    rules_fail(e, RULES_ERROR_MEMORY);
  *ret = result == RULES_MATCH_LIMIT ? rules_error_value(e, RULES_ERROR_PATTERN_LIMIT, call->node)
                                     : rules_bool(result == RULES_MATCH_YES);
}

static size_t next_character(str text, size_t at) {
  do
    at++;
  while (at < text.len && ((unsigned char)text.ptr[at] & 0xC0) == 0x80);
  return at;
}

/* The next match, or RULES_MATCH_NO at the end. */
static enum rules_match_result search(struct rules_evaluation *e, struct rules_finder *finder, str text,
                                      size_t from, struct rules_found *ret) {
  if (from > text.len)
    return RULES_MATCH_NO;
  if (!rules_work(e, 64))
    return RULES_MATCH_LIMIT;
  enum rules_match_result result = rules_finder_next(finder, text, from, ret);
  rules_work(e, result == RULES_MATCH_YES ? ret->end - from : text.len - from);
  return result;
}

static void split(struct rules_evaluation *e, const struct rules_call *call, struct rules_value *ret) {
  const struct rules_pattern *pattern = pattern_of(e, call, ret);
  struct rules_finder finder;
  str text = call->target->as.bytes;
  if (pattern == NULL)
    return;
  if (!rules_finder_init(&finder, pattern, e->arena)) {
    *ret = rules_error_value(e, RULES_ERROR_MEMORY, call->node);
    return;
  }
  struct rules_value *items = NULL;
  size_t count = 0, capacity = 0, begin = 0, from = 0;
  struct rules_found found;
  enum rules_match_result result;
  do {
    result = search(e, &finder, text, from, &found);
    if (count == capacity) {
      struct rules_value *more = rules_memory(e, capacity == 0 ? 8 : 2 * capacity, sizeof *more);
      if (more == NULL)
        return;
      if (count > 0)
        memcpy(more, items, count * sizeof *items);
      items = more;
      capacity = capacity == 0 ? 8 : 2 * capacity;
    }
    size_t end = result == RULES_MATCH_YES ? found.begin : text.len;
    items[count++] = rules_string(str_make(text.ptr + begin, end - begin));
    if (result == RULES_MATCH_YES) {
      begin = found.end;
      from = found.end > found.begin ? found.end : next_character(text, found.end);
    }
  } while (result == RULES_MATCH_YES);
  if (result == RULES_MATCH_LIMIT) {
    *ret = rules_error_value(e, RULES_ERROR_PATTERN_LIMIT, call->node);
    return;
  }
  while (count > 1 && items[count - 1].as.bytes.len == 0)
    count--; /* empty ones at the end are left out */
  *ret = rules_items(VALUE_LIST, items, count);
}

/* `$1` is a group, `\` makes the next character plain. */
static void put_substitute(struct buf *out, str substitute, str text, const struct rules_found *found) {
  for (size_t i = 0; i < substitute.len; i++) {
    char c = substitute.ptr[i], next = i + 1 < substitute.len ? substitute.ptr[i + 1] : '\0';
    if (c == '\\' && i + 1 < substitute.len) {
      buf_append_byte(out, (uint8_t)next);
      i++;
    } else if (c == '$' && next >= '0' && next <= '9' && (size_t)(next - '0') < found->group_count) {
      size_t group = (size_t)(next - '0');
      if (found->groups[2 * group] != SIZE_MAX)
        buf_append(out, text.ptr + found->groups[2 * group],
                   found->groups[2 * group + 1] - found->groups[2 * group]);
      i++;
    } else {
      buf_append_byte(out, (uint8_t)c);
    }
  }
}

static void replace(struct rules_evaluation *e, const struct rules_call *call, struct rules_value *ret) {
  enum { RESULT_BYTES_MAX = 4 * 1024 * 1024 };
  const struct rules_pattern *pattern = pattern_of(e, call, ret);
  struct rules_finder finder;
  str text = call->target->as.bytes;
  if (pattern == NULL)
    return;
  if (!rules_finder_init(&finder, pattern, e->arena)) {
    *ret = rules_error_value(e, RULES_ERROR_MEMORY, call->node);
    return;
  }
  struct buf out = {.max_bytes = RESULT_BYTES_MAX};
  struct rules_found found;
  enum rules_match_result result;
  size_t copied = 0, from = 0;
  while ((result = search(e, &finder, text, from, &found)) == RULES_MATCH_YES) {
    buf_append(&out, text.ptr + copied, found.begin - copied);
    put_substitute(&out, call->arguments[1].as.bytes, text, &found);
    copied = found.end;
    from = found.end > found.begin ? found.end : next_character(text, found.end);
  }
  if (result == RULES_MATCH_LIMIT) {
    buf_fini(&out);
    *ret = rules_error_value(e, RULES_ERROR_PATTERN_LIMIT, call->node);
    return;
  }
  if (copied < text.len)
    buf_append(&out, text.ptr + copied, text.len - copied);
  *ret = taken(e, &out, call->node);
}

/* ---- Strings ---- */

/* ASCII letters only, as the language has always done. */
static void change_case(struct rules_evaluation *e, const struct rules_call *call, bool upper,
                        struct rules_value *ret) {
  str text = call->target->as.bytes;
  char *copy = rules_work(e, text.len / 64) ? rules_memory(e, text.len, 1) : NULL;
  if (copy == NULL)
    return;
  for (size_t i = 0; i < text.len; i++) {
    char c = text.ptr[i];
    bool changes = upper ? c >= 'a' && c <= 'z' : c >= 'A' && c <= 'Z';
    copy[i] = (char)(changes ? c ^ 0x20 : c);
  }
  *ret = rules_string(str_make(copy, text.len));
}

static str trim(str text) {
  size_t begin = 0, end = text.len;
  while (begin < end && (unsigned char)text.ptr[begin] <= ' ')
    begin++;
  while (end > begin && (unsigned char)text.ptr[end - 1] <= ' ')
    end--;
  return str_make(text.ptr + begin, end - begin);
}

/* ---- Bytes ---- */

static void to_hex(struct rules_evaluation *e, str bytes, struct rules_value *ret) {
  static const char digits[] = "0123456789ABCDEF";
  char *text = rules_work(e, bytes.len / 64) ? rules_memory(e, bytes.len, 2) : NULL;
  for (size_t i = 0; text != NULL && i < bytes.len; i++) {
    text[2 * i] = digits[(unsigned char)bytes.ptr[i] >> 4];
    text[2 * i + 1] = digits[(unsigned char)bytes.ptr[i] & 15];
  }
  *ret = rules_string(str_make(text, text == NULL ? 0 : 2 * bytes.len));
}

/* RFC 4648, the alphabet that is safe in URLs, padded. */
static void to_base64(struct rules_evaluation *e, str bytes, struct rules_value *ret) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  size_t len = (bytes.len + 2) / 3 * 4, at = 0;
  char *text = rules_work(e, bytes.len / 64) ? rules_memory(e, len, 1) : NULL;
  for (size_t i = 0; text != NULL && i < bytes.len; i += 3) {
    size_t here = bytes.len - i < 3 ? bytes.len - i : 3;
    uint32_t group = 0;
    for (size_t j = 0; j < 3; j++)
      group = group << 8 | (j < here ? (unsigned char)bytes.ptr[i + j] : 0U);
    for (size_t j = 0; j < 4; j++)
      text[at++] = j <= here ? digits[group >> (18 - 6 * j) & 63] : '=';
  }
  *ret = rules_string(str_make(text, text == NULL ? 0 : len));
}

/* ---- Conversions ---- */

static str terminated(str text, char *out, size_t size) {
  if (text.len >= size || (text.len > 0 && memchr(text.ptr, '\0', text.len) != NULL))
    return (str){NULL, 0};
  if (text.len > 0)
    memcpy(out, text.ptr, text.len);
  out[text.len] = '\0';
  return str_make(out, text.len);
}

static bool parse_int(str text, int64_t *ret) {
  char digits[24], *end;
  if (text.len == 0 || terminated(text, digits, sizeof digits).ptr == NULL)
    return false;
  size_t sign = digits[0] == '+' || digits[0] == '-';
  if (digits[sign] < '0' || digits[sign] > '9')
    return false;
  errno = 0;
  *ret = strtoll(digits, &end, 10);
  return errno == 0 && *end == '\0';
}

/* "Infinity" and "NaN" are spelt so; white space around is allowed. */
static bool parse_float(str text, double *ret) {
  char digits[FLOAT_TEXT_MAX], *end;
  text = trim(text);
  if (text.len == 0 || terminated(text, digits, sizeof digits).ptr == NULL)
    return false;
  const char *unsigned_digits = digits + (digits[0] == '+' || digits[0] == '-');
  bool is_word = strcmp(unsigned_digits, "Infinity") == 0 || strcmp(unsigned_digits, "NaN") == 0;
  if (!is_word && (*unsigned_digits < '0' || *unsigned_digits > '9') && *unsigned_digits != '.')
    return false;
  *ret = strtod(digits, &end);
  return end != digits && *end == '\0';
}

static int64_t int_of_float(double number) {
  if (number != number)
    return 0;
  return number >= 9223372036854775807.0    ? INT64_MAX
         : number <= -9223372036854775808.0 ? INT64_MIN
                                            : (int64_t)number;
}

/* Of a path, which may begin with '/'. */
static bool has_empty_segment(str path) {
  for (size_t i = 1; i < path.len; i++)
    if (path.ptr[i] == '/' && path.ptr[i - 1] == '/')
      return true;
  return path.len == 0 || path.ptr[path.len - 1] == '/';
}

static bool convert(struct rules_evaluation *e, const struct rules_call *call, struct rules_value *ret) {
  const struct rules_value *value = &call->arguments[0];
  int64_t integer;
  double number;
  str text;
  switch ((unsigned)call->node->number) {
  case FUNCTION_INT:
    if (rules_is_number(value))
      *ret = value->kind == VALUE_INT ? *value : rules_int(int_of_float(value->as.number));
    else if (value->kind == VALUE_STRING)
      *ret = parse_int(value->as.bytes, &integer) ? rules_int(integer)
                                                  : rules_error_value(e, RULES_ERROR_CONVERSION, call->node);
    else
      return false;
    return true;
  case FUNCTION_FLOAT:
    if (rules_is_number(value))
      *ret = rules_float(rules_to_double(value));
    else if (value->kind == VALUE_STRING)
      *ret = parse_float(value->as.bytes, &number) ? rules_float(number)
                                                   : rules_error_value(e, RULES_ERROR_CONVERSION, call->node);
    else
      return false;
    return true;
  case FUNCTION_STRING:
    if (!rules_to_text(e, value, &text))
      return false;
    *ret = rules_string(text);
    return true;
  case FUNCTION_BOOL:
    if (value->kind == VALUE_BOOL)
      *ret = *value;
    else if (value->kind == VALUE_STRING &&
             (str_eq(value->as.bytes, STR("true")) || str_eq(value->as.bytes, STR("false"))))
      *ret = rules_bool(value->as.bytes.len == 4);
    else
      return false;
    return true;
  case FUNCTION_PATH:
    if (value->kind != VALUE_STRING)
      return false;
    *ret = has_empty_segment(value->as.bytes) ? rules_error_value(e, RULES_ERROR_CONVERSION, call->node)
                                              : rules_path_from_text(e, value->as.bytes);
    return true;
  default:
    return false;
  }
}

/* `{name}` in a path becomes what the map says of the name. */
static bool bind(struct rules_evaluation *e, const struct rules_call *call, struct rules_value *ret) {
  if (call->target->kind != VALUE_PATH || call->arguments[0].kind != VALUE_MAP)
    return false;
  struct rules_value *segments = rules_memory(e, call->target->count, sizeof *segments);
  size_t bound = 0;
  for (uint32_t i = 0; segments != NULL && i < call->target->count; i++) {
    str segment = call->target->as.items[i].as.bytes, text;
    segments[i] = call->target->as.items[i];
    if (segment.len < 3 || segment.ptr[0] != '{' || segment.ptr[segment.len - 1] != '}')
      continue;
    struct rules_value value;
    if (!rules_map_find(e, &call->arguments[0], str_make(segment.ptr + 1, segment.len - 2), &value) ||
        !rules_to_text(e, &value, &text)) {
      *ret = rules_error_value(e, RULES_ERROR_BIND, call->node);
      return true;
    }
    segments[i] = rules_string(text);
    bound++;
  }
  if (bound < rules_count(e, &call->arguments[0]))
    *ret = rules_error_value(e, RULES_ERROR_BIND, call->node);
  else
    *ret = rules_items(VALUE_PATH, segments, call->target->count);
  return true;
}

static bool call_on_string(struct rules_evaluation *e, const struct rules_call *call,
                           struct rules_value *ret) {
  str text = call->target->as.bytes;
  for (uint32_t i = 0; i < call->argument_count; i++)
    if (call->arguments[i].kind != VALUE_STRING)
      return false;
  switch ((unsigned)call->node->number) {
  case METHOD_SIZE:
    rules_work(e, text.len / 64);
    *ret = rules_int((int64_t)rules_text_units(text));
    return true;
  case METHOD_MATCHES:
    matches(e, call, ret);
    return true;
  case METHOD_SPLIT:
    split(e, call, ret);
    return true;
  case METHOD_REPLACE:
    replace(e, call, ret);
    return true;
  case METHOD_LOWER:
    change_case(e, call, false, ret);
    return true;
  case METHOD_UPPER:
    change_case(e, call, true, ret);
    return true;
  case METHOD_TRIM:
    *ret = rules_string(trim(text));
    return true;
  case METHOD_TO_UTF8:
    *ret = (struct rules_value){.kind = VALUE_BYTES, .as.bytes = text};
    return true;
  default:
    return false;
  }
}

bool rules_call_text(struct rules_evaluation *e, const struct rules_call *call, struct rules_value *ret) {
  if (call->target == NULL)
    return convert(e, call, ret);
  if (call->target->kind == VALUE_STRING)
    return call_on_string(e, call, ret);
  if (call->node->number == METHOD_BIND)
    return bind(e, call, ret);
  if (call->target->kind != VALUE_BYTES)
    return false;
  switch ((unsigned)call->node->number) {
  case METHOD_SIZE:
    *ret = rules_int((int64_t)call->target->as.bytes.len);
    return true;
  case METHOD_TO_HEX:
    to_hex(e, call->target->as.bytes, ret);
    return true;
  case METHOD_TO_BASE64:
    to_base64(e, call->target->as.bytes, ret);
    return true;
  default:
    return false;
  }
}
