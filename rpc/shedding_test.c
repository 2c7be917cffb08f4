/* The decision on made-up times: a queue with one server, simulated. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "rpc/shedding.h"
#include "tests/support/unit.h"

enum { TARGET_US = 5000, SECOND_US = 1000000, CALLS_MAX = 2000000 };

/* ---- The simulation ---- */

struct sim {
  struct rpc_shedding shedding;
  double now_us;
  uint64_t random;
  double cost_us;      /* of an answer */
  double refusal;      /* the part of it that a refusal costs */
  bool is_exponential; /* costs vary */
  size_t answered, refused;
  double worst_us; /* wait of an answered call */
  double *waits;   /* of answered calls */
};

static double uniform(struct sim *sim) {
  sim->random = sim->random * 6364136223846793005U + 1442695040888963407U;
  return ((double)(sim->random >> 11) + 0.5) / 9007199254740992.0;
}

static void sim_init(struct sim *sim, double cost_us, bool is_exponential) {
  *sim = (struct sim){.now_us = 77 * SECOND_US,
                      .random = 7,
                      .cost_us = cost_us,
                      .refusal = 0.05,
                      .is_exponential = is_exponential};
  sim->waits = malloc(CALLS_MAX * sizeof *sim->waits);
  assert_non_null(sim->waits);
  rpc_shedding_init(&sim->shedding, TARGET_US, NULL, 1);
}

static void sim_fini(struct sim *sim) {
  free(sim->waits);
}

static void sim_reset_counts(struct sim *sim) {
  sim->answered = sim->refused = 0;
  sim->worst_us = 0;
}

/* The next call in the queue gets its turn. */
static void serve(struct sim *sim, double arrived_us) {
  if (sim->now_us < arrived_us)
    sim->now_us = arrived_us;
  double waited_us = sim->now_us - arrived_us;
  rpc_shedding_note(&sim->shedding, (int64_t)sim->now_us, (int64_t)waited_us);
  if (rpc_shedding_refuses(&sim->shedding, (int64_t)waited_us)) {
    sim->refused++;
    sim->now_us += sim->cost_us * sim->refusal;
    return;
  }
  assert_true(sim->answered < CALLS_MAX);
  sim->waits[sim->answered++] = waited_us;
  if (waited_us > sim->worst_us)
    sim->worst_us = waited_us;
  sim->now_us += sim->is_exponential ? -log(uniform(sim)) * sim->cost_us : sim->cost_us;
}

/* Calls come at random, `load` times what could be answered, from `from_us` on. Returns when the last came.
 */
