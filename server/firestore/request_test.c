/* The rules of design that no test of one method would show: what the write path may answer, times, projects.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/firestore/request.h"

/* SDKs drop a queued write for these: they must never come from a condition of the server. */
static const enum status_code drops[] = {
    STATUS_INVALID_ARGUMENT,    STATUS_NOT_FOUND,    STATUS_ALREADY_EXISTS, STATUS_PERMISSION_DENIED,
    STATUS_FAILED_PRECONDITION, STATUS_OUT_OF_RANGE, STATUS_UNIMPLEMENTED,  STATUS_DATA_LOSS};

static bool drops_writes(enum status_code code) {
  for (size_t i = 0; i < sizeof drops / sizeof drops[0]; i++)
    if (drops[i] == code)
      return true;
  return false;
}

static void test_codes_of_the_write_path(void **state) {
  (void)state;
  static const struct {
    enum status_code from, to;
  } cases[] = {
      /* conditions of the server */
      {STATUS_INTERNAL, STATUS_UNAVAILABLE},
      {STATUS_UNKNOWN, STATUS_UNAVAILABLE},
      {STATUS_DATA_LOSS, STATUS_UNAVAILABLE},
      {STATUS_UNIMPLEMENTED, STATUS_UNAVAILABLE},
      {STATUS_UNAVAILABLE, STATUS_UNAVAILABLE},
      {STATUS_RESOURCE_EXHAUSTED, STATUS_RESOURCE_EXHAUSTED},
      {STATUS_ABORTED, STATUS_ABORTED},
      {STATUS_UNAUTHENTICATED, STATUS_UNAUTHENTICATED}, /* SDKs fetch another token */
      /* verdicts on the write */
      {STATUS_INVALID_ARGUMENT, STATUS_INVALID_ARGUMENT},
      {STATUS_NOT_FOUND, STATUS_NOT_FOUND},
      {STATUS_ALREADY_EXISTS, STATUS_ALREADY_EXISTS},
      {STATUS_FAILED_PRECONDITION, STATUS_FAILED_PRECONDITION},
      {STATUS_PERMISSION_DENIED, STATUS_PERMISSION_DENIED},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    status before = status_make(cases[i].from, "why"), after = request_write_status(before);
    assert_int_equal(after.code, cases[i].to);
    assert_string_equal(after.message, "why");
  }
}

static void test_server_conditions_keep_writes(void **state) {
  (void)state;
  /* a project that is not served */
  struct firestore_service service = {.options = {.projects = (const char *[]){"shop"}, .project_count = 1}};
  struct doc_path path;
  status result = request_database(&service, "projects/other/databases/(default)", REQUEST_WRITES, &path);
  assert_int_equal(result.code, STATUS_UNAVAILABLE);
  assert_false(drops_writes(result.code));
  result = request_database(&service, "projects/other/databases/(default)", REQUEST_READS, &path);
  assert_int_equal(result.code, STATUS_NOT_FOUND);
  result = request_database(&service, "projects/shop/databases/named", REQUEST_WRITES, &path);
  assert_int_equal(result.code, STATUS_OK);
}

static void test_timestamps(void **state) {
  (void)state;
  static const struct {
    int64_t seconds;
    int32_t nanos;
    bool valid;
    int64_t us;
  } cases[] = {
      {0, 0, true, 0},
      {0, 999, true, 0},
      {-1, 999999999, true, -1},
      {-62135596800, 0, true, -62135596800000000},
      {-62135596801, 0, false, 0},
      {253402300799, 999999999, true, 253402300799999999},
      {253402300800, 0, false, 0},
      {0, -1, false, 0},
      {0, 1000000000, false, 0},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    Google__Protobuf__Timestamp timestamp = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    timestamp.seconds = cases[i].seconds;
    timestamp.nanos = cases[i].nanos;
    int64_t us = 0;
    status result = request_timestamp(&timestamp, "t", &us);
    assert_int_equal(status_is_ok(&result), cases[i].valid);
    assert_int_equal(us, cases[i].us);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_codes_of_the_write_path),
      cmocka_unit_test(test_server_conditions_keep_writes),
      cmocka_unit_test(test_timestamps),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
