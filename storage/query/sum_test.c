#include <math.h>

#include "tests/support/unit.h"
/* After unit.h. */
#include "storage/query/query_build.h"
#include "storage/query/sum.h"

#define I(number) build_integer(number)
#define D(number) build_number(number)

static struct doc_value at_end(const struct query_sum *sum, bool average) {
  return average ? query_sum_average(sum) : query_sum_value(sum);
}

static bool same(struct doc_value a, struct doc_value b) {
  if (a.type != b.type)
    return false;
  if (a.type == DOC_DOUBLE)
    return isnan(b.as.number) ? isnan(a.as.number) : a.as.number == b.as.number;
  return a.type == DOC_NULL || a.as.integer == b.as.integer;
}

static void test_sums(void **state) {
  (void)state;
  const struct {
    struct doc_value values, sum, average;
  } cases[] = {
      {build_array(0, NULL), I(0), build_null()},
      {BUILD_ARRAY(I(1), I(2)), I(3), D(1.5)},
      {BUILD_ARRAY(I(INT64_MAX), I(1)), D(0x1p63), D(0x1p62)},
      {BUILD_ARRAY(I(INT64_MAX), I(1), I(-1)), I(INT64_MAX), D(0x1p63 / 3)},
      {BUILD_ARRAY(I(INT64_MAX), I(INT64_MAX), I(INT64_MIN)), I(INT64_MAX - 1), D(0x1p63 / 3)},
      {BUILD_ARRAY(I(INT64_MIN), I(-1)), D(-0x1p63), D(-0x1p62)},
      {BUILD_ARRAY(I(INT64_MIN), I(INT64_MIN), I(INT64_MAX), I(INT64_MAX)), I(-2), D(-0.5)},
      {BUILD_ARRAY(I(INT64_MIN), I(INT64_MIN), I(INT64_MIN)), D(-3 * 0x1p63), D(-0x1p63)},
      {BUILD_ARRAY(I(9007199254740993), I(2)), I(9007199254740995), D(4503599627370498)},
      {BUILD_ARRAY(I(1), D(1.5)), D(2.5), D(1.25)},
      {BUILD_ARRAY(I(1), D(2)), D(3), D(1.5)},
      {BUILD_ARRAY(I(INT64_MAX), I(-1), D(1)), D(0x1p63), D(0x1p63 / 3)},
      {BUILD_ARRAY(D(0.1), D(0.2), D(0.3)), D(0.6), D(0.6 / 3)},
      {BUILD_ARRAY(D(1e16), D(1), D(-1e16)), D(1), D(1.0 / 3)},
      {BUILD_ARRAY(D(NAN), I(1)), D(NAN), D(NAN)},
      {BUILD_ARRAY(D(INFINITY), I(1)), D(INFINITY), D(INFINITY)},
      {BUILD_ARRAY(D(INFINITY), D(-INFINITY)), D(NAN), D(NAN)},
      {BUILD_ARRAY(D(1e308), D(1e308)), D(INFINITY), D(INFINITY)},
      {BUILD_ARRAY(build_string("1"), build_null(), build_boolean(true), I(4)), I(4), D(4)},
      {BUILD_ARRAY(build_string("1"), build_null()), I(0), build_null()},
  };
  for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
    struct query_sum forwards = {0}, backwards = {0};
    struct doc_array values = cases[i].values.as.array;
    for (size_t k = 0; k < values.count; k++) {
      query_sum_add(&forwards, &values.items[k]);
      query_sum_add(&backwards, &values.items[values.count - 1 - k]);
    }
    for (int average = 0; average < 2; average++) {
      struct doc_value wanted = average ? cases[i].average : cases[i].sum;
      if (!same(at_end(&forwards, average), wanted) || !same(at_end(&backwards, average), wanted))
        fail_msg("case %zu, average %d", i, average);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_sums, query_build_init, query_build_fini),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
