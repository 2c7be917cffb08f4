#include "rpc/stats.h"
#include "tests/support/unit.h"

static void test_buckets(void **state) {
  (void)state;
  size_t last = 0;
  for (uint64_t us = 0; us < 1 << 20; us++) {
    size_t bucket = rpc_histogram_bucket(us);
    assert_true(bucket == last || bucket == last + 1);
    last = bucket;
    uint64_t middle = rpc_histogram_value(bucket);
    uint64_t off = middle > us ? middle - us : us - middle;
    assert_true(off * 16 <= us);
  }
  assert_int_equal(rpc_histogram_bucket(UINT64_MAX), RPC_HISTOGRAM_BUCKETS - 1);
  assert_int_equal(rpc_histogram_bucket((uint64_t)1 << 40), RPC_HISTOGRAM_BUCKETS - 1);
}

static void test_merges(void **state) {
  (void)state;
  static struct rpc_counters a, b;
  for (int i = 0; i < 98; i++)
    rpc_counters_finished(i % 2 == 0 ? &a : &b, STATUS_OK, 100);
  rpc_counters_finished(&a, STATUS_ABORTED, 1000000);
  rpc_counters_finished(&b, (enum status_code)99, -5);
  rpc_counter_add(&a.started, 60);
  rpc_counter_add(&b.started, 40);
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
  rpc_counters_merge(NULL, sets, 0, &stats);
  assert_int_equal(stats.latency_us_p50, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_buckets), cmocka_unit_test(test_merges)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
