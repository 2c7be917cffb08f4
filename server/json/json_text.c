#include "server/json/json_text.h"

#include "base/utf8.h"

status json_text_init(struct json_text *text, str bytes) {
  *text = (struct json_text){0};
  text->start = text->at = bytes.len == 0 ? "" : bytes.ptr;
  text->end = text->at + bytes.len;
  if (bytes.len > 0 && !utf8_is_valid(bytes.ptr, bytes.len))
    return status_make(STATUS_INVALID_ARGUMENT, "Invalid JSON: it is not UTF-8.");
  return status_ok();
}

void json_text_fini(struct json_text *text) {
  buf_fini(&text->scratch);
}

status json_text_error(const struct json_text *text, const char *what) {
  return status_make(STATUS_INVALID_ARGUMENT, "Invalid JSON: %s (at byte %zu).", what,
                     (size_t)(text->at - text->start));
}

char json_text_peek(struct json_text *text) {
  while (text->at < text->end &&
         (*text->at == ' ' || *text->at == '\n' || *text->at == '\t' || *text->at == '\r'))
    text->at++;
  return text->at < text->end ? *text->at : 0;
}

bool json_text_take(struct json_text *text, char wanted) {
  if (json_text_peek(text) != wanted || text->at == text->end)
    return false;
  text->at++;
  return true;
}

bool json_text_take_word(struct json_text *text, const char *word) {
  size_t len = strlen(word);
  json_text_peek(text);
  if ((size_t)(text->end - text->at) < len || memcmp(text->at, word, len) != 0)
    return false;
  text->at += len;
  return true;
}

/* ---- Strings ---- */

static int hex_digit(char c) {
  return c >= '0' && c <= '9'   ? c - '0'
         : c >= 'a' && c <= 'f' ? c - 'a' + 10
         : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                : -1;
}

/* The four digits of "\uXXXX"; -1: there are none. */
static int32_t take_hex(struct json_text *text) {
  if (text->end - text->at < 4)
    return -1;
  int32_t value = 0;
  for (int i = 0; i < 4; i++) {
    int digit = hex_digit(text->at[i]);
    if (digit < 0)
      return -1;
    value = value << 4 | digit;
  }
  text->at += 4;
  return value;
}

static void append_utf8(struct buf *out, uint32_t c) {
  if (c < 0x80) {
    buf_append_byte(out, (uint8_t)c);
  } else if (c < 0x800) {
    buf_append_byte(out, (uint8_t)(0xc0 | c >> 6));
    buf_append_byte(out, (uint8_t)(0x80 | (c & 0x3f)));
  } else if (c < 0x10000) {
    buf_append_byte(out, (uint8_t)(0xe0 | c >> 12));
    buf_append_byte(out, (uint8_t)(0x80 | (c >> 6 & 0x3f)));
    buf_append_byte(out, (uint8_t)(0x80 | (c & 0x3f)));
  } else {
    buf_append_byte(out, (uint8_t)(0xf0 | c >> 18));
    buf_append_byte(out, (uint8_t)(0x80 | (c >> 12 & 0x3f)));
    buf_append_byte(out, (uint8_t)(0x80 | (c >> 6 & 0x3f)));
    buf_append_byte(out, (uint8_t)(0x80 | (c & 0x3f)));
  }
}

/* Behind "\u". */
static status take_character(struct json_text *text) {
  int32_t first = take_hex(text);
  if (first < 0)
    return json_text_error(text, "\\u wants four hexadecimal digits");
  uint32_t c = (uint32_t)first;
  if (c >= 0xdc00 && c <= 0xdfff)
    return json_text_error(text, "the second half of a surrogate pair stands alone");
  if (c >= 0xd800 && c <= 0xdbff) {
    bool follows = text->end - text->at >= 2 && text->at[0] == '\\' && text->at[1] == 'u';
    if (follows)
      text->at += 2;
    int32_t second = follows ? take_hex(text) : -1;
    if (second < 0xdc00 || second > 0xdfff)
      return json_text_error(text, "the first half of a surrogate pair stands alone");
    c = 0x10000 + ((c - 0xd800) << 10) + ((uint32_t)second - 0xdc00);
  }
  append_utf8(&text->scratch, c);
  return status_ok();
}

