#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

#undef status_make /* what status.h makes of them for clang-tidy */
#undef status_default

static const struct {
  const char *name;
  const char *text;
} codes[] = {
#define X(name, number, text) [number] = {#name, text},
    STATUS_CODES(X)
#undef X
};

/* Codes come from other servers too: what is not on the list counts as UNKNOWN, as gRPC says. */
static int known(int code) {
  return code < 0 || code > STATUS_CODE_MAX ? STATUS_UNKNOWN : code;
}

const char *status_code_name(int code) {
  return codes[known(code)].name;
}

status status_make(enum status_code code, const char *format, ...) {
  status s;
  s.code = (enum status_code)known((int)code);
  char raw[STATUS_MESSAGE_MAX + 1];
  va_list arguments;
  va_start(arguments, format);
  int wanted = vsnprintf(raw, sizeof raw, format, arguments);
  va_end(arguments);
  size_t length = wanted < 0 ? 0 : (size_t)wanted < sizeof raw ? (size_t)wanted : sizeof raw - 1;
  bool cut = wanted > 0 && (size_t)wanted > length;
  utf8_repair(raw, length, cut, s.message, sizeof s.message);
  return s;
}

status status_default(enum status_code code) {
  status s;
  s.code = (enum status_code)known((int)code);
  const char *text = codes[s.code].text;
  memcpy(s.message, text, strlen(text) + 1);
  return s;
}
