#include "server/memory_plan.h"
#include "tests/support/unit.h"

#define MIB (UINT64_C(1) << 20)

static uint64_t sum(const struct memory_plan *plan) {
  return plan->store + plan->calls + plan->connections + plan->http + plan->listen + plan->transactions +
         plan->passwords;
}

static void parts_fit_into_the_limit(void **state) {
  (void)state;
  for (uint64_t limit = (uint64_t)MEMORY_PLAN_LIMIT_MIN; limit < 64 * 1024 * MIB; limit += limit / 7) {
    struct memory_plan plan = memory_plan_for(limit, false);
    assert_true(sum(&plan) + 30 * MIB <= limit);
    assert_true(plan.message_max >= (int64_t)(MIB + MIB / 8)); /* any document goes through */
    assert_true((uint64_t)plan.message_max <= plan.calls && (uint64_t)plan.call_memory_max <= plan.calls);
    assert_true((uint64_t)plan.http_body_max <= plan.http);
    assert_true(plan.calls / 4 * 3 >= 4 * (MIB + MIB / 16)); /* a commit of the largest document */
  }
}

static void more_is_never_less(void **state) {
  (void)state;
  struct memory_plan before = memory_plan_for((uint64_t)MEMORY_PLAN_LIMIT_MIN, false);
  for (uint64_t limit = (uint64_t)MEMORY_PLAN_LIMIT_MIN; limit < 16 * 1024 * MIB; limit += 16 * MIB) {
    struct memory_plan plan = memory_plan_for(limit, false);
    assert_true(plan.store >= before.store && plan.calls >= before.calls && plan.http >= before.http);
    assert_true(plan.message_max >= before.message_max && plan.http_body_max >= before.http_body_max);
    before = plan;
  }
}

static void passwords_have_room(void **state) {
  (void)state;
  for (uint64_t limit = (uint64_t)MEMORY_PLAN_LIMIT_MIN_WITH_ACCOUNTS; limit < 4096 * MIB;
       limit += 16 * MIB) {
    struct memory_plan plan = memory_plan_for(limit, true);
    assert_true(plan.passwords >= 17 * MIB && plan.passwords <= 64 * MIB);
    assert_true(sum(&plan) + 31 * MIB <= limit);
    assert_true(plan.message_max >= (int64_t)(MIB + MIB / 8) && (uint64_t)plan.message_max <= plan.calls);
  }
}

static void boxes_of_256_mb_take_what_firestore_takes(void **state) {
  (void)state;
  assert_int_equal(memory_plan_for(256 * MIB, false).message_max, 10 * MIB);
  assert_true(memory_plan_for(64 * MIB, false).message_max < (int64_t)(2 * MIB));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(parts_fit_into_the_limit),
      cmocka_unit_test(more_is_never_less),
      cmocka_unit_test(passwords_have_room),
      cmocka_unit_test(boxes_of_256_mb_take_what_firestore_takes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
