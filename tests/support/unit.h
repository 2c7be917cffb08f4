/* What every unit test includes: cmocka, with the headers that it wants before it, and assertions for
 * our types. */
#ifndef SKERRY_TESTS_SUPPORT_UNIT_H
#define SKERRY_TESTS_SUPPORT_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "base/str.h"
/* After the four above. */
#include <cmocka.h>

#define UNIT_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* A failed one shows the message. */
#define assert_status_ok(expression)                                                                         \
  do {                                                                                                       \
    status unit_status_ = (expression);                                                                      \
    if (unit_status_.code != STATUS_OK)                                                                      \
      fail_msg("%s: %s", status_code_name((int)unit_status_.code), unit_status_.message);                    \
  } while (0)

#define assert_status_code(expression, wanted)                                                               \
  do {                                                                                                       \
    status unit_status_ = (expression);                                                                      \
    assert_string_equal(status_code_name((int)unit_status_.code), status_code_name((int)(wanted)));          \
  } while (0)

/* `wanted` is a C string. */
#define assert_str_is(actual, wanted)                                                                        \
  do {                                                                                                       \
    str unit_str_ = (actual);                                                                                \
    if (!str_eq(unit_str_, str_from_cstr(wanted)))                                                           \
      fail_msg("\"" STR_FMT "\" is not \"%s\"", STR_ARG(unit_str_), (wanted));                               \
  } while (0)

#endif
