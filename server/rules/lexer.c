#include "server/rules/lexer.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "base/utf8.h"

bool rules_is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool rules_is_name_part(char c) {
  return rules_is_name_start(c) || is_digit(c);
}
bool rules_is_segment_part(char c) {
  return rules_is_name_part(c) || c == '-' || c == '.' || c == '~' || c == '%' || c == '@' ||
         (unsigned char)c >= 0x80;
}

static char peek(const struct rules_lexer *lexer, uint32_t ahead) {
  size_t at = (size_t)lexer->at + ahead;
  return at < lexer->source.len ? lexer->source.ptr[at] : '\0';
}
static bool at_end(const struct rules_lexer *lexer) {
  return lexer->at >= lexer->source.len;
}

static void skip_block_comment(struct rules_lexer *lexer) {
  uint32_t start = lexer->at;
  lexer->at += 2;
  while (!at_end(lexer)) {
    if (peek(lexer, 0) == '*' && peek(lexer, 1) == '/') {
      lexer->at += 2;
      return;
    }
    lexer->at++;
  }
  rules_report(lexer->compiler, start, false, "This comment has no end: '*/' is missing.");
}

void rules_lexer_skip(struct rules_lexer *lexer) {
  while (!at_end(lexer)) {
    char c = peek(lexer, 0);
    if (c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f') {
      lexer->at++;
    } else if (c == '/' && peek(lexer, 1) == '/') {
      while (!at_end(lexer) && peek(lexer, 0) != '\n')
        lexer->at++;
    } else if (c == '/' && peek(lexer, 1) == '*') {
      skip_block_comment(lexer);
    } else {
      return;
    }
  }
}

static void put_utf8(struct buf *out, uint32_t code) {
  if (code < 0x80) {
    buf_append_byte(out, (uint8_t)code);
  } else if (code < 0x800) {
    buf_append_byte(out, (uint8_t)(0xC0 | code >> 6));
    buf_append_byte(out, (uint8_t)(0x80 | (code & 0x3F)));
  } else if (code < 0x10000) {
    buf_append_byte(out, (uint8_t)(0xE0 | code >> 12));
    buf_append_byte(out, (uint8_t)(0x80 | (code >> 6 & 0x3F)));
    buf_append_byte(out, (uint8_t)(0x80 | (code & 0x3F)));
  } else {
    buf_append_byte(out, (uint8_t)(0xF0 | code >> 18));
    buf_append_byte(out, (uint8_t)(0x80 | (code >> 12 & 0x3F)));
    buf_append_byte(out, (uint8_t)(0x80 | (code >> 6 & 0x3F)));
    buf_append_byte(out, (uint8_t)(0x80 | (code & 0x3F)));
  }
}

/* `count` digits of this base, or fewer if at_most. */
static bool read_digits(struct rules_lexer *lexer, unsigned base, unsigned count, uint32_t *ret) {
  uint32_t value = 0;
  for (unsigned i = 0; i < count; i++) {
    char c = peek(lexer, 0);
    unsigned digit = is_digit(c)            ? (unsigned)(c - '0')
                     : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10)
                     : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A' + 10)
                                            : 99;
    if (digit >= base)
      return false;
    value = value * base + digit;
    lexer->at++;
  }
  *ret = value;
  return true;
}

/* After the backslash. */
static bool read_escape(struct rules_lexer *lexer, bool is_bytes, struct buf *out) {
  static const char from[] = "abfnrtv\\'\"`?", to[] = "\a\b\f\n\r\t\v\\'\"`?";
  char c = peek(lexer, 0);
  uint32_t code = 0;
  const char *simple = c == '\0' ? NULL : strchr(from, c);
  if (simple != NULL) {
    lexer->at++;
    buf_append_byte(out, (uint8_t)to[simple - from]);
    return true;
  }
  bool known = false;
  if (c == 'x' || c == 'X') {
    lexer->at++;
    known = read_digits(lexer, 16, 2, &code);
  } else if ((c == 'u' || c == 'U') && !is_bytes) {
    lexer->at++;
    known = read_digits(lexer, 16, c == 'u' ? 4 : 8, &code) && code <= 0x10FFFF &&
            (code < 0xD800 || code > 0xDFFF);
  } else if (c >= '0' && c <= '3') {
    known = read_digits(lexer, 8, 3, &code);
  }
  if (known && is_bytes)
    buf_append_byte(out, (uint8_t)code);
  else if (known)
    put_utf8(out, code);
  return known;
}

