/* Times past what 32 bits hold, in both forms that certificates have. */
#include <openssl/asn1.h>
#include <string.h>

#include "server/listener/certificate_time.h"
#include "tests/support/unit.h"

static const struct {
  int64_t seconds;
  const char *text;
} times[] = {
    {-631152000, "500101000000Z"}, /* 1950: the first of UTCTime */
    {-1, "691231235959Z"},
    {0, "700101000000Z"},
    {INT32_MAX, "380119031407Z"},
    {INT64_C(2147483648), "380119031408Z"},
    {INT64_C(2524607999), "491231235959Z"}, /* 2049: the last of UTCTime */
    {INT64_C(2524608000), "20500101000000Z"},
    {INT64_C(4294967296), "21060207062816Z"},
    {INT64_C(253402300799), "99991231235959Z"},
};

static void test_both_ways(void **state) {
  (void)state;
  ASN1_TIME *time = ASN1_TIME_new();
  assert_non_null(time);
  for (size_t i = 0; i < UNIT_COUNT(times); i++) {
    assert_true(certificate_time_set(time, times[i].seconds));
    assert_int_equal(ASN1_STRING_length(time), strlen(times[i].text));
    assert_memory_equal(ASN1_STRING_get0_data(time), times[i].text, strlen(times[i].text));
    assert_int_equal(certificate_time_s(time), times[i].seconds);
  }
  ASN1_TIME_free(time);
}

static void test_refused(void **state) {
  (void)state;
  ASN1_TIME *time = ASN1_TIME_new();
  assert_non_null(time);
  assert_false(certificate_time_set(time, INT64_C(253402300800))); /* the year 10000 */
  assert_false(certificate_time_set(time, INT64_MAX));
  assert_true(ASN1_STRING_set(time, "tomorrow", -1));
  assert_int_equal(certificate_time_s(time), INT64_MIN);
  ASN1_TIME_free(time);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_both_ways),
      cmocka_unit_test(test_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
