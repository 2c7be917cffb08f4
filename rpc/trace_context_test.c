#include "rpc/trace_context.h"
#include "tests/support/unit.h"

#define TRACE "4bf92f3577b34da6a3ce929d0e0e4736"
#define PARENT "00f067aa0ba902b7"

static void test_good_ones(void **state) {
  (void)state;
  const str good[] = {STR("00-" TRACE "-" PARENT "-01"), STR("00-" TRACE "-" PARENT "-ff"),
                      STR("cc-" TRACE "-" PARENT "-00"), STR("cc-" TRACE "-" PARENT "-00-what comes later")};
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
    struct rpc_trace trace;
    assert_true(rpc_trace_parse(good[i], &trace));
    assert_true(str_eq(trace.trace_id, STR(TRACE)));
    assert_true(str_eq(trace.parent_id, STR(PARENT)));
  }
}

static void test_bad_ones(void **state) {
  (void)state;
  const str bad[] = {
      STR(""),
      STR("00"),
      STR("00-" TRACE "-" PARENT "-0"),
      STR("00-" TRACE "-" PARENT "-0g"),
      STR("00-" TRACE "-" PARENT "-01-"),
      STR("00-" TRACE "-" PARENT "-01-more"),
      STR("cc-" TRACE "-" PARENT "-01more"),
      STR("ff-" TRACE "-" PARENT "-01"),
      STR("0g-" TRACE "-" PARENT "-01"),
      STR("00_" TRACE "-" PARENT "-01"),
      STR("00-" TRACE "_" PARENT "-01"),
      STR("00-" TRACE "-" PARENT "_01"),
      STR("00-4BF92F3577B34DA6A3CE929D0E0E4736-" PARENT "-01"),
      STR("00-00000000000000000000000000000000-" PARENT "-01"),
      STR("00-" TRACE "-0000000000000000-01"),
      STR("00-4bf92f3577b34da6a3ce929d0e0e473\"-" PARENT "-01"),
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    struct rpc_trace trace;
    assert_false(rpc_trace_parse(bad[i], &trace));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_good_ones), cmocka_unit_test(test_bad_ones)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
