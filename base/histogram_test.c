#include "base/histogram.h"
#include "tests/support/unit.h"

static void test_buckets(void **state) {
  (void)state;
  size_t last = 0;
  for (uint64_t value = 0; value < 1 << 20; value++) {
    size_t bucket = histogram_bucket(value);
    assert_true(bucket == last || bucket == last + 1);
    last = bucket;
    uint64_t middle = histogram_middle(bucket);
    uint64_t off = middle > value ? middle - value : value - middle;
    assert_true(off * 16 <= value);
  }
  assert_int_equal(histogram_bucket(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
  assert_int_equal(histogram_bucket((uint64_t)1 << 40), HISTOGRAM_BUCKETS - 1);
}

static void test_quantiles(void **state) {
  (void)state;
  static struct histogram a, b;
  struct histogram_counts counts = {0};
  assert_int_equal(histogram_quantile(&counts, 50), 0);
  for (int i = 0; i < 97; i++)
    histogram_add(i % 2 == 0 ? &a : &b, 100);
  for (int i = 0; i < 3; i++)
    histogram_add(&b, 1000000);
  histogram_counts_add(&counts, &a);
  histogram_counts_add(&counts, &b);
  assert_int_equal(counts.total, 100);
  assert_int_equal(counts.sum, 97 * 100 + 3 * 1000000);
  assert_in_range(histogram_quantile(&counts, 50), 94, 106);
  assert_in_range(histogram_quantile(&counts, 97), 94, 106);
  assert_in_range(histogram_quantile(&counts, 98), 940000, 1060000);
}

/* Each power of two is a bound, and counts are exact there. */
static void test_summaries(void **state) {
  (void)state;
  static struct histogram histogram;
  const uint64_t values[] = {0, 1, 2, 3, 4, 7, 8, 15, 16, 1023, 1024, UINT64_MAX / 4};
  const size_t count = sizeof values / sizeof *values;
  for (size_t i = 0; i < count; i++)
    histogram_add(&histogram, values[i]);
  struct histogram_counts counts = {0};
  histogram_counts_add(&counts, &histogram);
  for (unsigned first = 0; first <= 20; first++) {
    struct histogram_summary summary;
    histogram_summarize(&counts, first, 16, &summary);
    assert_int_equal(summary.total, count);
    for (unsigned i = 0; i < summary.bounds; i++) {
      uint64_t wanted = 0;
      for (size_t v = 0; v < count; v++)
        wanted += values[v] < (uint64_t)1 << (first + i);
      assert_int_equal(summary.below[i], wanted);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_buckets), cmocka_unit_test(test_quantiles),
                                     cmocka_unit_test(test_summaries)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
