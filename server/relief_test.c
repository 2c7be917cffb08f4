#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "server/relief.h"
#include "storage/rocksdb/store.h"
#include "storage/rocksdb/test_support.h"
#include "tests/support/unit.h"

#define MIB (UINT64_C(1) << 20)
#define SECOND INT64_C(1000000)

static struct port_pressure used(uint64_t mib) {
  return (struct port_pressure){.used_bytes = mib * MIB, .limit_bytes = 100 * MIB};
}

static void caches_shrink_in_steps_and_grow_again(void **state) {
  (void)state;
  struct relief_state s = {0};
  struct port_pressure ease = used(50), tight = used(95), between = used(88);
  int64_t now = 1000 * SECOND;
  assert_int_equal(relief_judge(&s, &ease, now), 0);
  assert_int_equal(relief_judge(&s, &tight, now), -1);
  assert_int_equal(s.level, 1);
  assert_int_equal(relief_judge(&s, &tight, now + SECOND / 10), 0); /* the first step has not worked yet */
  assert_int_equal(relief_judge(&s, &tight, now + SECOND), -1);
  assert_int_equal(relief_judge(&s, &tight, now + 2 * SECOND), -1);
  assert_int_equal(s.level, RELIEF_LEVEL_MAX);
  assert_int_equal(relief_judge(&s, &tight, now + 3 * SECOND), 0); /* nothing is left to give */
  /* Neither tight nor at ease: it stays, however long. */
  assert_int_equal(relief_judge(&s, &between, now + 500 * SECOND), 0);
  assert_int_equal(relief_judge(&s, &ease, now + 501 * SECOND), 0);
  assert_int_equal(relief_judge(&s, &ease, now + 531 * SECOND), 1);
  assert_int_equal(relief_judge(&s, &ease, now + 532 * SECOND), 0);
  assert_int_equal(relief_judge(&s, &ease, now + 562 * SECOND), 1);
  assert_int_equal(relief_judge(&s, &ease, now + 592 * SECOND), 1);
  assert_int_equal(s.level, 0);
  assert_int_equal(relief_judge(&s, &ease, now + 700 * SECOND), 0);
}

static void near_the_end_all_goes_at_once(void **state) {
  (void)state;
  struct relief_state s = {0};
  struct port_pressure critical = used(98);
  assert_int_equal(relief_judge(&s, &critical, SECOND), -1);
  assert_int_equal(s.level, RELIEF_LEVEL_MAX);
}

static void stalls_count_without_a_limit(void **state) {
  (void)state;
  struct relief_state s = {0};
  struct port_pressure stalled = {.stalled = true}, silent = {0};
  assert_int_equal(relief_judge(&s, &silent, SECOND), 0);
  assert_int_equal(relief_judge(&s, &stalled, 2 * SECOND), -1);
  assert_int_equal(relief_judge(&s, &silent, 33 * SECOND), 1);
}

static void levels_keep_less_and_less(void **state) {
  (void)state;
  assert_int_equal(relief_sixteenths(0), 16);
  for (unsigned level = 1; level <= RELIEF_LEVEL_MAX; level++)
    assert_true(relief_sixteenths(level) < relief_sixteenths(level - 1) && relief_sixteenths(level) >= 1);
}

struct capacity {
  uint64_t cache, hot;
};

static void take_capacity(void *argument, const struct kv_figure *figure) {
  struct capacity *capacity = argument;
  if (strcmp(figure->name, "rocksdb_cache_capacity_bytes") == 0)
    capacity->cache = figure->value;
  else if (strcmp(figure->name, "hot_documents_bytes") == 0)
    capacity->hot = figure->value;
}

static struct capacity capacity_of(struct kv_store *store) {
  struct capacity capacity = {0};
  kv_figures(store, take_capacity, &capacity);
  return capacity;
}

/* The thread, with a store and a port that is steered. */
static void the_store_gives_its_caches_up(void **state) {
  (void)state;
  char directory[64], value[300] = "", bytes[300];
  bool found;
  test_directory_make(directory);
  struct port_simulated *simulated = port_simulated_new();
  struct port *port = port_simulated_port(simulated);
  struct kv_rocksdb_options store_options = {.directory = directory, .memory_bytes = 16 * MIB, .port = port};
  struct kv_store *store;
  assert_status_ok(kv_rocksdb_open(&store_options, &store));
  for (int i = 0; i < 50; i++) {
    char key[16];
    snprintf(key, sizeof key, "k%d", i);
    assert_status_ok(test_put(store, str_from_cstr(key), str_make(value, sizeof value), NULL));
    for (int k = 0; k < 3; k++) /* hot */
      assert_status_ok(test_get(store, str_from_cstr(key), bytes, sizeof bytes, &found));
  }
  struct capacity full = capacity_of(store);
  assert_int_equal(full.cache, 14 * MIB);
  assert_true(full.hot > 10000);

  port_simulated_set_pressure(simulated, used(99));
  struct relief *relief;
  struct relief_options options = {.port = port, .store = store};
  assert_status_ok(relief_start(&options, &relief));
  struct relief_info info = {0};
  for (int i = 0; i < 1000 && info.level < RELIEF_LEVEL_MAX; i++) {
    nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    relief_info(relief, &info);
  }
  assert_int_equal(info.level, RELIEF_LEVEL_MAX);
  assert_int_equal(info.steps_down, 1);
  assert_int_equal(info.used_bytes, 99 * MIB);
  struct capacity small = capacity_of(store);
  assert_int_equal(small.cache, 14 * MIB / 16);
  assert_true(small.hot <= 2 * MIB / 16 && small.hot <= full.hot);
  for (int i = 0; i < 50; i++) { /* nothing is lost */
    char key[16];
    snprintf(key, sizeof key, "k%d", i);
    assert_status_ok(test_get(store, str_from_cstr(key), bytes, sizeof bytes, &found));
    assert_true(found);
  }

  port_simulated_set_pressure(simulated, used(10));
  for (int i = 0; i < 1000 && info.level > 0; i++) {
    port_simulated_advance(simulated, 31 * SECOND);
    nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    relief_info(relief, &info);
  }
  assert_int_equal(info.level, 0);
  relief_stop(relief);
  assert_int_equal(capacity_of(store).cache, full.cache);
  kv_close(store);
  port_simulated_free(simulated);
  test_directory_remove(directory);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(caches_shrink_in_steps_and_grow_again),
      cmocka_unit_test(near_the_end_all_goes_at_once),
      cmocka_unit_test(stalls_count_without_a_limit),
      cmocka_unit_test(levels_keep_less_and_less),
      cmocka_unit_test(the_store_gives_its_caches_up),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