static double run(struct sim *sim, double from_us, double seconds, double load) {
  double arrived_us = from_us, end_us = from_us + seconds * SECOND_US;
  for (;;) {
    arrived_us += -log(uniform(sim)) * sim->cost_us / load;
    if (arrived_us >= end_us)
      return end_us;
    serve(sim, arrived_us);
  }
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double p99_us(struct sim *sim) {
  qsort(sim->waits, sim->answered, sizeof *sim->waits, by_value);
  return sim->waits[sim->answered * 99 / 100];
}

static const double COSTS_US[] = {20, 100, 1000, 3000};

/* ---- Overload ---- */

static void test_three_times_the_load(void **state) {
  (void)state;
  for (size_t i = 0; i < 2 * UNIT_COUNT(COSTS_US); i++) {
    struct sim sim;
    sim_init(&sim, COSTS_US[i / 2], i % 2 != 0);
    double start_us = run(&sim, sim.now_us, 0.5, 3);
    assert_true(sim.worst_us <= 250000); /* before the first verdict */
    sim_reset_counts(&sim);
    run(&sim, start_us, 10, 3);
    double goodput = (double)sim.answered * sim.cost_us / (sim.now_us - start_us), worst_us = sim.worst_us;
    double p99 = p99_us(&sim);
    print_message("cost %.0f us%s: goodput %.2f, waits p99 %.1f ms, worst %.1f ms\n", sim.cost_us,
                  sim.is_exponential ? " (exponential)" : "", goodput, p99 / 1000, worst_us / 1000);
    assert_true(goodput >= 0.8);
    assert_true(p99 <= 2 * TARGET_US + 500 + 5 * sim.cost_us);
    assert_true(rpc_shedding_is_overloaded(&sim.shedding, (int64_t)sim.now_us));
    assert_true(rpc_shedding_refused(&sim.shedding) >= sim.refused);
    sim_fini(&sim);
  }
}

/* Refusals that cost as much as answers, or come in such numbers that they would take all of the time: most
 * of it goes to answers. */
static void test_dear_refusals(void **state) {
  (void)state;
  const struct { double refusal, load; } rows[] = {{0.5, 3}, {1, 3}, {1.6, 3}, {0.05, 30}, {1, 1.3}};
  for (size_t i = 0; i < UNIT_COUNT(rows); i++) {
    struct sim sim;
    sim_init(&sim, 50, true);
    sim.refusal = rows[i].refusal;
    double start_us = sim.now_us;
    run(&sim, start_us, 10, rows[i].load);
    double goodput = (double)sim.answered * sim.cost_us / (sim.now_us - start_us);
    print_message("a refusal costs %.2f, %.1f times the load: goodput %.2f\n", rows[i].refusal, rows[i].load,
                  goodput);
    assert_true(goodput >= 0.6);
    sim_fini(&sim);
  }
}

/* Just more than can be answered: little is refused, and waits stay short all the same. */
static void test_slightly_too_much(void **state) {
  (void)state;
  struct sim sim;
  sim_init(&sim, 200, true);
  double start_us = sim.now_us;
  run(&sim, start_us, 20, 1.2);
  double goodput = (double)sim.answered * sim.cost_us / (sim.now_us - start_us);
  double p99 = p99_us(&sim);
  print_message("1.2 times: goodput %.2f, waits p99 %.1f ms\n", goodput, p99 / 1000);
  assert_true(goodput >= 0.95);
  assert_true(p99 <= 30000);
  sim_fini(&sim);
}

static void test_half_of_the_load(void **state) {
  (void)state;
  for (size_t i = 0; i < 2 * UNIT_COUNT(COSTS_US); i++) {
    struct sim sim;
    sim_init(&sim, COSTS_US[i / 2], i % 2 != 0);
    run(&sim, sim.now_us, 20, 0.5);
    assert_int_equal(sim.refused, 0);
    assert_false(rpc_shedding_is_overloaded(&sim.shedding, (int64_t)sim.now_us));
    sim_fini(&sim);
  }
}

static void test_recovers(void **state) {
  (void)state;
  struct sim sim;
  sim_init(&sim, 500, false);
  double end_us = run(&sim, sim.now_us, 5, 3);
  assert_int_equal(rpc_shedding_refused(&sim.shedding), sim.refused);
  assert_true(sim.refused > 0);
  /* What still waits is at most what an overloaded server lets wait. */
  end_us = run(&sim, end_us, 0.2, 0.5);
  sim_reset_counts(&sim);
  run(&sim, end_us, 10, 0.5);
  assert_int_equal(sim.refused, 0);
  assert_int_equal(sim.shedding.level, 0);
  sim_fini(&sim);
}

/* ---- What is no overload ---- */

static void burst(struct sim *sim, double at_us, int calls) {
  for (int i = 0; i < calls; i++)
    serve(sim, at_us);
}

static void test_burst(void **state) {
  (void)state;
  const double costs_us[] = {100, 1000, 1900};
  for (size_t i = 0; i < UNIT_COUNT(costs_us); i++) {
    struct sim sim;
    sim_init(&sim, costs_us[i], false);
    for (int k = 0; k < 20; k++) {
      burst(&sim, sim.now_us + 10.0 * SECOND_US, 100);
      assert_int_equal(sim.refused, 0);
    }
    sim_fini(&sim);
  }
}

/* Overloaded when the last call came, and then nobody for a while: the verdict is stale. */
static void test_burst_after_overload_and_idling(void **state) {
  (void)state;
  struct sim sim;
  sim_init(&sim, 1000, false);
  double end_us = run(&sim, sim.now_us, 3, 3);
  assert_true(rpc_shedding_is_overloaded(&sim.shedding, (int64_t)sim.now_us));
  assert_false(rpc_shedding_is_overloaded(&sim.shedding, (int64_t)sim.now_us + SECOND_US));
  sim_reset_counts(&sim);
  burst(&sim, end_us + SECOND_US, 100);
  assert_int_equal(sim.refused, 0);
  sim_fini(&sim);
}

/* The process was stopped for two seconds, with half of the load coming in. */
static void test_stall(void **state) {
  (void)state;
  struct sim sim;
  sim_init(&sim, 500, false);
  double stall_us = run(&sim, sim.now_us, 2, 0.5);
  sim.now_us = stall_us + 2.0 * SECOND_US;
  double after_us = run(&sim, stall_us, 2.4, 0.5);
  /* A second of work waited: the first of it is answered, the rest refused or answered. */
  print_message("stall: %zu of %zu refused\n", sim.refused, sim.refused + sim.answered);
  assert_true(sim.answered >= 2000 + 200);
  sim_reset_counts(&sim);
  run(&sim, after_us, 10, 0.5);
  assert_int_equal(sim.refused, 0);
  sim_fini(&sim);
}

/* A stall over which little came: all of it is answered, however long it waited. */
static void test_short_backlog_after_stall(void **state) {
  (void)state;
  struct sim sim;
  sim_init(&sim, 100, false);
  double stall_us = run(&sim, sim.now_us, 2, 0.2);
  sim.now_us = stall_us + 2.0 * SECOND_US;
  sim_reset_counts(&sim);
  for (int i = 0; i < 500; i++)
    serve(&sim, stall_us + i * 4000.0);
  run(&sim, sim.now_us, 5, 0.2);
  assert_int_equal(sim.refused, 0);
  sim_fini(&sim);
}

/* Calls that take about as long as the target often wait for more than twice of it, without a queue that
 * stands; after an overload too. */
static void test_slow_calls_recover(void **state) {
  (void)state;
  struct sim sim;
  sim_init(&sim, 4000, true);
  double end_us = run(&sim, sim.now_us, 5, 3);
  assert_true(rpc_shedding_is_overloaded(&sim.shedding, (int64_t)sim.now_us));
  end_us = run(&sim, end_us, 1, 0.5);
  sim_reset_counts(&sim);
  run(&sim, end_us, 100, 0.5);
  double share = (double)sim.refused / (double)(sim.refused + sim.answered);
  print_message("4 ms calls at 0.5 after an overload: %.4f refused\n", share);
  assert_true(share < 0.002);
  sim_fini(&sim);
}

/* Few and slow calls: one waits behind another now and then. */
static void test_few_slow_calls(void **state) {
  (void)state;
  struct sim sim;
  sim_init(&sim, 20000, true);
  run(&sim, sim.now_us, 2000, 0.3);
  double share = (double)sim.refused / (double)(sim.refused + sim.answered);
  print_message("20 ms calls at 0.3: %.4f refused\n", share);
  assert_true(share < 0.002);
  sim_fini(&sim);
}

/* Handlers that block for longer than the interval: it is noticed nevertheless. */
static void test_very_slow_calls(void **state) {
  (void)state;
  struct sim sim;
  sim_init(&sim, 250000, false);
  run(&sim, sim.now_us, 100, 3);
  assert_true(sim.refused > sim.answered / 2);
  sim_fini(&sim);
}

/* ---- Coming back ---- */

static void test_retry(void **state) {
  (void)state;
  struct rpc_shedding shedding, other;
  rpc_shedding_init(&shedding, TARGET_US, NULL, 0);
  rpc_shedding_init(&other, TARGET_US, NULL, 1);
  uint64_t before = 0;
  for (unsigned level = 0; level <= RPC_SHEDDING_LEVEL_MAX; level++) {
    uint64_t sum = 0;
    uint32_t least = UINT32_MAX, most = 0, same = 0;
    for (int i = 0; i < 1000; i++) {
      uint32_t ms = rpc_shedding_retry_ms(&shedding, level);
      same += ms == rpc_shedding_retry_ms(&other, level);
      sum += ms;
      least = ms < least ? ms : least;
      most = ms > most ? ms : most;
    }
    assert_true(least >= 100 && most <= 1000 && most <= 100 + 100 * level);
    assert_true(level == 0 || (most - least >= 80 * level && sum > before && same < 100));
    before = sum;
  }
}

/* The level says how long it lasts. */
static void test_level(void **state) {
  (void)state;
  struct sim sim;
  sim_init(&sim, 1000, false);
  double end_us = run(&sim, sim.now_us, 0.45, 3);
  unsigned early = sim.shedding.level;
  run(&sim, end_us, 5, 3);
  assert_true(early > 0 && early < RPC_SHEDDING_LEVEL_MAX);
  assert_int_equal(sim.shedding.level, RPC_SHEDDING_LEVEL_MAX);
  sim_fini(&sim);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_three_times_the_load),
      cmocka_unit_test(test_dear_refusals),
      cmocka_unit_test(test_slightly_too_much),
      cmocka_unit_test(test_half_of_the_load),
      cmocka_unit_test(test_recovers),
      cmocka_unit_test(test_burst),
      cmocka_unit_test(test_burst_after_overload_and_idling),
      cmocka_unit_test(test_stall),
      cmocka_unit_test(test_short_backlog_after_stall),
      cmocka_unit_test(test_slow_calls_recover),
      cmocka_unit_test(test_few_slow_calls),
      cmocka_unit_test(test_very_slow_calls),
      cmocka_unit_test(test_retry),
      cmocka_unit_test(test_level),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
