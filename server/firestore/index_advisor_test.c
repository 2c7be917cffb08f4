#include <stdio.h>

#include "ports/simulated.h"
#include "server/firestore/index_advisor.h"
#include "tests/support/unit.h"

static struct port_simulated *simulated;
static struct index_advisor *advisor;

static int set_up(void **state) {
  (void)state;
  simulated = port_simulated_new();
  advisor = index_advisor_new(port_simulated_port(simulated));
  return advisor == NULL;
}
static int tear_down(void **state) {
  (void)state;
  index_advisor_free(advisor);
  port_simulated_free(simulated);
  return 0;
}

struct seen {
  char first[64];
  size_t count;
  uint64_t queries;
  int64_t duration_us;
};

static void see(void *argument, const struct index_advice *advice) {
  struct seen *seen = argument;
  if (seen->count++ == 0)
    snprintf(seen->first, sizeof seen->first, STR_FMT, STR_ARG(advice->index));
  seen->queries += advice->queries;
  seen->duration_us += advice->duration_us;
}

static struct seen see_all(void) {
  struct seen seen = {0};
  index_advisor_visit(advisor, see, &seen);
  return seen;
}

static void it_counts_what_is_wanted(void **state) {
  (void)state;
  index_advisor_note(advisor, STR("a"), 10);
  index_advisor_note(advisor, STR("b"), 5);
  index_advisor_note(advisor, STR("b"), 7);
  index_advisor_note(advisor, STR(""), 1000); /* none was missing */
  index_advisor_note(NULL, STR("a"), 1000);
  struct seen seen = see_all();
  assert_int_equal(seen.count, 2);
  assert_string_equal(seen.first, "b");
  assert_int_equal(seen.queries, 3);
  assert_int_equal(seen.duration_us, 22);
}

static void it_is_bounded(void **state) {
  (void)state;
  static char large[ADVISOR_INDEX_BYTES + 1];
  index_advisor_note(advisor, str_make(large, sizeof large), 1);
  assert_int_equal(see_all().count, 0);
  for (int i = 0; i < ADVISOR_INDEXES + 50; i++) {
    char text[16];
    snprintf(text, sizeof text, "%d", i);
    port_simulated_advance(simulated, 1000);
    index_advisor_note(advisor, str_from_cstr(text), 1);
    index_advisor_note(advisor, STR("often"), 1);
  }
  struct seen seen = see_all();
  assert_int_equal(seen.count, ADVISOR_INDEXES);
  assert_string_equal(seen.first, "often");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(it_counts_what_is_wanted, set_up, tear_down),
      cmocka_unit_test_setup_teardown(it_is_bounded, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
