#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "ports/port.h"
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

/* ---- What it costs to count a unary call, by hand: rpc_stats_test bench ---- */

/* All that is counted of one, with the clock that is read for it. */
static void count_call(struct rpc_counters *counters, struct port *port, int64_t began_us) {
  counter_add(&counters->started, 1);
  counter_add(&counters->messages_in, 1);
  counter_add(&counters->messages_out, 1);
  rpc_counters_finished(counters, STATUS_OK, port->monotonic_us(port) - began_us);
}

static double now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int bench(void) {
  enum { SETS = 16384, CALLS = 200000, ROUNDS = 20 };
  struct rpc_counters *sets = calloc(SETS, sizeof *sets);
  struct port *port = port_linux();
  assert_non_null(sets);
  for (int cold = 0; cold < 2; cold++) {
    double best = 1e18;
    for (int round = 0; round < ROUNDS; round++) {
      double start = now_ns();
      uint32_t random = 1;
      for (int i = 0; i < CALLS; i++) {
        random = random * 1664525 + 1013904223;
        count_call(&sets[cold ? random >> 18 : 0], port, -(int64_t)(random >> 20));
      }
      double took = (now_ns() - start) / CALLS;
      best = took < best ? took : best;
    }
    printf("%.0f ns a call, counters %s\n", best,
           cold ? "in no cache (38 MB of them, at random)" : "in the cache");
  }
  free(sets);
  return 0;
}

int main(int argc, char **argv) {
  if (argc > 1 && strcmp(argv[1], "bench") == 0)
    return bench();
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_merges)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
