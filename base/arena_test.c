#include "base/arena.h"
#include "tests/support/unit.h"

enum { CAP = 1024 * 1024 };

static void memory_is_aligned_apart_and_writable(void **state) {
  (void)state;
  struct arena a;
  arena_init(&a, NULL, 0, CAP);
  char *pieces[300];
  for (size_t i = 0; i < UNIT_COUNT(pieces); i++) {
    pieces[i] = arena_alloc(&a, i);
    assert_non_null(pieces[i]);
    assert_int_equal((uintptr_t)pieces[i] % _Alignof(max_align_t), 0);
    memset(pieces[i], (int)i, i);
  }
  for (size_t i = 0; i < UNIT_COUNT(pieces); i++)
    for (size_t byte = 0; byte < i; byte++)
      assert_int_equal((unsigned char)pieces[i][byte], (unsigned char)i);
  assert_false(a.exhausted);
  arena_fini(&a);
}

static void first_block_is_used_before_malloc(void **state) {
  (void)state;
  _Alignas(max_align_t) char first[256];
  struct arena a;
  arena_init(&a, first, sizeof first, CAP);
  char *inside = arena_alloc(&a, 200);
  assert_ptr_equal(inside, first);
  assert_int_equal(arena_used_bytes(&a), 0);
  char *outside = arena_alloc(&a, 200);
  assert_true(outside < first || outside >= first + sizeof first);
  assert_true(arena_used_bytes(&a) >= 200);
  arena_reset(&a);
  assert_int_equal(arena_used_bytes(&a), 0);
  assert_ptr_equal(arena_alloc(&a, 1), first);
  arena_fini(&a);
  memset(first, 0, sizeof first); /* the owner's again: a sanitizer would object */
}

static void cap_is_never_passed(void **state) {
  (void)state;
  const size_t sizes[] = {1, 100, 4000, 5000, 40000, 300000};
  for (size_t i = 0; i < UNIT_COUNT(sizes); i++) {
    struct arena a;
    arena_init(&a, NULL, 0, CAP);
    size_t got = 0;
    while (arena_alloc(&a, sizes[i]) != NULL) {
      got += sizes[i];
      assert_true(arena_used_bytes(&a) <= CAP);
    }
    assert_true(a.exhausted);
    if (sizes[i] >= 100) /* and nearly all of it is of use */
      assert_true(got > CAP / 10 * 7);
    arena_reset(&a);
    assert_false(a.exhausted);
    assert_non_null(arena_alloc(&a, sizes[i]));
    arena_fini(&a);
  }
}

static void large_allocation_leaves_the_block_in_use(void **state) {
  (void)state;
  struct arena a;
  arena_init(&a, NULL, 0, CAP);
  char *before = arena_alloc(&a, 16);
  assert_non_null(arena_alloc(&a, 200000));
  char *after = arena_alloc(&a, 16);
  assert_ptr_equal(after, before + 16);
  arena_fini(&a);
}

static void sizes_that_overflow_are_refused(void **state) {
  (void)state;
  const size_t caps[] = {0, CAP, SIZE_MAX};
  for (size_t i = 0; i < UNIT_COUNT(caps); i++) {
    struct arena a;
    arena_init(&a, NULL, 0, caps[i]);
    /* Sizes that would wrap around when they are rounded up or get a block's head. */
    for (size_t less = 0; less < 2 * _Alignof(max_align_t) - 1; less++)
      assert_null(arena_alloc(&a, SIZE_MAX - less));
    assert_null(arena_calloc(&a, SIZE_MAX / 2, 3));
    assert_null(arena_calloc(&a, SIZE_MAX / 16, 32));
    assert_true(a.exhausted);
    assert_int_equal(arena_used_bytes(&a), 0);
    arena_fini(&a);
  }
}

static void calloc_zeroes_recycled_memory(void **state) {
  (void)state;
  _Alignas(max_align_t) char first[64];
  struct arena a;
  arena_init(&a, first, sizeof first, CAP);
  memset(arena_alloc(&a, 64), 0xFF, 64);
  arena_reset(&a);
  const unsigned char *zeroed = arena_calloc(&a, 8, 8);
  for (int i = 0; i < 64; i++)
    assert_int_equal(zeroed[i], 0);
  arena_fini(&a);
}

static void copies_end_in_nul(void **state) {
  (void)state;
  struct arena a;
  arena_init(&a, NULL, 0, CAP);
  str copy = arena_str_copy(&a, STR("a\0b"));
  assert_int_equal(copy.len, 3);
  assert_memory_equal(copy.ptr, "a\0b", 4);
  str empty = arena_str_copy(&a, (str){NULL, 0});
  assert_non_null(empty.ptr);
  assert_int_equal(empty.len, 0);
  assert_str_is(arena_printf(&a, "%s-%d", "x", 12), "x-12");
  assert_null(arena_str_copy(&a, (str){"", SIZE_MAX}).ptr);
  assert_null(arena_printf(&a, "%*d", CAP, 1).ptr);
  assert_true(a.exhausted);
  arena_fini(&a);
}

struct order {
  int released[3];
  int count;
};
struct release {
  struct order *order;
  int number;
};