/* Behind "\". */
static status take_escape(struct json_text *text) {
  static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
  if (text->at == text->end)
    return json_text_error(text, "a string has no end");
  char c = *text->at++;
  if (c == 'u')
    return take_character(text);
  const char *found = c == '\0' ? NULL : strchr(from, c);
  if (found == NULL)
    return json_text_error(text, "a backslash that escapes nothing");
  buf_append_byte(&text->scratch, (uint8_t)to[found - from]);
  return status_ok();
}

/* The end of what needs no look: a quote, a backslash, a control character, or the end. */
static const char *plain_end(const struct json_text *text) {
  const char *at = text->at;
  while (at < text->end && *at != '"' && *at != '\\' && (unsigned char)*at >= 0x20)
    at++;
  return at;
}

status json_text_string(struct json_text *text, str *ret) {
  if (!json_text_take(text, '"'))
    return json_text_error(text, "a string was expected");
  const char *end = plain_end(text);
  if (end < text->end && *end == '"') {
    *ret = str_make(text->at, (size_t)(end - text->at));
    text->at = end + 1;
    return status_ok();
  }
  buf_clear(&text->scratch);
  for (;;) {
    end = plain_end(text);
    buf_append(&text->scratch, text->at, (size_t)(end - text->at));
    text->at = end;
    if (text->at == text->end)
      return json_text_error(text, "a string has no end");
    if (*text->at == '"')
      break;
    if (*text->at != '\\')
      return json_text_error(text, "a control character in a string");
    text->at++;
    STATUS_TRY(take_escape(text));
  }
  text->at++;
  if (text->scratch.failed)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  *ret = text->scratch.len == 0 ? STR("") : buf_str(&text->scratch);
  return status_ok();
}

/* ---- Numbers ---- */

static const char *digits_end(const char *at, const char *end) {
  while (at < end && *at >= '0' && *at <= '9')
    at++;
  return at;
}

/* The end of the number that begins at `at`; NULL: there is none. */
static const char *number_end(const char *at, const char *end) {
  if (at < end && *at == '-')
    at++;
  const char *digits = at;
  at = digits_end(at, end);
  if (at == digits || (*digits == '0' && at - digits > 1))
    return NULL;
  if (at < end && *at == '.') {
    digits = ++at;
    at = digits_end(at, end);
    if (at == digits)
      return NULL;
  }
  if (at < end && (*at == 'e' || *at == 'E')) {
    at++;
    if (at < end && (*at == '+' || *at == '-'))
      at++;
    digits = at;
    at = digits_end(at, end);
    if (at == digits)
      return NULL;
  }
  return at;
}

status json_text_number(struct json_text *text, str *ret) {
  json_text_peek(text);
  const char *end = number_end(text->at, text->end);
  if (end == NULL)
    return json_text_error(text, "a number was expected");
  *ret = str_make(text->at, (size_t)(end - text->at));
  text->at = end;
  return status_ok();
}

bool json_is_number(str text) {
  return text.len > 0 && number_end(text.ptr, text.ptr + text.len) == text.ptr + text.len;
}

/* ---- Passing over ---- */

static bool skip_string(struct json_text *text) {
  for (text->at++; text->at < text->end; text->at++) {
    if (*text->at == '"') {
      text->at++;
      return true;
    }
    if (*text->at == '\\' && text->at + 1 < text->end)
      text->at++;
  }
  text->at = text->end;
  return false;
}

bool json_text_skip(struct json_text *text) {
  size_t depth = 0;
  for (;;) {
    char c = json_text_peek(text);
    if (text->at == text->end)
      return false;
    if (c == '"') {
      if (!skip_string(text))
        return false;
    } else if (c == '{' || c == '[') {
      depth++;
      text->at++;
      continue;
    } else if (c == '}' || c == ']') {
      if (depth == 0)
        return false;
      depth--;
      text->at++;
    } else if (c == ',' || c == ':') {
      if (depth == 0)
        return false;
      text->at++;
      continue;
    } else {
      while (text->at < text->end && strchr(" \n\t\r,:{}[]\"", *text->at) == NULL)
        text->at++;
      if (text->at < text->end && *text->at == '\0')
        return false;
    }
    if (depth == 0)
      return true;
  }
}
