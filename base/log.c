/* A line is put together on the stack and leaves in one write(2) of at most PIPE_BUF bytes, which POSIX makes
 * atomic on a pipe; a longer one could mix with another thread's or process's. So every value is cut at
 * VALUE_BYTES (it then ends in "..."), and fields that no longer fit are left out (the line then ends in
 * cut=true). What a viewer may take for the end of a line or a change of direction is escaped: nothing that a
 * client sends can look like a line of its own. */
#include "base/log.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/utf8.h"

enum {
  LINE_BYTES = PIPE_BUF,
  VALUE_BYTES = 1024, /* of one value, escaped */
  TAIL_BYTES = 16,    /* kept for the mark of a cut line and its end */
};

static struct {
  enum log_level level;
  enum log_format format;
  int fd;
} config = {LOG_LEVEL_WARN, LOG_FORMAT_LOGFMT, STDERR_FILENO};

static const char *const level_names[] = {"debug", "info", "warn", "error", "off"};

struct line {
  size_t used;
  size_t room; /* appends stop here */
  bool overflow;
  char text[LINE_BYTES];
};

void log_configure(enum log_level level, enum log_format format, int fd) {
  config.level = level;
  config.format = format;
  config.fd = fd;
}

bool log_enabled(enum log_level level) {
  return level >= config.level && level < LOG_LEVEL_OFF;
}

static void append(struct line *line, const char *text, size_t length) {
  if (line->overflow || length > line->room - line->used) {
    line->overflow = true;
    return;
  }
  memcpy(line->text + line->used, text, length);
  line->used += length;
}

static void append_cstr(struct line *line, const char *text) {
  append(line, text, strlen(text));
}

static uint32_t code_point(const char *text, size_t length) {
  const uint8_t *at = (const uint8_t *)text;
  uint32_t point = length == 1 ? at[0] : at[0] & (0x7Fu >> length);
  for (size_t i = 1; i < length; i++)
    point = point << 6 | (at[i] & 0x3Fu);
  return point;
}

/* Control characters, the line ends of Unicode and what turns the direction of writing. All below U+10000. */
static bool must_escape(uint32_t point) {
  return point < 0x20 || (point >= 0x7F && point <= 0x9F) || point == 0x200E || point == 0x200F ||
         (point >= 0x2028 && point <= 0x202E) || (point >= 0x2066 && point <= 0x2069);
}

/* What stands for the character at text[0, length), or for an invalid byte if length is 0. Either points into
 * `text` or is in `escaped`. */
static str escape(const char *text, size_t length, char escaped[8]) {
  if (length == 0)
    return STR("\xEF\xBF\xBD");
  switch (*text) {
  case '"':
    return STR("\\\"");
  case '\\':
    return STR("\\\\");
  case '\n':
    return STR("\\n");
  case '\r':
    return STR("\\r");
  case '\t':
    return STR("\\t");
  default:
    break;
  }
  uint32_t point = code_point(text, length);
  if (!must_escape(point))
    return str_make(text, length);
  int written = snprintf(escaped, 8, "\\u%04x", (unsigned)(point & 0xFFFF));
  return str_make(escaped, (size_t)written);
}

static void append_quoted(struct line *line, str value) {
  append(line, "\"", 1);
  size_t written = 0;
  for (size_t at = 0; at < value.len;) {
    char escaped[8];
    size_t length = utf8_character_length(value.ptr + at, value.len - at);
    str piece = escape(value.ptr + at, length, escaped);
    if (written + piece.len > VALUE_BYTES) {
      append(line, "...", 3);
      break;
    }
    append(line, piece.ptr, piece.len);
    written += piece.len;
    at += length == 0 ? 1 : length;
  }
  append(line, "\"", 1);
}

/* Whether a logfmt reader takes the value without quotes for what it is. */
static bool is_bare(str value) {
  if (value.len == 0 || value.len > VALUE_BYTES)
    return false;
  for (size_t i = 0; i < value.len; i++) {
    char c = value.ptr[i];
    if (c <= ' ' || c >= 0x7F || c == '"' || c == '=' || c == '\\') /* char may be signed or not */
      return false;
  }
  return true;
}

static void append_value(struct line *line, str value) {
  if (config.format == LOG_FORMAT_LOGFMT && is_bare(value))
    append(line, value.ptr, value.len);
  else
    append_quoted(line, value);
}

/* ` name=` or `,"name":`. Names come from the code and are plain words. */
static void append_name(struct line *line, const char *name) {
  bool json = config.format == LOG_FORMAT_JSON;
  append_cstr(line, json ? ",\"" : " ");
  append_cstr(line, name);
  append_cstr(line, json ? "\":" : "=");
}

static void append_time(struct line *line) {
  struct timespec now;
  struct tm utc;
  clock_gettime(CLOCK_REALTIME, &now);
  gmtime_r(&now.tv_sec, &utc);
  char text[96];
  size_t length = strftime(text, 64, "%Y-%m-%dT%H:%M:%S", &utc);
  length += (size_t)snprintf(text + length, 16, ".%06ldZ", now.tv_nsec / 1000);
  bool json = config.format == LOG_FORMAT_JSON;
  append_cstr(line, json ? "{\"ts\":\"" : "ts=");
  append(line, text, length);
  append_cstr(line, json ? "\"" : "");
}

static void append_field(struct line *line, const struct log_field *field) {
  append_name(line, field->name);
  if (field->kind == LOG_FIELD_INT) {
    char number[24];
    snprintf(number, sizeof number, "%lld", (long long)field->number);
    append_cstr(line, number);
  } else {
    append_value(line, field->text);
  }
}

static void line_write(const struct line *line) {
  ssize_t written;
  do {
    written = write(config.fd, line->text, line->used);
  } while (written < 0 && errno == EINTR); /* any other failure has nowhere to be told */
}

void log_event_(enum log_level level, const char *message, const struct log_field *fields) {
  struct line line;
  line.used = 0;
  line.room = sizeof line.text - TAIL_BYTES;
  line.overflow = false;
  append_time(&line);
  append_name(&line, "level");
  append_value(&line, str_from_cstr(level_names[level]));
  append_name(&line, "msg");
  append_quoted(&line, str_from_cstr(message));
  for (; fields->kind != LOG_FIELD_END; fields++) {
    size_t before = line.used;
    append_field(&line, fields);
    if (line.overflow) {
      line.used = before;
      break;
    }
  }
  bool cut = line.overflow;
  line.room = sizeof line.text;
  line.overflow = false;
  if (config.format == LOG_FORMAT_JSON)
    append_cstr(&line, cut ? ",\"cut\":true}\n" : "}\n");
  else
    append_cstr(&line, cut ? " cut=true\n" : "\n");
  line_write(&line);
}

bool log_limiter_pass(struct log_limiter *limiter, uint32_t burst, uint32_t *ret_suppressed) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  uint64_t this_second = (uint64_t)now.tv_sec << 32;
  uint64_t window = atomic_load_explicit(&limiter->window, memory_order_relaxed), next;
  do {
    next = (window < this_second ? this_second : window) + 1;
    if ((next & UINT32_MAX) > burst) {
      atomic_fetch_add_explicit(&limiter->suppressed, 1, memory_order_relaxed);
      return false;
    }
  } while (!atomic_compare_exchange_weak_explicit(&limiter->window, &window, next, memory_order_relaxed,
                                                  memory_order_relaxed));
  *ret_suppressed = atomic_exchange_explicit(&limiter->suppressed, 0, memory_order_relaxed);
  return true;
}
