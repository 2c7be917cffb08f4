#include <pthread.h>

#include "ports/simulated.h"
#include "tests/support/unit.h"

static int setup(void **state) {
  *state = port_simulated_new();
  return *state == NULL;
}

static int teardown(void **state) {
  port_simulated_free(*state);
  return 0;
}

static void time_moves_only_by_hand(void **state) {
  struct port_simulated *simulated = *state;
  struct port *port = port_simulated_port(simulated);
  int64_t wall = port->wall_us(port), monotonic = port->monotonic_us(port);
  assert_int_equal(wall, INT64_C(1767225600000000));
  assert_int_equal(port->wall_us(port), wall);

  port_simulated_advance(simulated, 1500);
  assert_int_equal(port->wall_us(port), wall + 1500);
  assert_int_equal(port->monotonic_us(port), monotonic + 1500);

  port_simulated_set_wall(simulated, wall - 3600);
  assert_int_equal(port->wall_us(port), wall - 3600);
  assert_int_equal(port->monotonic_us(port), monotonic + 1500);

  assert_true(port->clock_is_synchronised(port));
  port_simulated_set_synchronised(simulated, false);
  assert_false(port->clock_is_synchronised(port));
}

static void resources_are_what_was_set(void **state) {
  struct port_simulated *simulated = *state;
  struct port *port = port_simulated_port(simulated);

  struct port_disk disk = {0};
  port_simulated_set_disk(simulated, (struct port_disk){.free_bytes = 7, .total_bytes = 9});
  status s = port->disk(port, "/data", &disk);
  assert_status_ok(s);
  assert_int_equal(disk.free_bytes, 7);
  assert_int_equal(disk.total_bytes, 9);
  port_simulated_fail_disk(simulated, true);
  s = port->disk(port, "/data", &disk);
  assert_int_equal(s.code, STATUS_UNAVAILABLE);

  port_simulated_set_memory(simulated, (struct port_memory){.limit_bytes = 5, .resident_bytes = 3});
  assert_int_equal(port->memory(port).limit_bytes, 5);
  assert_int_equal(port->memory(port).resident_bytes, 3);
  port_simulated_set_descriptors(simulated, 77);
  assert_int_equal(port->descriptors_max(port), 77);
  port_simulated_set_cores(simulated, 8);
  assert_int_equal(port->cores(port), 8);
}

static unsigned waits;
static void count_wait(void) {
  waits++;
}

static void entropy_is_waited_for_and_bounded(void **state) {
  struct port_simulated *simulated = *state;
  struct port *port = port_simulated_port(simulated);
  waits = 0;
  assert_status_ok(port_entropy_await(port, 1000, count_wait));
  assert_int_equal(waits, 0);
  port_simulated_lack_entropy(simulated, 2);
  assert_status_ok(port_entropy_await(port, 1000, count_wait));
  assert_int_equal(waits, 1);
  port_simulated_lack_entropy(simulated, 1000);
  status s = port_entropy_await(port, 200, NULL);
  assert_int_equal(s.code, STATUS_UNAVAILABLE);
  assert_non_null(strstr(s.message, "rng-tools"));
}

static void pressure_and_pages_are_what_was_set(void **state) {
  struct port_simulated *simulated = *state;
  struct port *port = port_simulated_port(simulated);
  assert_int_equal(port->page_bytes(port), 4096);
  port_simulated_set_page(simulated, 65536);
  assert_int_equal(port->page_bytes(port), 65536);
  assert_false(port->pressure(port, 0).stalled);
  port_simulated_set_pressure(simulated, (struct port_pressure){5, 6, true});
  struct port_pressure pressure = port->pressure(port, 5);
  assert_true(pressure.stalled && pressure.used_bytes == 5 && pressure.limit_bytes == 6);
}

enum { THREADS = 4, STEPS = 1000 };

static void *advance(void *simulated) {
  for (int i = 0; i < STEPS; i++)
    port_simulated_advance(simulated, 1);
  return NULL;
}

static void threads_lose_no_step(void **state) {
  struct port_simulated *simulated = *state;
  struct port *port = port_simulated_port(simulated);
  int64_t before = port->monotonic_us(port);
  pthread_t threads[THREADS];
  for (int i = 0; i < THREADS; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, advance, simulated), 0);
  for (int i = 0; i < THREADS; i++)
    pthread_join(threads[i], NULL);
  assert_int_equal(port->monotonic_us(port), before + THREADS * STEPS);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(time_moves_only_by_hand, setup, teardown),
      cmocka_unit_test_setup_teardown(resources_are_what_was_set, setup, teardown),
      cmocka_unit_test_setup_teardown(entropy_is_waited_for_and_bounded, setup, teardown),
      cmocka_unit_test_setup_teardown(pressure_and_pages_are_what_was_set, setup, teardown),
      cmocka_unit_test_setup_teardown(threads_lose_no_step, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
