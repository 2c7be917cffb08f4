/* The gate on made-up times: calls that arrive at random, one thread that answers them in order, and the
 * detection of overload (rpc/shedding.h) as the runtime joins the two. */
#include <math.h>
#include <stdlib.h>

#include "rpc/gate.h"
#include "rpc/shedding.h"
#include "tests/support/unit.h"

enum { TARGET_US = 5000, SECOND_US = 1000000, CALLS_MAX = 1 << 20 };

struct sim {
  struct rpc_gate gate;
  struct rpc_shedding shedding;
  uint64_t random;
  double cost_us;
  double arrival_us; /* of the next call */
  double free_us;    /* when the thread is done with what it does */
  double *queue;     /* arrival times of those that were let in, in order */
  size_t first, last;
  bool gives_up; /* every third call that waits is forgotten by its client, and never begins */
  uint64_t answered, turned_away, refused_late, offered;
  double worst_us, sum_us;
};

static double uniform(struct sim *sim) {
  sim->random = sim->random * 6364136223846793005U + 1442695040888963407U;
  return ((double)(sim->random >> 11) + 0.5) / 9007199254740992.0;
}

static void sim_init(struct sim *sim, double cost_us) {
  *sim = (struct sim){.random = 7, .cost_us = cost_us, .arrival_us = 77 * SECOND_US};
  sim->queue = malloc(CALLS_MAX * sizeof *sim->queue);
  assert_non_null(sim->queue);
  rpc_gate_init(&sim->gate, TARGET_US);
  rpc_shedding_init(&sim->shedding, TARGET_US, &sim->gate.refused, 1);
}

static void sim_fini(struct sim *sim) {
  rpc_gate_fini(&sim->gate);
  free(sim->queue);
}

static void reset_counts(struct sim *sim) {
  sim->answered = sim->turned_away = sim->refused_late = sim->offered = 0;
  sim->worst_us = sim->sum_us = 0;
}

/* The thread works until `until_us`. */
static void work(struct sim *sim, double until_us) {
  while (sim->first < sim->last) {
    double arrived_us = sim->queue[sim->first];
    double begin_us = sim->free_us > arrived_us ? sim->free_us : arrived_us;
    if (begin_us > until_us)
      return;
    sim->first++;
    if (sim->gives_up && sim->first % 3 == 0)
      continue;
    double waited_us = begin_us - arrived_us;
    rpc_shedding_note(&sim->shedding, (int64_t)begin_us, (int64_t)waited_us);
    if (rpc_shedding_level(&sim->shedding) > 0 || rpc_gate_counts(&sim->gate))
      rpc_gate_begun(&sim->gate, (int64_t)begin_us, (int64_t)waited_us);
    sim->free_us = begin_us;
    if (rpc_shedding_refuses(&sim->shedding, (int64_t)waited_us)) {
      sim->refused_late++;
      sim->free_us += 50;
      continue;
    }
    sim->answered++;
    sim->sum_us += waited_us;
    sim->worst_us = waited_us > sim->worst_us ? waited_us : sim->worst_us;
    sim->free_us += -log(uniform(sim)) * sim->cost_us;
  }
}

static void arrive(struct sim *sim) {
  work(sim, sim->arrival_us);
  int64_t now_us = (int64_t)sim->arrival_us;
  sim->offered++;
  if (rpc_shedding_level(&sim->shedding) > 0 &&
      rpc_gate_turns_away(&sim->gate, now_us, rpc_shedding_per_second(&sim->shedding))) {
    sim->turned_away++;
    return;
  }
  assert_true(sim->last < CALLS_MAX);
  sim->queue[sim->last++] = sim->arrival_us;
}

/* Calls come at `load` times what can be answered; in bursts of so many at the same moment. */
static void run(struct sim *sim, double seconds, double load, int burst) {
  double end_us = sim->arrival_us + seconds * SECOND_US;
  while (sim->arrival_us < end_us) {
    for (int i = 0; i < burst; i++)
      arrive(sim);
    sim->arrival_us += -log(uniform(sim)) * sim->cost_us * burst / load;
  }
}

static double goodput(const struct sim *sim, double seconds) {
  return (double)sim->answered * sim->cost_us / (seconds * SECOND_US);
}

static void check_steady(struct sim *sim, const char *what, double seconds, double least, double worst_ms) {
  print_message("%s: goodput %.2f, waits mean %.1f worst %.1f ms, %d%% turned away, %d%% refused late\n",
                what, goodput(sim, seconds), sim->sum_us / (double)sim->answered / 1000, sim->worst_us / 1000,
                (int)(100 * sim->turned_away / sim->offered), (int)(100 * sim->refused_late / sim->offered));
  assert_true(goodput(sim, seconds) >= least);
  assert_true(sim->worst_us <= worst_ms * 1000);
  assert_true(sim->refused_late * 20 <= sim->offered);
}

