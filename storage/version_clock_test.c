#include "ports/simulated.h"
#include "storage/version_clock.h"
#include "tests/support/unit.h"

static const int64_t second = 1000000, start_us = INT64_C(2000000000) * 1000000;

static struct port_simulated *port_at(int64_t wall_us, bool synchronised) {
  struct port_simulated *port = port_simulated_new();
  assert_non_null(port);
  port_simulated_set_wall(port, wall_us);
  port_simulated_set_synchronised(port, synchronised);
  return port;
}

/* One step: time passes, the wall clock may be set (0: not), the kernel's word may change; then a version. */
struct step {
  int64_t passes_us, wall_us;
  bool synchronised;
  int64_t expected; /* after the start */
};

static void run(int64_t last, bool trusted, const struct step *steps, size_t count) {
  struct port_simulated *port = port_at(start_us, steps[0].synchronised);
  struct version_clock clock;
  version_clock_init(&clock, port_simulated_port(port), trusted, last);
  for (size_t i = 0; i < count; i++) {
    port_simulated_advance(port, steps[i].passes_us);
    if (steps[i].wall_us != 0)
      port_simulated_set_wall(port, start_us + steps[i].wall_us);
    port_simulated_set_synchronised(port, steps[i].synchronised);
    int64_t version = version_clock_next(&clock);
    if (version - start_us != steps[i].expected)
      fail_msg("step %zu: %lld, expected %lld", i, (long long)(version - start_us),
               (long long)steps[i].expected);
  }
  port_simulated_free(port);
}
#define RUN(last, trusted, ...)                                                                              \
  run((last), (trusted), (const struct step[]){__VA_ARGS__},                                                 \
      sizeof((const struct step[]){__VA_ARGS__}) / sizeof(struct step))

static void test_trusted(void **state) {
  (void)state;
  /* Follows the wall clock; when time stands still or goes back, versions go on by one. */
  RUN(start_us - 10 * second, false, {5, 0, true, 5}, {0, 0, true, 6}, {second, 0, true, second + 5},
      {second, -100 * second, true, second + 6}, {second, 0, true, second + 7},
      {second, 200 * second, true, 200 * second});
}

static void test_untrusted(void **state) {
  (void)state;
  /* Counts from the last version, whatever the wall clock says. */
  RUN(start_us - 10 * second, false, {5, 0, false, -10 * second + 5},
      {second, 4000 * second, false, -9 * second + 5}, {second, -4000 * second, false, -8 * second + 5});
  /* From ahead of the wall clock as well: never back. */
  RUN(start_us + 10 * second, false, {5, 0, false, 10 * second + 5});
}

static void test_operator_trusts(void **state) {
  (void)state;
  RUN(start_us - 10 * second, true, {5, 0, false, 5}, {second, 0, false, second + 5});
  struct port_simulated *port = port_at(start_us, false);
  struct version_clock clock;
  version_clock_init(&clock, port_simulated_port(port), false, start_us - second);
  assert_int_equal(version_clock_next(&clock), start_us - second + 1);
  version_clock_trust(&clock);
  assert_int_equal(version_clock_next(&clock), start_us);
  port_simulated_free(port);
}

static void test_trust_lost_and_won(void **state) {
  (void)state;
  /* Once trust is lost the monotonic clock goes on from the last version; a step of the wall clock is not
   * followed until it is trusted again. */
  RUN(start_us - second, false, {0, 0, true, 0}, {2 * second, 0, false, 2 * second},
      {2 * second, 90000 * second, false, 4 * second}, {2 * second, 5 * second, true, 5 * second},
      {2 * second, 0, true, 7 * second});
}

static void test_never_far_past_the_trusted_time(void **state) {
  (void)state;
  /* Commits in the same microsecond push versions ahead of time; without trust no further than the slack. */
  struct port_simulated *port = port_at(start_us, true);
  struct version_clock clock;
  version_clock_init(&clock, port_simulated_port(port), false, start_us - second);
  assert_int_equal(version_clock_next(&clock), start_us);
  clock.base = start_us + 10 * VERSION_CLOCK_SLACK_US; /* as if another rule had been broken */
  clock.trusted = false;
  assert_int_equal(version_clock_now(&clock), start_us + VERSION_CLOCK_SLACK_US);
  port_simulated_free(port);
}

static void test_empty_store(void **state) {
  (void)state;
  struct version_clock clock;
  struct port_simulated *port = port_at(start_us, false);
  version_clock_init(&clock, port_simulated_port(port), false, 0);
  assert_int_equal(clock.last, start_us); /* later than the build */
  port_simulated_set_wall(port, 0);       /* a board without a battery starts in 1970 */
  version_clock_init(&clock, port_simulated_port(port), false, 0);
  assert_true(clock.last > INT64_C(1700000000) * second && clock.last < start_us);
  version_clock_init(&clock, port_simulated_port(port), true, 0);
  assert_true(clock.last > INT64_C(1700000000) * second);
  port_simulated_free(port);
}

static void test_raise(void **state) {
  (void)state;
  struct port_simulated *port = port_at(start_us, true);
  struct version_clock clock;
  version_clock_init(&clock, port_simulated_port(port), false, start_us - second);
  version_clock_raise(&clock, start_us + 5);
  assert_int_equal(version_clock_now(&clock), start_us + 5);
  assert_int_equal(version_clock_next(&clock), start_us + 6);
  version_clock_raise(&clock, 1);
  assert_int_equal(version_clock_next(&clock), start_us + 7);
  port_simulated_free(port);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_trusted),
      cmocka_unit_test(test_untrusted),
      cmocka_unit_test(test_operator_trusts),
      cmocka_unit_test(test_trust_lost_and_won),
      cmocka_unit_test(test_never_far_past_the_trusted_time),
      cmocka_unit_test(test_empty_store),
      cmocka_unit_test(test_raise),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
