/* The log: one line an event, to one file descriptor, as logfmt or JSON.
 *
 *   ts=2026-08-01T12:00:00.123456Z level=warn msg="disk is nearly full" free_bytes=1048576
 *
 * A line is one write(2) of at most 4 KiB, so lines of threads never mix, even on a pipe. A value is cut at 1
 * KiB and then ends in "...", fields that do not fit are left out and the line ends in cut=true. Values may
 * be anything: they are escaped so that they can neither end a line nor look like a field, and invalid UTF-8
 * becomes U+FFFD. Names of fields are plain words of the code. Lower layers never log an error that they
 * return. Any thread. */
#ifndef SKERRY_BASE_LOG_H
#define SKERRY_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR, LOG_LEVEL_OFF };
enum log_format { LOG_FORMAT_LOGFMT, LOG_FORMAT_JSON };

/* A field of a line. Build them with the macros below. */
struct log_field {
  const char *name;
  enum { LOG_FIELD_STR, LOG_FIELD_INT, LOG_FIELD_END } kind;
  str text;
  int64_t number;
};

#define LOG_STR(field, value) ((struct log_field){(field), LOG_FIELD_STR, (value), 0})
#define LOG_CSTR(field, value) ((struct log_field){(field), LOG_FIELD_STR, str_from_cstr(value), 0})
#define LOG_INT(field, value) ((struct log_field){(field), LOG_FIELD_INT, {0, 0}, (int64_t)(value)})

/* Sets where and what is written; before it: warnings and errors as logfmt on standard error. Start of the
 * program only. */
void log_configure(enum log_level level, enum log_format format, int fd);
bool log_enabled(enum log_level level);

/* log_event(LOG_LEVEL_INFO, "listening", LOG_CSTR("address", text), LOG_INT("port", 8080)); at least one
 * field. */
#define log_event(level, message, ...)                                                                       \
  do {                                                                                                       \
    if (log_enabled(level))                                                                                  \
      log_event_((level), (message),                                                                         \
                 (const struct log_field[]){__VA_ARGS__, {NULL, LOG_FIELD_END, {0, 0}, 0}});                 \
  } while (0)

/* For what a client can cause: at most `burst` lines a second from one place; the next line that passes tells
 * how many were left out (field `suppressed`). Zeroed memory, one static object a place. */
struct log_limiter {
  _Atomic uint64_t window; /* private: the second, and in the lower half how many lines passed in it */
  _Atomic uint32_t suppressed;
};
bool log_limiter_pass(struct log_limiter *limiter, uint32_t burst, uint32_t *ret_suppressed);

void log_event_(enum log_level level, const char *message, const struct log_field *fields);

#endif