static void test_three_times_the_load(void **state) {
  (void)state;
  const double costs_us[] = {20, 150, 1000};
  for (size_t i = 0; i < UNIT_COUNT(costs_us); i++) {
    struct sim sim;
    sim_init(&sim, costs_us[i]);
    run(&sim, 1, 3, 1);
    reset_counts(&sim);
    run(&sim, 5, 3, 1);
    check_steady(&sim, "three times", 5, 0.9, 15);
    sim_fini(&sim);
  }
}

/* All at the same moment: they fill a slot, and more would have to be turned away while the slot is old. */
static void test_bursts(void **state) {
  (void)state;
  struct sim sim;
  sim_init(&sim, 150);
  run(&sim, 1, 3, 64);
  reset_counts(&sim);
  run(&sim, 5, 3, 64);
  check_steady(&sim, "three times in bursts of 64", 5, 0.75,
               15); /* gaps longer than the target: the thread runs dry */
  sim_fini(&sim);
}

static void test_calls_that_never_begin(void **state) {
  (void)state;
  struct sim sim;
  sim_init(&sim, 150);
  sim.gives_up = true;
  run(&sim, 1, 4.5, 1);
  reset_counts(&sim);
  run(&sim, 5, 4.5, 1);
  check_steady(&sim, "every third gives up", 5, 0.9, 15);
  sim_fini(&sim);
}

static void test_ends_with_the_overload(void **state) {
  (void)state;
  struct sim sim;
  sim_init(&sim, 150);
  run(&sim, 3, 3, 1);
  assert_true(rpc_shedding_level(&sim.shedding) > 0);
  run(&sim, 1, 0.5, 1);
  reset_counts(&sim);
  run(&sim, 5, 0.5, 1);
  assert_int_equal(rpc_shedding_level(&sim.shedding), 0);
  assert_int_equal(sim.turned_away, 0);
  assert_int_equal(sim.refused_late, 0);
  sim_fini(&sim);
}

/* What was let in and is forgotten: the gate opens again. */
static void test_forgets(void **state) {
  (void)state;
  struct rpc_gate gate;
  rpc_gate_init(&gate, TARGET_US);
  int64_t now_us = 77 * SECOND_US;
  for (int i = 0; i < 5; i++)
    assert_false(rpc_gate_turns_away(&gate, now_us, 1000));
  assert_true(rpc_gate_counts(&gate));
  assert_true(rpc_gate_turns_away(&gate, now_us, 1000));
  assert_true(rpc_gate_turns_away(&gate, now_us + 31 * TARGET_US, 1000));
  assert_false(rpc_gate_turns_away(&gate, now_us + 33 * TARGET_US, 1000));
  assert_int_equal(rpc_gate_refused(&gate), 2);
  rpc_gate_fini(&gate);
}

/* A call frees its own place, and those of all that came before it. */
static void test_counts_what_waits(void **state) {
  (void)state;
  struct rpc_gate gate;
  rpc_gate_init(&gate, TARGET_US);
  int64_t first_us = 77 * SECOND_US, second_us = first_us + TARGET_US;
  for (int i = 0; i < 2; i++)
    assert_false(rpc_gate_turns_away(&gate, first_us, 800));
  for (int i = 0; i < 2; i++)
    assert_false(rpc_gate_turns_away(&gate, second_us, 800));
  assert_true(rpc_gate_turns_away(&gate, second_us, 800));
  rpc_gate_begun(&gate, second_us, second_us - first_us);
  assert_false(rpc_gate_turns_away(&gate, second_us, 800));
  assert_true(rpc_gate_turns_away(&gate, second_us, 800));
  rpc_gate_begun(&gate, second_us + 10, 10); /* the other one of the first moment never does */
  assert_false(rpc_gate_turns_away(&gate, second_us + 20, 800));
  assert_false(rpc_gate_turns_away(&gate, second_us + 20, 800));
  assert_true(rpc_gate_turns_away(&gate, second_us + 20, 800));
  for (int i = 0; i < 9; i++) /* more than it counted */
    rpc_gate_begun(&gate, second_us + 30, 10);
  assert_false(rpc_gate_counts(&gate));
  rpc_gate_fini(&gate);
}

/* Calls that came before the gate was looked at wait long: nobody is let in behind them, until they are gone.
 */
static void test_old_ones_first(void **state) {
  (void)state;
  struct rpc_gate gate;
  rpc_gate_init(&gate, TARGET_US);
  int64_t now_us = 77 * SECOND_US;
  rpc_gate_begun(&gate, now_us, 3 * TARGET_US);
  assert_true(rpc_gate_turns_away(&gate, now_us + 1, 1000));
  assert_false(rpc_gate_turns_away(&gate, now_us + TARGET_US, 1000));
  rpc_gate_begun(&gate, now_us + TARGET_US, TARGET_US);
  assert_false(rpc_gate_turns_away(&gate, now_us + TARGET_US, 1000));
  rpc_gate_fini(&gate);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_three_times_the_load),
      cmocka_unit_test(test_bursts),
      cmocka_unit_test(test_calls_that_never_begin),
      cmocka_unit_test(test_ends_with_the_overload),
      cmocka_unit_test(test_forgets),
      cmocka_unit_test(test_counts_what_waits),
      cmocka_unit_test(test_old_ones_first),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