static void note(void *argument) {
  struct release *release = argument;
  release->order->released[release->order->count++] = release->number;
}

static void cleanups_run_once_newest_first(void **state) {
  (void)state;
  struct order order = {{0}, 0};
  struct release releases[3] = {{&order, 1}, {&order, 2}, {&order, 3}};
  struct arena a;
  arena_init(&a, NULL, 0, CAP);
  for (int i = 0; i < 3; i++)
    assert_true(arena_defer(&a, note, &releases[i]));
  assert_int_equal(order.count, 0);
  arena_reset(&a);
  assert_int_equal(order.count, 3);
  for (int i = 0; i < 3; i++)
    assert_int_equal(order.released[i], 3 - i);
  arena_fini(&a);
  assert_int_equal(order.count, 3);
}

static void cleanup_past_the_cap_stays_with_the_caller(void **state) {
  (void)state;
  struct order order = {{0}, 0};
  struct release release = {&order, 1};
  struct arena a;
  arena_init(&a, NULL, 0, 0);
  assert_false(arena_defer(&a, note, &release));
  arena_fini(&a);
  assert_int_equal(order.count, 0);
}

static void arenas_share_a_budget(void **state) {
  (void)state;
  struct memory_budget budget;
  memory_budget_init(&budget, 100000);
  struct arena a, b;
  arena_init(&a, NULL, 0, CAP);
  arena_init(&b, NULL, 0, CAP);
  a.budget = b.budget = &budget;
  assert_non_null(arena_alloc(&a, 60000));
  assert_null(arena_alloc(&b, 60000));
  assert_true(b.exhausted && b.over_budget);
  assert_non_null(arena_alloc(&b, 30000));
  memory_budget_charge(&budget, 50000); /* what is there already counts, however much */
  assert_true(memory_budget_is_spent(&budget));
  assert_null(arena_alloc(&b, 5000));
  memory_budget_give(&budget, 50000);
  arena_fini(&a);
  assert_non_null(arena_alloc(&b, 60000));
  arena_fini(&b);
  assert_int_equal(atomic_load(&budget.used_bytes), 0);
}

static void large_allocations_can_go_back(void **state) {
  (void)state;
  struct memory_budget budget;
  memory_budget_init(&budget, 200000);
  struct arena a;
  char stranger;
  arena_init(&a, NULL, 0, 200000);
  a.budget = &budget;
  char *small = arena_alloc(&a, 100); /* the first of its block, which others use too */
  size_t before = arena_used_bytes(&a);
  for (int i = 0; i < 10; i++) {
    char *large = arena_alloc(&a, 150000), *behind = arena_alloc(&a, 100);
    assert_non_null(large);
    memset(large, 1, 150000);
    memset(behind, 2, 100);
    arena_return(&a, large);
    assert_int_equal(arena_used_bytes(&a), before);
    assert_int_equal(memory_budget_used(&budget), before);
    assert_int_equal(behind[99], 2);
  }
  arena_return(&a, small);
  arena_return(&a, &stranger);
  arena_return(&a, NULL);
  memset(small, 3, 100);
  assert_int_equal(arena_used_bytes(&a), before);
  arena_fini(&a);
  assert_int_equal(memory_budget_used(&budget), 0);
}

/* Alone, a party may take all; a second one always finds something left. */
static void shares_leave_something(void **state) {
  (void)state;
  struct memory_budget whole, one, other;
  memory_budget_init(&whole, 80000);
  memory_budget_init_share(&one, &whole);
  memory_budget_init_share(&other, &whole);
  assert_true(memory_budget_take(&one, 60000)); /* all but the last quarter */
  assert_false(memory_budget_is_spent(&other));
  assert_true(memory_budget_is_spent(&one));
  assert_false(memory_budget_take(&one, 1));
  assert_true(memory_budget_take(&other, 15000));
  assert_false(memory_budget_take(&other, 6000)); /* more than there is */
  assert_true(memory_budget_take(&other, 5000));
  memory_budget_charge(&other, 30000); /* tells only, so both are past what there is */
  assert_true(memory_budget_is_spent(&whole) && memory_budget_is_spent(&one) &&
              memory_budget_is_spent(&other));
  assert_false(memory_budget_take(&one, SIZE_MAX));
  memory_budget_give(&other, 50000);
  memory_budget_give(&one, 60000);
  assert_int_equal(memory_budget_used(&whole) + memory_budget_used(&one) + memory_budget_used(&other), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(memory_is_aligned_apart_and_writable),
      cmocka_unit_test(first_block_is_used_before_malloc),
      cmocka_unit_test(cap_is_never_passed),
      cmocka_unit_test(large_allocations_can_go_back),
      cmocka_unit_test(large_allocation_leaves_the_block_in_use),
      cmocka_unit_test(sizes_that_overflow_are_refused),
      cmocka_unit_test(calloc_zeroes_recycled_memory),
      cmocka_unit_test(copies_end_in_nul),
      cmocka_unit_test(cleanups_run_once_newest_first),
      cmocka_unit_test(cleanup_past_the_cap_stays_with_the_caller),
      cmocka_unit_test(arenas_share_a_budget),
      cmocka_unit_test(shares_leave_something),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
