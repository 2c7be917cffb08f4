#include "rpc/stats.h"
#include "tests/support/unit.h"

static void test_merges(void **state) {
  (void)state;
  static struct rpc_counters a, b;
  for (int i = 0; i < 98; i++)
    rpc_counters_finished(i % 2 == 0 ? &a : &b, STATUS_OK, 100);
  rpc_counters_finished(&a, STATUS_ABORTED, 1000000);
  rpc_counters_finished(&b, (enum status_code)99, -5);
  counter_add(&a.started, 60);
  counter_add(&b.started, 40);
  const struct rpc_counters *sets[] = {&a, NULL, &b};
  struct rpc_method_stats stats;
  rpc_counters_merge(NULL, sets, 3, &stats);
  assert_int_equal(stats.started, 100);
  assert_int_equal(stats.ok, 98);
  assert_int_equal(stats.failed, 2);
  assert_int_equal(stats.by_code[STATUS_ABORTED], 1);
  assert_int_equal(stats.by_code[STATUS_UNKNOWN], 1);
  assert_in_range(stats.latency_us_p50, 94, 106);
  assert_in_range(stats.latency_us_p99, 94, 106);
  rpc_counters_finished(&b, STATUS_OK, 1000000);
  rpc_counters_finished(&b, STATUS_OK, 1000000);
  rpc_counters_merge(NULL, sets, 3, &stats);
  assert_in_range(stats.latency_us_p99, 940000, 1060000);
  assert_int_equal(stats.latency_us.below[0], 1);  /* 64 us: the one of -5 */
  assert_int_equal(stats.latency_us.below[1], 99); /* 128 us */
  assert_int_equal(stats.latency_us.below[13], 99);
  assert_int_equal(stats.latency_us.below[14], 102); /* 1.05 s */
  assert_int_equal(stats.latency_us.total, 102);
  assert_int_equal(stats.latency_us.sum, 98 * 100 + 3 * 1000000);
  rpc_counters_merge(NULL, sets, 0, &stats);
  assert_int_equal(stats.latency_us_p50, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_merges)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
