#include <stdlib.h>

#include "ports/simulated.h"
#include "server/profile.h"
#include "tests/support/unit.h"

#define MIB (UINT64_C(1) << 20)

static const char *choice_for(uint64_t memory_bytes, unsigned cores) {
  struct port_simulated *simulated = port_simulated_new();
  assert_non_null(simulated);
  port_simulated_set_memory(simulated, (struct port_memory){.limit_bytes = memory_bytes});
  port_simulated_set_cores(simulated, cores);
  const struct profile *profile = profile_choose(PROFILE_AUTO, port_simulated_port(simulated), 0);
  port_simulated_free(simulated);
  return profile->name;
}

static void machines_get_their_profile(void **state) {
  (void)state;
  assert_string_equal(choice_for(128 * MIB, 1), "tiny");
  assert_string_equal(choice_for(430 * MIB, 4), "tiny"); /* a board of 512 MB */
  assert_string_equal(choice_for(906 * MIB, 4), "small");
  assert_string_equal(choice_for(1900 * MIB, 4), "small");
  assert_string_equal(choice_for(3790 * MIB, 4), "medium");
  assert_string_equal(choice_for(3790 * MIB, 1), "small"); /* a container with one processor */
  assert_string_equal(choice_for(16000 * MIB, 2), "medium");
  assert_string_equal(choice_for(16000 * MIB, 4), "large");
}

static void the_chosen_one_is_taken(void **state) {
  (void)state;
  const char *names[PROFILE_COUNT] = {"tiny", "small", "medium", "large"};
  for (unsigned i = 0; i < PROFILE_COUNT; i++) {
    assert_string_equal(profile_at(i)->name, names[i]);
    assert_ptr_equal(profile_choose((enum profile_choice)(PROFILE_TINY + i), NULL, 0), profile_at(i));
  }
}

/* What a profile promises must fit into its own limit, and no step up may take something away. */
static void budgets_fit_together(void **state) {
  (void)state;
  for (unsigned i = 0; i < PROFILE_COUNT; i++) {
    const struct profile *p = profile_at(i);
    assert_true(p->store.write_buffer_sixteenths <= 12);
    assert_true((int64_t)p->memory_limit_bytes >= MEMORY_PLAN_LIMIT_MIN);
    assert_true(p->stack_bytes >=
                512 * 1024); /* tests/integration/stacks.test.mjs: twice what clients can make of one */
    if (i == 0)
      continue;
    const struct profile *smaller = profile_at(i - 1);
    assert_true(p->memory_limit_bytes > smaller->memory_limit_bytes);
    assert_true(p->memory_from_bytes > smaller->memory_from_bytes);
    assert_true(p->connections_max > smaller->connections_max && p->calls_max > smaller->calls_max);
  }
}

static void the_limit_is_a_part_of_the_machine(void **state) {
  (void)state;
  struct port_simulated *simulated = port_simulated_new();
  struct port *port = port_simulated_port(simulated);
  port_simulated_set_memory(simulated, (struct port_memory){.limit_bytes = 800 * MIB});
  assert_int_equal(profile_memory_limit(profile_at(1), port), 200 * MIB);
  port_simulated_set_memory(simulated, (struct port_memory){.limit_bytes = 4000 * MIB});
  assert_int_equal(profile_memory_limit(profile_at(1), port), 256 * MIB);
  port_simulated_set_memory(simulated, (struct port_memory){.limit_bytes = 64 * MIB});
  assert_int_equal(profile_memory_limit(profile_at(0), port), 48 * MIB);
  assert_true(profile_memory_max(64 * MIB) >= 128 * MIB);
  port_simulated_free(simulated);
}

/* The package sets MemoryMax by the profile that the whole machine calls for; inside of that wall the server
 * must come to the same one. */
static void the_wall_of_the_package_changes_nothing(void **state) {
  (void)state;
  static const uint64_t machines[] = {240, 430, 906, 1900, 3790, 8000, 23000};
  struct port_simulated *simulated = port_simulated_new();
  struct port *port = port_simulated_port(simulated);
  port_simulated_set_cores(simulated, 4);
  for (size_t i = 0; i < 7; i++)
    for (uint64_t given = 0; given <= 160 * MIB; given += 80 * MIB) {
      uint64_t physical = machines[i] * MIB + 4096 * 5;
      port_simulated_set_memory(simulated, (struct port_memory){.limit_bytes = physical});
      const struct profile *profile = profile_for_machine(port, given);
      uint64_t limit = profile_memory_limit(profile, port),
               wall = profile_memory_max(given > 0 ? given : limit);
      if (wall > physical)
        continue;
      port_simulated_set_memory(
          simulated, (struct port_memory){.limit_bytes = wall / 65536 * 65536, .physical_bytes = physical});
      assert_string_equal(profile_for_machine(port, given)->name, profile->name);
      if (given == 0)
        assert_int_equal(profile_memory_limit(profile, port), limit);
    }
  port_simulated_free(simulated);
}

/* A lower wall, of the operator's or of a container, is what there is. */
static void a_lower_wall_is_the_machine(void **state) {
  (void)state;
  struct port_simulated *simulated = port_simulated_new();
  struct port *port = port_simulated_port(simulated);
  port_simulated_set_cores(simulated, 4);
  port_simulated_set_memory(simulated,
                            (struct port_memory){.limit_bytes = 240 * MIB, .physical_bytes = 4000 * MIB});
  assert_string_equal(profile_for_machine(port, 0)->name, "tiny");
  assert_string_equal(profile_for_machine(port, 160 * MIB)->name, "tiny");
  assert_string_equal(profile_for_machine(port, 128 * MIB)->name, "medium"); /* there is room for that */
  assert_int_equal(profile_memory_limit(profile_at(0), port), 64 * MIB);
  port_simulated_set_memory(simulated,
                            (struct port_memory){.limit_bytes = 100 * MIB, .physical_bytes = 4000 * MIB});
  assert_int_equal(profile_memory_limit(profile_at(0), port), 48 * MIB);
  port_simulated_free(simulated);
}

static void the_table_is_printed(void **state) {
  (void)state;
  char *text = NULL;
  size_t size = 0;
  FILE *out = open_memstream(&text, &size);
  assert_non_null(out);
  profile_print_help(out);
  fclose(out);
  for (unsigned i = 0; i < PROFILE_COUNT; i++)
    assert_non_null(strstr(text, profile_at(i)->name));
  assert_non_null(strstr(text, "memory_limit, at most                        64M      256M"));
  assert_non_null(strstr(text, "zstd"));
  assert_non_null(
      strstr(text, "stack of each, at most                    512K      512K        1M        1M"));
  free(text);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(machines_get_their_profile),
      cmocka_unit_test(the_chosen_one_is_taken),
      cmocka_unit_test(budgets_fit_together),
      cmocka_unit_test(the_limit_is_a_part_of_the_machine),
      cmocka_unit_test(the_wall_of_the_package_changes_nothing),
      cmocka_unit_test(a_lower_wall_is_the_machine),
      cmocka_unit_test(the_table_is_printed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
