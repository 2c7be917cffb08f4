/* The one error type: a gRPC status code and a message, by value.
 *
 * A function that can fail returns `status`; its outputs are written only on success. The message goes to the
 * client as it is, so it says what is wrong and what to do, and holds no secret; detail goes to the log. It
 * is valid UTF-8 and is cut, at a character boundary, at STATUS_MESSAGE_MAX bytes. Codes and their meaning:
 * https://github.com/grpc/grpc/blob/master/doc/statuscodes.md */
#ifndef SKERRY_BASE_STATUS_H
#define SKERRY_BASE_STATUS_H

#include <stdbool.h>

/* The numbers are gRPC's. */
#define STATUS_CODES(X)                                                                                      \
  X(OK, 0, "")                                                                                               \
  X(CANCELLED, 1, "The call was cancelled.")                                                                 \
  X(UNKNOWN, 2, "Unknown error.")                                                                            \
  X(INVALID_ARGUMENT, 3, "Invalid argument.")                                                                \
  X(DEADLINE_EXCEEDED, 4, "The deadline passed before the call was done.")                                   \
  X(NOT_FOUND, 5, "Not found.")                                                                              \
  X(ALREADY_EXISTS, 6, "Already exists.")                                                                    \
  X(PERMISSION_DENIED, 7, "Missing or insufficient permissions.")                                            \
  X(RESOURCE_EXHAUSTED, 8, "A limit of this server is reached.")                                             \
  X(FAILED_PRECONDITION, 9, "The state of the data does not allow this.")                                    \
  X(ABORTED, 10, "Too much contention on these documents. Please try again.")                                \
  X(OUT_OF_RANGE, 11, "Out of range.")                                                                       \
  X(UNIMPLEMENTED, 12, "Not implemented by this server.")                                                    \
  X(INTERNAL, 13, "Internal error.")                                                                         \
  X(UNAVAILABLE, 14, "The service is not available now. Please try again.")                                  \
  X(DATA_LOSS, 15, "Stored data is damaged.")                                                                \
  X(UNAUTHENTICATED, 16, "Please sign in.")

enum status_code {
#define X(name, number, text) STATUS_##name = (number),
  STATUS_CODES(X)
#undef X
};

enum { STATUS_CODE_MAX = 16, STATUS_MESSAGE_MAX = 507 };

typedef struct status {
  enum status_code code;
  char message[STATUS_MESSAGE_MAX + 1]; /* "" if OK */
} status;

/* The caller looks at every status. */
#define STATUS_MUST_USE __attribute__((warn_unused_result))

static inline status status_ok(void) {
  status s; /* only what is looked at is written: OK is the hot path */
  s.code = STATUS_OK;
  s.message[0] = '\0';
  return s;
}

static inline bool status_is_ok(const status *s) {
  return s->code == STATUS_OK;
}

/* A status with a formatted message. A code outside the list counts as UNKNOWN. Invalid UTF-8 in the
 * arguments becomes U+FFFD. */
STATUS_MUST_USE status status_make(enum status_code code, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* A status with the code's default text. */
STATUS_MUST_USE status status_default(enum status_code code);

#ifdef __clang_analyzer__ /* clang-tidy sees one file at a time: this tells it that a failure is one */
static inline status status_failed_(status s) {
  if (s.code == STATUS_OK)
    __builtin_unreachable();
  return s;
}
#define status_make(...) status_failed_((status_make)(__VA_ARGS__))
#define status_default(code) status_failed_((status_default)(code))
#endif

/* "INVALID_ARGUMENT"; a number outside the list gives "UNKNOWN". The text is static. */
const char *status_code_name(int code);

/* Returns from the calling function if `expression` fails. Only where nothing is owned. */
#define STATUS_TRY(expression)                                                                               \
  do {                                                                                                       \
    status status_try_ = (expression);                                                                       \
    if (status_try_.code != STATUS_OK)                                                                       \
      return status_try_;                                                                                    \
  } while (0)

#endif