static struct rules_token read_text(struct rules_lexer *lexer, struct rules_token token) {
  token.kind = peek(lexer, 0) == 'b' ? TOKEN_BYTES : TOKEN_STRING;
  if (token.kind == TOKEN_BYTES)
    lexer->at++;
  char quote = peek(lexer, 0);
  lexer->at++;
  struct buf text = {0};
  bool good = true;
  for (;;) {
    char c = peek(lexer, 0);
    if (at_end(lexer) || c == '\n') {
      rules_report(lexer->compiler, token.start, false, "Missing a closing %c.", quote);
      good = false;
      break;
    }
    if (c == quote) {
      lexer->at++;
      break;
    }
    uint32_t start = lexer->at++;
    if (c != '\\') {
      buf_append_byte(&text, (uint8_t)c);
    } else if (!read_escape(lexer, token.kind == TOKEN_BYTES, &text) && good) {
      rules_report(lexer->compiler, start, false, "Unknown escape in a text. Write '\\\\' for a backslash.");
      good = false;
    }
  }
  char *copy = rules_allocate(lexer->compiler, text.len + 1, 1);
  if (copy != NULL && text.len > 0)
    memcpy(copy, text.data, text.len);
  if (text.failed)
    lexer->compiler->out_of_memory = true;
  token.text = str_make(copy, copy == NULL || text.failed ? 0 : text.len);
  buf_fini(&text);
  token.end = lexer->at;
  if (!good)
    token.kind = TOKEN_INVALID;
  return token;
}

static struct rules_token read_number(struct rules_lexer *lexer, struct rules_token token) {
  while (is_digit(peek(lexer, 0)))
    lexer->at++;
  bool is_float = peek(lexer, 0) == '.' && !rules_is_name_start(peek(lexer, 1));
  if (is_float) {
    lexer->at++;
    while (is_digit(peek(lexer, 0)))
      lexer->at++;
  }
  token.end = lexer->at;
  char digits[64];
  size_t len = token.end - token.start;
  bool good = len < sizeof digits && !rules_is_name_start(peek(lexer, 0));
  if (good) {
    memcpy(digits, lexer->source.ptr + token.start, len);
    digits[len] = '\0';
    errno = 0;
    if (is_float) {
      token.kind = TOKEN_FLOAT;
      token.number = strtod(digits, NULL);
    } else {
      token.kind = TOKEN_INT;
      unsigned long long value = strtoull(digits, NULL, 10);
      good = errno == 0 && value <= (unsigned long long)INT64_MAX + 1;
      token.integer = value > INT64_MAX ? INT64_MIN : (int64_t)value;
    }
  }
  if (!good) {
    while (rules_is_name_part(peek(lexer, 0)))
      lexer->at++;
    token.end = lexer->at;
    rules_report(lexer->compiler, token.start, false, "Invalid number literal %.*s.",
                 (int)(token.end - token.start > 40 ? 40 : token.end - token.start),
                 lexer->source.ptr + token.start);
    token.kind = TOKEN_INVALID;
  }
  return token;
}

struct rules_token rules_lexer_next(struct rules_lexer *lexer) {
  static const char *const doubles[] = {"&&", "||", "==", "!=", "<=", ">="};
  rules_lexer_skip(lexer);
  struct rules_token token = {.kind = TOKEN_END, .start = lexer->at, .end = lexer->at};
  if (at_end(lexer))
    return token;
  char c = peek(lexer, 0), second = peek(lexer, 1);
  if (c == '\'' || c == '"' || (c == 'b' && (second == '\'' || second == '"')))
    return read_text(lexer, token);
  if (is_digit(c) || (c == '.' && is_digit(second) &&
                      (lexer->at == 0 || !rules_is_name_part(lexer->source.ptr[lexer->at - 1]))))
    return read_number(lexer, token);
  if (rules_is_name_start(c)) {
    while (rules_is_name_part(peek(lexer, 0)))
      lexer->at++;
    token.kind = TOKEN_NAME;
    token.end = lexer->at;
    token.text = str_make(lexer->source.ptr + token.start, token.end - token.start);
    return token;
  }
  token.kind = TOKEN_SIGN;
  for (size_t i = 0; i < sizeof doubles / sizeof *doubles; i++)
    if (doubles[i][0] == c && doubles[i][1] == second) {
      lexer->at += 2;
      token.end = lexer->at;
      token.sign = RULES_SIGN2(c, second);
      return token;
    }
  if (strchr("(){}[].,:;?!<>+-*/%=$", c) != NULL && c != '\0') {
    token.end = ++lexer->at;
    token.sign = (uint16_t)(unsigned char)c;
    return token;
  }
  size_t len = utf8_character_length(lexer->source.ptr + lexer->at, lexer->source.len - lexer->at);
  len = len == 0 ? 1 : len;
  rules_report(lexer->compiler, token.start, false, "Unexpected '%.*s'.", (int)len,
               lexer->source.ptr + token.start);
  lexer->at += (uint32_t)len;
  token.end = lexer->at;
  token.kind = TOKEN_INVALID;
  return token;
}
