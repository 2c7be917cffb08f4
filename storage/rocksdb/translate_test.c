#include "storage/rocksdb/translate.h"
#include "tests/support/unit.h"

static void test_every_code(void **state) {
  (void)state;
  static const struct {
    int code, subcode;
    enum status_code expected;
  } rows[] = {
      {0, 0, STATUS_OK},
      {1, 0, STATUS_INTERNAL}, /* NotFound: whoever may meet it looks for it before */
      {2, 0, STATUS_DATA_LOSS},
      {3, 0, STATUS_INTERNAL},
      {4, 0, STATUS_INTERNAL},
      {5, 0, STATUS_UNAVAILABLE},
      {5, 4, STATUS_RESOURCE_EXHAUSTED},  /* no space */
      {5, 8, STATUS_RESOURCE_EXHAUSTED},  /* space limit */
      {10, 7, STATUS_RESOURCE_EXHAUSTED}, /* memory limit */
      {7, 0, STATUS_UNAVAILABLE},
      {8, 0, STATUS_UNAVAILABLE},
      {9, 0, STATUS_UNAVAILABLE},
      {10, 0, STATUS_UNAVAILABLE},
      {11, 0, STATUS_UNAVAILABLE},
      {12, 0, STATUS_UNAVAILABLE},
      {13, 0, STATUS_UNAVAILABLE},
      {15, 0, STATUS_INTERNAL},
      {99, 0, STATUS_INTERNAL},
  };
  for (size_t i = 0; i < UNIT_COUNT(rows); i++) {
    status s = rocksdb_translate(rows[i].code, rows[i].subcode, "text");
    assert_status_code(s, rows[i].expected);
    assert_true(rows[i].expected == STATUS_OK || s.message[0] != '\0');
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_code)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
