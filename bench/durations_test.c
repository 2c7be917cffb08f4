#include "bench/durations.h"
#include "tests/support/unit.h"

static void test_quantiles(void **state) {
  (void)state;
  struct durations h = {0};
  assert_true(durations_quantile(&h, 0.5) == 0);
  for (int64_t us = 1; us <= 100000; us++)
    durations_add(&h, us);
  const double shares[] = {0.001, 0.01, 0.5, 0.99, 0.999};
  for (size_t i = 0; i < UNIT_COUNT(shares); i++) {
    double exact = shares[i] * 100000, got = durations_quantile(&h, shares[i]);
    assert_true(got > exact * 0.97 && got < exact * 1.03);
  }
  assert_true(durations_quantile(&h, 1) == 100000);
  assert_int_equal(h.max_us, 100000);
}

static void test_extremes_and_merge(void **state) {
  (void)state;
  struct durations a = {0}, b = {0};
  durations_add(&a, -5);
  durations_add(&a, 7);
  durations_add(&b, INT64_MAX);
  durations_merge(&a, &b);
  assert_int_equal(a.total, 3);
  assert_true(durations_quantile(&a, 0.4) == 7);
  assert_int_equal(a.max_us, INT64_MAX);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_quantiles),
                                     cmocka_unit_test(test_extremes_and_merge)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
